// Column means and covariance of the rows of a matrix, from which the statistics of any linear map
// of the rows follow without forming the map: mean(x w) = mu w, var(x w) = w S w^T.
#pragma once
#include <cstdint>

namespace basin {

// The moments of x [rows, n] of type T: row 0 is the mean, rows 1..n the covariance (biased:
// divided by the number of rows). Rows are centred before the products, which are taken in T over
// fixed blocks of rows; the blocks are added in double, in order. Defined for float and double.
template <class T>
void row_moments(const T* x, int64_t rows, int64_t n, double* moments);  // [1 + n, n]

// The same of x with t [rows, n]: row 0 is the mean of t, the matrix [i, j] the mean of
// (x - mean x)_i (t - mean t)_j. Half of the derivative of the covariance of x along t is its
// symmetric part.
template <class T>
void row_cross_moments(const T* x, const T* t, int64_t rows, int64_t n, double* moments);

// out[r, :n] = x[r, :] - centre, in the calling thread; ld is the row stride of out.
template <class T>
void centre_rows(const T* x, const T* centre, int64_t rows, int64_t n, T* out, int64_t ld);

}  // namespace basin
