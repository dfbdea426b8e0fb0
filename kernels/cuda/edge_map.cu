// The halves of an edge convolution's linear map on CUDA: one thread per element of a half.
#include "basin/kernels/edge_map.h"

#include "basin/kernels/cuda/elements.cuh"

namespace basin {
namespace {

template <class T>
void split(const T* w, int64_t in, T* neighbour, T* centre, int64_t rows) {
  cuda::map_elements(SplitEdgeMap::name, rows, in, [=] __device__(int64_t r, int64_t c) {
    const int64_t i = r * in + c, left = 2 * r * in + c, right = left + in;
    neighbour[i] = w[left];
    centre[i] = w[right] - w[left];
  });
}

template <class T>
void join(const T* neighbour, const T* centre, int64_t in, T* w, int64_t rows) {
  cuda::map_elements(JoinEdgeMap::name, rows, in, [=] __device__(int64_t r, int64_t c) {
    const int64_t i = r * in + c, left = 2 * r * in + c;
    w[left] = neighbour[i] - centre[i];
    w[left + in] = centre[i];
  });
}

}  // namespace

void SplitEdgeMap::cuda(const Tensor& w, Tensor& neighbour, Tensor& centre) {
  dispatch_float(w.dtype(), name, [&](auto z) {
    using T = decltype(z);
    split(cuda::in_ptr<T>(w), neighbour.size(1), cuda::out_ptr<T>(neighbour),
          cuda::out_ptr<T>(centre), neighbour.size(0));
  });
}

void JoinEdgeMap::cuda(const Tensor& neighbour, const Tensor& centre, Tensor& w) {
  dispatch_float(w.dtype(), name, [&](auto z) {
    using T = decltype(z);
    join(cuda::in_ptr<T>(neighbour), cuda::in_ptr<T>(centre), neighbour.size(1),
         cuda::out_ptr<T>(w), neighbour.size(0));
  });
}

}  // namespace basin
