// Row sums by warp shuffles and shared memory, with one fault on demand.
#include "basin/tests/emulation/planted.h"

#include "basin/kernels/cuda/grid.cuh"

namespace basin::planted {
namespace {

constexpr int kThreads = 128;

__global__ void row_sums_kernel(const float* x, int64_t n, float* out, Fault fault) {
  __shared__ float part[kThreads / 32];
  float sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) sum += x[blockIdx.x * n + i];
  for (int m = 16; m > 0; m /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, m);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
  if (fault != Fault::missing_barrier) __syncthreads();
  if (fault == Fault::divergent_barrier && threadIdx.x < 64) __syncthreads();
  if (fault == Fault::absent_lane && threadIdx.x < 8) __syncwarp();
  if (fault == Fault::wrong_lane && threadIdx.x < 8) sum = __shfl_sync(0xffu, sum, 9);
  if (threadIdx.x == 0) {
    float total = 0;
    for (int w = 0; w < kThreads / 32; ++w) total += part[w];
    // One row too far: the last block writes behind the tensor.
    out[blockIdx.x + (fault == Fault::out_of_bounds ? 1 : 0)] = total;
  }
}

}  // namespace

Tensor row_sums(const Tensor& x, Fault fault) {
  Tensor out = Tensor::zeros({x.size(0)}, DType::f32, x.device());
  cuda::run("row_sums", {static_cast<unsigned>(x.size(0)), kThreads}, row_sums_kernel,
            cuda::in_ptr<float>(x), x.size(1), cuda::out_ptr<float>(out), fault);
  return out;
}

}  // namespace basin::planted
