// One cloud between its file and its set: all coordinates in f64, in which every f32 is exact; the
// wanted ones are chosen, normalised and rounded to f32, once. Internal to datasets/.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "basin/datasets/point_cloud.h"

namespace basin {

struct StoredCloud {
  std::vector<double> xyz;      // [P, 3]
  std::vector<double> normals;  // [P, 3]; empty: there are none
  bool wide = false;            // the file holds more than f32 can
  bool sampled = false;         // drawn from a surface, at random and as many as are wanted
  std::string key;              // of its random choice; arrays, which are kept whole, have none

  int64_t points() const { return static_cast<int64_t>(xyz.size() / 3); }
};

// `points` rows [.., C] of a float tensor from row `first` on, as coordinates and, where they are
// asked for and C is 6, normals.
StoredCloud stored_rows(const Tensor& table, int64_t first, int64_t points, bool normals);
void append_rows(const Tensor& table, int64_t first, int64_t points, int64_t column,
                 std::vector<double>& out);  // three columns from `column` on

// Steps along its radius below which an f32 cloud is coarse: an offset of a thousand radii.
inline constexpr double kFineF32 = 1 << 12;

// What a cloud lost on its way.
struct CloudLoss {
  // By rounding to f32: how far a point moved, in half the longest side of the cloud, and how many
  // fell onto others. 0 and 0: less than 1 / (2 kFineF32), and none.
  double moved = 0;
  int64_t merged = 0;
  // The radius in steps of the file's numbers where these are too coarse for f32 to show its own
  // rounding (of f32 files: below kFineF32); 0: fine enough.
  double steps = 0;
};

struct KeptCloud {
  std::vector<float> xyz, normals;
  CloudLoss loss;

  int64_t points() const { return static_cast<int64_t>(xyz.size() / 3); }
};

// The part that a set keeps. `most`: of a random choice; 0: all.
KeptCloud keep(StoredCloud cloud, const LoadOptions& options, int64_t most);

// Numbers of `wanted` of `have` points: a draw without replacement, or, of fewer, all and then
// draws with replacement.
std::vector<int64_t> drawn_points(int64_t have, int64_t wanted, uint64_t seed, uint64_t stream);

}  // namespace basin
