// The memory of the emulated device: mapped apart from the heap, and out of reach (a fault) while
// host code runs. Launches and copies open it for their time.
#pragma once
#include <cstddef>

namespace basin::emu {

void* map_device(size_t bytes);  // null: exhausted
bool unmap_device(void* block);  // false: not such a block
bool is_device(const void* p);
size_t device_bytes_free();
size_t device_bytes_total();

class DeviceMemoryAccess {
 public:
  DeviceMemoryAccess();
  ~DeviceMemoryAccess();
  DeviceMemoryAccess(const DeviceMemoryAccess&) = delete;
  DeviceMemoryAccess& operator=(const DeviceMemoryAccess&) = delete;
};

}  // namespace basin::emu
