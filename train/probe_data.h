// What the estimators of analysis/ see of a trained network: a fixed part of a split, cut into
// batches, and the loss on it as a function of the parameters.
//   loss = data loss of the task's objective: no penalty terms, no augmentation, no dropout; batch
//   norm with frozen running statistics, or with those of the batch.
// The part is chosen by the seed alone, so compared checkpoints are measured on the same examples.
#pragma once
#include <string>
#include <vector>

#include "basin/analysis/curvature.h"
#include "basin/train/task.h"

namespace basin {

// frozen: running statistics. batch: those of each batch, as in training.
enum class NormStatistics : uint8_t { frozen, batch };
NormStatistics norm_statistics_from_name(std::string_view name);  // usage error naming the two
std::string_view name_of(NormStatistics statistics);

struct ProbeData {
  std::vector<Slot> slots;
  std::vector<Batch> batches;
  int64_t examples = 0;
  std::string description;   // "1024 of 9843 training shapes (seed 0), 128 points"
  std::string content_hash;  // of the whole split
};

// `limit` examples of the split, drawn without replacement by the seed and then kept in its order;
// 0 or more than there are: all of them.
ProbeData probe_data(const Task& task, Split split, int64_t limit, int64_t batch, uint64_t seed);

// The loss on each batch, for CurvatureOperator and the sharpness measures.
std::vector<LossBatch> loss_batches(const Task& task, const ParamList& buffers,
                                    const ProbeData& data, NormStatistics statistics, DType dtype);

struct MeanLoss {
  double loss = 0;
  double metric = 0;  // the task's first
};
// On all of the data, summed in the order of the batches in f64.
MeanLoss mean_loss(const Task& task, const Tensors& params, const Tensors& buffers,
                   const ProbeData& data, NormStatistics statistics);

// Running statistics made anew for given parameters: the cumulative average over the batches
// (Izmailov et al. 2018 do so after averaging weights).
ParamList reestimated_buffers(const Task& task, const Tensors& params, const ParamList& buffers,
                              const ProbeData& data);

// One matrix per layer, a row per example: activations of points and nodes averaged over those of
// the example, others (after the network's own pooling) as they are, flattened. The outputs come
// last. Activations of edges are left out.
struct Representation {
  std::string layer;
  Tensor rows;          // [S, C] f64
  bool pooled = false;  // averaged here
};
std::vector<Representation> representations(const Task& task, const ModelState& state,
                                            const ProbeData& data);

}  // namespace basin
