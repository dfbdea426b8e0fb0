// What every CUDA launcher shares: run(), the one place that starts a kernel, and for_items(), a
// grid-stride loop over n independent items. Where the .cu sources are built as C++
// (tests/emulation), run() hands the kernel to the emulated device instead.
//   cuda::run(name, {blocks, threads, shared_bytes}, kernel<T>, arguments...);
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <tuple>

#include "basin/core/error.h"
#include "basin/core/tensor.h"
#include "basin/kernels/cuda/runtime.cuh"

// In front of a loop of fixed length whose body indexes registers.
#ifdef BASIN_EMULATION
#define BASIN_UNROLL
#else
#define BASIN_UNROLL _Pragma("unroll")
#endif

namespace basin::cuda {

// How much of a long loop is one piece of work. The emulation takes less where kernels run, so that
// small tests have several pieces too.
__host__ __device__ inline int64_t tile_length(int64_t length, [[maybe_unused]] int64_t in_tests) {
#ifdef BASIN_EMULATION
  return emu::count_only() ? length : in_tests;
#else
  return length;
#endif
}

struct Grid {
  dim3 blocks, threads;
  size_t shared_bytes = 0;  // dynamic; beyond 48 KiB the kernel is told
};

// The blocks of a grid; a usage error beyond what a device takes, which no cast would tell.
inline dim3 grid_of(const char* name, int64_t x, int64_t y = 1, int64_t z = 1) {
  constexpr int64_t kMaxX = 0x7fffffff, kMaxOther = 65535;
  check(x <= kMaxX && y <= kMaxOther && z <= kMaxOther, name,
        ": a tensor is too large for a GPU: ", x, " x ", y, " x ", z, " blocks, at most ", kMaxX,
        " x ", kMaxOther, " x ", kMaxOther);
  return {static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z)};
}

// Starts a kernel on the stream. The arguments are converted to the kernel's parameters and copied.
template <class... Parameters, class... Arguments>
void run(const char* name, const Grid& grid, void (*kernel)(Parameters...),
         const Arguments&... arguments) {
#ifdef BASIN_EMULATION
  const auto thread = [kernel,
                       held = std::tuple<Parameters...>(static_cast<Parameters>(arguments)...)] {
    std::apply(kernel, held);
  };
  emu::put_on_stream(stream(), [name, grid, thread] {
    emu::launch(name, grid.blocks, grid.threads, grid.shared_bytes, thread);
  });
#else
  if (grid.shared_bytes > (48 << 10)) {
    allow_shared(name, reinterpret_cast<const void*>(kernel), grid.shared_bytes);
  }
  // clang-format off
  kernel<<<grid.blocks, grid.threads, grid.shared_bytes, stream()>>>(
      static_cast<Parameters>(arguments)...);
  // clang-format on
#endif
  check_launch(name);
}

// The dynamic shared memory of the block, 16-byte aligned; a kernel cuts it up itself.
template <class T>
__device__ T* dynamic_shared() {
#ifdef BASIN_EMULATION
  return static_cast<T*>(emu::dynamic_shared());
#else
  extern __shared__ __align__(16) unsigned char basin_dynamic_shared[];
  return reinterpret_cast<T*>(basin_dynamic_shared);
#endif
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
  run(name, {grid_of(name, blocks), kThreads}, items_kernel<Body>, n, body);
}

// The device pointer of a tensor, null when it is undefined; usage error when it is elsewhere.
inline void require_on_device(const Tensor& t) {
  check(!t.defined() || t.device() == Device::cuda, "cuda: an argument ", t,
        " is on the CPU, the others are not; move it with to(Device::cuda)");
}
template <class T>
const T* in_ptr(const Tensor& t) {
  require_on_device(t);
  return static_cast<const T*>(t.raw());
}
template <class T>
T* out_ptr(Tensor& t) {
  require_on_device(t);
  return static_cast<T*>(t.mutable_raw());
}

}  // namespace basin::cuda
