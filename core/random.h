// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC 2011). A draw is a
// pure function of (seed, stream, index), so loaders, dropout masks and initialisation need no
// replay after a resume and give the same numbers for any thread count.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace basin {

std::array<uint32_t, 4> philox4x32(uint64_t counter_lo, uint64_t counter_hi, uint64_t key);

// (0, 1): never 0 or 1, safe under log. 52 random bits.
double uniform_from_bits(uint32_t hi, uint32_t lo);

// A sequential view of one stream. Copyable; position() is its whole state.
class Rng {
 public:
  Rng(uint64_t seed, uint64_t stream, uint64_t position = 0)
      : seed_(seed), stream_(stream), position_(position) {}

  uint32_t next_u32();
  uint64_t next_u64();
  double uniform();                         // (0, 1)
  double uniform(double low, double high);  // (low, high)
  double normal();                          // N(0, 1), Box-Muller on two fresh uniforms
  int64_t below(int64_t n);                 // unbiased integer in [0, n)
  template <class T>
  void shuffle(std::span<T> values) {  // Fisher-Yates
    for (int64_t i = static_cast<int64_t>(values.size()) - 1; i > 0; --i) {
      std::swap(values[i], values[below(i + 1)]);
    }
  }
  uint64_t position() const { return position_; }

 private:
  uint64_t seed_, stream_, position_;
  std::array<uint32_t, 4> block_{};
  uint64_t block_index_ = ~uint64_t{0};
};

// A stream number for a named purpose and up to two indices, e.g. stream_id("augment", epoch,
// shape).
uint64_t stream_id(std::string_view purpose, uint64_t a = 0, uint64_t b = 0);

}  // namespace basin
