// Philox4x32-10 and the draws built on it.
#include "basin/core/random.h"

#include <cmath>
#include <numbers>

#include "basin/core/error.h"

namespace basin {

std::array<uint32_t, 4> philox4x32(uint64_t counter_lo, uint64_t counter_hi, uint64_t key) {
  constexpr uint64_t kMul0 = 0xD2511F53, kMul1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  std::array<uint32_t, 4> c{
      static_cast<uint32_t>(counter_lo), static_cast<uint32_t>(counter_lo >> 32),
      static_cast<uint32_t>(counter_hi), static_cast<uint32_t>(counter_hi >> 32)};
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = kMul0 * c[0], p1 = kMul1 * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(p0)};
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  return c;
}

double uniform_from_bits(uint32_t hi, uint32_t lo) {
  const uint64_t bits = (static_cast<uint64_t>(hi) << 32 | lo) >> 12;  // 52 bits
  return (static_cast<double>(bits) + 0.5) * 0x1p-52;
}

uint32_t Rng::next_u32() {
  const uint64_t index = position_ / 4;
  if (index != block_index_) {
    block_ = philox4x32(index, stream_, seed_);
    block_index_ = index;
  }
  return block_[position_++ % 4];
}

uint64_t Rng::next_u64() {
  const uint64_t hi = next_u32();
  return hi << 32 | next_u32();
}

double Rng::uniform() {
  const uint32_t hi = next_u32();
  return uniform_from_bits(hi, next_u32());
}

double Rng::uniform(double low, double high) { return low + (high - low) * uniform(); }

double Rng::normal() {
  const double u = uniform();
  const double v = uniform();
  return std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v);
}

int64_t Rng::below(int64_t n) {
  check(n > 0, "Rng::below: the bound must be positive, got ", n);
  const uint64_t bound = static_cast<uint64_t>(n);
  const uint64_t reject = (~uint64_t{0} - bound + 1) % bound;  // 2^64 mod n
  uint64_t draw = next_u64();
  while (draw < reject) draw = next_u64();
  return static_cast<int64_t>(draw % bound);
}

uint64_t stream_id(std::string_view purpose, uint64_t a, uint64_t b) {
  uint64_t h = 0xCBF29CE484222325;  // FNV-1a over the name, then two mixing rounds
  for (char ch : purpose) h = (h ^ static_cast<uint8_t>(ch)) * 0x100000001B3;
  for (uint64_t v : {a, b}) {
    h ^= v + 0x9E3779B97F4A7C15 + (h << 6) + (h >> 2);
    h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9;
    h = (h ^ (h >> 27)) * 0x94D049BB133111EB;
    h ^= h >> 31;
  }
  return h;
}

}  // namespace basin
