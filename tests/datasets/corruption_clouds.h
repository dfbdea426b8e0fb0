// Clouds for the tests of the corruptions, and what they read out of them.
#pragma once
#include <array>
#include <string>
#include <vector>

#include "basin/datasets/corruptions.h"

namespace basin::test {

using Point = std::array<double, 3>;
using Points = std::vector<Point>;

// Uniform in the cube [-size, size]^3, of numbers with few bits: the same on every machine.
inline Tensor random_cloud(int64_t n, double size = 0.75, uint64_t seed = 1) {
  Rng rng(seed, 5);
  std::vector<float> xyz(static_cast<size_t>(3 * n));
  for (float& x : xyz) {
    x = static_cast<float>(size * (static_cast<double>(rng.next_u32() >> 12) * 0x1p-19 - 1));
  }
  return Tensor::from(xyz, {n, 3});
}

// The description without BOX: what comes out can be compared with what went in.
inline CorruptionInfo plain(const std::string& name) {
  CorruptionInfo info = corruption_info(name);
  info.renormalised = false;
  return info;
}

inline Points points_of(const Tensor& cloud) {
  Points out(static_cast<size_t>(cloud.size(0)));
  for (int64_t i = 0; i < cloud.numel(); ++i) out[i / 3][i % 3] = cloud.at(i);
  return out;
}

}  // namespace basin::test
