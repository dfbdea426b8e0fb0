// A trained network as it is probed: weights of one checkpoint, the network, its data, and what a
// reader must know to trust a number about it.
#pragma once
#include <memory>
#include <string>

#include "basin/tools/landscape_probe/settings.h"
#include "basin/train/checkpoint.h"
#include "basin/train/trainer.h"

namespace basin::tools {

class Subject {
 public:
  // path: a run directory (its newest checkpoint), RUN/ckpt/step-N or RUN/ckpt/best.
  Subject(const std::string& path, const Config& probe);

  const Model& model() const { return model_; }
  const ModelState& state() const { return state_; }      // dtype of the training
  const ModelState& initial() const { return initial_; }  // the weights before the first step
  const TrainConfig& train() const { return train_; }
  const PointCloudSet& train_set() const { return data_.train; }
  const PointCloudSet& test_set() const { return data_.test; }
  const std::vector<RoutingRow>& routing() const { return routing_; }
  const fs::path& run() const { return run_; }  // the run directory
  const OptimizerState& optimizer_state() const { return checkpoint_.optimizer; }
  std::string label() const;  // "pointnet muon"
  Record facts() const;       // identity of the weights and the data, flat

  // Positions in the ParamList: all | layer:PATTERN | role:ROLE | group:RULE. usage error when the
  // text is none of these or nothing matches.
  std::vector<int> subset(const std::string& text) const;

 private:
  fs::path run_;
  TrainConfig train_;
  TrainData data_;
  Model model_;
  ModelState state_, initial_;
  std::vector<RoutingRow> routing_;
  Checkpoint checkpoint_;
};

// "feat.conv1.weight" -> "feat.conv1": the layer that a parameter belongs to.
std::string layer_of(const std::string& parameter);

}  // namespace basin::tools
