// The task of graphs: batches, masked losses, average precision by hand, exact resume within an
// epoch, predictions, what is fitted, and a training that learns the embedded target.
#include <cmath>
#include <set>

#include "basin/datasets/graphs.h"
#include "basin/kernels/linalg.h"
#include "basin/models/symmetry.h"
#include "basin/tests/datasets/graph_files.h"
#include "basin/tests/train/problems.h"
#include "basin/train/evaluate.h"
#include "basin/train/layer_inputs.h"
#include "basin/train/meters.h"

namespace basin::test {
namespace {

Settings tiny_graphs(const std::string& optimizer, const std::string& data = "embedded") {
  register_builtin_tasks();
  Settings s;
  s.task.name = "graph";
  s.task.options = {{"data", data}, {"limit", "60"}};
  s.task.model = {.name = "gine", .options = {{"hidden", "6"}, {"layers", "2"}}};
  s.train.optimizer = usual_optimizer(optimizer);
  s.train.epochs = 3;
  s.train.batch = 16;
  s.train.eval_batch = 25;
  s.train.log_every = 2;
  return s;
}

Tensor table(const std::vector<double>& values, int64_t columns) {
  return Tensor::from(values, {static_cast<int64_t>(values.size()) / columns, columns});
}

Batch masked(const Tensor& target, const Tensor& known) {
  return {{target, known}, target.size(0), {}};
}

}  // namespace

TEST_CASE("task graph: every graph once per epoch, shuffled, with what the set says of it") {
  Settings settings = tiny_graphs("adamw");
  settings.task.options.erase("limit");
  settings.task.model.options.insert({{"walk_steps", "3"}, {"walk_channels", "2"}});
  const Task task = make_task(settings.task);
  const GraphSet set = embedded_graphs(false);
  const auto source = task.source({.training = true, .batch = 50});
  CHECK(source->examples() == 768);
  CHECK(source->batches() == 15);  // the incomplete one is dropped
  CHECK(task.source({.batch = 50})->batches() == 16);
  REQUIRE(source->slots().size() == 9);
  CHECK(source->slots()[6].name == "walks");
  std::vector<std::vector<int64_t>> orders;
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    std::vector<int64_t> order;
    for (int64_t i = 0; i < source->batches(); ++i) {
      const Batch b = source->batch(epoch, i);
      order.insert(order.end(), b.rows.begin(), b.rows.end());
      CHECK(b.examples == 50);
      CHECK(source->batch(epoch, i).tensors[0].to_vector<int64_t>() ==
            b.tensors[0].to_vector<int64_t>());
    }
    CHECK(std::set<int64_t>(order.begin(), order.end()).size() == 750);
    orders.push_back(order);
  }
  CHECK(orders[0] != orders[1]);

  const Batch b = task.source({.split = Split::test, .batch = 7})->batch(0, 1);
  CHECK(b.rows.front() == 768 + 128 + 7);
  int64_t node = 0;
  for (size_t e = 0; e < b.rows.size(); ++e) {
    const auto g = static_cast<size_t>(b.rows[e]);
    const int64_t nodes = set.nodes_of(b.rows[e]);
    CHECK(b.tensors[5].at(static_cast<int64_t>(e)) == static_cast<double>(nodes));
    CHECK(b.tensors[7].at(static_cast<int64_t>(e)) == set.targets[g]);
    for (int64_t i = 0; i < nodes; ++i, ++node) {
      CHECK(b.tensors[0].at(node) == set.node_features[static_cast<size_t>(set.node_start[g] + i)]);
      CHECK(b.tensors[4].at(node) == static_cast<double>(e));
    }
  }
  CHECK(node == b.tensors[0].size(0));
  const std::vector<float> walks = random_walks(set, 3);
  const int64_t first = set.node_start[static_cast<size_t>(b.rows.front())];
  for (int64_t i = 0; i < 9; ++i) {
    CHECK(b.tensors[6].at(i) == static_cast<double>(walks[static_cast<size_t>(3 * first + i)]));
  }
  CHECK(task.source({.limit = 20, .seed = 4})->description() ==
        "20 of 768 training graphs (seed 4)");
  CHECK(error_of([&] { source->batch(0, 15); }).first == ErrorKind::usage);
}

TEST_CASE("task graph: unknown targets take no part in loss and metrics") {
  const TempDir dir;
  write_lists(dir.path());
  for (const bool labels : {false, true}) {
    CAPTURE(labels);
    write_text(dir / "graphs.csv", labels ? "split,a,b\ntrain,1,\ntrain,0,1\ntrain,,\n"
                                          : "split,a,b\ntrain,1,\ntrain,-2,3\ntrain,,\n");
    Settings settings = tiny_graphs("adamw", dir.path().string());
    const Task task = make_task(settings.task);
    CHECK(task.model.outputs == 2);
    CHECK(task.likelihood == (labels ? Likelihood::bernoulli : Likelihood::none));
    const ModelState state = init_model(task.model, 3, DType::f64);
    const Batch b = task.source({})->batch(0, 0).to(DType::f64);
    CHECK(b.tensors.back().to_vector<double>() == std::vector<double>{1, 0, 1, 1, 0, 0});
    const Objective objective = task.objective(state.buffers.values(), b, {});
    const Tensor y = objective.outputs(state.params.values()).front();
    const double loss = data_loss(objective)(state.params.values()).front().item();
    double expected = 0;
    for (const int64_t i : {0, 2, 3}) {
      const double target = b.tensors[b.tensors.size() - 2].at(i);
      expected +=
          labels ? std::log1p(std::exp(y.at(i))) - y.at(i) * target : std::abs(y.at(i) - target);
    }
    CHECK(loss == doctest::Approx(expected / 3).epsilon(1e-12));
    // Nothing known: no loss, and a gradient of zero.
    Batch unknown = b;
    unknown.tensors.back() = Tensor::zeros({3, 2}, DType::f64);
    const Fn none = data_loss(task.objective(state.buffers.values(), unknown, {}));
    CHECK(none(state.params.values()).front().item() == 0);
    const auto meter = task.meter();
    meter->add(b, {y});
    CHECK(meter->result().back() == doctest::Approx(expected / 3).epsilon(1e-12));
  }
}

TEST_CASE("average precision: a table by hand, with ties, one label alone, and NaN") {
  // Falling scores 9 (+), 7 (- +), 5 (+), 1 (-): recalls 1/3, 2/3, 1; precisions 1, 2/3, 3/4.
  CHECK(average_precision({7, 9, 1, 5, 7}, {false, true, false, true, true}) ==
        doctest::Approx(1.0 / 3 + 2.0 / 9 + 1.0 / 4).epsilon(1e-15));
  // All scores equal: the share of positives, in whatever order they stand.
  CHECK(average_precision({2, 2, 2, 2}, {true, false, false, false}) == 0.25);
  CHECK(average_precision({2, 2, 2, 2}, {false, false, false, true}) == 0.25);
  CHECK(average_precision({3, 2, 1}, {true, true, false}) == 1);
  CHECK(average_precision({1, 2, 3}, {true, true, false}) ==
        doctest::Approx(0.5 * 0.5 + 0.5 * 2 / 3.0).epsilon(1e-15));
  CHECK(std::isnan(average_precision({1, 2}, {true, true})));
  CHECK(std::isnan(average_precision({1, 2}, {false, false})));
  CHECK(std::isnan(average_precision({1, NAN}, {true, false})));
}

TEST_CASE("multi-label meter: over the whole split, saved and loaded bit for bit") {
  const auto meter = multi_label_meter(3);
  // The second class has one label only and the third an unknown entry.
  const Batch first = masked(table({1, 0, 1, 0, 0, 0}, 3), table({1, 1, 1, 1, 1, 0}, 3));
  const Batch second = masked(table({0, 0, 0, 1, 0, 1}, 3), table({1, 1, 1, 1, 1, 1}, 3));
  const Tensor a = table({0.3, 1, 2, 0.9, -1, 5}, 3), b = table({0.3, 1, -0.1, 2.5, 0, 1e-17}, 3);
  meter->add(first, {a});
  const auto resumed = multi_label_meter(3);
  resumed->load(parse_record(meter->save().line(), "meter"), "");
  for (Meter* m : {meter.get(), resumed.get()}) m->add(second, {b});
  // Class 0: scores 2.5+ 0.9- 0.3+ 0.3-; class 2: 2+ 1e-17+ -0.1-.
  const double ap0 = 0.5 * 1 + 0.5 * 2 / 4.0, ap2 = 1;
  CHECK(meter->result()[0] == doctest::Approx((ap0 + ap2) / 2).epsilon(1e-15));
  CHECK(resumed->result() == meter->result());
  CHECK(resumed->save().line() == meter->save().line());
  CHECK(multi_label_metrics()[0].larger_is_better);
  // Per batch and then averaged it would be another number.
  CHECK(std::isnan(average_precision({0.9}, {false})));
  Record broken;
  broken.add("loss", 0.0).add("count", 1);
  for (int c = 0; c < 3; ++c) broken.add(str("scores_", c), "00g").add(str("labels_", c), "");
  CHECK(error_of([&] { resumed->load(parse_record(broken.line(), "meter"), ""); }).first ==
        ErrorKind::data);
}

TEST_CASE("task graph: a run stopped within epochs goes on to the same bits") {
  for (const char* data : {"embedded", "embedded_labels"}) {
    CAPTURE(data);
    const TempDir dir;
    const Problem problem(tiny_graphs("muon", data));
    train(problem, dir / "whole");
    for (int i = 0; i < 30; ++i) train(problem, dir / "cut", 3);
    train(problem, dir / "cut");
    CHECK(timeless_lines(dir / "cut") == timeless_lines(dir / "whole"));
    const RecordFields last = events(dir / "whole", "epoch").back();
    CHECK(last.has(std::string(data) == "embedded" ? "test_mae" : "test_ap"));
    CHECK(last.has(std::string(data) == "embedded" ? "train_mae" : "train_ap"));
    CHECK(last.has(std::string(data) == "embedded" ? "val_mae" : "val_ap"));
  }
}

TEST_CASE("task graph: what is fitted makes the task again; other data are refused") {
  const TempDir dir;
  write_lists(dir.path());
  Settings settings = tiny_graphs("adamw", dir.path().string());
  const Task task = make_task(settings.task);
  CHECK(task.fitted.at("atoms") == "3,5");
  CHECK(task.fitted.at("bonds") == "3");
  CHECK(task.fitted.at("target.1") == "b");
  CHECK(task.prediction_columns == std::vector<std::string>{"a", "b"});
  settings.task.fitted = task.fitted;
  fs::rename(dir / "nodes.csv", dir / "away.csv");
  const Task again = make_task(settings.task);  // reads nothing
  CHECK(again.model.layout.total_elements() == task.model.layout.total_elements());
  fs::rename(dir / "away.csv", dir / "nodes.csv");
  CHECK(again.source({})->examples() == 1);
  settings.task.options["data"] = "embedded";
  CHECK(contains(error_of([&] { make_task(settings.task).source({}); }).second,
                 "embedded: atoms have 4 kinds of features, the network knows 3,5"));
  settings.task.fitted = {{"labels", "false"}};
  CHECK(contains(error_of([&] { make_task(settings.task); }).second, "do not name their targets"));
  settings.task.fitted = {{"target.0", "a"}};
  CHECK(contains(error_of([&] { make_task(settings.task); }).second, "do not say the labels"));
  Settings wrong = tiny_graphs("adamw");
  wrong.task.model = {.name = "egnn"};
  CHECK(
      contains(error_of([&] { make_task(wrong.task); }).second, "task graph: gives atoms, bonds"));
}

TEST_CASE("task graph: predictions of a folder without targets") {
  const TempDir dir;
  write_lists(dir.path());
  const Task task = make_task(tiny_graphs("adamw", dir.path().string()).task);
  const ModelState state = init_model(task.model, 3, DType::f64);
  fs::remove(dir / "graphs.csv");
  const Unlabelled given = task.unlabelled({dir.path().string()}, 2);
  REQUIRE(given.names.size() == 3);
  CHECK(given.names[2] == dir.path().string() + "#2");
  CHECK(given.source->batches() == 2);
  const Batch last = given.source->batch(0, 1);
  CHECK(last.tensors.size() == 6);
  const auto cells = task.prediction_rows(predict(task, state, last));
  REQUIRE(cells.size() == 1);
  CHECK(cells[0].size() == 2);
  write_text(dir / "nodes.csv",
             "graph,kind,mark\n0,3,1\n0,0,0\n0,0,0\n0,0,0\n1,0,0\n2,0,0\n2,0,0\n");
  CHECK(contains(error_of([&] { task.unlabelled({dir.path().string()}, 2); }).second,
                 "atoms have 4,2 kinds of features, the network knows 3,5"));
  const Task labels = make_task(tiny_graphs("adamw", "embedded_labels").task);
  const auto shares = labels.prediction_rows({table({0, 800, -800}, 3)});
  CHECK(shares[0] == std::vector<std::string>{"0.5", "1", "0"});
}

TEST_CASE(
    "task graph: a training lowers the error, and order makes no difference to a prediction") {
  const TempDir dir;
  const CaughtWarnings warnings;
  Settings settings = tiny_graphs("adam");
  settings.task.options.erase("limit");
  settings.task.model.options = {{"hidden", "16"}, {"layers", "2"}, {"readout", "sum"}};
  settings.train.optimizer.lr = 0.01;
  settings.train.epochs = 15;
  settings.train.batch = 32;
  const Problem problem(settings);
  const RecordFields r = parse_record(train(problem, dir / "run").result.line(), "result");
  CHECK(r.number("best_mae") < 0.25);
  const ModelState state = init_model(problem.task.model, 2, DType::f64);
  const Batch batch = problem.task.source({.split = Split::test, .batch = 6})->batch(0, 1);
  const SymmetryReport report = measure_symmetry(
      problem.task.model, state, {batch.tensors.begin(), batch.tensors.begin() + 6}, {});
  CHECK(report.at(SymmetryKind::permutation, DType::f64, "prediction").largest() < 1e-12);
}

TEST_CASE(
    "training probe: input ranks are those of the inputs, beside the gradient's nuclear rank") {
  const TempDir dir;
  Settings settings = tiny_graphs("muon");
  settings.train.probe = parse_probe_plan("every=3,examples=20");
  const Problem problem(settings);
  train(problem, dir / "run");
  const RecordFields line = events(dir / "run", "probe").front();
  CHECK(line.integer("matrices_with_inputs") == 5);  // two maps in each of two layers, and the head
  CHECK(line.number("nuclear_over_input_rank") > 0);
  int with = 0;
  for (const RecordFields& m : events(dir / "run", "probe_matrix")) {
    if (!m.has("input_stable_rank")) continue;
    ++with;
    CHECK(m.number("input_stable_rank") >= 1 - 1e-12);
    CHECK(m.number("input_stable_rank") <= 6);
  }
  CHECK(with == 5);

  // The head's input is the pooled features: its Gram matrix by hand.
  const ModelState state = init_model(problem.task.model, 3, DType::f64);
  const auto source = problem.task.source({.batch = 16, .limit = 32});
  std::vector<Tensors> batches;
  std::vector<double> rows;
  ForwardOptions keep;
  keep.keep_activations = true;
  for (int64_t i = 0; i < 2; ++i) {
    const Batch b = source->batch(0, i);
    batches.emplace_back(b.tensors.begin(), b.tensors.begin() + 6);
    const ForwardResult result = problem.task.model.forward(
        state.params.values(), state.buffers.values(), batches.back(), keep);
    const std::vector<double> x = result.activations.back().value.to_vector<double>();
    rows.insert(rows.end(), x.begin(), x.end());
  }
  const Tensor x = Tensor::from(rows, {32, 6});
  const Tensor s = SingularValues::cpu(x);
  double square = 0;
  for (int64_t i = 0; i < 6; ++i) square += s.at(i) * s.at(i);
  const auto head = static_cast<size_t>(state.params.find("post_mp.0.weight"));
  const std::vector<double> ranks = input_stable_ranks(problem.task.model, state, batches);
  CHECK(ranks[head] == doctest::Approx(square / (s.at(0) * s.at(0))).epsilon(1e-10));
  CHECK(std::isnan(ranks[0]));  // a table
}

}  // namespace basin::test
