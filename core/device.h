// Where a tensor lives. One GPU per process: choose it with CUDA_VISIBLE_DEVICES.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace basin {

enum class Device : uint8_t { cpu, cuda };

constexpr std::string_view name_of(Device d) { return d == Device::cpu ? "cpu" : "cuda"; }
Device device_from_name(std::string_view name);  // "cpu", "cuda" or "cuda:0"; else a usage error

void require_device(Device d);          // resource error, in one sentence, when it cannot be used
std::string describe_device(Device d);  // name and size of a GPU; "cpu" for the CPU

// What the record of a run says of a GPU; empty for the CPU.
struct DeviceInfo {
  std::string name;     // as the driver gives it
  std::string driver;   // newest CUDA version that the driver supports, "12.4"
  std::string toolkit;  // CUDA version that Basin was built with
};
DeviceInfo device_info(Device d);
void synchronize(Device d);  // waits for all that is queued there

// BASIN_SYNC=1: each CUDA launch is waited for, so that an error lands at the call that caused it,
// and index values and labels on the device are read back and checked as they are on the CPU.
bool device_checks();

#ifdef BASIN_HAS_CUDA
inline constexpr bool kHasCuda = true;
#else
inline constexpr bool kHasCuda = false;
#endif

}  // namespace basin
