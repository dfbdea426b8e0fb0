// The task of QM9: batches of whole molecules, targets in standard units, totals in report units,
// what is fitted and given back, a training on embedded molecules, resumed to the same bits.
#include <cmath>
#include <numeric>
#include <set>

#include "basin/datasets/qm9_target.h"
#include "basin/tests/train/problems.h"
#include "basin/train/probe_data.h"

namespace basin::test {
namespace {

Settings tiny_qm9(const std::string& optimizer) {
  Settings s = tiny_molecules(optimizer);
  s.task.name = "qm9";
  s.task.model.name = "egnn-qm9";
  return s;
}

Task with(OptionValues options, const std::string& data = "") {
  Settings s = tiny_qm9("adamw");
  s.task.options = std::move(options);
  if (!data.empty()) s.task.options["data"] = data;
  return make_task(s.task);
}

std::string sample(const char* name) { return (fixtures() / "qm9" / name).string(); }

double fitted_value(const Task& task, const std::string& key) {
  double value = 0;
  REQUIRE(parse_double(task.fitted.at(key), value));
  return value;
}

// The sizes of the molecules of a batch, after checks that its tensors belong together.
std::vector<int64_t> checked_sizes(const Batch& b) {
  const int64_t a = b.tensors[0].size(0);
  CHECK(b.tensors[0].shape() == Shape{a, 3});
  CHECK(b.tensors[0].dtype() == DType::f64);
  CHECK(b.tensors[1].shape() == Shape{a});
  const auto owner = b.tensors[2].to_vector<int64_t>();
  const auto atoms = b.tensors[3].to_vector<int64_t>();
  CHECK(static_cast<int64_t>(atoms.size()) == b.examples);
  std::vector<int64_t> expected;
  for (size_t m = 0; m < atoms.size(); ++m) {
    expected.insert(expected.end(), static_cast<size_t>(atoms[m]), static_cast<int64_t>(m));
  }
  CHECK(owner == expected);
  return atoms;
}

}  // namespace

TEST_CASE("task qm9: an epoch shows whole molecules once, batches are functions of their number") {
  const Task task = with({{"bucket", "2"}});
  const auto source = task.source({.training = true, .batch = 48});
  const auto in_order = task.source({.split = Split::test, .batch = 48});
  CHECK(source->examples() == 1024);
  CHECK(source->batches() == 21);  // 16 molecules of an epoch are left out
  CHECK(in_order->batches() == 6);
  std::vector<std::vector<int64_t>> orders;
  int64_t sizes_met = 0;
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    std::vector<int64_t> order;
    for (int64_t i = 0; i < source->batches(); ++i) {
      const Batch b = source->batch(epoch, i);
      REQUIRE(b.tensors.size() == source->slots().size());
      CHECK(b.examples == 48);
      const std::vector<int64_t> atoms = checked_sizes(b);
      CHECK(std::is_sorted(atoms.begin(), atoms.end()));
      sizes_met += static_cast<int64_t>(std::set<int64_t>(atoms.begin(), atoms.end()).size());
      order.insert(order.end(), b.rows.begin(), b.rows.end());
    }
    CHECK(std::set<int64_t>(order.begin(), order.end()).size() == 21 * 48);
    orders.push_back(order);
    const Batch again = source->batch(epoch, 5);
    CHECK(std::equal(again.rows.begin(), again.rows.end(), order.begin() + 5 * 48));
  }
  CHECK(orders[0] != orders[1]);
  CHECK(sizes_met < 2 * 21 * 4);  // of five sizes, which a uniform draw of 48 would all meet
  std::set<int64_t> seen;
  int64_t last = 0;
  for (int64_t i = 0; i < in_order->batches(); ++i) {
    const Batch b = in_order->batch(0, i);
    for (const int64_t n : checked_sizes(b)) {
      CHECK(n >= last);
      last = n;
    }
    seen.insert(b.rows.begin(), b.rows.end());
  }
  CHECK(seen.size() == 256);
  CHECK(in_order->batch(3, 1).rows == in_order->batch(0, 1).rows);
  CHECK(error_of([&] { source->batch(0, 21); }).first == ErrorKind::usage);
  CHECK(task.source({.batch = 48, .limit = 20, .seed = 4})->description() ==
        "20 of 1024 training molecules (seed 4)");
  CHECK(task.source({.training = true, .batch = 2000})->batches() == 1);
}

TEST_CASE("task qm9: targets are standardised in f64, predictions are totals") {
  const Task task = with({{"target", "u0"}}, sample("parts"));
  // One training molecule, CH4: its spread is no number to divide by.
  CHECK(fitted_value(task, "spread") == 1);
  CHECK(task.fitted.at("target") == "u0");
  CHECK(fitted_value(task, "reference.O") == doctest::Approx(-2042611.236).epsilon(1e-7));
  const double methane = -40.47893 * kMilliHartree;
  CHECK(fitted_value(task, "mean") ==
        doctest::Approx(methane - (-37.846772 - 4 * 0.500273) * kMilliHartree).epsilon(1e-9));
  const Batch water = task.source({.split = Split::test, .batch = 4})->batch(0, 0);
  const double value = -76.404702 * kMilliHartree;
  CHECK(water.tensors[5].item() == doctest::Approx(value).epsilon(1e-14));
  // In f32 the total would be a multiple of 0.125 meV: what is trained on is the difference.
  CHECK(std::abs(water.tensors[4].item()) < 1e4);
  const Batch there = water.to(DType::f32);
  const Tensor restored = task.predict({there.tensors[4]}, there).front();
  CHECK(restored.dtype() == DType::f64);
  CHECK(std::abs(restored.item() - value) < 1e-3);
  CHECK(std::abs(task.predict({water.tensors[4]}, water).front().item() - value) < 1e-7);

  const Task scaled = with({{"target", "mu"}, {"standardise", "scale"}});
  CHECK(fitted_value(scaled, "mean") == 0);
  CHECK(fitted_value(scaled, "spread") > 0.1);
  const Task bare = with({{"standardise", "none"}});
  CHECK(fitted_value(bare, "spread") == 1);
  const Task least = with({{"references", "fitted"}});
  CHECK(least.fitted.contains("reference.N"));
  CHECK(fitted_value(least, "spread") < fitted_value(with({}), "spread"));
}

TEST_CASE("task qm9: the training split alone decides the scale") {
  const Task task = with({{"target", "r2"}, {"standardise", "std"}});
  double sum = 0, square = 0;
  const auto source = task.source({.batch = 64});
  for (int64_t i = 0; i < source->batches(); ++i) {
    for (const double t : source->batch(0, i).tensors[4].to_vector<double>()) {
      sum += t;
      square += t * t;
    }
  }
  CHECK(std::abs(sum) < 1e-9);
  CHECK(square / 1023 == doctest::Approx(1).epsilon(1e-12));
  // Given back, it is not fitted again, and must be of the same target.
  TaskConfig config = tiny_qm9("adamw").task;
  config.fitted = {{"target", "u0"}, {"mean", "1"}, {"spread", "2"}, {"reference.C", "3"}};
  CHECK(make_task(config).fitted == config.fitted);
  config.fitted.erase("spread");
  CHECK(contains(error_of([&] { make_task(config); }).second, "do not say the spread"));
  config.fitted = {{"target", "mu"}, {"mean", "1"}, {"spread", "2"}};
  CHECK(error_of([&] { make_task(config); }).second ==
        "qm9: the weights predict mu, asked for is u0");
}

TEST_CASE("task qm9: metrics of published tables, and the likelihood of each loss") {
  const Task task = with({{"target", "homo"}}, sample("parts"));
  REQUIRE(task.metrics.size() == 4);
  CHECK(task.metrics[0].name == "mae");
  CHECK(task.metrics[0].unit == "meV");
  const auto meter = task.meter();
  const Batch batch = task.source({.split = Split::test, .batch = 1})->batch(0, 0);
  meter->add(batch, {batch.tensors[5] + 60.1});
  const std::vector<double> result = meter->result();
  CHECK(result[0] == doctest::Approx(60.1).epsilon(1e-12));
  CHECK(result[2] == doctest::Approx(0.1).epsilon(1e-12));
  CHECK(result[3] == doctest::Approx(std::log(0.1)).epsilon(1e-12));
  CHECK(with({}).metrics.size() == 2);  // the spread of QM9 says nothing of other molecules
  CHECK(task.likelihood == Likelihood::none);
  CHECK(with({{"loss", "mse"}}).likelihood == Likelihood::gaussian);
  const auto refuses = [](const std::string& key, const std::string& value) {
    return error_of([&] { with({{key, value}}); });
  };
  CHECK(contains(refuses("target", "hommo").second, "no target of QM9 is called 'hommo'"));
  CHECK(contains(refuses("target", "homo").second, "the embedded molecules have no homo"));
  CHECK(contains(refuses("loss", "l2").second, "has no choice 'l2'"));
  CHECK(refuses("split", "torchmd").first == ErrorKind::data);
  TaskConfig clouds = tiny_qm9("adamw").task;
  clouds.model = {.name = "egnn"};
  CHECK(contains(error_of([&] { make_task(clouds); }).second, "the network egnn takes points"));
}

TEST_CASE("task qm9: predictions of files") {
  const Task task = with({{"target", "u0"}}, sample("parts"));
  const ModelState state = init_model(task.model, 2, DType::f32);
  const Unlabelled files = task.unlabelled({sample("archive"), sample("plain.xyz.gz")}, 4);
  REQUIRE(files.names.size() == 6);
  CHECK(files.names[2] == sample("archive/dsgdb9nsd_000003.xyz"));
  CHECK(files.names[4] == sample("plain.xyz.gz") + "#gdb_2");
  CHECK(files.source->batches() == 2);
  std::vector<std::vector<std::string>> rows;
  for (int64_t i = 0; i < 2; ++i) {
    const auto some = task.prediction_rows(predict(task, state, files.source->batch(0, i)));
    rows.insert(rows.end(), some.begin(), some.end());
  }
  REQUIRE(rows.size() == 6);
  CHECK(rows[0][0] == "u0");
  CHECK(rows[0][2] == "meV");
  double once = 0, again = 0;
  REQUIRE(parse_double(rows[2][1], once));
  REQUIRE(parse_double(rows[5][1], again));
  CHECK(once == doctest::Approx(again).epsilon(1e-9));
  CHECK(once < -2e6);  // with the references of its atoms
  CHECK(error_of([&] { task.unlabelled({sample("uncharacterized.txt")}, 4); }).first ==
        ErrorKind::data);
}

TEST_CASE("task qm9: a training lowers the error below the spread, and resumes to the same bits") {
  const TempDir dir;
  const CaughtWarnings warnings;
  Settings settings = tiny_qm9("adam");
  settings.task.options = {{"target", "r2"}};
  settings.train.optimizer.lr = 0.01;
  settings.train.epochs = 12;
  settings.train.batch = 32;
  settings.train.checkpoint_every = parse_period("50");
  settings.train.keep = 0;
  const Problem problem(settings);
  const RecordFields r = parse_record(train(problem, dir / "run").result.line(), "result");
  CHECK(r.number("best_val_mae") < 0.4 * fitted_value(problem.task, "spread"));
  CHECK(r.text("metrics") == "mae:bohr^2,rmse:bohr^2");
  const int64_t last = r.integer("steps");
  for (const int stop_after : {7, 60}) {
    const fs::path run = dir / str("stopped-", stop_after);
    REQUIRE_FALSE(train(problem, run, stop_after).completed);
    CHECK(train(problem, run).completed);
    CHECK(hashes(run, last) == hashes(dir / "run", last));
    CHECK(timeless_lines(run) == timeless_lines(dir / "run"));
  }
}

TEST_CASE("task qm9: what is trained can be probed") {
  const Task task = with({{"loss", "mse"}, {"target", "mu"}});
  const ModelState state = init_model(task.model, 3, DType::f64);
  const ProbeData data = probe_data(task, Split::train, 60, 32, 1);
  CHECK(data.examples == 60);
  const auto batches = loss_batches(task, state.buffers, data, NormStatistics::frozen, DType::f64);
  CHECK(batches.size() == 2);
  const auto layers = representations(task, state, data);
  REQUIRE(layers.size() == 3);  // features1 averaged over the atoms, pooled, outputs
  CHECK(layers[0].pooled);
  for (const Representation& l : layers) CHECK(l.rows.size(0) == 60);
}

// The whole way on real molecules: one epoch of a small network.
TEST_CASE("task qm9: the shared samples") {
  const fs::path folder = real_data("qm9/npz");
  if (folder.empty()) return;
  const Task task = with({{"target", "homo"}, {"limit", "256"}}, folder.string());
  const DataFacts facts = task.data();
  CHECK(facts.train == 256);
  CHECK(facts.description == "NPZ in three parts, 15023 molecules; the data's own split");
  Settings settings = tiny_qm9("adamw");
  Trainer trainer(task, settings.train);
  CHECK(std::isfinite(trainer.step().loss));
  CHECK(trainer.test().values.size() == 4);
}

}  // namespace basin::test
