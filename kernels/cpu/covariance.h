// Column means and covariance of the rows of a matrix, from which the statistics of any linear map
// of the rows follow without forming the map: mean(x w) = mu w, var(x w) = w S w^T.
#pragma once
#include <cstdint>

#include "basin/core/tensor.h"

namespace basin {

struct Covariance {
  Tensor mean;    // [n] f64
  Tensor centre;  // [n], the mean in the element type of x
  Tensor matrix;  // [n, n] f64, divided by the number of rows (biased)
};

// x [rows, n] of type T. Rows are centred before the products, which are taken in T over fixed
// blocks of rows; blocks are added in double, in order. Defined for float and double.
template <class T>
Covariance covariance(const T* x, int64_t rows, int64_t n);

// out = x - centre, row by row, in the calling thread.
template <class T>
void centre_rows(const T* x, const T* centre, int64_t rows, int64_t n, T* out);

}  // namespace basin
