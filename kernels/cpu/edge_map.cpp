// The halves of an edge convolution's linear map on the CPU: some ten thousand elements, so one
// thread.
#include "basin/kernels/edge_map.h"

namespace basin {

void SplitEdgeMap::cpu(const Tensor& w, Tensor& neighbour, Tensor& centre) {
  dispatch_float(w.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const T* from = w.data<T>();
    T *left = neighbour.mutable_data<T>(), *right = centre.mutable_data<T>();
    const int64_t in = neighbour.size(1);
    for (int64_t row = 0, at = 0; row < neighbour.size(0); ++row, from += 2 * in) {
      for (int64_t k = 0; k < in; ++k, ++at) {
        left[at] = from[k];
        right[at] = from[in + k] - from[k];
      }
    }
  });
}

void JoinEdgeMap::cpu(const Tensor& neighbour, const Tensor& centre, Tensor& w) {
  dispatch_float(w.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const T *left = neighbour.data<T>(), *right = centre.data<T>();
    T* to = w.mutable_data<T>();
    const int64_t in = neighbour.size(1);
    for (int64_t row = 0, at = 0; row < neighbour.size(0); ++row, to += 2 * in) {
      for (int64_t k = 0; k < in; ++k, ++at) {
        to[k] = left[at] - right[at];
        to[in + k] = right[at];
      }
    }
  });
}

}  // namespace basin
