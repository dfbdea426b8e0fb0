// One logical matrix of a parameter, taken out and put back: [rows, cols] f64 on the CPU, whatever
// precision and device the parameter has.
#pragma once
#include <cstring>

#include "basin/core/params.h"

namespace basin {

inline Tensor matrix_of(const Tensor& value, const MatrixBlock& b) {
  const Tensor host = value.to(Device::cpu).to(DType::f64);
  return Tensor::from(
      std::span(host.data<double>() + b.offset, static_cast<size_t>(b.rows * b.cols)),
      {b.rows, b.cols});
}

inline Tensor matrix_of(const Param& p, size_t block) { return matrix_of(p.value, p.view[block]); }

// The other elements keep their bits.
inline void put_matrix(Param& p, size_t block, const Tensor& matrix) {
  Tensor host = p.value.to(Device::cpu).to(DType::f64).clone();
  std::memcpy(host.mutable_data<double>() + p.view[block].offset, matrix.raw(), matrix.bytes());
  p.value.copy_from(host.to(p.value.dtype()));
}

}  // namespace basin
