// Draws that the corruptions of clouds and of meshes share. Internal to datasets/.
// A stream belongs to (seed, corruption, severity, shape), so no shape's draws depend on another's.
#pragma once
#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "basin/core/random.h"
#include "basin/datasets/corruptions.h"

namespace basin::corruption {

inline Rng stream(const std::string& purpose, const CorruptionInfo& info, int severity,
                  uint64_t seed, uint64_t index) {
  return Rng(seed, stream_id(purpose + " " + info.name, static_cast<uint64_t>(severity), index));
}

// count different numbers of 0 .. n - 1 in random order (Fisher-Yates, stopped early).
inline std::vector<int64_t> choose(int64_t n, int64_t count, Rng& rng) {
  std::vector<int64_t> out(static_cast<size_t>(n));
  std::iota(out.begin(), out.end(), int64_t{0});
  for (int64_t i = 0; i < count; ++i) {
    std::swap(out[static_cast<size_t>(i)], out[static_cast<size_t>(i + rng.below(n - i))]);
  }
  out.resize(static_cast<size_t>(count));
  return out;
}

// BOX in place where the corruption asks for it.
inline void finish(const CorruptionInfo& info, Tensor& cloud) {  // [n, 3] f32
  if (!info.renormalised) return;
  normalise_cloud({cloud.mutable_data<float>(), static_cast<size_t>(cloud.numel())},
                  Normalisation::bounding_box);
}

// usage error: a severity outside 1 .. 5.
void check_severity(const char* where, int severity);

}  // namespace basin::corruption
