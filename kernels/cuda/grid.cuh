// What every CUDA launcher shares: one checked launch over n independent items (grid-stride loop),
// the error check, and BASIN_SYNC=1, which makes each launch wait so that an error lands at the
// call that caused it.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "basin/core/error.h"

namespace basin::cuda {

inline void check_cuda(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  fail(ErrorKind::resource, what, ": CUDA reports ", cudaGetErrorString(status));
}

inline bool synchronous() {
  static const bool on = [] {
    const char* v = std::getenv("BASIN_SYNC");
    return v != nullptr && *v == '1';
  }();
  return on;
}

template <class Body>
__global__ void items_kernel(int64_t n, Body body) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    body(i);
  }
}

// body(i) for i in [0, n); items must be independent.
template <class Body>
void for_items(const char* name, int64_t n, Body body) {
  if (n == 0) return;
  constexpr int kThreads = 256;
  constexpr int64_t kMaxBlocks = 132 * 32;  // fills the largest device; the loop covers the rest
  const int64_t blocks = std::min<int64_t>((n + kThreads - 1) / kThreads, kMaxBlocks);
  items_kernel<<<static_cast<unsigned>(blocks), kThreads>>>(n, body);
  check_cuda(cudaGetLastError(), name);
  if (synchronous()) check_cuda(cudaDeviceSynchronize(), name);
}

template <class T, class Tensor>
const T* in_ptr(const Tensor& t) {
  return static_cast<const T*>(t.raw());
}
template <class T, class Tensor>
T* out_ptr(Tensor& t) {
  return static_cast<T*>(t.mutable_raw());
}

}  // namespace basin::cuda
