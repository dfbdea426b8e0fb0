// The training loop on a device, where this build has one: batches sent ahead are the loader's, the
// losses are those of the CPU, a resumed run has the bits of a whole one, recorded steps those of
// launched ones.
#include <cmath>
#include <csignal>
#include <limits>

#include "basin/core/storage.h"
#include "basin/tests/tools/helpers.h"
#include "basin/tools/shell/progress.h"

namespace basin::tools {
namespace {

bool have_device() {
  try {
    require_device(Device::cuda);
    return true;
  } catch (const Error& e) {
    std::printf("SKIPPED: %s\n", e.what());
    return false;
  }
}

Config settings(const std::string& optimizer, const std::string& device, const std::string& graph) {
  Config config = tiny_settings(optimizer);
  config.set("limit", "20", Layer::flag, "limit");
  config.set("points", "24", Layer::flag, "points");
  config.set("epochs", "2", Layer::flag, "epochs");
  config.set("device", device, Layer::flag, "device");
  config.set("graph", graph, Layer::flag, "graph");
  return config;
}

struct Problem {
  explicit Problem(Config c) : config(train_config_from(c)), data(load_train_data(config)) {}
  TrainConfig config;
  TrainData data;
};

std::vector<double> losses(const Problem& problem, int64_t steps) {
  Trainer trainer(problem.config, problem.data);
  std::vector<double> out;
  for (int64_t i = 0; i < steps; ++i) out.push_back(trainer.step().loss);
  return out;
}

// Trains into the folder from its newest checkpoint on; stops after so many steps (0: never).
void train(const Problem& problem, const fs::path& path, int stop_after) {
  Trainer trainer(problem.config, problem.data);
  if (!fs::exists(path)) RunDir::create(path).begin({});
  const RunDir dir = RunDir::open(path);
  set_verbosity(Verbosity::quiet);
  if (const auto checkpoint = read_newest_checkpoint(dir.checkpoints())) {
    trainer.restore(*checkpoint);
  }
  int left = stop_after;
  trainer.run(dir, {[&] { return stop_after > 0 && --left <= 0 ? SIGTERM : 0; }, false});
}

std::vector<std::string> weights_of(const fs::path& run) {
  const int64_t step = checkpoint_steps(run / "ckpt").back();
  const fs::path folder = checkpoint_path(run / "ckpt", step);
  return {std::to_string(step), sha256_hex_of_file(folder / "model.safetensors"),
          sha256_hex_of_file(folder / "optim.safetensors")};
}

}  // namespace

TEST_CASE("device trainer: batches sent ahead are the loader's, in any order") {
  if (!have_device()) return;
  const Problem problem(settings("adamw", "cuda", "off"));
  for (DType dtype : {DType::f32, DType::f64}) {
    const Model model = make_model({.classes = 15, .options = {{"widths", "8,16,32,16,8"}}});
    ModelState state = init_model(model, 0, dtype).to(Device::cuda);
    const auto rule = make_optimizer(problem.config.optimizer, state.params);
    TrainStep step(model, state, *rule, {});
    LoaderOptions options;
    options.batch = 4;
    options.points = 24;
    options.drop_last = options.prefetch = true;
    const PointCloudLoader loader(problem.data.train, options);
    options.prefetch = false;
    const PointCloudLoader plain(problem.data.train, options);
    BatchFeed feed(loader, step);
    const std::pair<int64_t, int64_t> order[] = {{0, 0}, {0, 1}, {0, 2}, {1, 0}, {0, 3}, {2, 1}};
    for (size_t i = 0; i < std::size(order); ++i) {
      const auto [epoch, index] = order[i];
      const PointBatch want = plain.batch(epoch, index), got = feed.take(epoch, index);
      // Announced rightly but for the last two.
      if (i + 1 < std::size(order)) {
        const auto next = order[i < 3 ? i + 1 : 0];
        feed.send_ahead(next.first, next.second);
      }
      CHECK(got.rows == want.rows);
      CHECK(step.points().dtype() == dtype);
      CHECK(step.points().to_vector<float>() == want.points.to_vector<float>());
      CHECK(step.labels().to_vector<int64_t>() == want.labels.to_vector<int64_t>());
    }
  }
}

TEST_CASE("device trainer: losses are those of the CPU, recorded or not") {
  if (!have_device()) return;
  for (const char* optimizer : {"adamw", "muon"}) {
    // In f64: a network this small on batches this small makes a percent of f32's rounding.
    const auto in_f64 = [&](const char* device, const char* graph) {
      Config config = settings(optimizer, device, graph);
      config.set("dtype", "f64", Layer::flag, "dtype");
      return Problem(config);
    };
    const Problem here = in_f64("cpu", "auto"), there = in_f64("cuda", "off"),
                  recorded = in_f64("cuda", "auto");
    CHECK(Trainer(recorded.config, recorded.data).device_text() == "cuda, steps are recorded");
    const std::vector<double> cpu = losses(here, 5), cuda = losses(there, 5);
    CHECK(losses(recorded, 5) == cuda);
    double worst = 0;
    for (size_t i = 0; i < cpu.size(); ++i) {
      worst = std::max(worst, std::abs(cuda[i] - cpu[i]) / cpu[i]);
    }
    std::printf("trainer: %s, 5 steps, largest difference of the loss from the CPU %.1e\n",
                optimizer, worst);
    CHECK(worst < 1e-8);
  }
}

TEST_CASE("device trainer: a resumed run has the bits of a whole one") {
  if (!have_device()) return;
  const TempDir dir;
  const Problem problem(settings("muon", "cuda", "auto"));
  train(problem, dir / "whole", 0);
  train(problem, dir / "pieces", 3);
  train(problem, dir / "pieces", 2);
  train(problem, dir / "pieces", 0);
  CHECK(weights_of(dir / "whole") == weights_of(dir / "pieces"));
  CHECK(weights_of(dir / "whole").front() == "4");
}

TEST_CASE("device: a step that is not finite leaves a bundle that fails on the CPU") {
  if (!have_device()) return;
  for (const char* policy : {"stop", "skip"}) {
    for (const char* graph : {"off", "on"}) {
      const TempDir dir;
      Config config = settings("adamw", "cuda", graph);
      config.set("on_nonfinite", policy, Layer::flag, "on_nonfinite");
      config.set("augment", "none", Layer::flag, "augment");
      config.set("batch", "5", Layer::flag, "batch");
      Problem problem(config);
      problem.data.train.points.mutable_data<float>()[0] = std::numeric_limits<float>::infinity();
      const CaughtWarnings warnings;
      const bool stops = std::string(policy) == "stop";
      if (stops) {
        const auto error = error_of([&] { train(problem, dir / "run", 0); });
        CHECK(error.first == ErrorKind::numerical);
        CHECK(contains(error.second, "; forward: op '"));
      } else {
        train(problem, dir / "run", 0);
      }
      int64_t bundles = 0;
      for (const auto& entry : fs::directory_iterator(dir / "run")) {
        if (!contains(entry.path().string(), "failure-step-")) continue;
        ++bundles;
        Bundle bundle = read_bundle(entry.path());
        CHECK(repeats(bundle.failure));
        for (const Param& p : bundle.failure.inputs.state.params) {
          CHECK_FALSE(first_non_finite(p.value));
        }
      }
      CHECK(bundles == 1);
    }
  }
}

}  // namespace basin::tools
