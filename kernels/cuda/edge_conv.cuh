// What the CUDA passes of the edge convolution share (formulas in kernels/edge_conv.h): sizes, the
// arrays of a call, the edges into each point. A thread owns one point and one channel and walks
// the point's edges: the lanes of a warp read 32 neighbouring channels of the same neighbour.
#pragma once
#include "basin/kernels/cuda/activation.cuh"
#include "basin/kernels/cuda/by_target.cuh"
#include "basin/kernels/cuda/rows.cuh"
#include "basin/kernels/edge_conv.h"

namespace basin::cuda {

// A row's edges are work enough: few rows per tile give the device blocks to choose from.
inline constexpr int64_t kEdgeTileRows = 64;

template <class T>
struct EdgeArrays {
  int64_t batch, points, neighbours, channels;
  const T *u, *v;         // [B, N, C]
  const int32_t* index;   // [B, N, k]
  const T* gamma;         // [C]
  const double* centre;   // [3, C]: centre_u, centre_v, mean - centre_u - centre_v
  const T* winner;        // [B, N, C]
  const T* sums;          // [B, N, C], null when the statistics are given
  const uint8_t* argmax;  // [B, N, C]
  const int32_t* degree;  // [B, N]
  double eps;
  Act act;
  T slope;
  bool given;

  int64_t rows() const { return batch * points; }
  double edges() const { return static_cast<double>(batch * points * neighbours); }
  __device__ T centre_u(int64_t c) const { return static_cast<T>(centre[c]); }
  __device__ T centre_v(int64_t c) const { return static_cast<T>(centre[channels + c]); }
  __device__ double mean_offset(int64_t c) const { return centre[2 * channels + c]; }
  // x at channel c of the first point of row r's cloud. Rows fit 32 bits, whose division is cheap.
  __device__ const T* cloud(const T* x, int64_t r, int64_t c) const {
    const auto row = static_cast<uint32_t>(r), n = static_cast<uint32_t>(points);
    return x + static_cast<int64_t>(row - row % n) * channels + c;
  }
};

// Of the forward pass, at.saved is where its results go.
template <class T>
EdgeArrays<T> edge_arrays(const EdgeConvPoint& at, const BnAct& how) {
  EdgeArrays<T> a;
  a.batch = at.u.size(0);
  a.points = at.u.size(1);
  a.neighbours = at.index.size(2);
  a.channels = at.u.size(2);
  a.u = in_ptr<T>(at.u);
  a.v = in_ptr<T>(at.v);
  a.index = in_ptr<int32_t>(at.index);
  a.gamma = in_ptr<T>(at.gamma);
  a.centre = in_ptr<double>(at.saved.centre);
  a.winner = in_ptr<T>(at.saved.winner);
  a.sums = how.given_stats ? nullptr : in_ptr<T>(at.saved.sums);
  a.argmax = in_ptr<uint8_t>(at.saved.argmax);
  a.degree = in_ptr<int32_t>(at.saved.degree);
  a.eps = how.eps;
  a.act = how.act;
  a.slope = static_cast<T>(how.slope);
  a.given = how.given_stats;
  return a;
}

// The edges into each point, and their numbers in degree [B, N] i32.
inline ByTarget sort_edges(const char* name, const Tensor& index, Tensor& degree) {
  Tensor rows;
  return sort_clouds(name, index, degree, rows);
}

// The same, as the forward pass left it.
inline ByTarget edges_into(const char* name, const EdgeConvPoint& at) {
  if (at.saved.order.defined()) return {at.saved.start, at.saved.order};
  Tensor degree = Tensor::empty({at.index.size(0), at.index.size(1)}, DType::i32, Device::cuda);
  return sort_edges(name, at.index, degree);
}

// [kinds, C]. Apart from the passes: nvcc loses the braces of a shape beside a device lambda.
inline Tensor per_channel(int64_t kinds, int64_t channels, DType dtype) {
  return Tensor::empty({kinds, channels}, dtype, Device::cuda);
}

}  // namespace basin::cuda
