// Case pointnet: the training step of PointNet (preset port, 40 classes, both T-Nets) on
// random clouds. Operation counts, B clouds of N points, a layer in -> out:
//   naive:    forward 2 rows in out (rows = B N for the shared layers, B for the classifier),
//             backward twice that; an HVP three gradients in one shot, two per further probe.
//   reduced:  the layers under a maximum (128 -> 1024) keep their forward product, add the Gram
//             matrix of their input, 2 rows in^2, and replace both backward products by one of
//             2 rows in^2 and a sparse part of 4 B out in (the max moves before the
//             activation).
#include <algorithm>

#include "basin/core/parallel.h"
#include "basin/core/random.h"
#include "basin/core/storage.h"
#include "basin/models/model.h"
#include "basin/optim/registry.h"
#include "basin/tools/bench/bench.h"
#include "basin/tools/common/environment.h"

namespace basin::tools {
namespace {

constexpr int64_t kClasses = 40;

struct Counts {
  double forward = 0, forward_reduced = 0;
  double gradient = 0, gradient_reduced = 0;
};

Counts count_operations(const Model& model, int64_t batch, int64_t points) {
  int64_t widest = 0;
  for (const ParamSpec& p : model.layout.params()) {
    if (p.reference_shape.rank() == 3) widest = std::max(widest, p.shape[0]);
  }
  Counts out;
  const auto b = static_cast<double>(batch);
  const double rows = b * static_cast<double>(points);
  double backward = 0, backward_reduced = 0;
  const auto plain = [&](double flops) {
    out.forward += flops;
    out.forward_reduced += flops;
    backward += 2 * flops;
    backward_reduced += 2 * flops;
  };
  for (const ParamSpec& p : model.layout.params()) {
    if (p.shape.rank() != 2) continue;
    const auto outputs = static_cast<double>(p.shape[0]);
    const auto inputs = static_cast<double>(p.shape[1]);
    const bool per_point = p.reference_shape.rank() == 3;  // a convolution in the reference code
    if (!per_point || p.shape[0] != widest) {
      plain(2 * (per_point ? rows : b) * inputs * outputs);
      continue;
    }
    const double product = 2 * rows * inputs * outputs;
    const double gram = 2 * rows * inputs * inputs;
    out.forward += product;
    out.forward_reduced += product + gram;
    backward += 2 * product;
    backward_reduced += gram + 4 * b * outputs * inputs;
  }
  plain(2 * rows * (3 * 3 + 64 * 64));  // the two learned transforms
  out.gradient = out.forward + backward;
  out.gradient_reduced = out.forward_reduced + backward_reduced;
  return out;
}

// Five Newton-Schulz steps on an m x n matrix, m <= n: X X^T, its square, and their product with X.
double newton_schulz_flops(const ParamList& params, const Optimizer& muon) {
  double flops = 0;
  const std::vector<RoutingRow> rows = muon.routing();
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].optimizer != "muon") continue;
    for (const MatrixBlock& block : params[i].view) {
      const auto m = static_cast<double>(std::min(block.rows, block.cols));
      const auto n = static_cast<double>(std::max(block.rows, block.cols));
      flops += 5 * (4 * m * m * n + 2 * m * m * m);
    }
  }
  return flops;
}

struct Problem {
  Model model;
  ModelState state;
  Tensor points;  // [B, N, 3]
  Tensor labels;  // [B]
  int64_t step = 0;

  Problem(int64_t batch, int64_t n)
      : model(make_model({.name = "pointnet", .preset = "port", .classes = kClasses})),
        state(init_model(model, 0, DType::f32)) {
    Rng rng(0, stream_id("bench points"));
    std::vector<float> xyz(static_cast<size_t>(batch * n * 3));
    for (float& x : xyz) x = static_cast<float>(rng.uniform(-0.6, 0.6));
    points = Tensor::from(xyz, {batch, n, 3});
    std::vector<int64_t> label(static_cast<size_t>(batch));
    for (int64_t& c : label) c = rng.below(kClasses);
    labels = Tensor::from(label, {batch});
  }

  Fn loss() {
    const auto options = ForwardOptions::training(0, static_cast<uint64_t>(step++));
    return classification_loss(model, state.buffers.values(), points, labels, options);
  }
  ValueGrad gradient() { return value_and_grad(loss())(state.params.values()); }
  void train_step(Optimizer& optimizer) {
    ValueGrad result = gradient();
    optimizer.step(state.params, result.grads, {step, result.value.item(), 1});
    update_running_stats(state.buffers, batch_stats_of(result.aux), model.bn_momentum(0));
  }
};

void bench_optimizer(const std::string& name, const std::string& prefix, Problem& problem,
                     const Counts& counts, const BenchOptions& options, double peak,
                     BenchReport& report) {
  const ParamList initial = problem.state.params.clone();
  // A rate of zero keeps the weights, hence the work of every step, the same.
  OptimizerConfig config{.name = name, .lr = 0.0, .weight_decay = 0.0};
  const auto optimizer = make_optimizer(config, problem.state.params);
  const ValueGrad fixed = problem.gradient();
  Work update;
  update.naive_flops = name == "muon" ? newton_schulz_flops(problem.state.params, *optimizer) : 0;
  // Adam reads weight, gradient and two moments and writes three of them.
  if (name == "adam") update.bytes = 7.0 * 4 * static_cast<double>(initial.total_elements());
  const Timing alone = measure(options.repeats, [&] {
    optimizer->step(problem.state.params, fixed.grads, {problem.step, 1, 1});
  });
  report.add(prefix + name + "_update", name + " update alone", alone, update, peak);
  reset_peak_bytes();
  const Timing whole = measure(options.repeats, [&] { problem.train_step(*optimizer); });
  report.add(
      prefix + name + "_step", name + " step, whole", whole,
      {counts.gradient + update.naive_flops, counts.gradient_reduced + update.naive_flops, 0},
      peak);
  const AllocatorStats stats = allocator_stats();
  report.value(prefix + name + "_step.peak_bytes", static_cast<double>(stats.peak_bytes));
  report.value(prefix + name + "_step.reserved_bytes", static_cast<double>(stats.reserved_bytes));
}

void bench_hvp(const std::string& prefix, const BenchOptions& options, double peak,
               BenchReport& report) {
  Problem problem(options.hvp_batch, options.points);
  const Counts counts = count_operations(problem.model, options.hvp_batch, options.points);
  const Tensors params = problem.state.params.values();
  Tensors direction;
  Rng rng(0, stream_id("bench direction"));
  for (const Tensor& p : params) {
    std::vector<float> v(static_cast<size_t>(p.numel()));
    for (float& x : v) x = static_cast<float>(rng.normal());
    direction.push_back(Tensor::from(v, p.shape()));
  }
  const Timing gradient = measure(options.repeats, [&] { problem.gradient(); });
  report.add(prefix + "hvp_gradient", str("gradient, B=", options.hvp_batch), gradient,
             {counts.gradient, counts.gradient_reduced, 0}, peak);
  const auto scalar_loss = [&] {
    return [f = problem.loss()](const Tensors& x) { return Tensors{f(x).front()}; };
  };
  const Timing once =
      measure(options.repeats, [&] { linearize(grad(scalar_loss()), params)(direction); });
  report.add(prefix + "hvp_one_shot", "HVP, one shot", once, {3 * counts.gradient, 0, 0}, peak);
  const LinearMap h = linearize(grad(scalar_loss()), params);
  const Timing probe = measure(options.repeats, [&] { h(direction); });
  report.add(prefix + "hvp_probe", "HVP, each further probe", probe, {2 * counts.gradient, 0, 0},
             peak);
  report.value(prefix + "hvp_one_shot.ratio_to_gradient", once.median / gradient.median);
  report.value(prefix + "hvp_probe.ratio_to_gradient", probe.median / gradient.median);
}

void bench_threads(int threads, const BenchOptions& options, BenchReport& report) {
  set_num_threads(threads);
  const double peak = measure_fma_peak();
  const std::string prefix = str("pointnet.t", threads, ".");
  report.heading(str("PointNet, B=", options.batch, ", N=", options.points, ", ", threads,
                     threads == 1 ? " thread" : " threads", "; measured f32 peak ",
                     static_cast<int64_t>(peak * 1e-9 + 0.5), " GFLOP/s (", fma_peak_name(), ")"));
  report.value(prefix + "peak_gflops", peak * 1e-9);
  Problem problem(options.batch, options.points);
  const Counts counts = count_operations(problem.model, options.batch, options.points);
  const Tensors params = problem.state.params.values();
  const Tensors buffers = problem.state.buffers.values();
  const Timing forward = measure(options.repeats, [&] {
    const auto training = ForwardOptions::training(0, static_cast<uint64_t>(problem.step++));
    problem.model.forward(params, buffers, problem.points, training);
  });
  report.add(prefix + "forward", "forward, training mode", forward,
             {counts.forward, counts.forward_reduced, 0}, peak);
  const Timing gradient = measure(options.repeats, [&] { problem.gradient(); });
  report.add(prefix + "forward_backward", "forward + backward", gradient,
             {counts.gradient, counts.gradient_reduced, 0}, peak);
  for (const char* name : {"adam", "muon"}) {
    bench_optimizer(name, prefix, problem, counts, options, peak, report);
  }
  bench_hvp(prefix, options, peak, report);
  const AllocatorStats stats = allocator_stats();
  report.note(str("allocator: ", bytes_text(static_cast<double>(stats.reserved_bytes)),
                  " reserved in ", stats.mappings, " mappings so far; peak resident ",
                  bytes_text(static_cast<double>(peak_rss_bytes()))));
  report.value(prefix + "peak_rss_bytes", static_cast<double>(peak_rss_bytes()));
}

}  // namespace

void run_pointnet(const BenchOptions& options, BenchReport& report) {
  for (const int threads : options.threads) bench_threads(threads, options, report);
}

}  // namespace basin::tools
