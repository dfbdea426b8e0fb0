// Batches of point clouds as a pure function of (seed, epoch, index): a resumed run asks for the
// batch it needs, nothing is replayed. Which shapes, which points, pose and augmentation of a shape
// depend on (seed, epoch, row) only, so the batch size does not change what a shape looks like.
// Of a cloud with fewer points than a batch takes all are taken, and then some of them again.
// With `prefetch` one thread makes the next batch ahead of time, with identical results.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "basin/core/tensor.h"
#include "basin/datasets/augment.h"
#include "basin/datasets/point_cloud.h"

namespace basin {

struct LoaderOptions {
  int64_t batch = 32;
  int64_t points = 0;  // per cloud; 0: as many as the set holds, if all hold the same
  bool shuffle = true;
  bool drop_last = false;
  Augment augment = {};
  Pose pose = Pose::fixed;
  Axis up = Axis::z;
  uint64_t seed = 0;
  PointSelection selection = PointSelection::first;  // or random; farthest is chosen on loading
  bool every_epoch_alike = false;  // draws depend on (seed, row) alone, as an evaluation needs
  bool prefetch = false;
};

// The options for measuring on a test split: in order, complete, unaugmented, posed by one rotation
// and with one choice of points per (seed, row).
LoaderOptions evaluation_options(int64_t batch, int64_t points, Pose pose = Pose::fixed,
                                 Axis up = Axis::z, uint64_t seed = 0,
                                 PointSelection selection = PointSelection::first);

struct PointBatch {
  Tensor points;              // [B, N, 3] f32
  Tensor normals;             // [B, N, 3] f32; undefined: the set has none
  Tensor labels;              // [B] i64
  std::vector<int64_t> rows;  // which shapes of the set
};

class PointCloudLoader {
 public:
  PointCloudLoader(const PointCloudSet& set, const LoaderOptions& options);  // keeps tensor handles
  ~PointCloudLoader();
  PointCloudLoader(PointCloudLoader&&) noexcept;
  PointCloudLoader& operator=(PointCloudLoader&&) noexcept;

  int64_t batches_per_epoch() const;
  int64_t points() const;  // N
  PointBatch batch(int64_t epoch, int64_t index) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// A stratified validation split: of every class round(fraction * count) shapes (at least one, if
// the class has two) go to `held_out`, chosen by the seed; the order of the rows is kept in both.
struct Holdout {
  PointCloudSet train, held_out;
};
Holdout split_holdout(const PointCloudSet& set, double fraction, uint64_t seed);

}  // namespace basin
