// The fixed data of a probe: which shapes, the loss on them, statistics made anew, representations.
#include "basin/train/probe_data.h"

#include <cmath>

#include "basin/tests/train/problems.h"

namespace basin::test {
namespace {

struct Subject {
  explicit Subject(const Settings& settings) : task(make_task(settings.task)) {
    state = init_model(task.model, 3, DType::f64);
  }
  Task task;
  ModelState state;
};

Settings small_egnn() {
  Settings settings = tiny_shapes("adamw");
  settings.task.options["points"] = "32";
  settings.task.model = {.name = "egnn", .options = {{"k", "4"}, {"hidden", "8"}, {"layers", "2"}}};
  return settings;
}

Settings smoothed(Settings settings) {
  settings.task.options["label_smoothing"] = "0.1";
  return settings;
}

TEST_CASE("probe data: a part of the split, the same for the same seed") {
  const Subject p(tiny_shapes("adamw"));
  const ProbeData a = probe_data(p.task, Split::train, 20, 8, 1);
  const ProbeData b = probe_data(p.task, Split::train, 20, 8, 1);
  const ProbeData c = probe_data(p.task, Split::train, 20, 8, 2);
  CHECK(a.examples == 20);
  REQUIRE(a.batches.size() == 3);
  CHECK(a.batches.back().tensors[0].size(0) == 4);
  CHECK(a.description == "20 of 45 training shapes (seed 1), 64 points");
  const auto points = [](const ProbeData& d) { return d.batches[0].tensors[0].to_vector<float>(); };
  CHECK(points(a) == points(b));
  CHECK(points(a) != points(c));
  CHECK(probe_data(p.task, Split::train, 0, 8, 1).examples == 45);
  CHECK(probe_data(p.task, Split::train, 1000, 8, 1).examples == 45);
}

TEST_CASE("probe data: batches add up to the mean loss, and the parts to the whole") {
  const Subject p(smoothed(tiny_shapes("adamw")));
  const ProbeData data = probe_data(p.task, Split::train, 20, 8, 1);
  const Tensors w = p.state.params.values();
  for (const NormStatistics statistics : {NormStatistics::frozen, NormStatistics::batch}) {
    const auto batches = loss_batches(p.task, p.state.buffers, data, statistics, DType::f64);
    double sum = 0, gauss_newton_form = 0;
    for (const LossBatch& b : batches) {
      sum += static_cast<double>(b.examples) * b.loss(w).front().item() / 20;
      gauss_newton_form +=
          static_cast<double>(b.examples) * b.loss_of_outputs(b.outputs(w)).front().item() / 20;
    }
    const MeanLoss whole = mean_loss(p.task, w, p.state.buffers.values(), data, statistics);
    CHECK(sum == doctest::Approx(whole.loss).epsilon(1e-13));
    CHECK(gauss_newton_form == doctest::Approx(sum).epsilon(1e-13));
    CHECK(whole.metric >= 0);
    CHECK(whole.metric <= 1);
  }
}

TEST_CASE("probe data: statistics made anew are the mean over the batches") {
  const Subject p(tiny_shapes("adamw"));
  const ProbeData data = probe_data(p.task, Split::train, 24, 8, 1);
  const ParamList made =
      reestimated_buffers(p.task, p.state.params.values(), p.state.buffers, data);
  std::vector<double> mean(static_cast<size_t>(made[0].value.numel()), 0.0);
  for (const Batch& b : data.batches) {
    ForwardOptions options;
    options.batch_statistics = true;
    const ForwardResult r = p.task.model.forward(p.state.params.values(), p.state.buffers.values(),
                                                 {b.tensors[0].to(DType::f64)}, options);
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
  const Subject p(small_egnn());
  const ProbeData data = probe_data(p.task, Split::test, 12, 8, 1);
  const auto layers = representations(p.task, p.state, data);
  REQUIRE(layers.size() >= 5);
  CHECK(layers.front().layer == "features1");
  CHECK(layers.front().pooled);
  CHECK(layers.front().rows.shape() == Shape{12, 8});
  CHECK(layers.back().layer == "logits");
  CHECK_FALSE(layers.back().pooled);
  CHECK(layers.back().rows.shape() == Shape{12, p.task.model.outputs});
  for (const Representation& r : layers) {
    CAPTURE(r.layer);
    for (double v : r.rows.to_vector<double>()) CHECK(std::isfinite(v));
  }
  // A T-Net's matrix per shape is no row per point, even where the sizes agree.
  const Subject net(tiny_shapes("adamw"));
  const ProbeData clouds = probe_data(net.task, Split::test, 4, 4, 1);
  for (const Representation& r : representations(net.task, net.state, clouds)) {
    if (r.layer == "feature_transform") CHECK(r.rows.shape() == Shape{4, 64});
    if (r.layer == "feature_transform") CHECK_FALSE(r.pooled);
  }
}

}  // namespace
}  // namespace basin::test
