// A researcher's own optimizer: Lion (Chen et al., arXiv 2302.06675) in about 30 lines,
//   c = b1 m + (1-b1) g;  w -= lr (sign c + wd w);  m = b2 m + (1-b2) g
// with parameter groups, a routing table and a state for checkpoints, and one registry line that
// makes it available by name with its options and help. It then solves min |X w - y|^2 / n, with
// the gradient written by hand, stopped and resumed in the middle. To use it as `train_modelnet
// --optimizer own_lion`, compile the class and its line into that program, or into basin/optim.
#include <cmath>
#include <cstdio>
#include <memory>
#include <vector>

#include "basin/core/random.h"
#include "basin/optim/registry.h"
#include "basin/optim/routing.h"
#include "basin/optim/schedule.h"
#include "basin/optim/state.h"

using namespace basin;

class Lion : public Optimizer {
 public:
  Lion(const OptimizerConfig& c, double b1, double b2, const ParamList& params) : b1_(b1), b2_(b2) {
    check_rules_used(params, c.groups);
    for (size_t i = 0; i < params.size(); ++i) {
      settings_.push_back(resolve_settings(params, i, *c.lr, *c.weight_decay, true, c.groups));
      rows_.push_back(plain_row(params[i], settings_[i], name()));
      m_.push_back(zeros_like(params[i].value));
    }
  }
  std::string_view name() const override { return "own_lion"; }
  std::vector<RoutingRow> routing() const override { return rows_; }
  void step(ParamList& params, const Tensors& grads, const StepInfo& info) override {
    for (size_t i = 0; i < params.size(); ++i) {
      const double lr = settings_[i].lr * info.lr_scale, wd = settings_[i].weight_decay;
      dispatch_float(params[i].value.dtype(), name(), [&](auto t) {
        using T = decltype(t);
        T* w = params[i].value.mutable_data<T>();
        T* m = m_[i].mutable_data<T>();
        for (int64_t j = 0; j < params[i].value.numel(); ++j) {
          const T g = grads[i] ? grads[i].data<T>()[j] : T(0);
          const double c = b1_ * m[j] + (1 - b1_) * g;
          w[j] -= static_cast<T>(lr * ((c > 0) - (c < 0) + wd * w[j]));
          m[j] = static_cast<T>(b2_ * m[j] + (1 - b2_) * g);
        }
      });
    }
  }
  OptimizerState save() const override {
    OptimizerState state = begin_state(name());
    for (size_t i = 0; i < m_.size(); ++i)
      state.tensors.emplace_back("m." + rows_[i].name, host_copy(m_[i]));
    return state;
  }
  void load(const OptimizerState& state) override {
    StateReader reader(state, name());
    Tensors fresh;
    for (size_t i = 0; i < m_.size(); ++i)
      fresh.push_back(reader.tensor("m." + rows_[i].name, m_[i]));
    reader.finish();  // only a complete state replaces the old one
    m_ = std::move(fresh);
  }

 private:
  double b1_, b2_;
  std::vector<ParamSettings> settings_;  // rate and decay of every parameter, by its group
  std::vector<RoutingRow> rows_;
  Tensors m_;
};

// The registry line: name, summary, default rate and decay, options with defaults, factory.
const bool kLionRegistered = register_optimizer(
    {"own_lion",
     "sign of interpolated momentum",
     1e-2,
     0,
     {{"beta1", "0.9", "interpolation for the step"}, {"beta2", "0.99", "decay of the momentum"}},
     [](const OptimizerConfig& c, const OptionReader& o, const ParamList& params) {
       return std::make_unique<Lion>(c, o.number("beta1"), o.number("beta2"), params);
     }});

struct LeastSquares {
  static constexpr int64_t kRows = 64, kCols = 8;
  std::vector<double> x, y;

  LeastSquares() : x(kRows * kCols), y(kRows) {
    Rng rng(0, stream_id("least squares"));
    for (double& v : x) v = rng.normal();
    for (int64_t i = 0; i < kRows; ++i) {
      for (int64_t j = 0; j < kCols; ++j) y[i] += x[i * kCols + j] * static_cast<double>(j - 3) / 4;
    }
  }
  // Mean squared residual; writes its gradient 2 X^T (X w - y) / n.
  double operator()(const Tensor& w, Tensor& gradient) const {
    gradient = Tensor::zeros(w.shape(), w.dtype());
    double* g = gradient.mutable_data<double>();
    double loss = 0;
    for (int64_t i = 0; i < kRows; ++i) {
      double r = -y[i];
      for (int64_t j = 0; j < kCols; ++j) r += x[i * kCols + j] * w.data<double>()[j];
      for (int64_t j = 0; j < kCols; ++j) g[j] += 2 * r * x[i * kCols + j] / kRows;
      loss += r * r / kRows;
    }
    return loss;
  }
};

constexpr int64_t kSteps = 400;

// Steps [first, last); the loss before the last one.
double run(const LeastSquares& problem, ParamList& params, Optimizer& optimizer, int64_t first,
           int64_t last) {
  const Schedule schedule(parse_schedule("cosine:warmup=10", kSteps));
  Tensors grads(1);
  double loss = 0;
  for (int64_t step = first; step < last; ++step) {
    loss = problem(params[0].value, grads[0]);
    if (step % 50 == 0) std::printf("step %3d  loss %.3e\n", static_cast<int>(step), loss);
    optimizer.step(params, grads, {.step = step, .loss = loss, .lr_scale = schedule.scale(step)});
  }
  return loss;
}

int main() try {
  const LeastSquares problem;
  ParamList params;
  params.add_matrix("w", Tensor::zeros({1, LeastSquares::kCols}, DType::f64), Role::matrix);
  OptimizerConfig config{.name = "own_lion", .lr = 0.03};
  config.options["beta2"] = "0.98";
  const auto optimizer = make_optimizer(config, params);
  std::printf("%s\n", format_routing_table(optimizer->routing()).c_str());

  // A checkpoint in the middle: weights and state in a fresh optimizer end on the same bits.
  run(problem, params, *optimizer, 0, kSteps / 2);
  ParamList resumed_params = params.clone();
  const OptimizerState state = optimizer->save();
  const double loss = run(problem, params, *optimizer, kSteps / 2, kSteps);
  const auto resumed = make_optimizer(config, resumed_params);
  resumed->load(state);
  run(problem, resumed_params, *resumed, kSteps / 2, kSteps);
  const bool same =
      params[0].value.to_vector<double>() == resumed_params[0].value.to_vector<double>();
  std::printf("loss %.3e, resumed in the middle: %s\n", loss,
              same ? "the same bits" : "OTHER BITS");
  return kLionRegistered && loss < 1e-3 && same ? 0 : 1;
} catch (const Error& error) {
  std::fprintf(stderr, "custom_optimizer: %s\n", error.what());
  return error.exit_code();
}
