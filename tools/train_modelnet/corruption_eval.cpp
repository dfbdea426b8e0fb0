// Corrupted test sets and the accuracy on them.
#include "basin/tools/train_modelnet/corruption_eval.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "basin/train/meters.h"

namespace basin::tools {
namespace {

bool has_every_file(const fs::path& folder, const CorruptionInfo& corruption, int& missing) {
  for (missing = 1; missing <= kSeverities; ++missing) {
    if (!has_published_corruption(folder, corruption, missing)) return false;
  }
  return true;
}

PointCloudSet limited(const PointCloudSet& set, int64_t limit) {
  if (limit <= 0 || limit >= set.size()) return set;
  return subset(set, spread_rows(set.size(), limit));
}

}  // namespace

CloudScores evaluate_clouds(const Model& model, const ModelState& state, const PointCloudSet& set,
                            const LoaderOptions& options) {
  const PointCloudLoader loader(set, options);
  const Tensors params = state.params.values(), buffers = state.buffers.values();
  const Tensor& first = params.front();
  Tally tally(model.outputs);
  for (int64_t i = 0; i < loader.batches_per_epoch(); ++i) {
    const PointBatch batch = loader.batch(0, i);
    const Tensor points = batch.points.to(first.device()).to(first.dtype());
    const ForwardResult result =
        model.forward(params, buffers, {points}, ForwardOptions::evaluation());
    tally.add(result.outputs.front(), batch.labels);
  }
  return {tally.loss(), tally.overall_accuracy(), tally.mean_class_accuracy(), tally.total()};
}

int64_t default_corruption_points(int64_t trained_points) {
  return trained_points >= kCorruptionPoints ? 0 : trained_points;
}

int64_t points_on_demand(const std::string& data) {
  const bool sampled = data == "embedded" || has_test_meshes(data) ||
                       fs::exists(fs::path(data) / "modelnet40_test.txt");
  return sampled ? kCorruptionDensePoints : 0;
}

void swap_up_axis(Tensor& points) {
  auto* p = points.mutable_data<float>();
  for (int64_t i = 0; i < points.numel(); i += 3) {
    p[i] = -p[i];
    std::swap(p[i + 1], p[i + 2]);
  }
}

CorruptionSource::CorruptionSource(const CloudSettings& config,
                                   std::vector<std::string> class_names,
                                   const CorruptionOptions& options)
    : config_(config), class_names_(std::move(class_names)), options_(options) {
  check(!config.load.normals, "--corruptions: the corruptions move, add and remove points and do ",
        "not say what becomes of normals; measure a network without --features normal");
  if (!options_.published.empty()) {
    check(fs::is_directory(options_.published), "--corruptions-dir: no folder ",
          options_.published.string());
    description_ = str("published arrays in ", options_.published.string());
    return;
  }
  LoadOptions load;
  load.points = points_on_demand(config.data);
  load.limit = config.load.limit;
  load.seed = config.seed;
  load.normalise = config.load.normalise;
  PointCloudSplits splits = load_dataset(config.data, load);
  base_ = std::move(splits.test);
  meshes_ = config.data != "embedded" && has_test_meshes(config.data);
  description_ =
      str("generated from the test split of ", config.data, " (", base_.size(), " shapes of ",
          base_.points_per_cloud(), " points", meshes_ ? ", and their meshes)" : ")");
}

std::string CorruptionSource::missing(const CorruptionInfo& corruption) const {
  if (!options_.published.empty()) {
    int severity = 0;
    if (has_every_file(options_.published, corruption, severity)) return "";
    return str(
        "no ",
        published_corruption_file(options_.published, corruption, severity).filename().string());
  }
  if (corruption.input == CorruptionInput::mesh) {
    return meshes_ ? "" : "a depth image of the mesh; the data are clouds";
  }
  const int64_t needed =
      corruption.input == CorruptionInput::dense_cloud ? kCorruptionDensePoints : kCorruptionPoints;
  if (base_.points_per_cloud() >= needed) return "";
  return str("needs ", needed, " points per cloud, the data hold ", base_.points_per_cloud());
}

PointCloudSet CorruptionSource::make(const CorruptionInfo& corruption, int severity) const {
  if (!options_.published.empty()) {
    return limited(
        load_published_corruption(options_.published, corruption, severity, class_names_),
        config_.load.limit);
  }
  if (corruption.input != CorruptionInput::mesh) {
    return corrupt_set(base_, corruption, severity, options_.seed);
  }
  PointCloudSet set = corrupt_mesh_tree(config_.data, corruption, severity, options_.seed,
                                        config_.load.limit, class_names_);
  swap_up_axis(set.points);  // the clouds of this run stand as their meshes do
  return set;
}

double CorruptionRow::error_rate(int severity) const {
  return 1 - severities[static_cast<size_t>(severity - 1)].overall_accuracy;
}

double CorruptionRow::error_rate() const {
  double sum = 0;
  for (int s = 1; s <= kSeverities; ++s) sum += error_rate(s);
  return sum / kSeverities;
}

int64_t CorruptionReport::evaluated() const {
  return std::count_if(rows.begin(), rows.end(),
                       [](const CorruptionRow& r) { return r.skipped.empty(); });
}

double CorruptionReport::error_rate() const {
  double sum = 0;
  for (const CorruptionRow& r : rows) sum += r.skipped.empty() ? r.error_rate() : 0;
  return sum / static_cast<double>(evaluated());
}

double CorruptionReport::error_rate(CorruptionGroup group) const {
  double sum = 0;
  int64_t n = 0;
  for (const CorruptionRow& r : rows) {
    if (!r.skipped.empty() || r.corruption.group != group) continue;
    sum += r.error_rate();
    ++n;
  }
  return n > 0 ? sum / static_cast<double>(n) : std::numeric_limits<double>::quiet_NaN();
}

std::vector<CorruptionRow> evaluate_corruptions(
    const Model& model, const ModelState& state, const CloudSettings& settings, int64_t batch,
    const CorruptionSource& source, const CorruptionOptions& options,
    const std::function<void(const std::string&)>& progress) {
  std::vector<CorruptionRow> rows;
  bool any = false;
  for (const CorruptionInfo& corruption : corruptions()) {
    rows.push_back({corruption, source.missing(corruption)});
    any = any || rows.back().skipped.empty();
  }
  check(any, "--corruptions: none of the ", rows.size(), " can be had from these data; ",
        rows.front().corruption.name, ": ", rows.front().skipped);
  for (CorruptionRow& row : rows) {
    if (!row.skipped.empty()) continue;
    if (progress) progress(row.corruption.name);
    for (int s = 1; s <= kSeverities; ++s) {
      const PointCloudSet set = source.make(row.corruption, s);
      const int64_t have = set.points_per_cloud();
      const int64_t used = options.points > 0 ? std::min(options.points, have) : have;
      LoaderOptions o =
          evaluation_options(batch, used, settings.pose.test, settings.up, options.seed);
      o.selection = PointSelection::random;
      o.prefetch = true;
      const auto i = static_cast<size_t>(s - 1);
      row.severities[i] = evaluate_clouds(model, state, set, o);
      row.points[i] = used;
    }
  }
  return rows;
}

}  // namespace basin::tools
