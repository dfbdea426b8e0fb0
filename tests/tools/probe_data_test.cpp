// The fixed data of a probe: which shapes, the loss on them, statistics made anew, representations.
#include "basin/train/probe_data.h"

#include <cmath>

#include "basin/tests/tools/helpers.h"

namespace basin::tools {
namespace {

struct Problem {
  explicit Problem(const std::string& model = "pointnet") {
    Config settings = tiny_settings("adamw");
    if (model == "egnn") {
      settings = train_settings();
      for (const auto& [key, value] : std::map<std::string, std::string>{{"model.name", "egnn"},
                                                                         {"k", "4"},
                                                                         {"limit", "45"},
                                                                         {"points", "32"},
                                                                         {"model.hidden", "8"},
                                                                         {"model.layers", "2"}}) {
        settings.set(key, value, Layer::flag, key);
      }
    }
    config = train_config_from(settings);
    data = load_train_data(config);
    ModelConfig with_classes = config.model;
    with_classes.classes = data.train.classes();
    model_ = make_model(with_classes);
    state = init_model(model_, 3, DType::f64);
  }
  TrainConfig config;
  TrainData data;
  Model model_;
  ModelState state;
};

TEST_CASE("probe data: a part of the split, the same for the same seed") {
  const Problem p;
  const ProbeData a = probe_data(p.data.train, "training", p.config, 20, 8, 1);
  const ProbeData b = probe_data(p.data.train, "training", p.config, 20, 8, 1);
  const ProbeData c = probe_data(p.data.train, "training", p.config, 20, 8, 2);
  CHECK(a.examples == 20);
  REQUIRE(a.batches.size() == 3);
  CHECK(a.batches.back().points.size(0) == 4);
  CHECK(a.description == "20 of 45 training shapes (seed 1), 64 points");
  const auto points = [](const ProbeData& d) { return d.batches[0].points.to_vector<float>(); };
  CHECK(points(a) == points(b));
  CHECK(points(a) != points(c));
  CHECK(probe_data(p.data.train, "training", p.config, 0, 8, 1).examples == 45);
  CHECK(probe_data(p.data.train, "training", p.config, 1000, 8, 1).examples == 45);
}

TEST_CASE("probe data: batches add up to the mean loss, and the parts to the whole") {
  const Problem p;
  const ProbeData data = probe_data(p.data.train, "training", p.config, 20, 8, 1);
  const Tensors w = p.state.params.values();
  for (const NormStatistics statistics : {NormStatistics::frozen, NormStatistics::batch}) {
    const auto batches = loss_batches(p.model_, p.state.buffers, data, statistics, 0.1, DType::f64);
    double sum = 0, gauss_newton_form = 0;
    for (const LossBatch& b : batches) {
      sum += static_cast<double>(b.examples) * b.loss(w).front().item() / 20;
      gauss_newton_form +=
          static_cast<double>(b.examples) * b.loss_of_outputs(b.outputs(w)).front().item() / 20;
    }
    const MeanLoss whole = mean_loss(p.model_, w, p.state.buffers.values(), data, statistics, 0.1);
    CHECK(sum == doctest::Approx(whole.loss).epsilon(1e-13));
    CHECK(gauss_newton_form == doctest::Approx(sum).epsilon(1e-13));
    CHECK(whole.accuracy >= 0);
    CHECK(whole.accuracy <= 1);
  }
}

TEST_CASE("probe data: statistics made anew are the mean over the batches") {
  const Problem p;
  const ProbeData data = probe_data(p.data.train, "training", p.config, 24, 8, 1);
  const ParamList made =
      reestimated_buffers(p.model_, p.state.params.values(), p.state.buffers, data);
  std::vector<double> mean(static_cast<size_t>(made[0].value.numel()), 0.0);
  for (const PointBatch& b : data.batches) {
    ForwardOptions options;
    options.batch_statistics = true;
    const ForwardResult r = p.model_.forward(p.state.params.values(), p.state.buffers.values(),
                                             b.points.to(DType::f64), options);
    for (size_t i = 0; i < mean.size(); ++i) {
      mean[i] += r.batch_stats[0].at(static_cast<int64_t>(i)) / 3;
    }
  }
  for (size_t i = 0; i < mean.size(); ++i) {
    CHECK(made[0].value.at(static_cast<int64_t>(i)) == doctest::Approx(mean[i]).epsilon(1e-12));
  }
  CHECK(p.state.buffers[0].value.at(0) == 0);  // the given ones are untouched
}

TEST_CASE("probe data: one row per shape and layer, per-point activations averaged") {
  const Problem p("egnn");
  const ProbeData data = probe_data(p.data.test, "test", p.config, 12, 8, 1);
  const auto layers = representations(p.model_, p.state, data);
  REQUIRE(layers.size() >= 5);
  CHECK(layers.front().layer == "features1");
  CHECK(layers.front().pooled);
  CHECK(layers.front().rows.shape() == Shape{12, 8});
  CHECK(layers.back().layer == "logits");
  CHECK_FALSE(layers.back().pooled);
  CHECK(layers.back().rows.shape() == Shape{12, p.model_.classes});
  for (const Representation& r : layers) {
    CAPTURE(r.layer);
    for (double v : r.rows.to_vector<double>()) CHECK(std::isfinite(v));
  }
  // A T-Net's matrix per shape is no row per point, even where the sizes agree.
  const Problem net;
  const ProbeData clouds = probe_data(net.data.test, "test", net.config, 4, 4, 1);
  for (const Representation& r : representations(net.model_, net.state, clouds)) {
    if (r.layer == "feature_transform") CHECK(r.rows.shape() == Shape{4, 64});
    if (r.layer == "feature_transform") CHECK_FALSE(r.pooled);
  }
}

}  // namespace
}  // namespace basin::tools
