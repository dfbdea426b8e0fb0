// The batches of a loader in the places of a training step. On a device the next batch is made and
// sent by a stream of its own while the device works on this one (core/upload.h); the batches are
// those of the loader, bit for bit, in any order of asking.
#pragma once
#include <optional>

#include "basin/core/upload.h"
#include "basin/datasets/loader.h"
#include "basin/tools/common/train_step.h"

namespace basin::tools {

class BatchFeed {
 public:
  BatchFeed(const PointCloudLoader& loader, TrainStep& step);  // keeps references
  // Puts a batch into the step's places; what comes back is the host's copy.
  PointBatch take(int64_t epoch, int64_t index);
  void send_ahead(int64_t epoch, int64_t index);  // nothing to do on the CPU

 private:
  struct Ahead {
    int64_t epoch, index;
    PointBatch batch;
  };
  void send(int64_t epoch, int64_t index);
  void receive();

  const PointCloudLoader& loader_;
  TrainStep& step_;
  std::optional<Upload> points_, labels_;
  std::optional<Ahead> ahead_;
  Tensor arrived_;  // [B, N, 3] f32 on the device, for a step in f64
};

}  // namespace basin::tools
