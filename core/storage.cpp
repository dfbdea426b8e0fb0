// The caching allocator. Requests are rounded up to a size class (at most 1/8 larger); free blocks
// wait in a list per class. Small blocks are cut from 4 MiB slabs; large ones are mapped one by one
// on a 2 MiB boundary and marked for huge pages. Nothing returns to the system until
// release_cached_memory().
#include "basin/core/storage.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <unordered_map>
#include <vector>

// BASIN_FENCE_HOST: the fuzzing build; its compiler, clang, does not say __SANITIZE_ADDRESS__.
#if defined(__SANITIZE_ADDRESS__) || defined(BASIN_FENCE_HOST)
#define BASIN_ASAN 1
#include <sanitizer/asan_interface.h>
#endif

#include "basin/core/device_graph.h"
#include "basin/core/error.h"

namespace basin {
namespace {

constexpr size_t kAlign = 64;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kSlab = size_t{4} << 20;
constexpr size_t kLarge = size_t{1} << 20;  // blocks from here on are mapped one by one

// 64-byte steps up to 512 bytes, then eight classes per power of two; large ones end on a page.
size_t class_bytes(size_t bytes) {
  bytes = std::max(bytes, kAlign);
  const size_t step = std::max(kAlign, std::bit_floor(bytes - 1) / 8);
  const size_t rounded = (bytes + step - 1) / step * step;
  return rounded < kLarge ? rounded : (rounded + 4095) / 4096 * 4096;
}

void* map_host(size_t bytes) {
  if (bytes < kHugePage) {
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? nullptr : p;
  }
  // Over-map, then trim both ends, so that the block starts on a huge page.
  const size_t want = bytes + kHugePage;
  void* raw = mmap(nullptr, want, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  const size_t head = (kHugePage - reinterpret_cast<uintptr_t>(raw) % kHugePage) % kHugePage;
  const size_t tail = want - head - bytes;
  auto* const aligned = static_cast<uint8_t*>(raw) + head;
  if (head > 0) munmap(raw, head);
  if (tail > 0) munmap(aligned + bytes, tail);
  madvise(aligned, bytes, MADV_HUGEPAGE);
  return aligned;
}

void unmap_host(void* block, size_t bytes) { munmap(block, bytes); }

// A new mapping at the same address must not inherit the marks of an old one.
#if defined(BASIN_ASAN)
void forget(void* p, size_t bytes) { __asan_unpoison_memory_region(p, bytes); }
#else
void forget(void*, size_t) {}
#endif

struct MemorySource {
  void* (*map)(size_t bytes) = nullptr;
  void (*unmap)(void* block, size_t bytes) = nullptr;
};

class Allocator {
 public:
  explicit Allocator(MemorySource source) : source_(source) {}
  void set_source(MemorySource source) { source_ = source; }
  MemorySource source() const { return source_; }

  void* allocate(size_t block) {
    std::lock_guard lock(mutex_);
    ++stats_.requests;
    void* p = take(block);
    if (p == nullptr) {  // memory is short: give the cache back and try once more
      release_unlocked();
      p = take(block);
    }
    if (p == nullptr) return nullptr;
    stats_.live_bytes += block;
    stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.live_bytes);
    return p;
  }

  // Called by destructors: there is room in the list already (take).
  void deallocate(void* p, size_t block) {
    std::lock_guard lock(mutex_);
    stats_.live_bytes -= block;
    free_.find(block)->second.blocks.push_back(p);
  }

  void release() {
    std::lock_guard lock(mutex_);
    release_unlocked();
  }

  AllocatorStats stats() {
    std::lock_guard lock(mutex_);
    return stats_;
  }
  void reset_peak() {
    std::lock_guard lock(mutex_);
    stats_.peak_bytes = stats_.live_bytes;
  }
  // Everything goes back to the system; no block may be in use.
  void close() {
    std::lock_guard lock(mutex_);
    for (const auto& [p, bytes] : mapped_) give_back(p, bytes);
    mapped_.clear();
    free_.clear();
  }

 private:
  struct FreeList {
    std::vector<void*> blocks;
    size_t made = 0;  // how many of the class there are, handed out or free
  };

  void* take(size_t block) {
    FreeList& list = free_[block];
    if (!list.blocks.empty()) {
      void* p = list.blocks.back();
      list.blocks.pop_back();
      return p;
    }
    if (list.blocks.capacity() <= list.made) list.blocks.reserve(2 * list.made + 8);
    void* p = make(block);
    if (p != nullptr) ++list.made;
    return p;
  }

  void* make(size_t block) {
    if (block >= kLarge) return map(block);
    if (slab_left_ < block) {
      // What is left of the old slab is abandoned: at most one small block per slab.
      slab_ = static_cast<char*>(map(kSlab));
      slab_left_ = slab_ ? kSlab : 0;
      if (!slab_) return nullptr;
    }
    void* p = slab_;
    slab_ += block;
    slab_left_ -= block;
    return p;
  }

  void* map(size_t bytes) {
    void* p = source_.map ? source_.map(bytes) : nullptr;
    if (p == nullptr) return nullptr;
    try {
      mapped_[p] = bytes;
    } catch (...) {
      source_.unmap(p, bytes);
      throw;
    }
    ++stats_.mappings;
    stats_.reserved_bytes += bytes;
    return p;
  }

  void release_unlocked() {
    for (auto& [block, list] : free_) {
      if (block < kLarge) continue;  // slabs stay: their blocks may still be in use
      for (void* p : list.blocks) {
        give_back(p, block);
        mapped_.erase(p);
      }
      list.made -= list.blocks.size();
      list.blocks.clear();
    }
  }

  void give_back(void* p, size_t bytes) {
    forget(p, bytes);
    source_.unmap(p, bytes);
    stats_.reserved_bytes -= bytes;
  }

  std::mutex mutex_;
  MemorySource source_;
  std::unordered_map<size_t, FreeList> free_;  // by size class
  std::unordered_map<void*, size_t> mapped_;
  char* slab_ = nullptr;
  size_t slab_left_ = 0;
  AllocatorStats stats_;
};

// Never destroyed: tensors held by other static objects may be freed after main returns.
Allocator& allocator(Device device) {
  static auto* all =
      new std::array<Allocator*, 2>{new Allocator({map_host, unmap_host}), new Allocator({})};
  return *(*all)[static_cast<int>(device)];
}

DeviceBackend& installed_backend() {
  static DeviceBackend backend;
  return backend;
}

// Under AddressSanitizer what lies behind the last requested byte of a device block, and a free
// one, are out of bounds; a red zone keeps neighbours apart. (The device is then the emulated one.)
// In the fuzzing build that holds for the host too.
#if defined(BASIN_ASAN)
#if defined(BASIN_FENCE_HOST)
bool fenced(Device) { return true; }
#else
bool fenced(Device device) { return device != Device::cpu; }
#endif
size_t red_zone(Device device) { return fenced(device) ? kAlign : 0; }
void fence(Device device, void* p, size_t bytes, size_t block) {
  if (!fenced(device)) return;
  __asan_unpoison_memory_region(p, bytes);
  __asan_poison_memory_region(static_cast<char*>(p) + bytes, block - bytes);
}
#else
size_t red_zone(Device) { return 0; }
void fence(Device, void*, size_t, size_t) {}
#endif

thread_local PoolState* open_pool = nullptr;

}  // namespace

// The blocks of a pool: an allocator of its own, which may be told not to grow.
class PoolState : public std::enable_shared_from_this<PoolState> {
 public:
  explicit PoolState(Device device)
      : device_(device),
        allocator_({[](size_t bytes) { return mapping_of(*open_pool, bytes); },
                    allocator(device).source().unmap}) {}
  ~PoolState() { allocator_.close(); }

  Device device() const { return device_; }
  Allocator& blocks() { return allocator_; }
  void set_fixed(bool fixed) { fixed_ = fixed; }

 private:
  static void* mapping_of(const PoolState& pool, size_t bytes) {
    if (pool.fixed_) {
      fail(ErrorKind::usage, "device graph: the work asks for ", bytes,
           " bytes more while it is recorded than in its first run; its shapes must not change");
    }
    return allocator(pool.device_).source().map(bytes);
  }

  Device device_;
  bool fixed_ = false;
  Allocator allocator_;
};

Storage::Storage(size_t bytes, Device device)
    : bytes_(bytes), block_bytes_(class_bytes(bytes + red_zone(device))), device_(device) {
  if (device != Device::cpu) device_backend(device);
  if (open_pool != nullptr && open_pool->device() == device) pool_ = open_pool->shared_from_this();
  data_ = (pool_ ? pool_->blocks() : allocator(device)).allocate(block_bytes_);
  if (data_ == nullptr) {
    const AllocatorStats s = allocator(device).stats();
    fail(ErrorKind::resource, "memory: cannot allocate ", bytes, " bytes on ", name_of(device),
         " (", s.live_bytes, " in use, ", s.reserved_bytes, " reserved)");
  }
  // A pool's blocks stay open: a recorded graph uses them again long after their tensors.
  fence(device, data_, pool_ ? block_bytes_ : bytes, block_bytes_);
}

Storage::Storage(const Storage* lender)
    : data_(lender->data_),
      bytes_(lender->bytes_),
      device_(lender->device_),
      returned_(false),
      pool_(lender->pool_) {}

StoragePtr Storage::borrowed(const StoragePtr& storage) {
  if (storage == nullptr || !storage->pool_) return storage;
  return StoragePtr(new Storage(storage.get()));
}

Storage::~Storage() {
  if (!returned_) return;
  if (!pool_) fence(device_, data_, 0, block_bytes_);
  (pool_ ? pool_->blocks() : allocator(device_)).deallocate(data_, block_bytes_);
}

MemoryPool::MemoryPool(Device device) {
  if (device != Device::cpu) device_backend(device);
  state_ = std::make_shared<PoolState>(device);
}
AllocatorStats MemoryPool::stats() const { return state_->blocks().stats(); }

MemoryPool::Scope::Scope(const MemoryPool& pool, bool fixed)
    : state_(pool.state_), before_(open_pool) {
  state_->set_fixed(fixed);
  open_pool = state_.get();
}
MemoryPool::Scope::~Scope() { open_pool = before_; }
MemoryPool::Outside::Outside() : before_(open_pool) { open_pool = nullptr; }
MemoryPool::Outside::~Outside() { open_pool = before_; }

AllocatorStats allocator_stats(Device device) { return allocator(device).stats(); }
void reset_peak_bytes(Device device) { allocator(device).reset_peak(); }
void release_cached_memory(Device device) { allocator(device).release(); }

void set_device_backend(Device device, const DeviceBackend& backend) {
  check(device != Device::cpu, "set_device_backend: the CPU has its own");
  installed_backend() = backend;
  allocator(device).set_source({backend.map, backend.unmap});
}

const DeviceBackend& device_backend(Device device) {
  const DeviceBackend& backend = installed_backend();
  if (device == Device::cpu || backend.map == nullptr) {
    fail(ErrorKind::resource, "device: this build of Basin has no backend for ", name_of(device),
         "; build it with -DBASIN_WITH_CUDA=ON, or use --device cpu");
  }
  return backend;
}

void require_device(Device d) {
  if (d != Device::cpu) device_backend(d).describe();
}

std::string describe_device(Device d) {
  return d == Device::cpu ? std::string("cpu") : device_backend(d).describe();
}

DeviceInfo device_info(Device d) {
  return d == Device::cpu ? DeviceInfo{} : device_backend(d).info();
}

void synchronize(Device d) {
  if (d != Device::cpu) device_backend(d).synchronize();
}

bool device_checks() {
  static const bool on = [] {
    const char* v = std::getenv("BASIN_SYNC");
    return v != nullptr && std::string_view(v) == "1";
  }();
  return on;
}

}  // namespace basin
