// Steps that are recorded on the CPU have the bits of plain ones: networks, optimizers, clipping,
// schedules, dropout, resumed runs; and a step that cannot be recorded says why.
#include <cmath>

#include "basin/autograd/ops.h"
#include "basin/core/random.h"
#include "basin/tests/emulation/cloud_task.h"
#include "basin/tests/train/problems.h"
#include "basin/train/step.h"

namespace basin::test {
namespace {

Settings clouds_settings(const std::string& network, const std::string& optimizer) {
  Settings out = tiny_shapes(optimizer);
  out.task.options["limit"] = "24";
  out.task.options["points"] = "32";
  out.train.epochs = 2;
  out.train.clip = 0.5;
  if (network == "dgcnn") {
    out.task.model = {.name = "dgcnn", .options = {{"k", "5"}, {"widths", "8,8,8,8,16,16,8"}}};
  }
  if (network == "egnn") {
    out.task.model = {.name = "egnn", .options = {{"k", "5"}, {"hidden", "8"}, {"layers", "2"}}};
  }
  if (network == "pointnet, plain ops") out.task.model.options["fused"] = "false";
  return out;
}

// Its points are drawn anew after two steps.
Settings burgers_settings(const std::string& optimizer, const char* fused) {
  register_builtin_tasks();
  Settings out;
  out.task = {
      .name = "burgers",
      .options = {{"domain", "120"}, {"boundary", "10"}, {"initial", "20"}, {"resample", "2"}},
      .model = {.name = "mlp", .options = {{"width", "8"}, {"depth", "2"}, {"fused", fused}}}};
  out.train.optimizer = usual_optimizer(optimizer);
  out.train.steps = 6;
  out.train.dtype = DType::f64;
  return out;
}

struct Trained {
  std::vector<double> numbers;
  std::vector<std::vector<double>> weights;
  bool operator==(const Trained&) const = default;
};

Trained trained_steps(Settings settings, GraphMode graph, int64_t steps) {
  settings.train.graph = graph;
  const Problem problem(settings);
  Trainer trainer(problem.task, problem.options);
  CHECK(trainer.device_text() == (graph == GraphMode::on ? "cpu, gradients are recorded" : "cpu"));
  Trained out;
  for (int64_t i = 0; i < steps; ++i) {
    const StepResult got = trainer.step();
    out.numbers.insert(out.numbers.end(), {got.loss, got.grad_norm, got.lr});
    out.numbers.insert(out.numbers.end(), got.terms.begin(), got.terms.end());
  }
  for (const ParamList* list : {&trainer.state().params, &trainer.state().buffers}) {
    for (const Param& p : *list) out.weights.push_back(p.value.to_vector<double>());
  }
  return out;
}

// The sum of the points of a cloud by a linear map; `forward` may do more with its outputs.
using After = std::function<void(const Tensors& inputs, const Tensor& output)>;
Task sum_task(After after) {
  Task task;
  task.name = "sums";
  task.model.name = "sum";
  const Linear head = task.model.layout.linear("head", 3, 5, Role::head, torch_linear_init(3));
  task.model.forward = [layout = task.model.layout, head, after](
                           const Tensors& params, const Tensors& buffers, const Tensors& inputs,
                           const ForwardOptions& options) {
    Pass pass(layout, params, buffers, options.batch_statistics);
    ForwardResult result;
    result.outputs = {pass.apply(head, sum(inputs.front(), 1))};
    if (after) after(inputs, result.outputs.front());
    return result;
  };
  task.objective = [model = task.model](const Tensors& buffers, const Batch& batch,
                                        const ForwardOptions& mode) {
    return supervised(model, buffers, {batch.tensors[0]}, mode,
                      cross_entropy_loss(batch.tensors[1]), batch.examples);
  };
  task.train_meter = [] { return std::unique_ptr<Meter>(); };  // wants the outputs
  return task;
}

Batch cloud_batch(uint64_t number, int64_t points = 7) {
  Rng rng(3, stream_id("recorded clouds", number));
  std::vector<float> xyz(static_cast<size_t>(4 * points * 3));
  for (float& x : xyz) x = static_cast<float>(rng.uniform(-1, 1));
  std::vector<int64_t> labels(4);
  for (int64_t& l : labels) l = rng.below(5);
  return {{Tensor::from(xyz, {4, points, 3}), Tensor::from(labels, {4})}, 4, {}};
}

std::vector<std::string> checkpoint_hashes(const fs::path& run) {
  const int64_t step = checkpoint_steps(run / "ckpt").back();
  const fs::path folder = checkpoint_path(run / "ckpt", step);
  return {str(step), sha256_hex_of_file(folder / "model.safetensors"),
          sha256_hex_of_file(folder / "optim.safetensors")};
}

}  // namespace

TEST_CASE("recorded step: networks and optimizers have the bits of plain steps") {
  for (const char* network : {"pointnet", "pointnet, plain ops", "dgcnn", "egnn"}) {
    for (const char* optimizer : {"adamw", "muon", "sgd"}) {
      CAPTURE(network);
      CAPTURE(optimizer);
      const Settings s = clouds_settings(network, optimizer);
      const Trained plain = trained_steps(s, GraphMode::off, 5);
      CHECK(trained_steps(s, GraphMode::on, 5) == plain);
      CHECK(plain.numbers[0] != plain.numbers[3]);
      CHECK(plain.numbers[1] > s.train.clip);  // clipped
    }
  }
}

TEST_CASE("recorded step: a Burgers PINN, with optimizers that look again too") {
  for (const char* optimizer : {"adamw", "muon", "soap", "specmuon", "lbfgs", "schedule_free"}) {
    for (const char* fused : {"true", "false"}) {
      CAPTURE(optimizer);
      CAPTURE(fused);
      const Settings s = burgers_settings(optimizer, fused);
      const Trained plain = trained_steps(s, GraphMode::off, 6);
      CHECK(trained_steps(s, GraphMode::on, 6) == plain);
      CHECK(plain.numbers.front() != plain.numbers.back());
    }
  }
  Settings sharp = burgers_settings("adamw", "true");
  sharp.train.optimizer.options = {{"sam", "0.05"}};
  CHECK(trained_steps(sharp, GraphMode::on, 4) == trained_steps(sharp, GraphMode::off, 4));
}

TEST_CASE("recorded step: a resumed run has the bits of a plain whole one") {
  const TempDir dir;
  Settings made = clouds_settings("pointnet", "muon");
  const Problem plain(made);
  train(plain, dir / "plain", 0);
  made.train.graph = GraphMode::on;
  const Problem recorded(made);
  train(recorded, dir / "whole", 0);
  train(recorded, dir / "pieces", 3);
  train(recorded, dir / "pieces", 0);
  CHECK(checkpoint_hashes(dir / "whole") == checkpoint_hashes(dir / "plain"));
  CHECK(checkpoint_hashes(dir / "pieces") == checkpoint_hashes(dir / "plain"));
  CHECK(timeless_lines(dir / "whole") == timeless_lines(dir / "plain"));
}

TEST_CASE("recorded step: the forward pass runs once, and again where weights have moved") {
  int forwards = 0;
  const Task task = sum_task([&](const Tensors&, const Tensor&) { ++forwards; });
  const auto run = [&](GraphMode graph) {
    ModelState state = init_model(task.model, 0, DType::f32);
    const auto rule = make_optimizer({.name = "adamw"}, state.params);
    TrainStep step(task, state, *rule, {.batch = 4, .graph = graph});
    std::vector<double> numbers;
    std::vector<Tensor> outputs;
    for (int i = 0; i < 6; ++i) {
      if (i == 4) state.params[0].value = state.params[0].value.clone();
      step.set_batch(cloud_batch(static_cast<uint64_t>(i)));
      step.start(i, 1.0 / (1 + i));
      const StepOutput out = step.finish();
      numbers.insert(numbers.end(), {out.loss, out.norm});
      outputs.push_back(out.outputs.at(0));
    }
    // Outputs stay as they were when later steps are made.
    for (const Tensor& t : outputs) {
      for (const double x : t.to_vector<double>()) numbers.push_back(x);
    }
    for (const Param& p : state.params) {
      for (const double x : p.value.to_vector<double>()) numbers.push_back(x);
    }
    return numbers;
  };
  const std::vector<double> plain = run(GraphMode::off);
  CHECK(forwards == 6);
  forwards = 0;
  CHECK(run(GraphMode::on) == plain);
  CHECK(forwards == 4);  // each recording's first replay is held against a plain step
}

TEST_CASE("recorded step: nothing is written where the loss is not finite, labels are checked") {
  const Task task = sum_task({});
  ModelState state = init_model(task.model, 0, DType::f32);
  const auto rule = make_optimizer({.name = "adamw"}, state.params);
  TrainStep step(task, state, *rule, {.batch = 4, .graph = GraphMode::on});
  const auto one = [&](int64_t i, const Batch& batch) {
    step.set_batch(batch);
    step.start(i, 1);
    return step.finish();
  };
  CHECK(step.keeps_state());
  CHECK(one(0, cloud_batch(0)).finite());
  const auto before = state.params[0].value.to_vector<double>();
  Batch bad = cloud_batch(1);
  bad.tensors[0].mutable_data<float>()[4] = std::nanf("");
  const StepOutput out = one(1, bad);
  CHECK_FALSE(out.finite());
  CHECK(out.squares.size() == state.params.size());
  CHECK(state.params[0].value.to_vector<double>() == before);
  CHECK(one(1, cloud_batch(1)).finite());
  CHECK(state.params[0].value.to_vector<double>() != before);
  Batch wrong = cloud_batch(2);
  wrong.tensors[1].mutable_data<int64_t>()[1] = 5;
  CHECK(contains(error_of([&] { one(2, wrong); }).second, "label 5 at position 1 is outside 0..4"));
}

TEST_CASE("recorded step: what cannot be recorded is one sentence") {
  const auto run = [](const Task& task, GraphMode graph, int64_t points = 7) {
    ModelState state = init_model(task.model, 0, DType::f32);
    const auto rule = make_optimizer({.name = "adamw"}, state.params);
    TrainStep step(task, state, *rule, {.batch = 4, .graph = graph});
    for (int i = 0; i < 3; ++i) {
      step.set_batch(cloud_batch(static_cast<uint64_t>(i), i == 2 ? points : 7));
      step.start(i, 1);
      step.finish();
    }
    return state.params[0].value.to_vector<double>();
  };
  const Task plain = sum_task({});
  const auto want = run(plain, GraphMode::off);
  CHECK(run(plain, GraphMode::on) == want);
  // Planted: the forward pass looks at its inputs. Replayed, it would go on with the old ones.
  const Task looks = sum_task([](const Tensors& inputs, const Tensor&) { inputs[0].at(0); });
  CHECK(error_of([&] { run(looks, GraphMode::on); }).second ==
        "--graph on: a step of task 'sums' cannot be recorded on the CPU, the host reads values of "
        "a tensor; use --graph off or auto");
  CHECK(run(looks, GraphMode::automatic) == want);
  // Planted: what nobody can see. The loss counts its calls.
  int calls = 0;
  Task counts = sum_task({});
  counts.objective = [&calls, inner = counts.objective](const Tensors& buffers, const Batch& batch,
                                                        const ForwardOptions& mode) {
    Batch scaled = batch;
    scaled.tensors[0] = scale(batch.tensors[0], ++calls);
    return inner(buffers, scaled, mode);
  };
  CHECK(error_of([&] { run(counts, GraphMode::on); }).second ==
        "--graph on: replayed, step 1 of task 'sums' differs from the same step made anew, so its "
        "loss depends on more than weights, batch and ForwardOptions::step_there; use --graph off "
        "or auto");
  Task steps = sum_task({});  // the number of the step, read on the host
  steps.objective = [inner = steps.objective](const Tensors& buffers, const Batch& batch,
                                              const ForwardOptions& mode) {
    Batch scaled = batch;
    scaled.tensors[0] = scale(batch.tensors[0], 1.0 + static_cast<double>(mode.step));
    return inner(buffers, scaled, mode);
  };
  CHECK(
      contains(error_of([&] { run(steps, GraphMode::on); }).second, "differs from the same step"));
  CHECK(contains(error_of([&] { run(plain, GraphMode::on, 8); }).second,
                 "--graph on: the shapes of the batches differ from step to step"));
  CHECK(run(plain, GraphMode::automatic, 8) == run(plain, GraphMode::off, 8));
}

}  // namespace basin::test
