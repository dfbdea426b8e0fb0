// Real functions on the periodic unit interval or square as trigonometric sums over wave vectors k,
//   u(x) = sum_k  a_k cos(2 pi k . x) + b_k sin(2 pi k . x),
// one k of each pair +-k; the a of k = 0 is the mean. What a heat equation or a shift does to them
// is exact:
//   u_t = nu Lap u         a_k, b_k times exp(-nu |2 pi k|^2 t)
//   u_t + c . grad u = 0   the pair (a_k, b_k) turned by the angle 2 pi k . c t
#pragma once
#include <cstdint>
#include <vector>

#include "basin/core/tensor.h"

namespace basin {

struct PeriodicFields {
  Tensor waves;         // k: [modes, d] f64, whole numbers; d = 1 or 2
  Tensor cosine, sine;  // a and b: [count, modes] f64

  Tensor values(const Tensor& x) const;            // [n, d] f64, anywhere -> [count, n]
  PeriodicFields heat(double nu, double t) const;  // after the time t; nu, t >= 0
  PeriodicFields shifted(const std::vector<double>& by) const;  // u(x - by), `by` of d numbers
};

Tensor line_waves(int64_t modes);  // 1 .. modes: [modes, 1]
// Half of |k_1|, |k_2| <= modes without 0, that of k_1 > 0 or (k_1 = 0 and k_2 > 0):
// [2 modes (modes + 1), 2].
Tensor square_waves(int64_t modes);

}  // namespace basin
