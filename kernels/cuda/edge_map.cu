// The halves of an edge convolution's linear map on CUDA: one thread per element of a half.
#include "basin/kernels/edge_map.h"

#include "basin/kernels/cuda/grid.cuh"

namespace basin {
namespace {

template <class T>
void split(const T* w, int64_t in, T* neighbour, T* centre, int64_t n) {
  cuda::for_items(SplitEdgeMap::name, n, [=] __device__(int64_t i) {
    const int64_t left = i / in * in + i, right = left + in;  // row r of w starts at 2 r in
    neighbour[i] = w[left];
    centre[i] = w[right] - w[left];
  });
}

template <class T>
void join(const T* neighbour, const T* centre, int64_t in, T* w, int64_t n) {
  cuda::for_items(JoinEdgeMap::name, n, [=] __device__(int64_t i) {
    const int64_t left = i / in * in + i;
    w[left] = neighbour[i] - centre[i];
    w[left + in] = centre[i];
  });
}

}  // namespace

void SplitEdgeMap::cuda(const Tensor& w, Tensor& neighbour, Tensor& centre) {
  dispatch_float(w.dtype(), name, [&](auto z) {
    using T = decltype(z);
    split(cuda::in_ptr<T>(w), neighbour.size(1), cuda::out_ptr<T>(neighbour),
          cuda::out_ptr<T>(centre), neighbour.numel());
  });
}

void JoinEdgeMap::cuda(const Tensor& neighbour, const Tensor& centre, Tensor& w) {
  dispatch_float(w.dtype(), name, [&](auto z) {
    using T = decltype(z);
    join(cuda::in_ptr<T>(neighbour), cuda::in_ptr<T>(centre), neighbour.size(1),
         cuda::out_ptr<T>(w), neighbour.numel());
  });
}

}  // namespace basin
