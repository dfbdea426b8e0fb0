// A task of one's own: data, network, loss and metric in one file. Everything else is Basin's:
// without arguments it is trained, stopped, resumed to the same bits and probed through the
// library; with arguments it is a training program (--help), by train_main().
#include <basin/basin.h>
#include <basin/tools/shell/train_main.h>

#include <cmath>
#include <cstdio>

using namespace basin;

namespace {

// --- the data: y = sin(3 a) b on a square, without a file
struct Wave : Source {
  Wave(int64_t count, uint64_t stream, const SourceRequest& request)
      : request_(request), rows_(drawn_rows(count, request.limit, request.seed)) {
    Rng rng(stream, stream_id("wave"));
    for (int64_t i = 0; i < 2 * count; ++i) x_.push_back(rng.uniform(-1, 1));
  }
  const std::vector<Slot>& slots() const override {
    static const std::vector<Slot> all{{"x", Rows::example, SlotKind::feature},
                                       {"y", Rows::example, SlotKind::target}};
    return all;
  }
  int64_t examples() const override { return static_cast<int64_t>(rows_.size()); }
  int64_t batches() const override { return (examples() + request_.batch - 1) / request_.batch; }
  Batch batch(int64_t epoch, int64_t index) const override {
    std::vector<int64_t> order = rows_;
    if (request_.training) {
      Rng(request_.seed, stream_id("order", static_cast<uint64_t>(epoch)))
          .shuffle(std::span<int64_t>(order));
    }
    Batch out;
    std::vector<double> x, y;
    const int64_t end = std::min((index + 1) * request_.batch, examples());
    for (int64_t i = index * request_.batch; i < end; ++i) {
      const auto row = static_cast<size_t>(order[static_cast<size_t>(i)]);
      const double a = x_[2 * row], b = x_[2 * row + 1];
      x.insert(x.end(), {a, b});
      y.push_back(std::sin(3 * a) * b);
      out.rows.push_back(static_cast<int64_t>(row));
    }
    out.examples = static_cast<int64_t>(y.size());
    out.tensors = {Tensor::from(x, {out.examples, 2}), Tensor::from(y, {out.examples, 1})};
    return out;
  }
  std::string description() const override { return str(rows_.size(), " points of a wave"); }
  std::string content_hash() const override { return "wave 1"; }

  SourceRequest request_;
  std::vector<int64_t> rows_;
  std::vector<double> x_;
};

// --- the network: one hidden layer
Model make_hidden(const ModelConfig& config, const OptionReader& options) {
  const int64_t width = options.sizes("width", 1)[0], out = config.outputs;
  Model model;
  model.inputs = {{"x", Rows::example, SlotKind::feature}};
  const Linear first = model.layout.linear("first", 2, width, Role::first, torch_linear_init(2));
  const Linear last = model.layout.linear("last", width, out, Role::head, torch_linear_init(width));
  model.forward = [net = model.layout, first, last](auto& w, auto& buffers, auto& in, auto& mode) {
    Pass pass(net, w, buffers, mode.batch_statistics);
    ForwardResult result;
    const Tensor hidden = tanh(pass.apply(first, in[0]));
    if (mode.keep_activations) result.activations.push_back({"hidden", hidden});
    result.outputs = {pass.apply(last, hidden)};
    return result;
  };
  return model;
}

// --- the task: what is trained on what, and how it is judged
Task make_wave(const TaskConfig& config, const OptionReader& options) {
  const int64_t points = options.integer_in("points", 16, 1 << 20);
  Task task;
  ModelConfig network = config.model;
  network.outputs = 1;
  network.output_name = "value";
  task.model = make_model(network);
  task.source = [points](const SourceRequest& r) {
    return std::make_shared<Wave>(r.split == Split::test ? 256 : points,
                                  static_cast<uint64_t>(r.split), r);
  };
  task.data = [points] { return DataFacts{"wave", "on a square", "wave 1", points, 0, 256}; };
  task.objective = [model = task.model](auto& buffers, auto& batch, auto& mode) {
    const Loss loss{{"mse"}, [y = batch.tensors[1]](const Tensors& outputs) {
                      return Tensors{mean(square(outputs[0] - y))};
                    }};
    return supervised(model, buffers, {batch.tensors[0]}, mode, loss, batch.examples);
  };
  task.metrics = regression_metrics("");
  task.meter = regression_meter;
  task.likelihood = Likelihood::gaussian;
  return task;
}

}  // namespace

int main(int argc, char** argv) {
  register_model({"hidden",
                  "one hidden layer",
                  {{"plain", "tanh"}},
                  {{"width", "32", "hidden units", OptionKind::integer}},
                  make_hidden});
  register_task({.name = "wave",
                 .summary = "a wave on a square",
                 .options = {{"points", "512", "training points", OptionKind::integer}},
                 .models = {"hidden"},
                 .make = make_wave});
  if (argc > 1) return tools::train_main({"wave"}, argc, argv);

  const Task task = make_task({.name = "wave", .model = {.name = "hidden"}});
  const TrainOptions options{
      .optimizer = {.name = "adam", .lr = 0.02}, .epochs = 12, .dtype = DType::f64, .keep = 0};
  const fs::path folder = fs::temp_directory_path() / str("basin_custom_task_", ::getpid());
  Trainer whole(task, options), cut(task, options), resumed(task, options);
  whole.run(folder / "whole");
  cut.run(folder / "cut", {.stop = [&] { return cut.steps_done() == 50 ? 15 : 0; }});
  resumed.restore(*read_newest_checkpoint(folder / "cut/ckpt"));
  resumed.run(folder / "cut");
  const auto bits = [&](const char* run) {
    return sha256_hex_of_file(checkpoint_path(folder / run / "ckpt", whole.total_steps()) /
                              "model.safetensors");
  };
  const bool same = bits("whole") == bits("cut");
  std::printf("resumed after step %lld: %s\n", static_cast<long long>(cut.steps_done()),
              same ? "the same bits" : "OTHER BITS");

  const ParamList& params = whole.state().params;
  const Tensors buffers = whole.state().buffers.values();
  const ProbeData data = probe_data(task, Split::train, 0, 64, 0);
  const CurvatureOperator hessian(
      loss_batches(task, whole.state().buffers, data, NormStatistics::frozen, DType::f64), params);
  const double top = lanczos(hessian, {}).top.front().value;
  const double rank = weight_spectra(params).matrices.front().ranks.stable;
  SliceRequest line;
  line.first = random_direction(params, 0, 0);
  line.grid.x = {"random", -1, 1, 5};
  const Slice slice = run_slice(params, line, [&](const Tensors& weights) -> SlicePoint {
    const MeanLoss at = mean_loss(task, weights, buffers, data, NormStatistics::frozen);
    return {at.loss, at.metric};
  });
  const double rmse = whole.test().values[1];
  std::printf("rmse %.4f  lambda max %.3f  stable rank %.2f  %lld points of a line\n", rmse, top,
              rank, static_cast<long long>(slice.count(PointState::done)));
  fs::remove_all(folder);
  return same && rmse < 0.2 && top > 0 && slice.count(PointState::done) == 5 ? 0 : 1;
}
