// What the CUDA passes of PointNet's wide layer share (formulas in kernels/linear_max.h): the
// arrays of a call, and the pass that adds the sparse part of a gradient to its points.
#pragma once
#include "basin/kernels/cuda/activation.cuh"
#include "basin/kernels/cuda/rows.cuh"
#include "basin/kernels/linear_max.h"

namespace basin::cuda {

template <class T>
struct WideLayer {
  int64_t batch, points, in, out;
  const T *x, *w, *bias, *gamma;  // [B, N, Cin], [Cout, Cin], [Cout]
  const T *mean, *var, *y;        // [Cout], [B, Cout]; y is null for Act::none
  const int32_t* argmax;          // [B, Cout]
  double eps;
  Act act;
  T slope;
  bool given;

  int64_t rows() const { return batch * points; }
  double count() const { return static_cast<double>(batch * points); }
  __device__ double inv_std(int64_t c) const { return inverse_deviation(var, c, eps); }
  // Of the winning row: its first element in x, and likewise in a tangent of x.
  __device__ int64_t winner(int64_t b, int64_t c) const {
    return (b * points + argmax[b * out + c]) * in;
  }
};

// Of the forward pass, the results in `p` are where they go.
template <class T>
WideLayer<T> wide_layer(const LinearMaxPoint& p, const BnAct& how) {
  return {p.x.size(0),
          p.x.size(1),
          p.x.size(2),
          p.w.size(0),
          in_ptr<T>(p.x),
          in_ptr<T>(p.w),
          in_ptr<T>(p.bias),
          in_ptr<T>(p.gamma),
          in_ptr<T>(p.mean),
          in_ptr<T>(p.var),
          how.act == Act::none ? nullptr : in_ptr<T>(p.y),
          in_ptr<int32_t>(p.argmax),
          how.eps,
          how.act,
          static_cast<T>(how.slope),
          how.given_stats};
}

// [count, C]. Apart from the passes: nvcc loses the braces of a shape beside a device lambda.
inline Tensor layer_scratch(int64_t rows, int64_t columns, DType dtype) {
  return Tensor::empty({rows, columns}, dtype, Device::cuda);
}

// dx = (dense ? dx + constant : 0), then each channel whose maximum lies at the row adds
// first(b, c) w1[c, :] and, where w2 is not null, second(b, c) w2[c, :]; in the order of the
// channels. A warp owns a row of dx and looks for its channels 32 at a time, which needs no lists
// and no atomics.
template <class T, class First, class Second>
void add_winners(const char* name, const WideLayer<T>& in, const T* constant, First first,
                 const T* w1, Second second, const T* w2, T* dx) {
  constexpr int kHeld = 4;  // elements of the row that a lane holds at once
  for_warps(name, in.rows(), [=] __device__(int64_t row, int lane) {
    const int64_t b = row / in.points, n = row - b * in.points;
    const int32_t* argmax = in.argmax + b * in.out;
    T* to = dx + row * in.in;
    for (int64_t base = 0; base < in.in; base += kHeld * kChannelLanes) {
      T sum[kHeld];
      BASIN_UNROLL
      for (int h = 0; h < kHeld; ++h) {
        const int64_t i = base + h * kChannelLanes + lane;
        sum[h] = constant && i < in.in ? to[i] + constant[i] : T(0);
      }
      for (int64_t c0 = 0; c0 < in.out; c0 += kChannelLanes) {
        unsigned hits = __ballot_sync(0xffffffffu, c0 + lane < in.out && argmax[c0 + lane] == n);
        for (; hits != 0; hits &= hits - 1) {
          const int64_t c = c0 + __ffs(static_cast<int>(hits)) - 1;
          const T on_first = first(b, c), on_second = second(b, c);
          if (on_first == T(0) && on_second == T(0)) continue;
          BASIN_UNROLL
          for (int h = 0; h < kHeld; ++h) {
            const int64_t i = base + h * kChannelLanes + lane;
            if (i >= in.in) break;
            sum[h] += on_first * w1[c * in.in + i];
            if (w2) sum[h] += on_second * w2[c * in.in + i];
          }
        }
      }
      BASIN_UNROLL
      for (int h = 0; h < kHeld; ++h) {
        const int64_t i = base + h * kChannelLanes + lane;
        if (i < in.in) to[i] = sum[h];
      }
    }
  });
}

}  // namespace basin::cuda
