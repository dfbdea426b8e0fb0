// The maximum and the mean over the rows of a cloud of a batch normalisation's activation, made
// where they are read: kernels/norm_pool.h and the closed form of kernels/linear_max.h, on the CPU.
#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>

#include "basin/kernels/cpu/activation.h"
#include "basin/kernels/cpu/hot.h"

namespace basin {

// y[r, c] = act((x[r, c] - mean[c]) scale[c] + beta[c]), rows `stride` elements apart.
template <class T>
struct PoolRows {
  const T *x, *mean, *scale, *beta;
  int64_t rows, stride, channels;
};

template <class T, Act kAct>
BASIN_HOT void pool_rows_loop(const T* __restrict x, const T* __restrict mean,
                              const T* __restrict scale, const T* __restrict beta, T slope,
                              int64_t rows, int64_t stride, int64_t n, T* __restrict best,
                              int32_t* __restrict at, double* __restrict sum) {
  const auto y = [&](int64_t i, int64_t c) {
    return activate<T, kAct>((x[i + c] - mean[c]) * scale[c] + beta[c], slope);
  };
  const auto larger = [](T next, T than) { return next > than || (next != next && than == than); };
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {  // four rows at a time: fewer passes over the results
    const int64_t i0 = r * stride, i1 = i0 + stride, i2 = i1 + stride, i3 = i2 + stride;
    const auto first = static_cast<int32_t>(r);
    BASIN_INDEPENDENT
    for (int64_t c = 0; c < n; ++c) {
      const T y0 = y(i0, c), y1 = y(i1, c), y2 = y(i2, c), y3 = y(i3, c);
      T top = best[c];
      int32_t where = at[c];
      where = larger(y0, top) ? first : where;
      top = larger(y0, top) ? y0 : top;
      where = larger(y1, top) ? first + 1 : where;
      top = larger(y1, top) ? y1 : top;
      where = larger(y2, top) ? first + 2 : where;
      top = larger(y2, top) ? y2 : top;
      where = larger(y3, top) ? first + 3 : where;
      top = larger(y3, top) ? y3 : top;
      best[c] = top;
      at[c] = where;
      sum[c] += static_cast<double>((y0 + y1) + (y2 + y3));
    }
  }
  for (; r < rows; ++r) {
    const auto point = static_cast<int32_t>(r);
    BASIN_INDEPENDENT
    for (int64_t c = 0; c < n; ++c) {
      const T y0 = y(r * stride, c);
      at[c] = larger(y0, best[c]) ? point : at[c];
      best[c] = larger(y0, best[c]) ? y0 : best[c];
      sum[c] += static_cast<double>(y0);
    }
  }
}

// best and at, the largest y of each channel and the lowest row that has it; a NaN counts as the
// largest. sum += the sum of y.
template <class T>
void pool_rows(const PoolRows<T>& in, Act act, T slope, T* best, int32_t* at, double* sum) {
  std::fill_n(best, in.channels, -std::numeric_limits<T>::infinity());
  std::fill_n(at, in.channels, 0);
  dispatch_act(act, [&](auto a) {
    hot([&] {
      pool_rows_loop<T, a()>(in.x, in.mean, in.scale, in.beta, slope, in.rows, in.stride,
                             in.channels, best, at, sum);
    });
  });
}

}  // namespace basin
