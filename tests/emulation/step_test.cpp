// A training step on the emulated device: uploads beside the kernels, recording and replay, and the
// whole step of PointNet with each optimizer, recorded against not recorded (bit for bit) and
// against the CPU.
#include <doctest/doctest.h>

#include <cstdio>

#include "basin/autograd/ops.h"
#include "basin/core/log.h"
#include "basin/core/upload.h"
#include "basin/kernels/clip.h"
#include "basin/models/model.h"
#include "basin/optim/clip.h"
#include "basin/optim/registry.h"
#include "basin/tests/emulation/cloud_task.h"
#include "basin/tests/emulation/compare.h"
#include "basin/train/feed.h"

using namespace basin;
using testing::uniform;

namespace {

template <class F>
std::string sentence_of(const F& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "nothing was thrown";
}

}  // namespace

TEST_CASE("emulation graph: a replay reads its inputs anew and gives the same bits") {
  Rng rng(1, stream_id("graph"));
  const Tensor first = uniform(rng, {40, 7}), second = uniform(rng, {40, 7});
  const Tensor w = uniform(rng, {7, 5}).to(Device::cuda);
  Tensor x = Tensor::zeros({40, 7}, DType::f64, Device::cuda);
  Tensor y = Tensor::zeros({40}, DType::f64, Device::cuda);
  const auto work = [&] { y.copy_from(sum(exp(matmul(x, w)), 1)); };
  const auto plain = [&](const Tensor& in) {
    x.copy_from(in);
    work();
    return y.to_vector<double>();
  };
  const auto want_first = plain(first), want_second = plain(second);
  CHECK(want_first != want_second);

  RepeatedWork repeated(Device::cuda);
  for (int round = 0; round < 4; ++round) {
    x.copy_from(round % 2 == 0 ? first : second);
    y.fill(-1);
    repeated.run(work);
    CHECK(repeated.recorded() == (round > 0));
    CHECK(y.to_vector<double>() == (round % 2 == 0 ? want_first : want_second));
  }
  // What lives between the calls does not get the pool's blocks.
  const Tensor other = Tensor::full({40, 5}, DType::f64, 3, Device::cuda);
  x.copy_from(first);
  repeated.run(work);
  CHECK(other.to_vector<double>() == std::vector<double>(200, 3.0));
  CHECK(repeated.reserved_bytes() > 0);
}

TEST_CASE("emulation graph: what a recording does not allow is one sentence") {
  const Tensor x = Tensor::full({3}, DType::f32, 2, Device::cuda);
  Tensor host = Tensor::zeros({3}, DType::f32),
         there = Tensor::zeros({3}, DType::f32, Device::cuda);
  const auto recorded = [](const std::function<void()>& work) {
    return sentence_of([&] { DeviceGraph::record(Device::cuda, work); });
  };
  const std::string rest =
      " while work is recorded; take it out of the step, or run without a graph (--graph off)";
  CHECK(recorded([&] { x.item(); }) == "item: expects one element, the shape is [3]");
  CHECK(recorded([&] { x.at(0); }) == "device graph: the host reads device memory" + rest);
  CHECK(recorded([&] { there.copy_from(host); }) ==
        "device graph: the host writes device memory" + rest);
  CHECK(recorded([&] { synchronize(Device::cuda); }) ==
        "device graph: the host waits for the device" + rest);
  CHECK(recorded([&] { Tensor::empty({1 << 22}, DType::f64, Device::cuda); }) ==
        "device graph: device memory is asked for" + rest);
  CHECK(recorded([&] { DeviceGraph::record(Device::cuda, [] {}); }) ==
        "device graph: a second recording begins" + rest);
  // The device is as before.
  CHECK(x.at(0) == 2);
  CHECK(exp(there).at(0) == 1);

  int64_t rows = 3;
  RepeatedWork repeated(Device::cuda);
  const auto work = [&] { exp(Tensor::zeros({rows << 18}, DType::f32, Device::cuda)); };
  repeated.run(work);
  rows = 5;
  const std::string more = sentence_of([&] { repeated.run(work); });
  CHECK(more.starts_with("device graph: the work asks for "));
  CHECK(
      more.ends_with(" bytes more while it is recorded than in its first run; its shapes must not "
                     "change"));
}

TEST_CASE("emulation upload: batches arrive in order beside the kernels") {
  Rng rng(2, stream_id("upload"));
  Upload upload(Device::cuda, 4000);
  Tensor place = Tensor::zeros({1000}, DType::f32, Device::cuda);
  std::vector<Tensor> sent;
  for (int i = 0; i < 5; ++i) sent.push_back(uniform(rng, {1000}).to(DType::f32));
  upload.send(sent[0]);
  for (size_t i = 0; i < sent.size(); ++i) {
    Tensor reused = Tensor::zeros({1000}, DType::f32);
    if (i + 1 < sent.size()) {
      reused.copy_from(sent[i + 1]);
      upload.send(reused);
      reused.fill(7);
    }
    upload.receive(place);
    CHECK(place.to_vector<float>() == sent[i].to_vector<float>());
  }
  CHECK(sentence_of([&] { upload.receive(place); }) == "Upload: nothing was sent");
  upload.send(sent[0]);
  upload.send(sent[1]);
  CHECK(sentence_of([&] { upload.send(sent[2]); }) ==
        "Upload: two tensors are under way; receive one first");
  Tensor small = Tensor::zeros({10}, DType::f32, Device::cuda);
  CHECK(sentence_of([&] { upload.receive(small); }) ==
        "Upload: 4000 bytes were sent, 40 are received");
}

TEST_CASE("emulation: the kernels of clipping") {
  Rng rng(3, stream_id("clip"));
  Tensors many;
  for (int i = 0; i < 170; ++i) many.push_back(uniform(rng, {testing::between(rng, 0, 300)}));
  many.push_back(uniform(rng, {20000}));
  many[5] = Tensor();
  const auto on = [&](const testing::Place& place) {
    Tensors x;
    for (const Tensor& t : many) x.push_back(place(t));
    Tensor sums = place.empty({static_cast<int64_t>(x.size())}, DType::f64);
    launch<SquareSums>(place.device, x, sums);
    Tensors out = clip_by_sums(x, sums, 0.5);
    out.push_back(sums);
    return out;
  };
  testing::compare("clip", "171 gradients, one undefined", on);
  const Tensors x{many[0].to(Device::cuda)};
  CHECK(std::abs(global_norm(x) - global_norm({many[0]})) < 1e-12);
  CHECK(std::abs(global_norm(clip_global_norm(x, 0.25).grads) - 0.25) < 1e-12);
}

namespace {

// The shortest optimizer whose step can be recorded: w -= lr g, the rate in device memory.
class Descent : public Optimizer {
 public:
  Descent(const ParamList& params, bool recordable)
      : recordable_(recordable),
        rate_(Tensor::zeros({1}, params[0].value.dtype(), params[0].value.device())) {}
  std::string_view name() const override { return "descent"; }
  bool recordable() const override { return recordable_; }
  void prepare(const ParamList&, const StepInfo& info) override {
    rate_.copy_from(Tensor::full({1}, rate_.dtype(), 0.002 * info.lr_scale));
  }
  void apply(ParamList& params, const Tensors& grads) override {
    for (size_t i = 0; i < params.size(); ++i) {
      params[i].value.copy_from(sub(params[i].value, mul(grads[i], rate_)));
    }
  }
  void step(ParamList& params, const Tensors& grads, const StepInfo& info) override {
    prepare(params, info);
    apply(params, grads);
  }
  OptimizerState save() const override { return {}; }
  void load(const OptimizerState&) override {}

 private:
  bool recordable_;
  Tensor rate_;
};

struct Run {
  std::vector<double> losses, norms;
  std::vector<std::vector<double>> weights;
  std::vector<double> logits;
  bool operator==(const Run&) const = default;
};

Task metered(Task task) {
  task.train_meter = [] { return std::unique_ptr<Meter>(); };  // wants the outputs
  return task;
}

Run train(const std::string& optimizer, Device device, GraphMode graph, DType dtype, double clip,
          int steps) {
  Model model =
      make_model({.name = "pointnet",
                  .outputs = 5,
                  .options = {{"widths", "8,16,32,16,8"},
                              {"fused", optimizer.starts_with("descent") ? "false" : "true"}}});
  // Another momentum from the third step on: the recording of the second one must not stay.
  model.bn_momentum = [](int64_t samples) { return samples < 12 ? 0.5 : 0.1; };
  ModelState state = init_model(model, 0, dtype).to(device);
  const std::unique_ptr<Optimizer> rule =
      optimizer.starts_with("descent")
          ? std::make_unique<Descent>(state.params, optimizer == "descent")
          : make_optimizer({.name = optimizer}, state.params);
  const Task task = metered(testing::cloud_task(model));
  TrainStep step(task, state, *rule, {.clip = clip, .batch = 6, .graph = graph});
  Run run;
  for (int i = 0; i < steps; ++i) {
    Rng rng(7, stream_id("cloud", static_cast<uint64_t>(i)));
    std::vector<int64_t> labels(6);
    for (int64_t& l : labels) l = rng.below(5);
    const Tensor points = uniform(rng, {6, 20, 3});
    step.set_batch({{points, Tensor::from(labels, {6})}, 6, {}});
    step.start(i, 1.0 / (1 + i));
    const StepOutput out = step.finish();
    run.losses.push_back(out.loss);
    run.norms.push_back(out.norm);
    run.logits = out.outputs[0].to_vector<double>();
  }
  for (const ParamList* list : {&state.params, &state.buffers}) {
    for (const Param& p : *list) run.weights.push_back(p.value.to_vector<double>());
  }
  return run;
}

double distance(const Run& a, const Run& b) {
  double worst = 0;
  for (size_t i = 0; i < a.losses.size(); ++i) {
    worst = std::max(worst, std::abs(a.losses[i] - b.losses[i]) / std::abs(b.losses[i]));
  }
  return worst;
}

}  // namespace

TEST_CASE("emulation step: recorded and not recorded give the same bits, the CPU nearly so") {
  for (const char* optimizer : {"descent", "descent outside", "adamw", "muon"}) {
    for (const double clip : {0.0, 0.5}) {
      const Run plain = train(optimizer, Device::cuda, GraphMode::off, DType::f32, clip, 5);
      const Run recorded = train(optimizer, Device::cuda, GraphMode::on, DType::f32, clip, 5);
      CHECK(recorded == plain);
      if (clip > 0) {
        testing::each_further_run([&] {
          CHECK(train(optimizer, Device::cuda, GraphMode::on, DType::f32, clip, 5) == recorded);
        });
      }
      CHECK(plain.losses.front() != plain.losses.back());
      CHECK(plain.norms.front() > 0.5);
      const Run here = train(optimizer, Device::cpu, GraphMode::off, DType::f32, clip, 5);
      const Run exact = train(optimizer, Device::cuda, GraphMode::automatic, DType::f64, clip, 5);
      const Run exact_here = train(optimizer, Device::cpu, GraphMode::off, DType::f64, clip, 5);
      std::printf(
          "step: pointnet, %s, clip %.1f, 5 steps, loss against the CPU: f64 %.1e, f32 %.1e\n",
          optimizer, clip, distance(exact, exact_here), distance(plain, here));
      CHECK(distance(exact, exact_here) < 1e-9);
      // Otherwise this network, as small as it is, makes a percent of f32's rounding: long first
      // gradients, or directions that lose their length.
      if (clip > 0 && std::string(optimizer) != "muon") CHECK(distance(plain, here) < 1e-3);
    }
  }
}

TEST_CASE("emulation step: optimizers that look ahead or again leave the graph as it is") {
  for (const char* optimizer : {"lion", "schedule_free", "soap", "specmuon", "lbfgs"}) {
    CAPTURE(optimizer);
    const Run plain = train(optimizer, Device::cuda, GraphMode::off, DType::f64, 0, 4);
    const Run recorded = train(optimizer, Device::cuda, GraphMode::on, DType::f64, 0, 4);
    CHECK(recorded == plain);
    // Rounding decides the sign of a gradient that is zero (biases before a batch norm), which is
    // all that Lion takes, and the eigenvectors of SOAP where G G^T has none of its own, in which
    // later gradients are scaled: no two ways of summing lead to one training. From one gradient
    // they step alike (optim_test.cpp).
    if (std::string_view(optimizer) == "lion" || std::string_view(optimizer) == "soap") continue;
    const Run here = train(optimizer, Device::cpu, GraphMode::off, DType::f64, 0, 4);
    std::printf("step: pointnet, %s, 4 steps, loss against the CPU: f64 %.1e\n", optimizer,
                distance(plain, here));
    CHECK(distance(plain, here) < 1e-6);
  }
}

TEST_CASE("emulation graph: a recording on the CPU holds no work of a device") {
  const Tensor x = Tensor::full({3}, DType::f32, 2, Device::cuda);
  Tensor y = Tensor::zeros({3}, DType::f32, Device::cuda);
  const std::vector<std::function<void()>> cases{[&] { y.fill(1); }, [&] { y.copy_from(x); },
                                                 [&] { x.to(DType::f64); }, [&] { exp(x); }};
  for (const auto& work : cases) {
    CHECK(DeviceGraph::record(Device::cpu, work).refusal() == "a device is at work beside the CPU");
  }
  CHECK(y.at(0) == 2);
  CHECK(DeviceGraph::record(Device::cpu, [&] { x.to(Device::cpu); }).refusal() ==
        "the host copies values of a tensor");
}

namespace {

// A linear map of each point, averaged over the points of a cloud; a loss of two terms. Clouds of
// one batch have the same number of points, which differs from batch to batch.
Task varying_task() {
  Task task;
  task.name = "varying";
  task.model.name = "mean point";
  const Linear head = task.model.layout.linear("head", 3, 2, Role::head, torch_linear_init(3));
  task.model.forward = [layout = task.model.layout, head](
                           const Tensors& params, const Tensors& buffers, const Tensors& inputs,
                           const ForwardOptions& options) {
    Pass pass(layout, params, buffers, options.batch_statistics);
    ForwardResult result;
    result.outputs = {pass.apply(head, mean(inputs.front(), 1))};
    return result;
  };
  task.objective = [model = task.model](const Tensors& buffers, const Batch& batch,
                                        const ForwardOptions& mode) {
    Loss loss{{"value", "size"}, [target = batch.tensors[1]](const Tensors& outputs) {
                return Tensors{mean(square(outputs.front() - target)),
                               scale(mean(square(outputs.front())), 0.125)};
              }};
    return supervised(model, buffers, {batch.tensors[0]}, mode, std::move(loss), batch.examples);
  };
  task.train_meter = [] { return std::unique_ptr<Meter>(); };
  return task;
}

class VaryingSource : public Source {
 public:
  const std::vector<Slot>& slots() const override {
    static const std::vector<Slot> all{{"points", Rows::point, SlotKind::coordinates},
                                       {"target", Rows::example, SlotKind::target}};
    return all;
  }
  int64_t examples() const override { return 16; }
  int64_t batches() const override { return 6; }
  Batch batch(int64_t epoch, int64_t index) const override {
    Rng rng(9, stream_id("varying", static_cast<uint64_t>(epoch * 100 + index)));
    // The first three are alike, so that a step is recorded and replayed before it is given up.
    const int64_t points = index < 3 ? 5 : 4 + index, clouds = index == 4 ? 2 : 3;
    const Tensor x = uniform(rng, {clouds, points, 3});
    return {{x, uniform(rng, {clouds, 2})}, clouds, {index}};
  }
  std::string description() const override { return "varying"; }
  std::string content_hash() const override { return "varying"; }
};

struct VaryingRun {
  std::vector<double> numbers;  // losses, norms, terms, outputs, weights
  bool graph_before = false, graph_after = false;
};

VaryingRun train_varying(const std::string& optimizer, Device device, GraphMode graph, DType dtype,
                         bool guarded) {
  const Task task = varying_task();
  ModelState state = init_model(task.model, 0, dtype).to(device);
  const std::unique_ptr<Optimizer> rule =
      optimizer.starts_with("descent")
          ? std::make_unique<Descent>(state.params, optimizer == "descent")
          : make_optimizer({.name = optimizer}, state.params);
  TrainStep step(task, state, *rule, {.batch = 3, .graph = graph, .guarded = guarded});
  const VaryingSource source;
  BatchFeed feed(source, step);
  VaryingRun run;
  run.graph_before = step.with_graph();
  for (int64_t i = 0; i < 9; ++i) {
    const int64_t epoch = i / 6, index = i % 6;
    const Batch batch = feed.take(epoch, index);
    step.start(i, 1);
    feed.send_ahead((i + 1) / 6, (i + 1) % 6);
    const StepOutput out = step.finish();
    CHECK(out.term_names == std::vector<std::string>{"value", "size"});
    REQUIRE(out.terms.size() == 2);
    CHECK(out.terms[0] + out.terms[1] == doctest::Approx(out.loss).epsilon(1e-5));
    REQUIRE(out.outputs.size() == 1);
    CHECK(out.outputs[0].shape() == Shape{batch.examples, 2});
    run.numbers.insert(run.numbers.end(), {out.loss, out.norm, out.terms[0], out.terms[1]});
    const auto outputs = out.outputs[0].to_vector<double>();
    run.numbers.insert(run.numbers.end(), outputs.begin(), outputs.end());
  }
  for (const Param& p : state.params) {
    const auto values = p.value.to_vector<double>();
    run.numbers.insert(run.numbers.end(), values.begin(), values.end());
  }
  run.graph_after = step.with_graph();
  return run;
}

}  // namespace

TEST_CASE(
    "emulation step: batches of several shapes give up an automatic graph, to the same bits") {
  for (const char* optimizer : {"descent", "descent outside", "adamw"}) {
    for (const bool guarded : {false, true}) {
      CAPTURE(optimizer);
      CAPTURE(guarded);
      const auto on_device = [&](GraphMode graph, DType dtype) {
        return train_varying(optimizer, Device::cuda, graph, dtype, guarded);
      };
      const VaryingRun off = on_device(GraphMode::off, DType::f32);
      std::vector<std::string> said;
      const LogSink before =
          set_log_sink([&](LogLevel, const std::string& text) { said.push_back(text); });
      const VaryingRun given_up = on_device(GraphMode::automatic, DType::f32);
      set_log_sink(before);
      CHECK(given_up.numbers == off.numbers);
      CHECK(given_up.graph_before);
      CHECK_FALSE(given_up.graph_after);
      CHECK(said == std::vector<std::string>{"the shapes of the batches differ from step to step: "
                                             "steps are not recorded"});
      const VaryingRun there = on_device(GraphMode::automatic, DType::f64);
      const VaryingRun here =
          train_varying(optimizer, Device::cpu, GraphMode::off, DType::f64, guarded);
      REQUIRE(there.numbers.size() == here.numbers.size());
      for (size_t i = 0; i < here.numbers.size(); ++i) {
        CHECK(there.numbers[i] == doctest::Approx(here.numbers[i]).epsilon(1e-9));
      }
    }
  }
}

TEST_CASE("emulation step: a graph that was asked for refuses batches of several shapes") {
  CHECK(
      sentence_of([] { train_varying("adamw", Device::cuda, GraphMode::on, DType::f32, false); }) ==
      "--graph on: the shapes of the batches differ from step to step, a recorded step has one; "
      "use --graph off or auto");
}
