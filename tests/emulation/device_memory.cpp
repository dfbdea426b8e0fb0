// Mapped blocks of the emulated device, each between two pages that fault.
#include "basin/tests/emulation/device_memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>

namespace basin::emu {
namespace {

constexpr size_t kPage = 4096;

struct Device {
  std::recursive_mutex mutex;
  std::map<char*, size_t> blocks;  // start, bytes in whole pages
  size_t total = 0, used = 0;
  int open = 0;
  int key = -1;  // memory protection key: opens and closes without a system call, where it exists
};

// BASIN_EMULATION_MEMORY: bytes of the device, 16 GiB unless given.
Device& device() {
  static auto* d = [] {
    auto* made = new Device;
    const char* bytes = std::getenv("BASIN_EMULATION_MEMORY");
    made->key = pkey_alloc(0, PKEY_DISABLE_ACCESS);
    made->total = bytes ? std::strtoull(bytes, nullptr, 10) : size_t{16} << 30;
    return made;
  }();
  return *d;
}

void set_open(Device& d, bool open) {
  if (d.key >= 0) {
    pkey_set(d.key, open ? 0 : PKEY_DISABLE_ACCESS);
    return;
  }
  for (const auto& [start, bytes] : d.blocks) {
    mprotect(start, bytes, open ? PROT_READ | PROT_WRITE : PROT_NONE);
  }
}

}  // namespace

void* map_device(size_t bytes) {
  Device& d = device();
  const std::lock_guard lock(d.mutex);
  const size_t whole = (bytes + kPage - 1) / kPage * kPage;
  if (whole < bytes || whole > d.total - d.used) return nullptr;
  void* raw = mmap(nullptr, whole + 2 * kPage, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  char* start = static_cast<char*>(raw) + kPage;
  if (d.key >= 0) {
    pkey_mprotect(start, whole, PROT_READ | PROT_WRITE, d.key);
  } else if (d.open > 0) {
    mprotect(start, whole, PROT_READ | PROT_WRITE);
  }
  d.blocks[start] = whole;
  d.used += whole;
  return start;
}

bool unmap_device(void* block) {
  Device& d = device();
  const std::lock_guard lock(d.mutex);
  const auto it = d.blocks.find(static_cast<char*>(block));
  if (it == d.blocks.end()) return false;
  munmap(it->first - kPage, it->second + 2 * kPage);
  d.used -= it->second;
  d.blocks.erase(it);
  return true;
}

bool is_device(const void* p) {
  Device& d = device();
  const std::lock_guard lock(d.mutex);
  auto it = d.blocks.upper_bound(const_cast<char*>(static_cast<const char*>(p)));
  if (it == d.blocks.begin()) return false;
  --it;
  return static_cast<const char*>(p) < it->first + it->second;
}

size_t device_bytes_free() { return device().total - device().used; }
size_t device_bytes_total() { return device().total; }

DeviceMemoryAccess::DeviceMemoryAccess() {
  Device& d = device();
  d.mutex.lock();
  if (d.open++ == 0) set_open(d, true);
}

DeviceMemoryAccess::~DeviceMemoryAccess() {
  Device& d = device();
  if (--d.open == 0) set_open(d, false);
  d.mutex.unlock();
}

}  // namespace basin::emu
