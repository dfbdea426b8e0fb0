// Where an element lies in a matrix, without a division per element. A GPU has none for integers:
// one of 64 bits takes 25 to 100 instructions. Dividing by what a whole launch shares is a
// multiplication (Granlund and Montgomery, Division by invariant integers using multiplication,
// PLDI 1994): with 2^(s-1) < d <= 2^s and m = floor(2^32 (2^s - d) / d) + 1,
//   floor(i / d) = (floor(m i / 2^32) + i) >> s   for 0 <= i < 2^31.
#pragma once
#include "basin/kernels/cuda/grid.cuh"

namespace basin::cuda {

class FastDivide {
 public:
  FastDivide() : FastDivide(1, 1) {}
  // Of numbers below `end`; beyond 2^31 the division is one of 64 bits. A divisor of 0 is taken for
  // 1: there is nothing to divide then.
  FastDivide(int64_t divisor, int64_t end) : divisor_(divisor < 1 ? 1 : divisor) {
    constexpr int64_t kMost = int64_t{1} << 31;
    if (end > kMost || divisor_ > kMost) return;
    while ((int64_t{1} << shift_) < divisor_) ++shift_;
    const auto d = static_cast<uint64_t>(divisor_);
    factor_ = static_cast<uint32_t>((((uint64_t{1} << shift_) - d) << 32) / d + 1);
    narrow_ = true;
  }
  __host__ __device__ int64_t divisor() const { return divisor_; }
  __host__ __device__ int64_t quotient(int64_t i) const {
    if (!narrow_) return i / divisor_;
    const auto n = static_cast<uint32_t>(i);
    const auto high = static_cast<uint32_t>((uint64_t{n} * factor_) >> 32);
    return static_cast<int64_t>((high + n) >> shift_);
  }
  __host__ __device__ int64_t remainder(int64_t i, int64_t quotient) const {
    return i - quotient * divisor_;
  }

 private:
  int64_t divisor_;
  uint32_t factor_ = 0;
  int shift_ = 0;
  bool narrow_ = false;
};

template <class Map>
struct MapElement {
  Map map;
  FastDivide channels;
  __device__ void operator()(int64_t i) const {
    const int64_t r = channels.quotient(i);
    map(r, channels.remainder(i, r));
  }
};

// map(r, c) for the elements of a matrix [rows, C], neighbouring threads on neighbouring elements.
template <class Map>
void map_elements(const char* name, int64_t rows, int64_t channels, Map map) {
  const int64_t count = rows * channels;
  for_items(name, count, MapElement<Map>{map, FastDivide(channels, count)});
}

}  // namespace basin::cuda
