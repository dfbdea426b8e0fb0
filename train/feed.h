// The batches of a source in the places of a training step. On a device the next batch is made and
// sent by a stream of its own while the device works on this one (core/upload.h); the batches are
// those of the source, bit for bit, in any order of asking and of any shapes.
#pragma once
#include <optional>

#include "basin/core/upload.h"
#include "basin/train/step.h"

namespace basin {

class BatchFeed {
 public:
  BatchFeed(const Source& source, TrainStep& step);  // keeps references
  // Puts a batch into the step's places; what comes back is the host's copy.
  Batch take(int64_t epoch, int64_t index);
  void send_ahead(int64_t epoch, int64_t index);  // nothing to do on the CPU

 private:
  struct Ahead {
    int64_t epoch, index;
    Batch batch;
  };
  void send(int64_t epoch, int64_t index);
  void receive();

  const Source& source_;
  TrainStep& step_;
  std::vector<Upload> uploads_;  // one per tensor of a batch
  std::vector<size_t> room_;     // bytes that each of them can carry
  Tensors arrived_;              // floats of another dtype than the step's, before the cast
  std::optional<Ahead> ahead_;
};

}  // namespace basin
