// The moments of a layer of kernels/linear_max.h on the CPU: those that the forward pass kept, or
// found again.
#pragma once
#include "basin/kernels/cpu/row_moments.h"
#include "basin/kernels/cpu/vectors.h"
#include "basin/kernels/linear_max.h"

namespace basin {

template <class T>
Tensor moments_of(const LinearMaxPoint& at) {  // [1 + Cin, Cin] f64
  if (at.kept.moments.defined()) return at.kept.moments;
  const int64_t rows = at.x.size(0) * at.x.size(1), in = at.x.size(2);
  Tensor moments = Tensor::empty({1 + in, in}, DType::f64);
  row_moments<T>(at.x.data<T>(), rows, in, moments.mutable_data<double>());
  return moments;
}

inline Tensor spread_of(const LinearMaxPoint& at, const Tensor& moments) {  // [Cout, Cin] f64
  if (at.kept.spread.defined()) return at.kept.spread;
  Tensor spread = Tensor::empty(at.w.shape(), DType::f64);
  wide_product(at.w, moments.data<double>() + at.w.size(1), spread);
  return spread;
}

}  // namespace basin
