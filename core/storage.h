// Storage: one block of memory, shared by the tensors that view it, and the caching allocator below
// it. Freed blocks return to a size-class list and are handed out again: fresh pages of a mapping
// cost about ten times as much as reused ones, so a steady training step maps nothing.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "basin/core/device.h"
#include "basin/core/dtype.h"

namespace basin {

class PoolState;  // of a MemoryPool (core/device_graph.h)

class Storage {
 public:
  Storage(size_t bytes, Device device);  // resource error when memory is exhausted
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  // For a recording: the memory of a block of a pool, which others may be given meanwhile; it keeps
  // the pool and not the block. Memory that is no pool's is shared as ever.
  static std::shared_ptr<Storage> borrowed(const std::shared_ptr<Storage>& storage);

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  // Counts in-place writes; a tape that kept an older version refuses to be swept.
  uint64_t version() const { return version_; }
  void bump_version() { ++version_; }

 private:
  explicit Storage(const Storage* lender);

  void* data_ = nullptr;
  size_t bytes_ = 0;
  size_t block_bytes_ = 0;  // bytes of the size class, what the allocator gets back
  uint64_t version_ = 0;
  Device device_;
  bool returned_ = true;             // by the destructor; not of what is borrowed
  std::shared_ptr<PoolState> pool_;  // where the block returns to; null: the device's allocator
};
using StoragePtr = std::shared_ptr<Storage>;

struct AllocatorStats {
  size_t live_bytes = 0;      // handed out now
  size_t peak_bytes = 0;      // largest live_bytes since reset_peak()
  size_t reserved_bytes = 0;  // mapped from the system
  uint64_t mappings = 0;      // calls to the system so far
  uint64_t requests = 0;      // allocations served so far
};

AllocatorStats allocator_stats(Device device = Device::cpu);
void reset_peak_bytes(Device device = Device::cpu);
void release_cached_memory(Device device = Device::cpu);  // gives free blocks back to the system

// What the backend of a device other than the CPU brings. Everything happens in the order of the
// calls. On return of copy() a source on the host may be reused and a target there is complete.
// Each function is a resource error where the device cannot be used.
struct DeviceBackend {
  void* (*map)(size_t bytes) = nullptr;  // null result: exhausted
  void (*unmap)(void* block, size_t bytes) = nullptr;
  void (*copy)(void* to, Device to_device, const void* from, Device from_device,
               size_t bytes) = nullptr;
  // Items of 4 or 8 bytes, the low bytes of `bits`.
  void (*fill)(void* to, uint64_t bits, size_t item_bytes, int64_t items) = nullptr;
  void (*convert)(void* to, DType to_type, const void* from, DType from_type,
                  int64_t items) = nullptr;  // on the device
  void (*synchronize)() = nullptr;
  std::string (*describe)() = nullptr;
  DeviceInfo (*info)() = nullptr;
  // Work that is recorded instead of done (core/device_graph.h).
  void (*begin_recording)() = nullptr;
  void* (*end_recording)(bool keep) = nullptr;  // a graph; null when it is not wanted
  void (*replay)(void* graph) = nullptr;
  void (*destroy_graph)(void* graph) = nullptr;
  // A copy to the device beside the kernels (core/upload.h).
  void* (*open_upload)(size_t bytes) = nullptr;
  void (*send)(void* upload, const void* from, size_t bytes) = nullptr;
  void (*receive)(void* upload, void* to, size_t bytes) = nullptr;
  void (*close_upload)(void* upload) = nullptr;
};
void set_device_backend(Device device, const DeviceBackend& backend);
const DeviceBackend& device_backend(Device device);  // resource error when this build has none

}  // namespace basin
