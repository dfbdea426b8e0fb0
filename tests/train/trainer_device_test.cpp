// The training loop on a device, where this build has one: batches sent ahead are the loader's, the
// losses are those of the CPU, a resumed run has the bits of a whole one, recorded steps those of
// launched ones.
#include <cmath>

#include "basin/core/storage.h"
#include "basin/tests/train/problems.h"

namespace basin::test {
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

Settings settings(const std::string& optimizer, Device device, GraphMode graph) {
  Settings out = tiny_shapes(optimizer);
  out.task.options["limit"] = "20";
  out.task.options["points"] = "24";
  out.train.epochs = 2;
  out.train.device = device;
  out.train.graph = graph;
  return out;
}

// Burgers' equation by the jets of mlp_jet; its points are drawn anew after two steps.
Settings burgers(const std::string& optimizer, Device device, GraphMode graph) {
  register_builtin_tasks();
  Settings out;
  out.task = {
      .name = "burgers",
      .options = {{"domain", "300"}, {"boundary", "20"}, {"initial", "40"}, {"resample", "2"}},
      .model = {.name = "mlp", .options = {{"width", "16"}, {"depth", "3"}}}};
  out.train.optimizer = usual_optimizer(optimizer);
  out.train.steps = 6;
  out.train.device = device;
  out.train.graph = graph;
  return out;
}

std::vector<double> losses(const Problem& problem, int64_t steps) {
  Trainer trainer(problem.task, problem.options);
  std::vector<double> out;
  for (int64_t i = 0; i < steps; ++i) out.push_back(trainer.step().loss);
  return out;
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
  const Settings shapes = settings("adamw", Device::cuda, GraphMode::off);
  const std::pair<int64_t, int64_t> order[] = {{0, 0}, {0, 1}, {0, 2}, {1, 0}, {0, 3}, {2, 1}};
  for (const Settings& made : {shapes, tiny_molecules("adamw")}) {
    const Problem problem(made);
    for (DType dtype : {DType::f32, DType::f64}) {
      ModelState state = init_model(problem.task.model, 0, dtype).to(Device::cuda);
      const auto rule = make_optimizer(problem.options.optimizer, state.params);
      TrainStep step(problem.task, state, *rule, {});
      const SourceRequest request{.training = true, .batch = 4, .prefetch = true};
      SourceRequest without = request;
      without.prefetch = false;
      const auto source = problem.task.source(request), plain = problem.task.source(without);
      BatchFeed feed(*source, step);
      for (size_t i = 0; i < std::size(order); ++i) {
        const auto [epoch, index] = order[i];
        const Batch want = plain->batch(epoch, index), got = feed.take(epoch, index);
        // Announced rightly but for the last two.
        if (i + 1 < std::size(order)) {
          const auto next = order[i < 3 ? i + 1 : 0];
          feed.send_ahead(next.first, next.second);
        }
        CHECK(got.rows == want.rows);
        REQUIRE(step.places().tensors.size() == want.tensors.size());
        const Batch cast = want.to(dtype);
        for (size_t t = 0; t < cast.tensors.size(); ++t) {
          CHECK(step.places().tensors[t].dtype() == cast.tensors[t].dtype());
          CHECK(step.places().tensors[t].shape() == cast.tensors[t].shape());
          CHECK(step.places().tensors[t].to_vector<double>() ==
                cast.tensors[t].to_vector<double>());
        }
      }
    }
  }
}

TEST_CASE("device trainer: losses are those of the CPU, recorded or not") {
  if (!have_device()) return;
  struct Case {
    const char* name;
    Settings (*make)(const std::string& optimizer, Device device, GraphMode graph);
  };
  for (const Case& c : {Case{"shapes", settings}, Case{"Burgers PINN", burgers}}) {
    for (const char* optimizer : {"adamw", "muon"}) {
      CAPTURE(c.name);
      CAPTURE(optimizer);
      // In f64: a network this small on batches this small makes a percent of f32's rounding.
      const auto in_f64 = [&](Device device, GraphMode graph) {
        Settings made = c.make(optimizer, device, graph);
        made.train.dtype = DType::f64;
        return Problem(made);
      };
      const Problem here = in_f64(Device::cpu, GraphMode::automatic),
                    there = in_f64(Device::cuda, GraphMode::off),
                    recorded = in_f64(Device::cuda, GraphMode::automatic);
      CHECK(Trainer(recorded.task, recorded.options).device_text() == "cuda, steps are recorded");
      const std::vector<double> cpu = losses(here, 5), cuda = losses(there, 5);
      CHECK(losses(recorded, 5) == cuda);
      double worst = 0;
      for (size_t i = 0; i < cpu.size(); ++i) {
        worst = std::max(worst, std::abs(cuda[i] - cpu[i]) / cpu[i]);
      }
      std::printf("trainer: %s, %s, 5 steps, largest difference of the loss from the CPU %.1e\n",
                  c.name, optimizer, worst);
      CHECK(worst < 1e-8);
    }
  }
}

TEST_CASE("device trainer: a resumed run has the bits of a whole one") {
  if (!have_device()) return;
  const TempDir dir;
  const Problem problem(settings("muon", Device::cuda, GraphMode::automatic));
  train(problem, dir / "whole", 0);
  train(problem, dir / "pieces", 3);
  train(problem, dir / "pieces", 2);
  train(problem, dir / "pieces", 0);
  CHECK(weights_of(dir / "whole") == weights_of(dir / "pieces"));
  CHECK(weights_of(dir / "whole").front() == "4");
}

TEST_CASE("device: a step that is not finite leaves a bundle that fails on the CPU") {
  if (!have_device()) return;
  for (const OnNonFinite policy : {OnNonFinite::stop, OnNonFinite::skip}) {
    for (const GraphMode graph : {GraphMode::off, GraphMode::on}) {
      const TempDir dir;
      Settings made = settings("adamw", Device::cuda, graph);
      made.train.on_nonfinite = policy;
      made.train.batch = 5;
      made.task.options["augment"] = "none";
      Problem problem(made);
      spoil(problem.task, {0});
      const CaughtWarnings warnings;
      if (policy == OnNonFinite::stop) {
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

TEST_CASE("device trainer: batches of several shapes give up an automatic graph") {
  if (!have_device()) return;
  std::vector<std::vector<double>> all;
  for (const GraphMode graph : {GraphMode::off, GraphMode::automatic}) {
    Settings made = tiny_molecules("adamw");
    made.train.device = Device::cuda;
    made.train.graph = graph;
    all.push_back(losses(Problem(made), 8));
  }
  CHECK(all[0] == all[1]);
  Settings made = tiny_molecules("adamw");
  made.train.device = Device::cuda;
  made.train.graph = GraphMode::on;
  const Problem problem(made);
  const auto error = error_of([&] { losses(problem, 8); });
  CHECK(error.first == ErrorKind::usage);
  CHECK(contains(error.second, "use --graph off or auto"));
}

}  // namespace basin::test
