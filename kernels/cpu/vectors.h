// Short vector operations of the fused CPU kernels, compiled for every instruction set, in the
// calling thread. Orders of addition are fixed.
#pragma once
#include <cstdint>

#include "basin/core/tensor.h"

namespace basin {

// sum a b in double; (T, U) is (float, float), (float, double) or (double, double)
template <class T, class U>
double dot(const T* a, const U* b, int64_t n);

// y += s x; (T, U) is (float, float), (float, double) or (double, double)
template <class T, class U>
void add_scaled(U s, const T* x, int64_t n, U* y);

// y += s (x - centre)
template <class T>
void add_centred(double s, const T* x, const T* centre, int64_t n, double* y);

// sum (a - centre) b in double
template <class T>
double dot_centred(const T* a, const T* centre, const T* b, int64_t n);

// y[j] = sum over r of x[r * stride + j], of few rows in their order, in double, plus beta y[j];
// beta = 0 never reads y
template <class T>
void sum_of_rows(const T* x, int64_t rows, int64_t stride, T beta, T* y, int64_t n);

// to [cols, rows] = transpose of from [rows, cols], in squares that fit the first cache; ld: their
// row strides. The two do not overlap.
template <class T>
void transpose(const T* from, int64_t rows, int64_t cols, int64_t ld_from, T* to, int64_t ld_to);

// product [Cout, Cin] = w S + beta product in double; w [Cout, Cin], s [Cin, Cin]
void wide_product(const Tensor& w, const double* s, Tensor& product, double beta = 0);

}  // namespace basin
