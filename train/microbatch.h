// A batch cut into microbatches of consecutive examples: what several processes share
// (train/communicator.h), or one process takes one after the other, with less memory.
//   sizes        the first B mod R microbatches have one example more than the others; a batch of
//                fewer examples than R is a usage error
//   loss         sum_r (n_r / B) loss_r, the mean over the batch: of a loss that is a mean over
//                examples that of the whole batch, to rounding (where targets are missing, each
//                microbatch is a mean over its own known ones)
//   batch norm   normalises each microbatch by its own statistics; running statistics move once a
//                step, by sum_r (n_r / B) statistics_r. (Gradients accumulated in other frameworks
//                move them R times a step, data-parallel ones keep those of one rank.)
//   dropout      masks of microbatch r in step s are those of the counter R s + r
#pragma once
#include "basin/train/task.h"

namespace basin {

struct PartRange {
  int64_t begin = 0, end = 0;
  int64_t count() const { return end - begin; }
};
// Part `index` of n things in order. usage error unless 0 <= index < parts <= n.
PartRange part_range(int64_t n, int64_t index, int64_t parts);

// By what the slots say of the rows (nn/activation.h): nodes and edges follow their examples, and
// are numbered anew. data error where those of an example are not consecutive.
Batch microbatch_by_slots(const Batch& batch, const std::vector<Slot>& slots, int64_t index,
                          int64_t parts);
// As the task cuts, or by the slots.
Batch microbatch_of(const Task& task, const Batch& batch, const std::vector<Slot>& slots,
                    int64_t index, int64_t parts);

}  // namespace basin
