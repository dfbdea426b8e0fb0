// Farthest-point sampling: see farthest_points.h. One pass over the points per choice, in blocks
// that the compiler makes vectors of; the largest distance of each block is kept, so that finding
// the first point of the largest distance needs no second pass.
#include "basin/datasets/farthest_points.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "basin/core/error.h"

namespace basin {
namespace {

constexpr size_t kBlock = 64;

// The coordinates by axis and the squared distance to the nearest chosen point; -1: chosen already,
// or behind the last point.
struct Block {
  float x[kBlock], y[kBlock], z[kBlock], gap[kBlock];
};

std::vector<Block> blocks_of(std::span<const float> xyz) {
  const size_t points = xyz.size() / 3;
  std::vector<Block> out((points + kBlock - 1) / kBlock);
  for (size_t i = 0; i < out.size() * kBlock; ++i) {
    Block& block = out[i / kBlock];
    const size_t at = i % kBlock;
    const bool inside = i < points;
    block.x[at] = inside ? xyz[3 * i] : 0;
    block.y[at] = inside ? xyz[3 * i + 1] : 0;
    block.z[at] = inside ? xyz[3 * i + 2] : 0;
    block.gap[at] = inside ? std::numeric_limits<float>::infinity() : -1;
  }
  return out;
}

// Lowers the gaps by the distances to p; returns the largest that is left.
float lower_gaps(Block& block, const float p[3]) {
  constexpr size_t kLanes = 16;
  float largest[kLanes];
  std::fill_n(largest, kLanes, -1.0F);
  for (size_t from = 0; from < kBlock; from += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const size_t i = from + lane;
      const float dx = block.x[i] - p[0], dy = block.y[i] - p[1], dz = block.z[i] - p[2];
      const float square = dx * dx + dy * dy + dz * dz;
      const float gap = square < block.gap[i] ? square : block.gap[i];
      block.gap[i] = gap;
      largest[lane] = gap > largest[lane] ? gap : largest[lane];
    }
  }
  return *std::max_element(largest, largest + kLanes);
}

size_t farthest_from_mean(std::span<const float> xyz) {
  const size_t points = xyz.size() / 3;
  double mean[3] = {0, 0, 0}, largest = -1;
  for (size_t i = 0; i < xyz.size(); ++i) mean[i % 3] += xyz[i] / static_cast<double>(points);
  size_t found = 0;
  for (size_t i = 0; i < points; ++i) {
    double square = 0;
    for (size_t axis = 0; axis < 3; ++axis) {
      const double d = xyz[3 * i + axis] - mean[axis];
      square += d * d;
    }
    if (square > largest) largest = square, found = i;
  }
  return found;
}

}  // namespace

std::vector<int64_t> farthest_points(std::span<const float> xyz, int64_t count) {
  const auto points = static_cast<int64_t>(xyz.size() / 3);
  check(count >= 1 && count <= points, "farthest_points: expected 1 to ", points,
        " points to choose, got ", count);
  std::vector<Block> blocks = blocks_of(xyz);
  std::vector<int64_t> out{static_cast<int64_t>(farthest_from_mean(xyz))};
  std::vector<float> largest(blocks.size());
  for (;;) {
    const auto last = static_cast<size_t>(out.back());
    blocks[last / kBlock].gap[last % kBlock] = -1;
    if (static_cast<int64_t>(out.size()) == count) return out;
    for (size_t b = 0; b < blocks.size(); ++b) {
      largest[b] = lower_gaps(blocks[b], xyz.data() + 3 * last);
    }
    const auto top = std::max_element(largest.begin(), largest.end());  // the first of equal ones
    const auto block = static_cast<size_t>(top - largest.begin());
    const float* gap = blocks[block].gap;
    const auto at = std::find(gap, gap + kBlock, *top) - gap;
    out.push_back(static_cast<int64_t>(block * kBlock) + at);
  }
}

}  // namespace basin
