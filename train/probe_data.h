// What the estimators of analysis/ see of a trained classifier: a fixed part of a split, cut into
// batches, and the loss on it as a function of the parameters.
//   loss = mean cross-entropy with the label smoothing of the training, without penalty terms, no
//   augmentation, no dropout; batch norm with frozen running statistics, or with those of the
//   batch.
// The part is chosen by the seed alone, so compared checkpoints are measured on the same shapes.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "basin/analysis/curvature.h"
#include "basin/datasets/loader.h"
#include "basin/models/model.h"
#include "basin/tools/shell/settings.h"

namespace basin {

// frozen: running statistics. batch: those of each batch, as in training.
enum class NormStatistics : uint8_t { frozen, batch };
NormStatistics norm_statistics_from_name(std::string_view name);  // usage error naming the two
std::string_view name_of(NormStatistics statistics);

struct ProbeData {
  std::vector<PointBatch> batches;
  int64_t examples = 0;
  std::string description;  // "1024 of 9843 training shapes (seed 0), 128 points"
};

// `shapes` rows of the set, drawn without replacement by the seed and then kept in the order of the
// set; 0 or more than there are: all of them. `split` is its name for the description.
ProbeData probe_data(const PointCloudSet& set, const std::string& split, const TrainConfig& train,
                     int64_t shapes, int64_t batch, uint64_t seed);

// The loss on each batch, for CurvatureOperator and the sharpness measures.
std::vector<LossBatch> loss_batches(const Model& model, const ParamList& buffers,
                                    const ProbeData& data, NormStatistics statistics,
                                    double smoothing, DType dtype);

struct MeanLoss {
  double loss = 0;
  double accuracy = 0;
};
// On all of the data, summed in the order of the batches in f64.
MeanLoss mean_loss(const Model& model, const Tensors& params, const Tensors& buffers,
                   const ProbeData& data, NormStatistics statistics, double smoothing);

// Running statistics made anew for given parameters: the cumulative average over the batches
// (Izmailov et al. 2018 do so after averaging weights).
ParamList reestimated_buffers(const Model& model, const Tensors& params, const ParamList& buffers,
                              const ProbeData& data);

// One matrix per layer, a row per shape: per-point activations averaged over the points, others
// (after the network's own pooling) as they are; transforms of T-Nets flattened.
struct Representation {
  std::string layer;
  Tensor rows;          // [S, C] f64
  bool pooled = false;  // averaged over the points here
};
std::vector<Representation> representations(const Model& model, const ModelState& state,
                                            const ProbeData& data);

}  // namespace basin
