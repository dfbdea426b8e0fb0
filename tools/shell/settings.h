// The settings of a training program, and the plain struct that the training loop takes. Defaults
// that depend on the optimizer or on the preset of the model enter as the layer `preset`.
#pragma once
#include <string>

#include "basin/datasets/loader.h"
#include "basin/models/model.h"
#include "basin/optim/registry.h"
#include "basin/tools/shell/config.h"
#include "basin/train/step.h"

namespace basin::tools {

// What a step does whose loss or gradient is not finite: end the run (exit code 4), or leave
// everything as it is and go on with the next batch, a limited number of times in a row.
enum class OnNonFinite : uint8_t { stop, skip };

struct TrainConfig {
  std::string data = "embedded";
  ModelConfig model;  // classes are set from the data
  OptimizerConfig optimizer;
  std::string schedule = "cosine";  // text of parse_schedule, warm-up included
  int64_t epochs = 20;
  int64_t steps = 0;  // > 0: replaces epochs
  int64_t batch = 32;
  int64_t eval_batch = 32;
  int64_t points = 1024;
  PointSelection selection = PointSelection::first;
  Normalisation normalise = Normalisation::unit_sphere;
  Augment augment;
  PoseProtocol pose;
  Axis up = Axis::y;
  double label_smoothing = 0;
  double clip = 0;  // global gradient norm; 0: off
  double val_fraction = 0;
  int64_t limit = 0;
  uint64_t seed = 0;
  DType dtype = DType::f32;
  Device device = Device::cpu;
  GraphMode graph = GraphMode::automatic;
  int64_t keep = 2;              // checkpoints besides the best; 0: all
  int64_t checkpoint_every = 1;  // epochs
  int64_t log_every = 50;        // steps; 0: epochs only
  OnNonFinite on_nonfinite = OnNonFinite::stop;
  int64_t nonfinite_limit = 5;          // steps skipped in a row before the run ends all the same
  std::string probe = {};               // measurements on the way (training_probe.h)
  std::string config_hash;              // identity of a run; a resumed one must have the same
  std::vector<std::string> notes = {};  // what the user should know of the settings, for the log
};

Config train_settings();

// Fills in what depends on the chosen optimizer and preset, checks every value and its combination.
// usage errors name where the value came from.
TrainConfig train_config_from(Config& config);

// The name of a run directory that a run gets without --out: "runs/pointnet-muon-s0".
std::string default_run_name(const TrainConfig& config);

// Every setting with its source, options of the network and of the optimizer included.
std::string describe_settings(const Config& config, const TrainConfig& train);

std::string train_help();  // models, recipes, optimizers, schedules

}  // namespace basin::tools
