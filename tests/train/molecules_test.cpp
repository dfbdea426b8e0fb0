// The task of the molecules: batches of one size each, targets in standard units, report in eV.
#include <cmath>
#include <set>

#include "basin/datasets/molecules.h"
#include "basin/models/symmetry.h"
#include "basin/tests/train/problems.h"

namespace basin::test {
namespace {

double fitted(const Task& task, const std::string& key) {
  double value = 0;
  REQUIRE(parse_double(task.fitted.at(key), value));
  return value;
}

}  // namespace

TEST_CASE("task molecules: every molecule once per epoch, in batches of one size, shuffled") {
  const Task task = make_task(tiny_molecules("adamw").task);
  const auto source = task.source({.training = true, .batch = 48});
  const auto in_order = task.source({.batch = 48});
  CHECK(source->examples() == 1024);
  CHECK(source->batches() == in_order->batches());
  std::vector<std::vector<int64_t>> orders;
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    std::set<int64_t> seen;
    std::set<int64_t> sizes;
    std::vector<int64_t> order;
    for (int64_t i = 0; i < source->batches(); ++i) {
      const Batch b = source->batch(epoch, i);
      REQUIRE(b.tensors.size() == source->slots().size());
      CHECK(b.examples == static_cast<int64_t>(b.rows.size()));
      CHECK(b.examples <= 48);
      CHECK(b.tensors[0].shape() == Shape{b.examples, b.tensors[1].size(1), 3});
      sizes.insert(b.tensors[0].size(1));
      seen.insert(b.rows.begin(), b.rows.end());
      order.insert(order.end(), b.rows.begin(), b.rows.end());
      // Again, and out of turn.
      CHECK(source->batch(epoch, i).tensors[0].to_vector<double>() ==
            b.tensors[0].to_vector<double>());
    }
    CHECK(seen.size() == 1024);
    CHECK(order.size() == 1024);
    CHECK(sizes == std::set<int64_t>{5, 6, 7, 8, 9});
    orders.push_back(order);
  }
  CHECK(orders[0] != orders[1]);
  CHECK(in_order->batch(0, 0).rows == in_order->batch(1, 0).rows);
  CHECK(error_of([&] { source->batch(0, source->batches()); }).first == ErrorKind::usage);
  const auto part = task.source({.batch = 48, .limit = 20, .seed = 4});
  CHECK(part->examples() == 20);
  CHECK(part->description() == "20 of 1024 training molecules (seed 4)");
}

TEST_CASE("task molecules: targets are standardised by the training split, predictions undo it") {
  const Task task = make_task(tiny_molecules("adamw").task);
  const double mean = fitted(task, "mean"), spread = fitted(task, "spread");
  const auto source = task.source({.batch = 64});
  const MoleculeSplits data = embedded_molecules();
  double sum = 0, square = 0;
  for (int64_t i = 0; i < source->batches(); ++i) {
    const Batch b = source->batch(0, i);
    for (int64_t e = 0; e < b.examples; ++e) {
      const double target = b.tensors[2].at(e);
      const double energy = data.train[static_cast<size_t>(b.rows[static_cast<size_t>(e)])].energy;
      CHECK(b.tensors[3].at(e) == energy);
      CHECK(target * spread + mean == doctest::Approx(energy).epsilon(1e-12));
      sum += target;
      square += target * target;
    }
    const Tensor restored = task.predict({b.tensors[2]}, b).front();
    for (int64_t e = 0; e < b.examples; ++e) {
      CHECK(restored.at(e) == doctest::Approx(b.tensors[3].at(e)).epsilon(1e-12));
    }
    // Positions are about their mean.
    for (int64_t e = 0; e < b.examples; ++e) {
      for (int64_t c = 0; c < 3; ++c) {
        double at = 0;
        for (int64_t n = 0; n < b.tensors[0].size(1); ++n) {
          at += b.tensors[0].at((e * b.tensors[0].size(1) + n) * 3 + c);
        }
        CHECK(std::abs(at) < 1e-12);
      }
    }
  }
  CHECK(std::abs(sum / 1024) < 1e-12);
  CHECK(square / 1023 == doctest::Approx(1).epsilon(1e-12));
  // Given back, it is not fitted again.
  TaskConfig config = tiny_molecules("adamw").task;
  config.fitted = {{"mean", "1"}, {"spread", "2"}};
  CHECK(make_task(config).fitted == config.fitted);
  config.fitted = {{"mean", "1"}};
  CHECK(contains(error_of([&] { make_task(config); }).second, "do not say the spread"));
}

TEST_CASE("task molecules: a prediction does not change with rotation, shift and order") {
  const Task task = make_task(tiny_molecules("adamw").task);
  REQUIRE(task.model.declares(SymmetryKind::rotation));
  REQUIRE(task.model.declares(SymmetryKind::permutation));
  const ModelState state = init_model(task.model, 2, DType::f64);
  const Batch batch = task.source({.split = Split::test, .batch = 6})->batch(0, 1);
  const SymmetryReport report =
      measure_symmetry(task.model, state, {batch.tensors[0], batch.tensors[1]}, {});
  for (const SymmetryKind kind : task.model.symmetries) {
    CHECK(report.at(kind, DType::f64, task.model.output_name).largest() < 1e-11);
  }
  // Which elements they are is seen.
  Batch other = batch;
  other.tensors[1] = Tensor::zeros(batch.tensors[1].shape(), DType::i64);
  const auto a = predict(task, state, batch).front().to_vector<double>();
  CHECK(a != predict(task, state, other).front().to_vector<double>());
}

TEST_CASE("task molecules: a training lowers the error, in eV, below the spread of the energies") {
  const TempDir dir;
  const CaughtWarnings warnings;
  Settings settings = tiny_molecules("adam");
  settings.train.optimizer.lr = 0.01;
  settings.train.epochs = 20;
  settings.train.batch = 32;
  settings.task.model.options = {{"hidden", "16"}, {"layers", "2"}, {"dropout", "0"}};
  const Problem problem(settings);
  const RecordFields r = parse_record(train(problem, dir / "run").result.line(), "result");
  CHECK(r.number("best_mae") < 0.5 * fitted(problem.task, "spread"));
  CHECK(r.number("best_rmse") >= r.number("best_mae"));
  CHECK(r.text("metrics") == "mae:eV,rmse:eV");
  // The best is the smallest.
  double least = INFINITY;
  for (const RecordFields& e : events(dir / "run", "epoch")) {
    least = std::min(least, e.number("test_mae"));
    CHECK(e.has("val_rmse"));
    CHECK(e.has("train_mae"));
  }
  CHECK(r.number("best_mae") == least);
  // Networks that look at positions alone can be trained too.
  Settings blind = tiny_molecules("adamw");
  blind.task.model = {.name = "pointnet", .options = {{"widths", "4,8,8,8,4"}}};
  CHECK(std::isfinite(Trainer(make_task(blind.task), blind.train).step().loss));
}

}  // namespace basin::test
