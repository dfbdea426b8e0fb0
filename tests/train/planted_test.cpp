// Problems with a planted spectrum: what was planted is there, and gradient descent finds it.
#include <cmath>

#include "basin/autograd/ops.h"
#include "basin/kernels/linalg.h"
#include "basin/tests/train/problems.h"

namespace basin::test {
namespace {

Task planted(const std::string& name, OptionValues options) {
  register_builtin_tasks();
  return make_task({.name = name, .options = std::move(options), .model = {.name = "linear_map"}});
}

std::vector<double> singular_values(const Tensor& a) {
  return SingularValues::cpu(a).to_vector<double>();
}

}  // namespace

TEST_CASE("task linear_regression: X has the spectrum that was asked for, Y is X W") {
  const Task task = planted("linear_regression", {{"rows", "40"},
                                                  {"inputs", "6"},
                                                  {"outputs", "3"},
                                                  {"condition", "50"},
                                                  {"spectrum", "log"}});
  const Batch train = task.source({.split = Split::train})->batch(0, 0);
  const std::vector<double> s = singular_values(train.tensors[0]);
  REQUIRE(s.size() == 6);
  for (size_t i = 0; i < 6; ++i) {
    CHECK(s[i] / s[0] == doctest::Approx(std::pow(50, -static_cast<double>(i) / 5)).epsilon(1e-10));
  }
  CHECK(mean(square(train.tensors[0])).item() == doctest::Approx(1).epsilon(1e-12));
  // 43 equations for 18 unknowns without noise: the one W of the test split fits both.
  const Batch test = task.source({.split = Split::test})->batch(0, 0);
  TrainOptions options;
  options.optimizer = {.name = "lbfgs", .lr = 1};
  options.schedule = "constant";
  options.steps = 30;
  options.dtype = DType::f64;
  Trainer trainer(task, options);
  const TempDir dir;
  trainer.run(dir / "run");
  CHECK(trainer.test().values[0] < 1e-6);
}

TEST_CASE(
    "task matrix_factorisation: the matrix has the rank and spectrum, Muon's product finds it") {
  const Task task = planted("matrix_factorisation", {{"rows", "12"},
                                                     {"columns", "10"},
                                                     {"true_rank", "4"},
                                                     {"condition", "8"},
                                                     {"spectrum", "linear"}});
  const Tensor m = task.source({.split = Split::train})->batch(0, 0).tensors[1];
  CHECK(m.shape() == Shape{10, 12});
  const std::vector<double> s = singular_values(m);
  for (size_t i = 0; i < 4; ++i) {
    CHECK(s[i] / s[0] ==
          doctest::Approx(1 - static_cast<double>(i) / 3 * (1 - 1.0 / 8)).epsilon(1e-10));
  }
  CHECK(s[4] < 1e-12 * s[0]);
  TrainOptions options;
  options.optimizer = {.name = "muon", .lr = 0.05};
  options.steps = 400;
  options.eval_every = {400, false};
  options.dtype = DType::f64;
  Trainer trainer(task, options);
  const TempDir dir;
  trainer.run(dir / "run");
  CHECK(trainer.test().values[0] < 1e-2);
  CHECK(error_of([] {
          planted("matrix_factorisation", {{"rows", "3"}, {"columns", "3"}, {"true_rank", "4"}});
        }).first == ErrorKind::usage);
}

}  // namespace basin::test
