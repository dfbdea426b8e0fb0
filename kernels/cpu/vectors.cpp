// Short vector operations: see vectors.h. Sums run in sixteen lanes, so that they vectorise in one
// fixed order.
#include "basin/kernels/cpu/vectors.h"

#include <algorithm>

#include "basin/kernels/cpu/hot.h"
#include "basin/kernels/gemm.h"

namespace basin {
namespace {

template <class T, class U>
BASIN_HOT double dot_lanes(const T* __restrict a, const U* __restrict b, int64_t n) {
  double lanes[16] = {};
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (int64_t q = 0; q < 16; ++q) {
      lanes[q] += static_cast<double>(a[i + q]) * static_cast<double>(b[i + q]);
    }
  }
  double sum = 0;
  for (; i < n; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  for (double lane : lanes) sum += lane;
  return sum;
}

template <class T>
BASIN_HOT double dot_centred_lanes(const T* __restrict a, const T* __restrict centre,
                                   const T* __restrict b, int64_t n) {
  double lanes[16] = {};
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (int64_t q = 0; q < 16; ++q) {
      lanes[q] += static_cast<double>(a[i + q] - centre[i + q]) * static_cast<double>(b[i + q]);
    }
  }
  double sum = 0;
  for (; i < n; ++i) sum += static_cast<double>(a[i] - centre[i]) * static_cast<double>(b[i]);
  for (double lane : lanes) sum += lane;
  return sum;
}

template <class T, class U>
BASIN_HOT void add_scaled_loop(U s, const T* __restrict x, int64_t n, U* __restrict y) {
  for (int64_t i = 0; i < n; ++i) y[i] += s * static_cast<U>(x[i]);
}

template <class T>
BASIN_HOT void add_centred_loop(double s, const T* __restrict x, const T* __restrict centre,
                                int64_t n, double* __restrict y) {
  for (int64_t i = 0; i < n; ++i) y[i] += s * static_cast<double>(x[i] - centre[i]);
}

template <class T>
BASIN_HOT void sum_of_rows_loop(const T* x, int64_t rows, int64_t stride, T beta, T* y, int64_t n) {
  constexpr int64_t kStrip = 256;
  double sum[kStrip];
  for (int64_t begin = 0; begin < n; begin += kStrip) {
    const int64_t size = std::min(kStrip, n - begin);
    for (int64_t j = 0; j < size; ++j) sum[j] = 0;
    if (beta != T(0)) {
      for (int64_t j = 0; j < size; ++j) sum[j] = static_cast<double>(beta) * y[begin + j];
    }
    for (int64_t r = 0; r < rows; ++r) {
      const T* part = x + r * stride + begin;
      for (int64_t j = 0; j < size; ++j) sum[j] += static_cast<double>(part[j]);
    }
    for (int64_t j = 0; j < size; ++j) y[begin + j] = static_cast<T>(sum[j]);
  }
}

typedef float Eight __attribute__((vector_size(32), may_alias, aligned(4)));

// A square of 8 x 8 in registers: single numbers, then pairs, then fours change places.
BASIN_HOT void transpose_eight(const float* from, int64_t ld_from, float* to, int64_t ld_to) {
  Eight row[8], pair[8], four[8];
  for (int i = 0; i < 8; ++i) row[i] = *reinterpret_cast<const Eight*>(from + i * ld_from);
  for (int i = 0; i < 8; i += 2) {
    pair[i] = __builtin_shufflevector(row[i], row[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    pair[i + 1] = __builtin_shufflevector(row[i], row[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4) {
    for (int c = 0; c < 2; ++c) {
      const Eight above = pair[i + c], below = pair[i + 2 + c];
      four[i + 2 * c] = __builtin_shufflevector(above, below, 0, 1, 8, 9, 4, 5, 12, 13);
      four[i + 2 * c + 1] = __builtin_shufflevector(above, below, 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
  for (int c = 0; c < 4; ++c) {
    *reinterpret_cast<Eight*>(to + c * ld_to) =
        __builtin_shufflevector(four[c], four[c + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    *reinterpret_cast<Eight*>(to + (c + 4) * ld_to) =
        __builtin_shufflevector(four[c], four[c + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

template <class T>
BASIN_HOT void transpose_squares(const T* from, int64_t rows, int64_t cols, int64_t ld_from, T* to,
                                 int64_t ld_to) {
  constexpr int64_t kSquare = 16;
  for (int64_t i0 = 0; i0 < rows; i0 += kSquare) {
    const int64_t i1 = std::min(rows, i0 + kSquare);
    for (int64_t j0 = 0; j0 < cols; j0 += kSquare) {
      const int64_t j1 = std::min(cols, j0 + kSquare);
      if constexpr (sizeof(T) == 4) {
        if (i1 - i0 == kSquare && j1 - j0 == kSquare) {
          for (int64_t i = i0; i < i1; i += 8) {
            for (int64_t j = j0; j < j1; j += 8) {
              transpose_eight(from + i * ld_from + j, ld_from, to + j * ld_to + i, ld_to);
            }
          }
          continue;
        }
      }
      for (int64_t j = j0; j < j1; ++j) {
        for (int64_t i = i0; i < i1; ++i) to[j * ld_to + i] = from[i * ld_from + j];
      }
    }
  }
}

}  // namespace

template <class T, class U>
double dot(const T* a, const U* b, int64_t n) {
  return hot([&] { return dot_lanes<T, U>(a, b, n); });
}

template <class T, class U>
void add_scaled(U s, const T* x, int64_t n, U* y) {
  hot([&] { add_scaled_loop<T, U>(s, x, n, y); });
}

template <class T>
void add_centred(double s, const T* x, const T* centre, int64_t n, double* y) {
  hot([&] { add_centred_loop<T>(s, x, centre, n, y); });
}

template <class T>
double dot_centred(const T* a, const T* centre, const T* b, int64_t n) {
  return hot([&] { return dot_centred_lanes<T>(a, centre, b, n); });
}

template <class T>
void sum_of_rows(const T* x, int64_t rows, int64_t stride, T beta, T* y, int64_t n) {
  hot([&] { sum_of_rows_loop<T>(x, rows, stride, beta, y, n); });
}

template <class T>
void transpose(const T* from, int64_t rows, int64_t cols, int64_t ld_from, T* to, int64_t ld_to) {
  hot([&] { transpose_squares<T>(from, rows, cols, ld_from, to, ld_to); });
}

void wide_product(const Tensor& w, const double* s, Tensor& product, double beta) {
  const int64_t out = w.size(0), in = w.size(1);
  const Tensor wide = w.to(DType::f64);
  gemm<double>(false, false, out, in, in, 1.0, wide.data<double>(), in, s, in, beta,
               product.mutable_data<double>(), in);
}

template double dot(const float*, const float*, int64_t);
template double dot(const float*, const double*, int64_t);
template double dot(const double*, const double*, int64_t);
template void add_scaled(float, const float*, int64_t, float*);
template void add_scaled(double, const float*, int64_t, double*);
template void add_scaled(double, const double*, int64_t, double*);
template void add_centred(double, const float*, const float*, int64_t, double*);
template void add_centred(double, const double*, const double*, int64_t, double*);
template double dot_centred(const float*, const float*, const float*, int64_t);
template double dot_centred(const double*, const double*, const double*, int64_t);
template void sum_of_rows(const float*, int64_t, int64_t, float, float*, int64_t);
template void sum_of_rows(const double*, int64_t, int64_t, double, double*, int64_t);
template void transpose(const float*, int64_t, int64_t, int64_t, float*, int64_t);
template void transpose(const double*, int64_t, int64_t, int64_t, double*, int64_t);

}  // namespace basin
