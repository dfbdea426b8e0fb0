// The same few steps in two bases.
#include "basin/optim/equivariance.h"

#include <cmath>

#include "basin/core/random.h"
#include "basin/kernels/newton_schulz.h"
#include "basin/optim/detail/spectral.h"

namespace basin {
namespace {

constexpr int64_t kSide = 10;

Tensor random_matrix(int64_t rows, int64_t cols, Rng& rng) {
  Tensor out = Tensor::empty({rows, cols}, DType::f64);
  double* x = out.mutable_data<double>();
  for (int64_t i = 0; i < out.numel(); ++i) x[i] = rng.normal();
  return out;
}

Tensor identity(int64_t n) {
  Tensor out = Tensor::zeros({n, n}, DType::f64);
  for (int64_t i = 0; i < n; ++i) out.mutable_data<double>()[i * (n + 1)] = 1;
  return out;
}

Tensor signed_permutation(int64_t n, Rng& rng) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) order[i] = i;
  rng.shuffle(std::span<int64_t>(order));
  Tensor out = Tensor::zeros({n, n}, DType::f64);
  for (int64_t i = 0; i < n; ++i) {
    out.mutable_data<double>()[i * n + order[i]] = rng.below(2) == 0 ? 1 : -1;
  }
  return out;
}

Tensor difference(const Tensor& a, const Tensor& b) {
  Tensor out = a.clone();
  double* x = out.mutable_data<double>();
  for (int64_t i = 0; i < out.numel(); ++i) x[i] -= b.data<double>()[i];
  return out;
}

Tensor in_basis(const Tensor& w, const Tensor& p, const Tensor& q) {  // P W Q
  return product(product(p, false, w, false), false, q, false);
}

Tensor well_conditioned(Rng& rng) {  // I + a random matrix of norm about 1/2
  Tensor out = random_matrix(kSide, kSide, rng);
  double* x = out.mutable_data<double>();
  const double size = 4 * std::sqrt(static_cast<double>(kSide));
  for (int64_t i = 0; i < out.numel(); ++i) x[i] = x[i] / size + (i % (kSide + 1) == 0 ? 1 : 0);
  return out;
}

struct Problem {
  Tensor a, b, c, start;
  double factor = 1;
  Tensor p = identity(kSide), q = identity(kSide);

  LossAndGrads operator()(const Tensors& values, bool) const {
    const Tensor w = product(product(p, true, values[0], false), false, q, true);
    const Tensor r = difference(in_basis(w, a, b), c);
    LossAndGrads out;
    for (const double x : r.to_vector<double>()) out.loss += x * x / 2;
    out.loss = factor * (out.loss + 1);
    Tensor g = in_basis(product(product(a, true, r, false), false, b, true), p, q);
    double* x = g.mutable_data<double>();
    for (int64_t i = 0; i < g.numel(); ++i) x[i] *= factor;
    out.grads.push_back(std::move(g));
    return out;
  }
};

Tensor change(const OptimizerConfig& config, const Problem& problem, int64_t steps) {
  ParamList params;
  const Tensor start = in_basis(problem.start, problem.p, problem.q);
  params.add_matrix("w", start.clone(), Role::matrix);
  const auto optimizer = make_optimizer(config, params);
  for (int64_t t = 0; t < steps; ++t) {
    optimizer->look_ahead(params);
    const LossAndGrads here = problem(params.values(), true);
    optimizer->step(params, here.grads, {.step = t, .loss = here.loss, .evaluate = problem});
  }
  return difference(params[0].value, start);
}

}  // namespace

StepEquivariance step_equivariance(const OptimizerConfig& config, int64_t steps, uint64_t seed) {
  Rng rng(seed, stream_id("step equivariance"));
  Problem plain{well_conditioned(rng), well_conditioned(rng), random_matrix(kSide, kSide, rng),
                random_matrix(kSide, kSide, rng)};
  const Tensor reference = change(config, plain, steps);
  const double size = frobenius_norm(reference);
  const auto error = [&](const Tensor& p, const Tensor& q) {
    Problem moved = plain;
    moved.p = p;
    moved.q = q;
    return frobenius_norm(difference(change(config, moved, steps), in_basis(reference, p, q))) /
           size;
  };
  StepEquivariance out{config.name};
  out.left = error(QrBasis::cpu(random_matrix(kSide, kSide, rng)), identity(kSide));
  out.right = error(identity(kSide), QrBasis::cpu(random_matrix(kSide, kSide, rng)));
  const Tensor rows = signed_permutation(kSide, rng), cols = signed_permutation(kSide, rng);
  out.permutation = error(rows, cols);
  Problem scaled = plain;
  scaled.factor = 10;
  out.scale = frobenius_norm(difference(change(config, scaled, steps), reference)) / size;
  return out;
}

std::vector<StepEquivariance> step_equivariance_of_all() {
  std::vector<StepEquivariance> out;
  for (const std::string& name : optimizer_names())
    out.push_back(step_equivariance({.name = name}));
  return out;
}

std::string format_equivariance_table(const std::vector<StepEquivariance>& rows) {
  const auto padded = [](std::string text, size_t width) {
    text.resize(std::max(text.size() + 1, width), ' ');
    return text;
  };
  const auto cell = [&](double error) {
    return padded((StepEquivariance::holds(error) ? "yes " : "no  ") + short_text(error, 1), 13);
  };
  std::string out = padded("optimizer", 15) + padded("outputs", 13) + padded("inputs", 13) +
                    padded("permuted", 13) + "loss x 10\n";
  for (const StepEquivariance& r : rows) {
    std::string line = padded(r.optimizer, 15) + cell(r.left) + cell(r.right) +
                       cell(r.permutation) + cell(r.scale);
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

}  // namespace basin
