// Gaussian random fields of mean zero: the functions that operators are learned from.
//   by a kernel    values at n points, of covariance K_ij = k(x_i, x_j) + jitter (i = j): L z with
//                  K = L L^T (LAPACK potrf) and z of independent N(0, 1)
//       rbf        k = exp(-|x - x'|^2 / (2 length^2))
//       periodic   k = exp(-2 sin^2(pi |x - x'| / period) / length^2)
//   by a spectrum  u(x) = sqrt(2) sigma sum_k (|2 pi k|^2 + tau^2)^(-gamma/2)
//                         (a_k cos 2 pi k.x + b_k sin 2 pi k.x),  a_k, b_k of N(0, 1):
//                  covariance sigma^2 (-Lap + tau^2)^(-gamma) on functions of mean zero. The data
//                  of the Burgers operator in Wang, Wang, Perdikaris (2021) have sigma = 625,
//                  tau = 5, gamma = 4.
// Function i of a seed is a pure function of (seed, i): any range can be drawn by itself.
#pragma once
#include <cstdint>
#include <functional>

#include "basin/analysis/pde/interpolation.h"
#include "basin/analysis/pde/periodic_fields.h"
#include "basin/core/tensor.h"

namespace basin {

struct FieldSpan {  // functions first .. first + count - 1 of a seed
  uint64_t seed = 0;
  int64_t first = 0, count = 1;
};

class KernelField {
 public:
  // n equidistant points of [low, high], both ends among them.
  static KernelField rbf(int64_t n, double length, double low = 0, double high = 1);
  // n equidistant points low + i period / n.
  static KernelField periodic(int64_t n, double length, double low = 0, double period = 1);

  const Tensor& points() const { return points_; }  // [n]
  Tensor draw(const FieldSpan& span) const;         // [count, n]
  Interpolant functions(const FieldSpan& span, Interpolation kind) const;
  // 1e-13, or the first of 1e-12, 1e-11 .. 1e-8 with which rounding leaves K positive definite.
  double jitter() const { return jitter_; }

 private:
  KernelField(int64_t n, double low, double length, bool periodic, double spacing,
              const std::function<double(double distance)>& kernel);
  Tensor points_;
  double low_, length_;  // of the domain
  bool periodic_;
  double jitter_ = 0;
  Tensor factor_;  // L^T [n, n]; what lies below the diagonal is not read
};

struct FieldSpectrum {
  double sigma = 625, tau = 5, gamma = 4;
  int64_t modes = 128;  // largest |k_j|
};
PeriodicFields spectral_field(const FieldSpectrum& spectrum, const FieldSpan& span);     // d = 1
PeriodicFields spectral_field_2d(const FieldSpectrum& spectrum, const FieldSpan& span);  // d = 2

}  // namespace basin
