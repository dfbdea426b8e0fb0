// The moments in two passes (see row_moments.h). The column sums are taken of x - x[0], so that a
// constant column gets its exact mean and a zero row in the matrix.
#include "basin/kernels/cpu/row_moments.h"

#include <algorithm>

#include "basin/core/parallel.h"
#include "basin/core/tensor.h"
#include "basin/kernels/cpu/hot.h"
#include "basin/kernels/gemm.h"

namespace basin {
namespace {

constexpr int64_t kBlockRows = 512;  // one product: the block and its Gram matrix stay in L2
constexpr int64_t kStrip = 128;      // rows of a symmetric matrix multiplied together
constexpr int64_t kMeanRows = 8;     // of the matrix, divided by the number of rows together
constexpr int64_t kMaxGroups = 16;   // each group of blocks owns one n x n sum

template <class T>
BASIN_HOT void add_columns(const T* __restrict x, const T* __restrict shift, int64_t rows,
                           int64_t n, double* __restrict sum) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    const T *x0 = x + r * n, *x1 = x0 + n, *x2 = x1 + n, *x3 = x2 + n;
    for (int64_t c = 0; c < n; ++c) {
      const double base = shift[c];
      sum[c] += ((x0[c] - base) + (x1[c] - base)) + ((x2[c] - base) + (x3[c] - base));
    }
  }
  for (; r < rows; ++r) {
    for (int64_t c = 0; c < n; ++c) sum[c] += static_cast<double>(x[r * n + c]) - shift[c];
  }
}

template <class T>
BASIN_HOT void subtract_row(const T* __restrict x, const T* __restrict centre, int64_t rows,
                            int64_t n, T* __restrict out, int64_t ld) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < n; ++c) out[r * ld + c] = x[r * n + c] - centre[c];
  }
}

// sum += part, a part of a matrix, from the first of its rows on.
template <class T>
BASIN_HOT void add_rows(const T* __restrict part, int64_t rows, int64_t width, int64_t stride,
                        double* __restrict sum) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < width; ++i) {
      sum[r * stride + i] += static_cast<double>(part[r * stride + i]);
    }
  }
}

template <class T>
void column_means(const T* x, int64_t rows, int64_t n, double* mean, T* centre) {
  const int64_t tiles = tile_count(rows, kBlockRows);
  Tensor sums = Tensor::zeros({tiles, n}, DType::f64);
  double* p = sums.mutable_data<double>();
  parallel_tiles(tiles, [&](int64_t tile) {
    const int64_t begin = tile * kBlockRows;
    hot([&] {
      add_columns<T>(x + begin * n, x, std::min(kBlockRows, rows - begin), n, p + tile * n);
    });
  });
  for (int64_t tile = 1; tile < tiles; ++tile)
    hot([&] { add_rows<double>(p + tile * n, 1, n, n, p); });
  for (int64_t c = 0; c < n; ++c) {
    mean[c] = x[c] + p[c] / static_cast<double>(rows);
    centre[c] = static_cast<T>(mean[c]);
  }
}

}  // namespace

template <class T>
void centre_rows(const T* x, const T* centre, int64_t rows, int64_t n, T* out, int64_t ld) {
  hot([&] { subtract_row<T>(x, centre, rows, n, out, ld); });
}

template <class T>
void row_moments(const T* x, int64_t rows, int64_t n, double* moments) {
  row_cross_moments<T>(x, x, rows, n, moments);
}

template <class T>
void row_cross_moments(const T* x, const T* t, int64_t rows, int64_t n, double* moments) {
  const bool same = x == t;
  Tensor centres = Tensor::empty({2, n}, kDTypeOf<T>), mean_x = Tensor::empty({n}, DType::f64);
  T *centre_t = centres.mutable_data<T>(), *centre_x = same ? centre_t : centre_t + n;
  column_means<T>(t, rows, n, moments, centre_t);
  if (!same) column_means<T>(x, rows, n, mean_x.mutable_data<double>(), centre_x);

  const int64_t blocks = tile_count(rows, kBlockRows);
  const int64_t per_group = tile_count(blocks, kMaxGroups);
  const int64_t groups = tile_count(blocks, per_group), square = n * n;
  Tensor sums = Tensor::zeros({groups, n, n}, DType::f64);
  double* p = sums.mutable_data<double>();
  parallel_tiles(groups, [&](int64_t group) {
    Tensor scratch = Tensor::empty({2 * kBlockRows * n + square}, kDTypeOf<T>);
    T *left = scratch.mutable_data<T>(), *right = same ? left : left + kBlockRows * n;
    T* product = left + 2 * kBlockRows * n;
    const int64_t last = std::min(blocks, (group + 1) * per_group);
    for (int64_t block = group * per_group; block < last; ++block) {
      const int64_t begin = block * kBlockRows, count = std::min(kBlockRows, rows - begin);
      centre_rows<T>(x + begin * n, centre_x, count, n, left, n);
      if (!same) centre_rows<T>(t + begin * n, centre_t, count, n, right, n);
      // Of a symmetric matrix, strips of rows up to the diagonal.
      for (int64_t r = 0; r < n; r += same ? kStrip : n) {
        const int64_t strip = same ? std::min(kStrip, n - r) : n, width = same ? r + strip : n;
        gemm_serial<T>(true, false, strip, width, count, T(1), left + r, n, right, n, T(0), product,
                       n);
        hot([&] { add_rows<T>(product, strip, width, n, p + group * square + r * n); });
      }
    }
  });
  double* matrix = moments + n;
  parallel_for(n, kMeanRows, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t c = 0; c < (same ? r + 1 : n); ++c) {
        double sum = 0;
        for (int64_t group = 0; group < groups; ++group) sum += p[group * square + r * n + c];
        matrix[r * n + c] = sum / static_cast<double>(rows);
      }
    }
  });
  for (int64_t r = 0; same && r < n; ++r) {
    for (int64_t c = 0; c < r; ++c) matrix[c * n + r] = matrix[r * n + c];
  }
}

template void centre_rows(const float*, const float*, int64_t, int64_t, float*, int64_t);
template void centre_rows(const double*, const double*, int64_t, int64_t, double*, int64_t);
template void row_moments(const float*, int64_t, int64_t, double*);
template void row_moments(const double*, int64_t, int64_t, double*);
template void row_cross_moments(const float*, const float*, int64_t, int64_t, double*);
template void row_cross_moments(const double*, const double*, int64_t, int64_t, double*);

}  // namespace basin
