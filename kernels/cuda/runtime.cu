// The backend of Device::cuda: memory for core's caching allocator, copies, fills, and errors that
// say what is missing. One process uses one device and one stream. The stream orders everything, so
// a freed block may be handed out again while kernels that read it are still queued.
// Copies to and from the host go through two pinned buffers in turn: the processor fills (empties)
// one while the device reads (writes) the other.
#include "basin/kernels/cuda/runtime.cuh"

#include <cstring>
#include <mutex>
#include <string>
#include <unordered_map>

#include "basin/core/device.h"
#include "basin/core/storage.h"
#include "basin/kernels/cuda/grid.cuh"
#include "basin/kernels/launch.h"

namespace basin::cuda {
namespace {

std::string version_text(int version) {
  return version == 0 ? std::string("none") : str(version / 1000, ".", version % 1000 / 10);
}

void require_driver() {
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status == cudaSuccess && devices > 0) return;
  cudaGetLastError();  // the failure is told here, not by the next launch
  if (status == cudaSuccess || status == cudaErrorNoDevice) {
    fail(ErrorKind::resource,
         "cuda: no CUDA device is visible; check CUDA_VISIBLE_DEVICES, or use --device cpu");
  }
  int driver = 0, runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  fail(ErrorKind::resource, "cuda: needs an NVIDIA driver for CUDA ", version_text(runtime),
       ", found ", version_text(driver), " (", cudaGetErrorString(status), "); use --device cpu");
}

struct Context {
  cudaStream_t stream = nullptr;

  Context() {
    require_driver();
    check_cuda(cudaSetDevice(0), "cuda: choosing the device");
    check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cuda: making a stream");
  }
};

// Made when first needed, and again on the next try when that failed. Never destroyed: tensors held
// by static objects outlive main.
Context& context() {
  static auto* made = new Context;
  return *made;
}

void* map(size_t bytes) {
  enter();
  if (recording()) refuse_while_recording("device memory is asked for");
  void* p = nullptr;
  const cudaError_t status = cudaMalloc(&p, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  check_cuda(status, "cuda: reserving memory");
  return p;
}

void unmap(void* block, size_t) {
  if (recording()) refuse_while_recording("device memory is returned");
  // Waits for the device, so nothing queued can still use the block.
  check_cuda(cudaFree(block), "cuda: returning memory");
}

class Staging {
 public:
  // The source may be reused on return; the device may still be reading the pinned buffer.
  void upload(char* to, const char* from, size_t bytes) {
    const std::lock_guard lock(mutex_);
    for (size_t at = 0; at < bytes; at += kBytes) {
      const size_t n = std::min(kBytes, bytes - at);
      Buffer& b = next();
      std::memcpy(b.pinned, from + at, n);
      send(to + at, b.pinned, n, cudaMemcpyHostToDevice, b);
    }
  }

  // The target is complete on return.
  void download(char* to, const char* from, size_t bytes) {
    const std::lock_guard lock(mutex_);
    size_t held = 0, at = 0;  // of the chunk that is on its way
    char* held_to = nullptr;
    Buffer* held_in = nullptr;
    for (;;) {
      Buffer* b = nullptr;
      const size_t n = std::min(kBytes, bytes - at);
      if (n > 0) {
        b = &next();
        send(b->pinned, from + at, n, cudaMemcpyDeviceToHost, *b);
      }
      if (held > 0) {
        check_cuda(cudaEventSynchronize(held_in->done), "cuda: copying to the host");
        std::memcpy(held_to, held_in->pinned, held);
      }
      if (n == 0) return;
      held = n;
      held_to = to + at;
      held_in = b;
      at += n;
    }
  }

 private:
  static constexpr size_t kBytes = size_t{4} << 20;
  struct Buffer {
    char* pinned = nullptr;
    cudaEvent_t done = nullptr;
  };

  // The other buffer, once what it last carried has arrived.
  Buffer& next() {
    Buffer& b = buffers_[turn_++ % 2];
    if (b.pinned == nullptr) {
      void* p = nullptr;
      check_cuda(cudaMallocHost(&p, kBytes), "cuda: reserving pinned host memory");
      b.pinned = static_cast<char*>(p);
      check_cuda(cudaEventCreateWithFlags(&b.done, cudaEventDisableTiming),
                 "cuda: making an event");
    } else {
      check_cuda(cudaEventSynchronize(b.done), "cuda: waiting for a copy");
    }
    return b;
  }

  void send(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, Buffer& b) {
    check_cuda(cudaMemcpyAsync(to, from, bytes, kind, stream()), "cuda: copying");
    check_cuda(cudaEventRecord(b.done, stream()), "cuda: recording an event");
  }

  std::mutex mutex_;
  Buffer buffers_[2];
  unsigned turn_ = 0;
};

Staging& staging() {
  static auto* made = new Staging;
  return *made;
}

void copy(void* to, Device to_device, const void* from, Device from_device, size_t bytes) {
  enter();
  if (bytes == 0) return;
  if (recording() && to_device != from_device) {
    refuse_while_recording(to_device == Device::cpu ? "the host reads device memory"
                                                    : "the host writes device memory");
  }
  if (to_device == Device::cuda && from_device == Device::cuda) {
    check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream()),
               "cuda: copying on the device");
  } else if (to_device == Device::cuda) {
    staging().upload(static_cast<char*>(to), static_cast<const char*>(from), bytes);
  } else {
    staging().download(static_cast<char*>(to), static_cast<const char*>(from), bytes);
  }
}

template <class Word>
void fill_words(Word* to, Word value, int64_t n) {
  for_items("fill", n, [=] __device__(int64_t i) { to[i] = value; });
}

void fill(void* to, uint64_t bits, size_t item_bytes, int64_t items) {
  enter();
  if (item_bytes == 4) {
    fill_words(static_cast<uint32_t*>(to), static_cast<uint32_t>(bits), items);
  } else {
    fill_words(static_cast<uint64_t*>(to), bits, items);
  }
}

template <class To, class From>
void convert_items(To* to, const From* from, int64_t n) {
  for_items("convert", n, [=] __device__(int64_t i) { to[i] = static_cast<To>(from[i]); });
}

template <class F>
void visit(DType t, F&& f) {
  switch (t) {
    case DType::f32: return f(float{});
    case DType::f64: return f(double{});
    case DType::i32: return f(int32_t{});
    case DType::i64: return f(int64_t{});
  }
}

void convert(void* to, DType to_type, const void* from, DType from_type, int64_t items) {
  enter();
  visit(to_type, [&](auto z) {
    using To = decltype(z);
    visit(from_type, [&](auto y) {
      using From = decltype(y);
      convert_items(static_cast<To*>(to), static_cast<const From*>(from), items);
    });
  });
}

void synchronize() {
  enter();
  if (recording()) refuse_while_recording("the host waits for the device");
  check_cuda(cudaStreamSynchronize(stream()), "cuda: waiting for the device");
}

std::string describe() {
  enter();
  cudaDeviceProp p;
  check_cuda(cudaGetDeviceProperties(&p, 0), "cuda: asking for the device");
  return str(p.name, ", sm_", p.major, p.minor, ", ", p.multiProcessorCount, " multiprocessors, ",
             p.totalGlobalMem >> 20, " MiB");
}

DeviceInfo info() {
  enter();
  cudaDeviceProp p;
  check_cuda(cudaGetDeviceProperties(&p, 0), "cuda: asking for the device");
  int driver = 0, runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  return {p.name, version_text(driver), version_text(runtime)};
}

}  // namespace

cudaStream_t stream() { return context().stream; }

// A thread of the program starts with its own current device.
void enter() {
  context();
  thread_local bool entered = false;
  if (entered) return;
  check_cuda(cudaSetDevice(0), "cuda: choosing the device");
  entered = true;
}

void allow_shared(const char* name, const void* kernel, size_t bytes) {
  static std::mutex mutex;
  static auto* allowed = new std::unordered_map<const void*, size_t>;
  const std::lock_guard lock(mutex);
  size_t& so_far = (*allowed)[kernel];
  if (bytes <= so_far) return;
  check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(bytes)),
             name);
  so_far = bytes;
}

void check_launch(const char* name) {
  check_cuda(cudaGetLastError(), name);
  if (device_checks() && !recording()) check_cuda(cudaStreamSynchronize(stream()), name);
}

bool install_backend() {
  DeviceBackend backend;
  backend.map = map;
  backend.unmap = unmap;
  backend.copy = copy;
  backend.fill = fill;
  backend.convert = convert;
  backend.synchronize = synchronize;
  backend.describe = describe;
  backend.info = info;
  add_graphs(backend);
  add_uploads(backend);
  set_device_backend(Device::cuda, backend);
  return true;
}

}  // namespace basin::cuda
