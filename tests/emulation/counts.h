// What host code asks of the emulated device, counted; and a device that counts without computing,
// on which a step of full size takes a second.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace basin::emu {

struct Counts {
  int64_t kernels = 0;     // launches
  int64_t few_blocks = 0;  // of these with fewer blocks than kMultiprocessors
  int64_t products = 0;    // calls of cuBLAS
  int64_t waits = 0;       // of the host for the device
  int64_t copies = 0;      // between host and device
  int64_t copied = 0;      // their bytes
  int64_t mappings = 0;    // calls that ask for device memory
  int64_t unmappings = 0;  // and that return it
  std::map<std::string, int64_t> by_kernel = {};
};
inline constexpr int64_t kMultiprocessors = 132;  // of an H100 or H200

Counts& counts_so_far();  // for the emulation to add to
inline Counts counts() { return counts_so_far(); }
Counts operator-(const Counts& later, const Counts& earlier);

// While one lives, kernels, products and copies on the device are checked and counted, not done:
// device memory keeps what it has, which is zeros where it is new. Lengths that the emulation cuts
// for small tests (cuda::tile_length) are those of a device.
class CountOnly {
 public:
  CountOnly();
  ~CountOnly();
  CountOnly(const CountOnly&) = delete;
  CountOnly& operator=(const CountOnly&) = delete;
};

}  // namespace basin::emu
