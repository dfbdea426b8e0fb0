// Losses of several terms: in the lines of the metrics, in checkpoints, and one term that is the
// loss itself, to the bit.
#include <cmath>

#include "basin/autograd/ops.h"
#include "basin/tests/train/problems.h"

namespace basin::test {
namespace {

Task with_loss(Task task, std::vector<std::string> names,
               std::function<Tensors(const Tensor& gap)> terms) {
  task.objective = [model = task.model, names, terms](const Tensors& buffers, const Batch& batch,
                                                      const ForwardOptions& mode) {
    Loss loss{names, [terms, target = batch.tensors[2]](const Tensors& outputs) {
                return terms(outputs.front() - target);
              }};
    return supervised(model, buffers, {batch.tensors[0], batch.tensors[1]}, mode, std::move(loss),
                      batch.examples);
  };
  return task;
}

Tensors two_terms(const Tensor& gap) {
  return {scale(mean(square(gap)), 0.5), scale(mean(sqrt(square(gap) + 1e-6)), 0.25)};
}

}  // namespace

TEST_CASE("terms: each is in the metrics, they add up, and a resume repeats them") {
  const TempDir dir;
  Settings settings = tiny_molecules("adamw");
  settings.train.keep = 0;
  settings.train.log_every = 1;
  settings.train.checkpoint_every = parse_period("4");
  Problem problem(settings);
  problem.task = with_loss(problem.task, {"energy", "slope"}, two_terms);
  REQUIRE(train(problem, dir / "whole").completed);
  const auto steps = events(dir / "whole", "step");
  REQUIRE(steps.size() > 10);
  for (const RecordFields& e : steps) {
    CHECK(e.number("loss_energy") > 0);
    CHECK(e.number("loss_energy") + e.number("loss_slope") ==
          doctest::Approx(e.number("loss")).epsilon(1e-6));
  }
  const auto epochs = events(dir / "whole", "epoch");
  REQUIRE(epochs.size() == 2);
  for (const RecordFields& e : epochs) {
    CHECK(e.number("train_loss_energy") + e.number("train_loss_slope") ==
          doctest::Approx(e.number("train_loss")).epsilon(1e-6));
  }
  const auto expected = timeless_lines(dir / "whole");
  const int64_t last = checkpoint_steps(dir / "whole/ckpt").back();
  const CaughtWarnings warnings;
  int starts = 0;
  while (starts < 100 && !train(problem, dir / "pieces", 2 + 5 * starts % 17).completed) ++starts;
  CHECK(starts >= 5);
  CHECK(timeless_lines(dir / "pieces") == expected);
  CHECK(hashes(dir / "pieces", last) == hashes(dir / "whole", last));
}

TEST_CASE("terms: one term is the loss itself, and two halves of it the same training nearly") {
  const Settings settings = tiny_molecules("adamw");
  const Problem plain(settings);
  const auto losses = [&](const Task& task) {
    Trainer trainer(task, settings.train);
    std::vector<double> out;
    for (int i = 0; i < 6; ++i) {
      const StepResult step = trainer.step();
      out.push_back(step.loss);
      double sum = 0;
      for (const double t : step.terms) sum += t;
      if (!step.terms.empty()) CHECK(sum == doctest::Approx(step.loss).epsilon(1e-6));
    }
    return out;
  };
  const auto whole = losses(plain.task);
  CHECK(losses(with_loss(plain.task, {"mse"},
                         [](const Tensor& gap) { return Tensors{mean(square(gap))}; })) == whole);
  const auto halves = losses(with_loss(plain.task, {"a", "b"}, [](const Tensor& gap) {
    const Tensor half = scale(mean(square(gap)), 0.5);
    return Tensors{half, half};
  }));
  for (size_t i = 0; i < whole.size(); ++i) {
    CHECK(halves[i] == doctest::Approx(whole[i]).epsilon(1e-3));
  }
}

}  // namespace basin::test
