// The CUDA runtime as the kernels see it: the one stream that everything runs on, and the check of
// a call. Nothing here touches the driver before a tensor on Device::cuda is made, so a CUDA build
// works on a machine without a GPU until one is asked for.
#pragma once
#include <cuda_runtime.h>

#include "basin/core/error.h"

namespace basin::cuda {

cudaStream_t stream();  // resource error where there is no driver or no device

inline void check_cuda(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  fail(ErrorKind::resource, what, ": CUDA reports ", cudaGetErrorString(status));
}

// After a launch: its configuration error; with BASIN_SYNC=1 also what went wrong inside.
void check_launch(const char* name);

}  // namespace basin::cuda
