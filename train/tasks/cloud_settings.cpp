// The settings of the task "modelnet": their declaration, which is also their --help, and how their
// texts are read.
#include <algorithm>
#include <optional>

#include "basin/train/tasks/point_clouds.h"

namespace basin {
namespace {

constexpr std::string_view kSelections[] = {"first", "random", "fps"};

// None for "auto": as the layout of the data has it.
std::optional<PointSelection> selection_from_name(const std::string& name) {
  if (name == "auto") return std::nullopt;
  const auto* found = std::find(std::begin(kSelections), std::end(kSelections), name);
  check(found != std::end(kSelections), "expected auto, first, random or fps, given '", name, "'");
  return static_cast<PointSelection>(found - std::begin(kSelections));
}

bool normals_from_name(const std::string& name) {
  check(name == "none" || name == "normal", "expected none or normal, given '", name, "'");
  return name == "normal";
}

bool repeats_from_name(const std::string& name) {
  check(name == "keep" || name == "drop", "expected keep or drop, given '", name, "'");
  return name == "keep";
}

}  // namespace

std::vector<OptionInfo> cloud_options() {
  using enum OptionKind;
  return {
      {"data", "embedded", "Folder with point clouds or meshes, or 'embedded'", text},
      {"limit", "0", "Shapes per split, spread evenly; 0: all", integer},
      {"points", "1024",
       "Points per cloud; of a smaller cloud all, and some again. Meshes are sampled with so many",
       integer},
      {"selection", "auto",
       "Which points of a larger cloud, in both splits: first (in the order of the file), random "
       "(training: new ones every epoch; else one seeded choice), fps (farthest-point sampling); "
       "auto: first for HDF5 and the resampled text release, random for PLY, .npy, meshes without "
       "faces and files to predict",
       text},
      {"features", "none",
       "normal: the normals of the points as further input channels (pointnet, dgcnn)", text},
      {"normalise", "unit_sphere", "unit_sphere, bounding_box or none", text},
      {"augment", "dgcnn",
       "Comma list of scale, iso_scale, shift, jitter, dropout, yaw, shuffle (each with =values), "
       "or dgcnn, pointnet_b, pointnet_original, none",
       text},
      {"pose", "none", "Rotations of train/test clouds: none, z/z, z/SO3, SO3/SO3", text},
      {"up_axis", "y", "The axis of yaw rotations: x, y or z", text},
      {"val_fraction", "0", "Share of the training split held out for validation", number},
      {"test_repeats", "keep",
       "drop: without the test clouds that are, bit for bit, training clouds; for --eval-only of a "
       "run too",
       text, true},
      {"label_smoothing", "0", "Share of the target spread over the other classes", number},
  };
}

CloudSettings cloud_settings(const OptionReader& options, uint64_t seed) {
  CloudSettings s;
  s.data = options.text("data");
  s.points = options.integer_in("points", 1, 1 << 24);
  s.load.points = s.points;
  s.load.selection = options.parsed("selection", selection_from_name);
  s.load.normals = options.parsed("features", normals_from_name);
  s.load.limit = options.integer_in("limit", 0, int64_t{1} << 40);
  s.load.seed = seed;
  s.load.normalise = options.parsed("normalise", normalisation_from_name);
  s.augment = options.parsed("augment", parse_augment);
  s.pose = options.parsed("pose", pose_protocol_from_name);
  s.up = options.parsed("up_axis", axis_from_name);
  s.val_fraction = options.number_in("val_fraction", 0, 0.9);
  s.keep_repeats = options.parsed("test_repeats", repeats_from_name);
  s.label_smoothing = options.number_in("label_smoothing", 0, 0.999);
  s.seed = seed;
  return s;
}

CloudSettings cloud_settings(const OptionValues& values, uint64_t seed) {
  return cloud_settings(OptionReader("task modelnet", cloud_options(), values), seed);
}

}  // namespace basin
