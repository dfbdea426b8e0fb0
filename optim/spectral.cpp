// Maps of singular values and of eigenvalues.
#include "basin/optim/detail/spectral.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "basin/kernels/gemm.h"

namespace basin {

Tensor product(const Tensor& a, bool trans_a, const Tensor& b, bool trans_b) {
  const int64_t m = a.size(trans_a ? 1 : 0), k = a.size(trans_a ? 0 : 1);
  const int64_t n = b.size(trans_b ? 0 : 1);
  Tensor out = Tensor::empty({m, n}, DType::f64);
  gemm_serial(trans_a, trans_b, m, n, k, 1.0, a.data<double>(), a.size(1), b.data<double>(),
              b.size(1), 0.0, out.mutable_data<double>(), n);
  return out;
}

int64_t numerical_rank(const Tensor& s, int64_t rows, int64_t cols) {
  const double* v = s.data<double>();
  const double cut = s.numel() == 0 ? 0.0
                                    : v[0] * static_cast<double>(std::max(rows, cols)) *
                                          std::numeric_limits<double>::epsilon();
  return std::count_if(v, v + s.numel(), [&](double value) { return value > cut; });
}

Tensor recombined(const SvdFactors& f, int64_t count,
                  const std::function<double(int64_t)>& weight) {
  const int64_t m = f.u.size(0), p = f.s.numel(), n = f.vt.size(1);
  Tensor scaled = f.vt.clone();
  double* v = scaled.mutable_data<double>();
  for (int64_t j = 0; j < count; ++j) {
    const double w = weight(j);
    for (int64_t i = 0; i < n; ++i) v[j * n + i] *= w;
  }
  Tensor out = Tensor::zeros({m, n}, DType::f64);
  if (count > 0) {
    gemm_serial(false, false, m, n, count, 1.0, f.u.data<double>(), p, v, n, 0.0,
                out.mutable_data<double>(), n);
  }
  return out;
}

Tensor spectral_power(const Tensor& m, double power, bool polar) {
  const SvdFactors f = Svd::cpu(m);
  const int64_t rank = numerical_rank(f.s, m.size(0), m.size(1));
  const double* s = f.s.data<double>();
  double square = 0;
  for (int64_t j = 0; j < rank; ++j) square += std::pow(s[j], 2 * power);
  const double size = polar && rank > 0 ? std::sqrt(static_cast<double>(rank) / square) : 1.0;
  return recombined(f, rank, [&](int64_t j) { return size * std::pow(s[j], power); });
}

Tensor inverse_root(const Tensor& a, double power) {
  const EighFactors e = Eigh::cpu(a);
  const int64_t n = a.size(0);
  const double* w = e.values.data<double>();  // ascending
  const double cut =
      std::max(0.0, w[n - 1]) * static_cast<double>(n) * std::numeric_limits<double>::epsilon();
  Tensor scaled = e.vectors.clone();
  double* q = scaled.mutable_data<double>();
  for (int64_t j = 0; j < n; ++j) {
    const double factor = w[j] > cut ? std::pow(w[j], -power) : 0.0;
    for (int64_t i = 0; i < n; ++i) q[i * n + j] *= factor;
  }
  return product(scaled, false, e.vectors, true);
}

}  // namespace basin
