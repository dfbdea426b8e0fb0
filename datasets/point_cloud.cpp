// Point-cloud sets: checks, normalisation, subsets and the choice of a layout. See point_cloud.h.
#include "basin/datasets/point_cloud.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "basin/datasets/detail/folders.h"
#include "basin/datasets/npy.h"
#include "basin/datasets/shapes.h"

namespace basin {
namespace {

constexpr std::string_view kNormalisationNames[] = {"unit_sphere", "bounding_box", "none"};
constexpr int kEmbeddedTrain = 160, kEmbeddedTest = 40, kEmbeddedPoints = 1024;  // per class

std::string describe(const std::string& layout, const PointCloudSplits& splits,
                     Normalisation normalise) {
  return str(layout, ", ", splits.train.size(), " training and ", splits.test.size(),
             " test shapes of ", splits.train.classes(), " classes, ",
             splits.train.points_per_cloud(), " points, normalised by ", name_of(normalise));
}

std::span<const uint8_t> bytes_of(const Tensor& t) {
  return {static_cast<const uint8_t*>(t.raw()), t.bytes()};
}

void check_options(const LoadOptions& options) {
  check(options.points >= 0 && options.limit >= 0,
        "load_point_clouds: expected points and limit of at least 0, got ", options.points, " and ",
        options.limit);
}

// The embedded classes take turns, so the first rows hold all of them; a stride could skip some.
void keep_first(PointCloudSet& set, int64_t limit) {
  if (limit <= 0 || limit >= set.size()) return;
  std::vector<int64_t> rows(static_cast<size_t>(limit));
  std::iota(rows.begin(), rows.end(), int64_t{0});
  set = subset(set, rows);
}

PointCloudSplits load_embedded(const LoadOptions& options) {
  const auto points = static_cast<int>(options.points > 0 ? options.points : kEmbeddedPoints);
  PointCloudSplits splits =
      embedded_shapes(kEmbeddedTrain, kEmbeddedTest, points, options.seed, options.normalise);
  keep_first(splits.train, options.limit);
  keep_first(splits.test, options.limit);
  splits.description = describe("embedded shapes", splits, options.normalise);
  return splits;
}

}  // namespace

Normalisation normalisation_from_name(std::string_view name) {
  for (int i = 0; i < 3; ++i) {
    if (name == kNormalisationNames[i]) return static_cast<Normalisation>(i);
  }
  fail(ErrorKind::usage, "normalisation: expected unit_sphere, bounding_box or none, got '", name,
       "'");
}

std::string_view name_of(Normalisation normalisation) {
  return kNormalisationNames[static_cast<int>(normalisation)];
}

void normalise_cloud(std::span<float> xyz, Normalisation normalisation) {
  const size_t n = xyz.size() / 3;
  if (normalisation == Normalisation::none || n == 0) return;
  double centre[3], scale = 0;
  for (size_t axis = 0; axis < 3; ++axis) {
    double sum = 0, low = xyz[axis], high = xyz[axis];
    for (size_t i = axis; i < xyz.size(); i += 3) {
      sum += xyz[i];
      low = std::min<double>(low, xyz[i]), high = std::max<double>(high, xyz[i]);
    }
    const bool sphere = normalisation == Normalisation::unit_sphere;
    centre[axis] = sphere ? sum / static_cast<double>(n) : 0.5 * (low + high);
    if (!sphere) scale = std::max(scale, 0.5 * (high - low));
  }
  if (normalisation == Normalisation::unit_sphere) {
    for (size_t i = 0; i < xyz.size(); i += 3) {
      scale = std::max(
          scale, std::hypot(xyz[i] - centre[0], xyz[i + 1] - centre[1], xyz[i + 2] - centre[2]));
    }
  }
  const double factor = scale > 0 ? 1 / scale : 1;
  for (size_t i = 0; i < xyz.size(); ++i) {
    xyz[i] = static_cast<float>((xyz[i] - centre[i % 3]) * factor);
  }
}

void seal(PointCloudSet& set) {
  const std::string& where = set.source;
  const bool shaped = set.points.defined() && set.labels.defined() && set.points.rank() == 3 &&
                      set.points.size(2) == 3 && set.points.size(1) > 0 && set.labels.rank() == 1 &&
                      set.labels.size(0) == set.points.size(0);
  const bool typed = shaped && set.points.dtype() == DType::f32 && set.labels.dtype() == DType::i64;
  if (!typed) fail(ErrorKind::data, where, ": expected points [n, P, 3] f32 and labels [n] i64");
  if (set.size() == 0) fail(ErrorKind::data, where, ": expected at least one shape");
  const auto* label = set.labels.data<int64_t>();
  for (int64_t i = 0; i < set.size(); ++i) {
    if (label[i] < 0 || label[i] >= set.classes()) {
      fail(ErrorKind::data, where, ": row ", i, ": expected a label from 0 to ", set.classes() - 1,
           ", got ", label[i]);
    }
  }
  const auto* xyz = set.points.data<float>();
  const int64_t per_cloud = 3 * set.points_per_cloud();
  for (int64_t i = 0; i < set.points.numel(); ++i) {
    if (!std::isfinite(xyz[i])) {
      fail(ErrorKind::data, where, ": row ", i / per_cloud, ": point ", i % per_cloud / 3,
           " is not finite");
    }
  }
  // Digest of the two digests: neither buffer has to be copied to sit beside the other.
  const std::string both = sha256_hex(bytes_of(set.points)) + sha256_hex(bytes_of(set.labels));
  set.content_hash =
      sha256_hex(std::span(reinterpret_cast<const uint8_t*>(both.data()), both.size()));
}

std::vector<int64_t> spread_rows(int64_t n, int64_t limit) {
  const int64_t kept = limit > 0 ? std::min(n, limit) : n;
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < kept; ++i) {
    rows.push_back(static_cast<int64_t>(static_cast<__int128>(i) * n / kept));
  }
  return rows;
}

std::vector<int64_t> class_counts(const PointCloudSet& set) {
  std::vector<int64_t> counts(set.class_names.size());
  for (int64_t label : set.labels.to_vector<int64_t>()) ++counts.at(static_cast<size_t>(label));
  return counts;
}

PointCloudSet subset(const PointCloudSet& set, std::span<const int64_t> rows) {
  const auto n = static_cast<int64_t>(rows.size());
  const int64_t points = set.points_per_cloud();
  PointCloudSet out;
  out.points = Tensor::empty({n, points, 3}, DType::f32);
  out.labels = Tensor::empty({n}, DType::i64);
  out.class_names = set.class_names;
  out.source = set.source;
  auto* xyz = out.points.mutable_data<float>();
  auto* label = out.labels.mutable_data<int64_t>();
  for (int64_t i = 0; i < n; ++i) {
    check(rows[i] >= 0 && rows[i] < set.size(), "subset: row ", rows[i], " is outside 0 to ",
          set.size() - 1);
    std::copy_n(set.points.data<float>() + rows[i] * points * 3, points * 3, xyz + i * points * 3);
    label[i] = set.labels.data<int64_t>()[rows[i]];
  }
  seal(out);
  return out;
}

PointCloudSplits load_point_clouds(const fs::path& dir, const LoadOptions& options) {
  check_options(options);
  std::error_code error;
  if (!fs::is_directory(dir, error)) {
    fail(ErrorKind::data, dir.string(), ": expected a folder of point clouds, there is none");
  }
  for (const auto& reader : {folders::read_hdf5_layout, folders::read_text_layout,
                             folders::read_npy_layout, folders::read_tree_layout}) {
    std::optional<folders::Found> found = reader(dir, options);
    if (!found) continue;
    seal(found->train);
    seal(found->test);
    PointCloudSplits splits{std::move(found->train), std::move(found->test), {}};
    splits.description = describe(found->layout, splits, options.normalise);
    return splits;
  }
  fail(ErrorKind::data, dir.string(),
       ": no known layout, looked for train_files.txt and test_files.txt, *train*.h5 and *test*.h5,"
       " modelnet40_train.txt and modelnet40_test.txt, train_points.npy and test_points.npy,"
       " <class>/<train|test>/*.off, *.obj or *.ply");
}

PointCloudSet load_npy_set(const fs::path& points, const fs::path& labels,
                           const LoadOptions& options) {
  check_options(options);
  const Tensor label = read_npy(labels);
  PointCloudSet set = folders::take_set(read_npy(points), label, options, points.string());
  set.class_names = folders::class_names_of(points.parent_path(), {set.labels});
  seal(set);
  return set;
}

Tensor load_cloud(const fs::path& file, const LoadOptions& options) {
  check_options(options);
  const PointCloudSet one =
      folders::read_items({{file, 0}}, folders::read_cloud, options, file.string());
  return one.points.view({one.points_per_cloud(), 3});
}

PointCloudSplits load_dataset(const std::string& spec, const LoadOptions& options) {
  check(!spec.empty(), "load_dataset: expected \"embedded\" or a folder, got nothing");
  check_options(options);
  return spec == "embedded" ? load_embedded(options) : load_point_clouds(spec, options);
}

}  // namespace basin
