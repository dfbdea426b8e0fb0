// The largest product of each channel with any row of a cloud, on CUDA (kernels/cuda/row_max.cu).
#pragma once
#include <limits>

#include "basin/kernels/cuda/grid.cuh"

namespace basin::cuda {

template <class T>
struct Best {
  T value = -std::numeric_limits<T>::infinity();
  int32_t point = 0;
};
// Whether b replaces a: a total order, so that points may be met in any order.
template <class T>
__device__ bool beats(const Best<T>& b, const Best<T>& a) {
  if (b.value != b.value) return a.value == a.value || b.point > a.point;
  if (a.value != a.value) return false;
  return b.value > a.value || (b.value == a.value && b.point < a.point);
}

// Maxima over runs of points of each cloud.
struct RunMaxima {
  Tensor value, place;  // [B runs, Cout], i32 [B runs, Cout]
  int64_t runs = 0;
};

// Over the runs: max_n sign(gamma[c]) x[b, n, :] . w[c, :] and the lowest n that reaches it; the
// sign of zero is zero, so that point 0 wins. A NaN product wins. Equal rows give equal bits.
RunMaxima row_max(const char* name, const Tensor& x,      // [B, N, Cin]
                  const Tensor& w, const Tensor& gamma);  // [Cout, Cin], [Cout]

// The maximum of cloud b and channel c over its runs.
template <class T>
__device__ Best<T> join_runs(const T* value, const int32_t* place, int64_t runs, int64_t channels,
                             int64_t b, int64_t c) {
  Best<T> top;
  for (int64_t run = 0; run < runs; ++run) {
    const int64_t at = (b * runs + run) * channels + c;
    const Best<T> next{value[at], place[at]};
    if (beats(next, top)) top = next;
  }
  return top;
}

}  // namespace basin::cuda
