// Accuracy on corrupted clouds, the 15 corruptions of ModelNet40-C at 5 severities each:
//   ER_{c,s} = 1 - overall accuracy;  ER_c = mean over s;  ER_cor = mean over the evaluated c.
// The clouds are generated from the run's own test split (or read from the published arrays) and
// go into the network as they are: neither cut nor normalised again. A network that was trained on
// fewer than 1,024 points gets a random subset of as many points of each corrupted cloud, the
// density it knows. What the data cannot give (depth images without meshes, density_inc without
// 2,048 points) is skipped with the reason, never guessed.
#pragma once
#include <array>
#include <functional>
#include <string>
#include <vector>

#include "basin/datasets/corruptions.h"
#include "basin/models/model.h"
#include "basin/train/tasks/point_clouds.h"

namespace basin::tools {

struct CorruptionOptions {
  uint64_t seed = kCorruptionSeed;
  int64_t points = 0;       // per corrupted cloud, a random subset; 0: the whole cloud
  fs::path published = {};  // folder with data_<name>_<severity>.npy; empty: generate
};

// The rule above: 0 for runs with at least 1,024 points, else the run's own number.
int64_t default_corruption_points(int64_t trained_points);

// Accuracy of a classifier on a set of clouds, in evaluation mode (train/meters.h).
struct CloudScores {
  double loss = 0;
  double overall_accuracy = 0;
  double mean_class_accuracy = 0;
  int64_t examples = 0;
};
// On the device of the state.
CloudScores evaluate_clouds(const Model& model, const ModelState& state, const PointCloudSet& set,
                            const LoaderOptions& options);

// Where the corrupted sets come from.
class CorruptionSource {
 public:
  CorruptionSource(const CloudSettings& settings, std::vector<std::string> class_names,
                   const CorruptionOptions& options);
  // Why this corruption cannot be had; empty: it can.
  std::string missing(const CorruptionInfo& corruption) const;
  PointCloudSet make(const CorruptionInfo& corruption, int severity) const;
  const std::string& description() const { return description_; }
  const PointCloudSet& base() const { return base_; }  // empty with published arrays

 private:
  CloudSettings config_;
  std::vector<std::string> class_names_;
  CorruptionOptions options_;
  PointCloudSet base_;  // the test split with every point there is
  bool meshes_ = false;
  std::string description_;
};

// Most points of a cloud that the data can give: 2,048 of surfaces that are sampled on demand, 0
// (what is stored) of clouds.
int64_t points_on_demand(const std::string& data);

// Depth images come with y up, as the stored clouds of ModelNet40; its meshes have z up.
// (x, y, z) -> (-x, z, y), its own inverse.
void swap_up_axis(Tensor& points);  // [.., 3] f32, in place

struct CorruptionRow {
  CorruptionInfo corruption;
  std::string skipped;  // the reason; empty: evaluated
  std::array<CloudScores, kSeverities> severities = {};
  std::array<int64_t, kSeverities> points = {};  // per cloud, as the network saw them
  double error_rate(int severity) const;         // 1 .. 5
  double error_rate() const;                     // mean over the severities
};

struct CorruptionReport {
  std::string model, weights, weights_hash, source;
  uint64_t seed = 0;
  int64_t corruption_points = 0;  // as in CorruptionOptions
  int64_t trained_points = 0;
  CloudScores clean;
  std::vector<CorruptionRow> rows;  // all 15
  int64_t evaluated() const;
  double error_rate() const;                       // mean over the evaluated corruptions
  double error_rate(CorruptionGroup group) const;  // NaN if none of it was evaluated
};

// The rows of the report. usage error when nothing can be evaluated. `progress` hears the name
// before each corruption.
std::vector<CorruptionRow> evaluate_corruptions(
    const Model& model, const ModelState& state, const CloudSettings& settings, int64_t batch,
    const CorruptionSource& source, const CorruptionOptions& options,
    const std::function<void(const std::string&)>& progress = {});

}  // namespace basin::tools
