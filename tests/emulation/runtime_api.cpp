// Host stand-ins of the runtime API. A copy checks which side each pointer is on.
#include "basin/tests/emulation/runtime_api.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "basin/tests/emulation/counts.h"
#include "basin/tests/emulation/device_memory.h"
#include "basin/tests/emulation/emulator.h"

using basin::emu::count_only;
using basin::emu::counts_so_far;
using basin::emu::DeviceMemoryAccess;
using basin::emu::is_device;

using Work = std::function<void()>;

struct EmulationStream {
  bool lazy = false;
  std::vector<Work> waiting;  // of a lazy stream, from `done` on
  size_t done = 0;
  bool captured = false, ruined = false;
  std::vector<Work> taken_down;

  void catch_up(size_t count) {
    for (; done < count; ++done) {
      waiting[done]();
      waiting[done] = nullptr;
    }
  }
};
struct EmulationEvent {
  std::chrono::steady_clock::time_point time;
  EmulationStream* stream = nullptr;
  size_t after = 0;  // how many works of a lazy stream come before
};
struct EmulationGraph {
  std::vector<Work> works;
  int holders = 1;
};

namespace {

thread_local cudaError_t last_error = cudaSuccess;

cudaError_t set(cudaError_t status) {
  if (status != cudaSuccess) last_error = status;
  return status;
}

bool switched_off(const char* variable) {
  const char* v = std::getenv(variable);
  return v != nullptr && *v == '0';
}

cudaError_t present() {
  if (switched_off("BASIN_EMULATION_DRIVER")) return cudaErrorInsufficientDriver;
  return switched_off("BASIN_EMULATION_DEVICES") ? cudaErrorNoDevice : cudaSuccess;
}

// The stream that this thread captures; what is unsafe meanwhile ruins the capture.
thread_local EmulationStream* capturing = nullptr;
cudaError_t safe_now() {
  if (capturing == nullptr) return cudaSuccess;
  capturing->ruined = true;
  return set(cudaErrorStreamCaptureUnsupported);
}

cudaError_t put(cudaStream_t stream, Work work) {
  if (stream != nullptr && stream->captured) {
    stream->taken_down.push_back(std::move(work));
  } else if (stream != nullptr && stream->lazy) {
    stream->waiting.push_back(std::move(work));
  } else {
    work();
  }
  return cudaSuccess;
}

bool sides_fit(const void* to, const void* from, cudaMemcpyKind kind) {
  switch (kind) {
    case cudaMemcpyHostToHost: return !is_device(to) && !is_device(from);
    case cudaMemcpyHostToDevice: return is_device(to) && !is_device(from);
    case cudaMemcpyDeviceToHost: return !is_device(to) && is_device(from);
    case cudaMemcpyDeviceToDevice: return is_device(to) && is_device(from);
    case cudaMemcpyDefault: return true;
  }
  return false;
}

}  // namespace

const char* cudaGetErrorString(cudaError_t status) {
  switch (status) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorIllegalState: return "the operation cannot be performed in the present state";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
  }
  return "unknown error";
}

cudaError_t cudaGetLastError() {
  const cudaError_t status = last_error;
  last_error = cudaSuccess;
  return status;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = present() == cudaSuccess ? 1 : 0;
  return set(present());
}
cudaError_t cudaSetDevice(int device) {
  return set(device == 0 ? present() : cudaErrorInvalidValue);
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  if (device != 0 || present() != cudaSuccess) return set(cudaErrorNoDevice);
  *p = {};
  std::snprintf(p->name, sizeof p->name, "emulated device");
  p->totalGlobalMem = basin::emu::device_bytes_total();
  p->major = 8;
  p->multiProcessorCount = 4;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrMultiProcessorCount ? 4 : 163 << 10;
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() { return safe_now(); }
cudaError_t cudaDriverGetVersion(int* version) {
  *version = switched_off("BASIN_EMULATION_DRIVER") ? 0 : 12000;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 12000;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** p, size_t bytes) {
  if (present() != cudaSuccess) return set(present());
  if (safe_now() != cudaSuccess) return cudaErrorStreamCaptureUnsupported;
  ++counts_so_far().mappings;
  *p = basin::emu::map_device(bytes);
  return set(*p ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFree(void* p) {
  if (safe_now() != cudaSuccess) return cudaErrorStreamCaptureUnsupported;
  counts_so_far().unmappings += p != nullptr;
  return set(p == nullptr || basin::emu::unmap_device(p) ? cudaSuccess : cudaErrorInvalidValue);
}
cudaError_t cudaMallocHost(void** p, size_t bytes) {
  if (safe_now() != cudaSuccess) return cudaErrorStreamCaptureUnsupported;
  *p = std::malloc(bytes);
  return set(*p ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* p) {
  std::free(p);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = basin::emu::device_bytes_free();
  *total = basin::emu::device_bytes_total();
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  if (!sides_fit(to, from, kind)) return set(cudaErrorInvalidValue);
  if (is_device(to) != is_device(from)) {
    ++counts_so_far().copies;
    counts_so_far().copied += static_cast<int64_t>(bytes);
  } else if (count_only()) {
    return cudaSuccess;
  }
  return put(stream, [=] {
    const DeviceMemoryAccess access;
    std::memcpy(to, from, bytes);
  });
}
cudaError_t cudaMemsetAsync(void* to, int byte, size_t bytes, cudaStream_t stream) {
  if (!is_device(to)) return set(cudaErrorInvalidValue);
  if (count_only()) return cudaSuccess;
  return put(stream, [=] {
    const DeviceMemoryAccess access;
    std::memset(to, byte, bytes);
  });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  static bool first = true;
  *stream = new EmulationStream;
  (*stream)->lazy = !std::exchange(first, false);
  return set(present());
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  stream->catch_up(stream->waiting.size());
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (stream->captured) return safe_now();
  ++counts_so_far().waits;
  stream->catch_up(stream->waiting.size());
  return cudaSuccess;
}
// What waits on a lazy stream for another one is in order anyhow: the others are never behind.
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (stream->captured) return safe_now();
  if (event->stream != nullptr && event->stream != stream) event->stream->catch_up(event->after);
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new EmulationEvent;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  event->time = std::chrono::steady_clock::now();
  event->stream = stream;
  event->after = stream == nullptr ? 0 : stream->waiting.size();
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (safe_now() != cudaSuccess) return cudaErrorStreamCaptureUnsupported;
  ++counts_so_far().waits;
  if (event->stream != nullptr) event->stream->catch_up(event->after);
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t from, cudaEvent_t to) {
  *ms = std::chrono::duration<float, std::milli>(to->time - from->time).count();
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream->captured || capturing != nullptr) return set(cudaErrorIllegalState);
  stream->captured = true;
  stream->ruined = false;
  stream->taken_down.clear();
  capturing = stream;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (!stream->captured) return set(cudaErrorIllegalState);
  stream->captured = false;
  capturing = nullptr;
  if (stream->ruined) return set(cudaErrorStreamCaptureInvalidated);
  *graph = new EmulationGraph{std::move(stream->taken_down)};
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* ready, cudaGraph_t graph, unsigned long long) {
  ++graph->holders;
  *ready = graph;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  if (stream->captured) return safe_now();
  for (const Work& work : graph->works) work();
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  if (--graph->holders == 0) delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) { return cudaGraphDestroy(graph); }

namespace basin::emu {
void put_on_stream(cudaStream_t stream, std::function<void()> work) {
  put(stream, std::move(work));
}
}  // namespace basin::emu
