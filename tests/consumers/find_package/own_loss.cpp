// A user's program: the Hessian of the user's own loss, logistic regression over n rows,
//   L(w) = mean log(1 + exp(-y x.w)),   H = X^T diag(p (1 - p)) X / n,   p = sigmoid(x.w)
// by products of the recording against the formula, and its largest eigenvalue against the dense
// matrix.
#include <basin/basin.h>

#include <cmath>
#include <cstdio>

using namespace basin;

int main() try {
  constexpr int64_t n = 40, d = 6;
  Rng rng(3, stream_id("rows"));
  std::vector<double> x(n * d), y(n), w(d), v(d);
  for (double& value : x) value = rng.normal();
  for (double& value : y) value = rng.normal() > 0 ? 1.0 : -1.0;
  for (double& value : w) value = rng.normal();
  for (double& value : v) value = rng.normal();

  const Tensor rows = Tensor::from(x, {n, d}), labels = Tensor::from(y, {n, 1});
  const Fn loss = [&](const Tensors& in) {
    return Tensors{mean(softplus(neg(labels * matmul(rows, in[0]))))};
  };
  ParamList params;
  params.add_matrix("w", Tensor::from(w, {d, 1}), Role::matrix);
  const CurvatureOperator hessian(
      {{.loss = loss, .outputs = {}, .loss_of_outputs = {}, .examples = n}}, params);
  const Tensor product = hessian.apply(Tensor::from(v, {1, d}));

  double worst = 0;
  for (int64_t i = 0; i < d; ++i) {
    double expected = 0;
    for (int64_t r = 0; r < n; ++r) {
      double margin = 0, along = 0;
      for (int64_t j = 0; j < d; ++j) {
        margin += x[r * d + j] * w[j];
        along += x[r * d + j] * v[j];
      }
      const double p = 1 / (1 + std::exp(-margin));
      expected += x[r * d + i] * p * (1 - p) * along / n;
    }
    worst = std::max(worst, std::abs(product.at(i) - expected));
  }
  const LanczosResult top = lanczos(hessian, {.top = 1, .tolerance = 1e-10});
  const Tensor dense = dense_matrix(hessian);
  double trace = 0, largest_row = 0;
  for (int64_t i = 0; i < d; ++i) {
    double row = 0;
    for (int64_t j = 0; j < d; ++j) row += std::abs(dense.at(i * d + j));
    largest_row = std::max(largest_row, row);
    trace += dense.at(i * d + i);
  }
  const double lambda = top.top.at(0).value;
  std::printf("H v off by %.1e, lambda max %.6f, trace %.6f\n", worst, lambda, trace);
  return worst < 1e-14 && top.converged && lambda <= largest_row && lambda >= trace / d ? 0 : 1;
} catch (const Error& error) {
  std::fprintf(stderr, "own_loss: %s\n", error.what());
  return error.exit_code();
}
