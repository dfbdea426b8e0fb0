// The registry of tasks: names, options and help; what a task says of its splits and slots.
#include "basin/train/task.h"

#include "basin/tests/train/problems.h"

namespace basin::test {
namespace {

TaskInfo named(const std::string& name) {
  TaskInfo info;
  info.name = name;
  info.summary = "a task of the tests";
  info.options = {{"width", "3", "how wide", OptionKind::integer}};
  info.models = {"pointnet"};
  info.make = [](const TaskConfig& config, const OptionReader& options) {
    TaskConfig inner = config;
    inner.name = "modelnet";
    inner.options = {{"limit", str(15 * options.integer_in("width", 1, 9))}, {"points", "16"}};
    return make_task(inner);
  };
  return info;
}

}  // namespace

TEST_CASE("task registry: an unknown name is refused with the nearest, a taken one too") {
  register_builtin_tasks();
  register_builtin_tasks();  // harmless
  const auto unknown = error_of([] { task_info("modelnett"); });
  CHECK(unknown.first == ErrorKind::usage);
  CHECK(contains(unknown.second, "no task is called 'modelnett'; there is modelnet, molecules"));
  CHECK(contains(unknown.second, "; did you mean 'modelnet'?"));
  CHECK_FALSE(contains(error_of([] { task_info("qqqqqqqq"); }).second, "did you mean"));
  CHECK(error_of([] { make_task({.name = "molecule"}); }).first == ErrorKind::usage);
  const auto taken = error_of([] { register_task(named("molecules")); });
  CHECK(taken.first == ErrorKind::usage);
  CHECK(taken.second == "register_task: the name 'molecules' is taken");
  TaskInfo without = named("task without models");
  without.models.clear();
  CHECK(contains(error_of([&] { register_task(without); }).second, "names no model"));
}

TEST_CASE("task registry: a task of one's own is made, its options are checked and shown") {
  register_builtin_tasks();
  CHECK(register_task(named("task of a test")));
  const std::vector<std::string> names = task_names();
  CHECK(std::count(names.begin(), names.end(), "task of a test") == 1);
  CHECK(contains(task_help(), "task of a test: a task of the tests\n  width=3  how wide\n"));
  CHECK(contains(task_help(), "label_smoothing=0"));

  TaskConfig config{.name = "task of a test", .options = {{"width", "2"}}};
  config.model.options = {{"widths", "4,8,8,8,4"}};
  const Task task = make_task(config);
  CHECK(task.name == "task of a test");
  CHECK(task.config.options.at("width") == "2");
  CHECK(task.config.model.outputs == 15);
  CHECK(task.data().train == 30);
  CHECK(task.has(Split::train));
  CHECK_FALSE(task.has(Split::validation));
  CHECK(task.has(Split::test));
  // Made again from what it says of itself.
  const Task again = make_task(task.config);
  CHECK(again.data().hash == task.data().hash);
  CHECK(again.fitted == task.fitted);
  CHECK(again.model.options == task.model.options);

  const auto refusal = [&](const std::string& key, const std::string& value,
                           std::function<std::string(const std::string&)> place = {}) {
    TaskConfig wrong = config;
    wrong.options = {{key, value}};
    wrong.place = std::move(place);
    return error_of([&] { make_task(wrong); });
  };
  const auto unknown = refusal("widht", "2");
  CHECK(unknown.first == ErrorKind::usage);
  CHECK(unknown.second == "task task of a test: no option 'widht'; did you mean 'width'?");
  CHECK(refusal("width", "0").second ==
        "task task of a test: option 'width' must be an integer from 1 to 9, got '0'");
  CHECK(refusal("width", "x", [](const std::string& name) { return "--" + name; }).second ==
        "--width must be an integer from 1 to 9, got 'x'");
}

TEST_CASE("task: a network that takes other inputs is refused") {
  register_builtin_tasks();
  const Task shapes = make_task(tiny_shapes("adamw").task);
  const Slot graph{"edges", Rows::edge, SlotKind::index};
  const auto error = error_of([&] { require_inputs(shapes.model, {graph}, "graphs"); });
  CHECK(error.first == ErrorKind::usage);
  CHECK(error.second == "task graphs: gives edges, the network pointnet takes points");
  CHECK_NOTHROW(require_inputs(shapes.model, shapes.model.inputs, "clouds"));
  const Task molecules = make_task(tiny_molecules("adamw").task);
  CHECK(error_of([&] { require_inputs(molecules.model, shapes.model.inputs, "clouds"); }).second ==
        "task clouds: gives points, the network egnn takes points, types");
  const Slot whole{"points", Rows::example, SlotKind::feature};
  CHECK(error_of([&] { require_inputs(shapes.model, {whole}, "clouds"); }).second ==
        "task clouds: gives points (a row per example), the network pointnet takes points (a row "
        "per point)");
}

TEST_CASE("task: rows are drawn without replacement, in order, by the seed alone") {
  const std::vector<int64_t> a = drawn_rows(100, 20, 1), all = drawn_rows(5, 0, 1);
  CHECK(a.size() == 20);
  CHECK(std::is_sorted(a.begin(), a.end()));
  CHECK(std::adjacent_find(a.begin(), a.end()) == a.end());
  CHECK(a == drawn_rows(100, 20, 1));
  CHECK(a != drawn_rows(100, 20, 2));
  CHECK(all == std::vector<int64_t>{0, 1, 2, 3, 4});
  CHECK(drawn_rows(5, 9, 1) == all);
}

TEST_CASE("batch: floats are cast, integers stay") {
  const Batch batch{
      {Tensor::from<double>({1, 2}, {1, 2}), Tensor::from<int64_t>({3}, {1})}, 1, {7}};
  const Batch cast = batch.to(DType::f32);
  CHECK(cast.tensors[0].dtype() == DType::f32);
  CHECK(cast.tensors[1].dtype() == DType::i64);
  CHECK(cast.examples == 1);
  CHECK(cast.rows == std::vector<int64_t>{7});
}

}  // namespace basin::test
