// The built-in problem of the symmetry self-test, its symmetries and the list of measures.
#include <cmath>
#include <numeric>

#include "basin/analysis/flatness.h"
#include "basin/analysis/lanczos.h"
#include "basin/analysis/optimizer_norm.h"
#include "basin/analysis/pac_bayes.h"
#include "basin/analysis/sharpness.h"
#include "basin/analysis/symmetry_check.h"
#include "basin/autograd/ops.h"
#include "basin/core/random.h"
#include "basin/kernels/linalg.h"

namespace basin {
namespace {

constexpr int64_t kInputs = 4, kHidden = 5, kMiddle = 4, kClasses = 3, kExamples = 64;
enum : size_t { kW1, kB1, kW2, kB2, kW3, kB3 };

Tensor gaussian(const Shape& shape, double scale, Rng& rng) {
  Tensor t = Tensor::empty(shape, DType::f64);
  double* x = t.mutable_data<double>();
  for (int64_t i = 0; i < t.numel(); ++i) x[i] = scale * rng.normal();
  return t;
}

Tensors logits(const Tensors& p, const Tensor& x) {
  const Tensor hidden = relu(linear(x, p[kW1], p[kB1]));
  return {linear(linear(hidden, p[kW2], p[kB2]), p[kW3], p[kB3])};
}

// Multiplies row i of W_1 and b_1 by factor[i], divides column i of W_2 by it.
ParamList rescaled(const ParamList& params, const std::vector<double>& factor) {
  ParamList out = params.clone();
  double* w1 = out[kW1].value.mutable_data<double>();
  double* b1 = out[kB1].value.mutable_data<double>();
  double* w2 = out[kW2].value.mutable_data<double>();
  for (int64_t h = 0; h < kHidden; ++h) {
    for (int64_t i = 0; i < kInputs; ++i) w1[h * kInputs + i] *= factor[h];
    b1[h] *= factor[h];
    for (int64_t m = 0; m < kMiddle; ++m) w2[m * kHidden + h] /= factor[h];
  }
  return out;
}

ParamList permuted(const ParamList& params, const std::vector<int64_t>& order) {
  ParamList out = params.clone();
  for (int64_t h = 0; h < kHidden; ++h) {
    for (int64_t i = 0; i < kInputs; ++i) {
      out[kW1].value.mutable_data<double>()[h * kInputs + i] =
          params[kW1].value.at(order[h] * kInputs + i);
    }
    out[kB1].value.mutable_data<double>()[h] = params[kB1].value.at(order[h]);
    for (int64_t m = 0; m < kMiddle; ++m) {
      out[kW2].value.mutable_data<double>()[m * kHidden + h] =
          params[kW2].value.at(m * kHidden + order[h]);
    }
  }
  return out;
}

// r orthogonal [middle, middle]
ParamList rotated(const ParamList& params, const Tensor& r) {
  ParamList out = params.clone();
  out[kW2].value.copy_from(matmul(r, params[kW2].value));
  out[kB2].value.copy_from(matmul(r, params[kB2].value.view({kMiddle, 1})).view({kMiddle}));
  out[kW3].value.copy_from(matmul(params[kW3].value, r, false, true));
  return out;
}

LossBatch make_batch(Rng& rng) {
  const Tensor x = gaussian({kExamples, kInputs}, 1, rng);
  std::vector<int64_t> labels;
  for (int64_t e = 0; e < kExamples; ++e) {  // a rule with some noise: no weight runs to infinity
    const double score = x.at(e * kInputs) + 0.5 * x.at(e * kInputs + 1) * x.at(e * kInputs + 2);
    labels.push_back(rng.uniform() < 0.15 ? rng.below(kClasses)
                                          : (score < -0.4  ? 0
                                             : score < 0.4 ? 1
                                                           : 2));
  }
  const Tensor y = Tensor::from(labels, {kExamples});
  LossBatch batch;
  batch.outputs = [x](const Tensors& p) { return logits(p, x); };
  batch.loss_of_outputs = [y](const Tensors& out) { return Tensors{cross_entropy(out[0], y)}; };
  batch.loss = [x, y](const Tensors& p) { return Tensors{cross_entropy(logits(p, x)[0], y)}; };
  batch.examples = kExamples;
  return batch;
}

void descend(ParamList& params, const LossBatch& batch, int steps, double rate) {
  for (int step = 0; step < steps; ++step) {
    const Tensors g = grad(batch.loss)(params.values());
    for (size_t i = 0; i < params.size(); ++i) {
      double* w = params[i].value.mutable_data<double>();
      for (int64_t j = 0; j < g[i].numel(); ++j) w[j] -= rate * g[i].at(j);
    }
  }
}

// sum_i c_i^2 H_ii exactly, column by column.
double scaled_trace(const SymmetricOperator& hessian, const Tensor& c) {
  const Tensor h = dense_matrix(hessian);
  double sum = 0;
  for (int64_t i = 0; i < h.size(0); ++i) sum += c.at(i) * c.at(i) * h.at(i * (h.size(0) + 1));
  return sum;
}

double largest_eigenvalue(const SymmetricOperator& a) {
  return lanczos(a, {.top = 1, .tolerance = 1e-10}).top.at(0).value;
}

using Surface = LossSurface;
using Hessian = CurvatureOperator;

Measure of_hessian(std::string name, const std::vector<LossBatch>& batches,
                   std::function<double(const Hessian&, const ParamList&)> f) {
  return {std::move(name), [batches, f = std::move(f)](const ParamList& params) {
            return exact_estimate(f(Hessian(batches, params), params));
          }};
}

Measure of_surface(std::string name, const std::vector<LossBatch>& batches,
                   std::function<Estimate(const Surface&)> f) {
  return {std::move(name), [batches, f = std::move(f)](const ParamList& params) {
            return f({batches, params});
          }};
}

Estimate relative_flatness_of(const std::vector<LossBatch>& batches, const ParamList& params) {
  const Hessian hessian(batches, params);
  return relative_flatness(hessian, hessian.space(), params, {.probes = 400, .lanes = 64}).total;
}

double adam_curvature(const Hessian& hessian) {
  Tensor v = hessian.gradient().clone();
  double* x = v.mutable_data<double>();
  for (int64_t i = 0; i < v.numel(); ++i) x[i] *= x[i];
  return largest_eigenvalue(*preconditioned_operator(hessian, adam_preconditioner(v, 0, 1, 1e-8)));
}

}  // namespace

SymmetryProblem relu_mlp_problem(uint64_t seed) {
  SymmetryProblem out;
  Rng rng(seed, stream_id("relu_mlp_problem"));
  out.batches = {make_batch(rng)};
  ParamList& p = out.params;
  p.add_matrix("w1", gaussian({kHidden, kInputs}, 0.7, rng), Role::first);
  p.add_vector("b1", gaussian({kHidden}, 0.3, rng), Role::bias);
  p.add_matrix("w2", gaussian({kMiddle, kHidden}, 0.6, rng), Role::matrix);
  p.add_vector("b2", gaussian({kMiddle}, 0.3, rng), Role::bias);
  p.add_matrix("w3", gaussian({kClasses, kMiddle}, 0.7, rng), Role::head);
  p.add_vector("b3", gaussian({kClasses}, 0.3, rng), Role::bias);
  descend(p, out.batches[0], 200, 0.2);

  std::vector<double> by_unit(kHidden);
  for (int64_t h = 0; h < kHidden; ++h) by_unit[h] = std::pow(2.0, static_cast<double>(h - 2));
  std::vector<int64_t> order(kHidden);
  std::iota(order.begin(), order.end(), int64_t{1});
  order.back() = 0;
  const Tensor rotation = Svd::cpu(gaussian({kMiddle, kMiddle}, 1, rng)).u;
  out.symmetries = {
      {"rescaling", p.clone(), rescaled(p, std::vector<double>(kHidden, 3))},
      {"rescaling by unit", p.clone(), rescaled(p, by_unit)},
      {"permutation", p.clone(), permuted(p, order)},
      {"rotation", p.clone(), rotated(p, rotation)},
  };
  return out;
}

std::vector<Measure> landscape_measures(const std::vector<LossBatch>& batches) {
  constexpr double kRho = 0.1;
  auto average = [&](std::string name, BallShape shape, int64_t pairs) {
    return of_surface(std::move(name), batches, [shape, pairs](const Surface& s) {
      return average_case_sharpness(s, {.rho = kRho, .shape = shape, .pairs = pairs});
    });
  };
  auto pac_bayes = [&](std::string name, bool aware) {
    return of_surface(std::move(name), batches, [aware](const Surface& s) {
      return pac_bayes_sharpness(s, kExamples, {},
                                 {.magnitude_aware = aware, .epsilon = 1e-12, .pairs = 40})
          .scale;
    });
  };
  auto worst = [&](std::string name, BallShape shape, BallNorm norm = BallNorm::l2) {
    const WorstCaseOptions options{
        .norm = norm, .rho = kRho, .shape = shape, .steps = 60, .random_starts = 0};
    return of_surface(std::move(name), batches, [options](const Surface& s) {
      return exact_estimate(worst_case_sharpness(s, options).rise);
    });
  };
  return {
      of_hessian("Hessian lambda_max", batches,
                 [](const Hessian& h, const ParamList&) { return largest_eigenvalue(h); }),
      of_hessian("Hessian trace", batches,
                 [](const Hessian& h, const ParamList&) {
                   return scaled_trace(h, Tensor::full({h.size()}, DType::f64, 1));
                 }),
      worst("worst case, l2", BallShape::plain),
      average("average case", BallShape::plain, 300),
      worst("adaptive worst case, l2", BallShape::elementwise),
      worst("adaptive worst case, linf", BallShape::elementwise, BallNorm::linf),
      average("adaptive average case", BallShape::elementwise, 1200),
      of_hessian("adaptive trace limit", batches,
                 [](const Hessian& h, const ParamList& p) {
                   return scaled_trace(h, h.space().flatten(p.values()));
                 }),
      worst("worst case, W (1 + X)", BallShape::right_product),
      worst("worst case, (1 + X) W", BallShape::left_product),
      of_surface("Fisher-Rao norm", batches,
                 [](const Surface& s) { return exact_estimate(fisher_rao_norm(s).value); }),
      {"relative flatness",
       [batches](const ParamList& p) { return relative_flatness_of(batches, p); }},
      pac_bayes("PAC-Bayes sigma", false),
      pac_bayes("PAC-Bayes alpha", true),
      of_hessian("Muon: spectral ball", batches,
                 [](const Hessian& h, const ParamList& p) {
                   return spectral_ball_curvature(
                              h, h.space(), p,
                              {.random_starts = 30, .max_iterations = 2000, .tolerance = 1e-11})
                       .value;
                 }),
      of_hessian("Adam: preconditioned", batches,
                 [](const Hessian& h, const ParamList&) { return adam_curvature(h); }),
  };
}

}  // namespace basin
