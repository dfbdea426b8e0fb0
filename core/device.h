// Where a tensor lives. One GPU per process: choose it with CUDA_VISIBLE_DEVICES.
#pragma once
#include <cstdint>
#include <string_view>

namespace basin {

enum class Device : uint8_t { cpu, cuda };

constexpr std::string_view name_of(Device d) { return d == Device::cpu ? "cpu" : "cuda"; }
Device device_from_name(std::string_view name);  // "cpu", "cuda" or "cuda:0"; else a usage error

#ifdef BASIN_HAS_CUDA
inline constexpr bool kHasCuda = true;
#else
inline constexpr bool kHasCuda = false;
#endif

}  // namespace basin
