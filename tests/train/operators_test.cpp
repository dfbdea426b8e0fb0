// Operators learned from pairs, and fractional equations: data against closed forms, residuals that
// the exact solution leaves, trainings that resume to the same bits.
#include <cmath>

#include "basin/autograd/ops.h"
#include "basin/tests/train/problems.h"

namespace basin::test {
namespace {

Task small(const std::string& name, OptionValues options = {}) {
  register_builtin_tasks();
  if (name != "fractional") {
    options.try_emplace("train", "6");
    options.try_emplace("test", "3");
  }
  return make_task(
      {.name = name, .options = std::move(options), .model = {.name = task_info(name).models[0]}});
}

double largest(const Tensor& t) { return max(abs(t.view({t.numel()})), 0).item(); }

}  // namespace

TEST_CASE("operators: every task has data of its own, a function of options and seed") {
  for (const char* name : {"antiderivative", "advection", "burgers_operator", "heat_operator"}) {
    CAPTURE(name);
    const Task task = small(name), again = small(name), other = small(name, {{"data_seed", "1"}});
    const auto hash = [](const Task& t) { return t.data().hash; };
    CHECK(hash(task) == hash(again));
    CHECK(hash(task) != hash(other));
    const Batch train = task.source({.split = Split::train, .batch = 4})->batch(0, 0),
                test = task.source({.split = Split::test, .batch = 4})->batch(0, 0);
    CHECK(train.examples == 4);
    CHECK(test.examples == 3);
    CHECK(train.tensors[2].shape() == Shape{4, train.tensors[1].size(0)});
    CHECK(largest(train.tensors[2]) > 1e-3);
    CHECK(task.source({.split = Split::train, .training = true, .batch = 4})->batches() == 1);
  }
}

TEST_CASE("operators: the truth is what the operator says") {
  // u' = v: the trapezoid rule over 100 sensors is right to some 1e-3 of a smooth function.
  const Batch a = small("antiderivative").source({.split = Split::train})->batch(0, 0);
  const Tensor v = a.tensors[0], u = a.tensors[2];
  double sum = 0;
  for (int64_t i = 1; i < 100; ++i) {
    sum += (v.at(i) + v.at(i - 1)) / 2 / 99;
    CHECK(u.at(i) == doctest::Approx(sum).epsilon(1e-3).scale(1));
  }
  CHECK(u.at(0) == 0);
  // u(x, t) = v(x - t): at t = 0 and after one period the start itself.
  const Batch b = small("advection").source({.split = Split::train})->batch(0, 0);
  for (int64_t i = 0; i < 50; ++i) {
    CHECK(b.tensors[2].at(i) == doctest::Approx(b.tensors[0].at(i)).epsilon(1e-9).scale(1));
    CHECK(b.tensors[2].at(20 * 50 + i) ==
          doctest::Approx(b.tensors[0].at(i)).epsilon(1e-9).scale(1));
  }
  // Diffusion takes energy away, and keeps a mean of zero.
  const Batch c = small("heat_operator").source({.split = Split::train})->batch(0, 0);
  CHECK(mean(square(c.tensors[2])).item() < mean(square(c.tensors[0])).item());
  CHECK(std::abs(mean(c.tensors[2]).item()) < 1e-12);
}

TEST_CASE("fractional: what the exact solution leaves over is the error of the matrix") {
  // N with x (1 - x) N = x^3 (1 - x)^3, so that u is exact.
  register_model({"exact_bump",
                  "N = w (x (1 - x))^2",
                  {{"plain", ""}},
                  {{"inputs", "1", "of x", OptionKind::integer}},
                  [](const ModelConfig&, const OptionReader&) {
                    Model model;
                    model.inputs = {{"points", Rows::example, SlotKind::feature}};
                    const Own w = model.layout.own("w", 1, Role::gain, constant_init(1));
                    model.forward = [layout = model.layout, w](
                                        const Tensors& params, const Tensors& buffers,
                                        const Tensors& in, const ForwardOptions& o) {
                      const Tensor b = in[0] * shift(neg(in[0]), 1);
                      ForwardResult result;
                      result.outputs = {Pass(layout, params, buffers, o.batch_statistics).value(w) *
                                        square(b)};
                      return result;
                    };
                    return model;
                  }});
  std::vector<double> left;
  for (const char* nodes : {"51", "101"}) {
    register_builtin_tasks();
    const Task task = make_task({.name = "fractional",
                                 .options = {{"problem", "1"}, {"nodes", nodes}},
                                 .model = {.name = "exact_bump"}});
    const Tensors params = init_model(task.model, 0, DType::f64).params.values();
    const Batch batch = task.source({.split = Split::train})->batch(0, 0);
    left.push_back(
        largest(task.objective({}, batch, ForwardOptions::evaluation()).outputs(params).front()));
    const ModelState state = init_model(task.model, 0, DType::f64);
    CHECK(evaluate(task, state, *task.source({.split = Split::test}))->values[0] < 1e-12);
  }
  // The printed errors of the scheme at a = 1.5: 6.5e-3 and 3.3e-3.
  CHECK(left[0] == doctest::Approx(6.5e-3).epsilon(0.02));
  CHECK(left[1] == doctest::Approx(3.3e-3).epsilon(0.02));
}

TEST_CASE("fractional: every problem trains; probes take whole grids") {
  for (const char* problem : {"1", "2", "3", "4", "5"}) {
    CAPTURE(problem);
    const Task task = small("fractional", {{"problem", problem}, {"nodes", "21"}, {"times", "9"}});
    const auto part = task.source({.split = Split::train, .limit = 4});
    CHECK(part->examples() == task.source({.split = Split::train})->examples());
    TrainOptions options;
    options.optimizer = {.name = "adam", .lr = 1e-2};
    options.steps = 150;
    options.eval_every = {150, false};
    options.dtype = DType::f64;
    Trainer trainer(task, options);
    const double before = trainer.test().values[0];
    const TempDir dir;
    trainer.run(dir / "run");
    CHECK(trainer.test().values[0] < before);
  }
  CHECK(error_of([] { small("fractional", {{"problem", "6"}}); }).first == ErrorKind::usage);
  CHECK(error_of([] {
          small("fractional", {{"problem", "4"}, {"alpha", "1.5"}});
        }).first == ErrorKind::usage);
}

TEST_CASE("fractional_operator: descends a residual without solutions, resumes to the same bits") {
  const Task task = small("fractional_operator", {{"times", "9"}, {"train", "8"}});
  const Batch train = task.source({.split = Split::train, .batch = 4})->batch(0, 0);
  CHECK(train.tensors.back().size(0) == 0);
  TrainOptions options;
  options.optimizer = {.name = "muon", .lr = 5e-3, .options = {{"aux_lr", "0.003"}}};
  options.batch = 4;
  options.eval_batch = 4;
  options.steps = 60;
  options.eval_every = {30, false};
  options.checkpoint_every = {30, false};
  options.keep = 0;
  options.dtype = DType::f64;
  Trainer whole(task, options), cut(task, options), resumed(task, options);
  const double before = whole.test().values[0];
  const TempDir dir;
  whole.run(dir / "whole");
  CHECK(whole.test().values[0] < before);
  cut.run(dir / "cut", {.stop = [&] { return cut.steps_done() == 30 ? SIGTERM : 0; }});
  resumed.restore(*read_newest_checkpoint(dir / "cut/ckpt"));
  resumed.run(dir / "cut");
  const auto weights = [&](const char* run) {
    return sha256_hex_of_file(checkpoint_path(dir / run / "ckpt", 60) / "model.safetensors");
  };
  CHECK(weights("whole") == weights("cut"));
}

}  // namespace basin::test
