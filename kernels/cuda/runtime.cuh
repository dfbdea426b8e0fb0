// The CUDA runtime as the kernels see it: the one stream that everything runs on, and the check of
// a call. Nothing here touches the driver before a tensor on Device::cuda is made, so a CUDA build
// works on a machine without a GPU until one is asked for.
#pragma once
#include <cuda_runtime.h>

#include "basin/core/error.h"
#include "basin/core/storage.h"

namespace basin::cuda {

cudaStream_t stream();  // resource error where there is no driver or no device

inline void check_cuda(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  fail(ErrorKind::resource, what, ": CUDA reports ", cudaGetErrorString(status));
}

// Puts the calling thread on the device that the process uses.
void enter();

// Between the begin and the end of a recording the stream takes down what it is given.
bool recording();
void refuse_while_recording(const char* what);  // usage error: "device graph: WHAT while ..."

// What graph.cu and upload.cu bring to the backend.
void add_graphs(DeviceBackend& backend);
void add_uploads(DeviceBackend& backend);

// Lets a kernel have so much dynamic shared memory, beyond the 48 KiB that all may; the driver is
// told once per kernel and size, not at every launch.
void allow_shared(const char* name, const void* kernel, size_t bytes);

// After a launch: its configuration error; with BASIN_SYNC=1 also what went wrong inside.
void check_launch(const char* name);

}  // namespace basin::cuda
