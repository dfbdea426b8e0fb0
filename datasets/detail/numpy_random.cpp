// PCG64 and MT19937 with NumPy's seeding and bounded integers.
#include "basin/datasets/detail/numpy_random.h"

#include <array>
#include <bit>
#include <numeric>
#include <utility>

#include "basin/core/error.h"

namespace basin::numpy {
namespace {

constexpr size_t kPool = 4;
using Words = std::array<uint32_t, kPool>;

struct HashConstants {
  uint32_t start, factor;
};
constexpr HashConstants kMixing{0x43b0d7e5, 0x931e8875}, kOutput{0x8b51f9dd, 0x58f38ded};

// One word hashed; the constant moves on with every call.
class Hash {
 public:
  explicit Hash(HashConstants c) : state_(c.start), factor_(c.factor) {}
  uint32_t operator()(uint32_t value) {
    value ^= state_;
    state_ *= factor_;
    value *= state_;
    return value ^ (value >> 16);
  }

 private:
  uint32_t state_, factor_;
};

uint32_t mixed(uint32_t x, uint32_t y) {
  const uint32_t value = 0xca01f9ddU * x - 0x4973f715U * y;
  return value ^ (value >> 16);
}

// SeedSequence(seed).generate_state(4, uint64) of a seed of one word.
std::array<uint64_t, 4> seed_state(uint32_t seed) {
  Words pool{};
  Hash hash(kMixing);
  for (size_t i = 0; i < kPool; ++i) pool[i] = hash(i == 0 ? seed : 0);
  for (size_t from = 0; from < kPool; ++from) {
    for (size_t to = 0; to < kPool; ++to) {
      if (from != to) pool[to] = mixed(pool[to], hash(pool[from]));
    }
  }
  Hash output(kOutput);
  std::array<uint64_t, 4> state{};
  for (size_t i = 0; i < 2 * state.size(); ++i) {
    state[i / 2] |= static_cast<uint64_t>(output(pool[i % kPool])) << (i % 2 == 0 ? 0 : 32);
  }
  return state;
}

// An unsigned number of 128 bits, as far as a linear congruence needs it.
struct Wide {
  uint64_t high = 0, low = 0;
};

Wide operator+(Wide a, Wide b) {
  const uint64_t low = a.low + b.low;
  return {a.high + b.high + (low < a.low ? 1 : 0), low};
}

Wide operator*(Wide a, Wide b) {
  const uint64_t a0 = a.low & 0xffffffffU, a1 = a.low >> 32;
  const uint64_t b0 = b.low & 0xffffffffU, b1 = b.low >> 32;
  const uint64_t middle = a1 * b0 + ((a0 * b0) >> 32);
  const uint64_t carried = a0 * b1 + (middle & 0xffffffffU);
  const uint64_t high = a1 * b1 + (middle >> 32) + (carried >> 32);
  return {high + a.high * b.low + a.low * b.high, a.low * b.low};
}

class Pcg64 {
 public:
  explicit Pcg64(uint32_t seed) {
    const std::array<uint64_t, 4> words = seed_state(seed);
    increment_ = {words[2] << 1 | words[3] >> 63, words[3] << 1 | 1};
    advance();
    state_ = state_ + Wide{words[0], words[1]};
    advance();
  }

  // Half a draw at a time, the lower one first.
  uint32_t next() {
    if (half_) {
      half_ = false;
      return waiting_;
    }
    advance();
    const uint64_t word = std::rotr(state_.high ^ state_.low, static_cast<int>(state_.high >> 58));
    half_ = true;
    waiting_ = static_cast<uint32_t>(word >> 32);
    return static_cast<uint32_t>(word);
  }

 private:
  void advance() { state_ = state_ * Wide{0x2360ed051fc65da4, 0x4385df649fccf645} + increment_; }

  Wide state_, increment_;
  bool half_ = false;
  uint32_t waiting_ = 0;
};

class Mt19937 {
 public:
  explicit Mt19937(uint32_t seed) {
    for (size_t i = 0; i < kWords; ++i) {
      key_[i] = seed;
      seed = 1812433253U * (seed ^ (seed >> 30)) + static_cast<uint32_t>(i) + 1;
    }
  }

  uint32_t next() {
    if (at_ == kWords) refill();
    uint32_t y = key_[at_++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680U;
    y ^= (y << 15) & 0xefc60000U;
    return y ^ (y >> 18);
  }

 private:
  static constexpr size_t kWords = 624, kShift = 397;

  void refill() {
    for (size_t i = 0; i < kWords; ++i) {
      const uint32_t y = (key_[i] & 0x80000000U) | (key_[(i + 1) % kWords] & 0x7fffffffU);
      key_[i] = key_[(i + kShift) % kWords] ^ (y >> 1) ^ (y % 2 == 0 ? 0 : 0x9908b0dfU);
    }
    at_ = 0;
  }

  std::array<uint32_t, kWords> key_{};
  size_t at_ = kWords;
};

// 0 .. last, last > 0: as many bits as `last` has, drawn until they are not above it.
template <class Generator>
uint32_t up_to(Generator& generator, uint32_t last) {
  const uint32_t mask = ~uint32_t{0} >> std::countl_zero(last);
  for (;;) {
    const uint32_t value = generator.next() & mask;
    if (value <= last) return value;
  }
}

template <class Generator>
std::vector<int64_t> permutation(Generator generator, int64_t n) {
  check(n >= 0 && n < (int64_t{1} << 32), "numpy permutation: expected 0 to 2^32 - 1 rows, got ",
        n);
  std::vector<int64_t> out(static_cast<size_t>(n));
  std::iota(out.begin(), out.end(), int64_t{0});
  for (size_t i = out.size(); i > 1; --i) {
    std::swap(out[i - 1], out[up_to(generator, static_cast<uint32_t>(i - 1))]);
  }
  return out;
}

}  // namespace

std::vector<int64_t> generator_permutation(uint32_t seed, int64_t n) {
  return permutation(Pcg64(seed), n);
}

std::vector<int64_t> random_state_permutation(uint32_t seed, int64_t n) {
  return permutation(Mt19937(seed), n);
}

}  // namespace basin::numpy
