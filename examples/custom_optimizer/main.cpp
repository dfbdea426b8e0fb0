// A researcher's own optimizer: Lion (Chen et al., arXiv 2302.06675) in about 30 lines, and one
// line that makes it available by name with its options, learning rate, state and help.
//   c = b1 m + (1-b1) g;  w -= lr (sign c + wd w);  m = b2 m + (1-b2) g
// It then solves min |X w - y|^2 / n, with the gradient written by hand, and prints the loss.
#include <cmath>
#include <cstdio>
#include <memory>
#include <vector>

#include "basin/core/random.h"
#include "basin/optim/registry.h"
#include "basin/optim/schedule.h"
#include "basin/optim/state.h"

using namespace basin;

class Lion : public Optimizer {
 public:
  Lion(double lr, double wd, double b1, double b2, const ParamList& params)
      : lr_(lr), wd_(wd), b1_(b1), b2_(b2) {
    for (const Param& p : params) m_.push_back(Tensor::zeros(p.value.shape(), p.value.dtype()));
  }
  std::string_view name() const override { return "lion"; }
  void step(ParamList& params, const Tensors& grads, const StepInfo& info) override {
    const double lr = lr_ * info.lr_scale;
    for (size_t i = 0; i < params.size(); ++i) {
      dispatch_float(params[i].value.dtype(), name(), [&](auto t) {
        using T = decltype(t);
        T* w = params[i].value.mutable_data<T>();
        T* m = m_[i].mutable_data<T>();
        for (int64_t j = 0; j < params[i].value.numel(); ++j) {
          const T g = grads[i] ? grads[i].data<T>()[j] : T(0);
          const double c = b1_ * m[j] + (1 - b1_) * g;
          w[j] -= static_cast<T>(lr * ((c > 0) - (c < 0) + wd_ * w[j]));
          m[j] = static_cast<T>(b2_ * m[j] + (1 - b2_) * g);
        }
      });
    }
  }
  OptimizerState save() const override {
    OptimizerState state = begin_state(name());
    for (size_t i = 0; i < m_.size(); ++i) state.tensors.emplace_back(str("m.", i), m_[i].clone());
    return state;
  }
  void load(const OptimizerState& state) override {
    StateReader reader(state, name());
    Tensors fresh;
    for (size_t i = 0; i < m_.size(); ++i) fresh.push_back(reader.tensor(str("m.", i), m_[i]));
    reader.finish();
    m_ = std::move(fresh);
  }

 private:
  double lr_, wd_, b1_, b2_;
  Tensors m_;
};

// The registry line: name, summary, default rate and decay, options with defaults, factory.
const bool kLionRegistered = register_optimizer(
    {"lion",
     "sign of interpolated momentum",
     1e-2,
     0,
     {{"beta1", "0.9", "interpolation for the step"}, {"beta2", "0.99", "decay of the momentum"}},
     [](const OptimizerConfig& c, const OptionReader& o, const ParamList& params) {
       return std::make_unique<Lion>(*c.lr, *c.weight_decay, o.number("beta1"), o.number("beta2"),
                                     params);
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

int main() try {
  constexpr int64_t kSteps = 400;
  ParamList params;
  params.add_matrix("w", Tensor::zeros({1, LeastSquares::kCols}, DType::f64), Role::matrix);
  const LeastSquares problem;
  const auto optimizer = make_optimizer({.name = "lion", .lr = 0.03}, params);
  const Schedule schedule(parse_schedule("cosine:warmup=10", kSteps));
  Tensors grads(1);
  double loss = 0;
  for (int64_t step = 0; step < kSteps; ++step) {
    loss = problem(params[0].value, grads[0]);
    if (step % 50 == 0) std::printf("step %3d  loss %.3e\n", static_cast<int>(step), loss);
    optimizer->step(params, grads, {.step = step, .loss = loss, .lr_scale = schedule.scale(step)});
  }
  loss = problem(params[0].value, grads[0]);
  std::printf("step %3d  loss %.3e\n", static_cast<int>(kSteps), loss);
  return loss < 1e-3 ? 0 : 1;
} catch (const Error& error) {
  std::fprintf(stderr, "custom_optimizer: %s\n", error.what());
  return error.exit_code();
}
