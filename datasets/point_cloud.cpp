// Point-cloud sets: checks, normalisation, subsets and the choice of a layout. See point_cloud.h.
#include "basin/datasets/point_cloud.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string_view>
#include <unordered_map>

#include "basin/core/log.h"
#include "basin/core/parallel.h"
#include "basin/core/random.h"
#include "basin/datasets/detail/folders.h"
#include "basin/datasets/farthest_points.h"
#include "basin/datasets/npy.h"
#include "basin/datasets/shapes.h"

namespace basin {
namespace {

constexpr std::string_view kNormalisationNames[] = {"unit_sphere", "bounding_box", "none"};
constexpr int kEmbeddedTrain = 160, kEmbeddedTest = 40;  // per class
constexpr int64_t kEmbeddedPoints = 1024;

std::string points_text(const PointCloudSplits& splits) {
  const int64_t few = std::min(splits.train.points_per_cloud(), splits.test.points_per_cloud());
  const int64_t many = std::max(splits.train.most_points(), splits.test.most_points());
  return few == many ? str(many, " points") : str(few, " to ", many, " points");
}

std::string describe(const std::string& layout, const PointCloudSplits& splits,
                     Normalisation normalise) {
  return str(layout, ", ", splits.train.size(), " training and ", splits.test.size(),
             " test shapes of ", splits.train.classes(), " classes, ", points_text(splits),
             ", normalised by ", name_of(normalise));
}

// Clouds that have fewer points than are wanted of each.
void tell_of_small(const PointCloudSet& set, int64_t wanted, std::string_view split) {
  int64_t small = 0;
  for (int64_t i = 0; i < set.size(); ++i) small += set.points_of(i) < wanted ? 1 : 0;
  if (small == 0) return;
  log_message(LogLevel::info, str(set.source, ": ", small, " of ", set.size(), " ", split,
                                  " clouds have fewer than ", wanted, " points (the smallest ",
                                  set.points_per_cloud(), "); points of theirs are taken again"));
}

std::span<const uint8_t> bytes_of(const Tensor& t) {
  return {static_cast<const uint8_t*>(t.raw()), t.bytes()};
}

void check_options(const LoadOptions& options) {
  check(options.points >= 0 && options.limit >= 0,
        "load_point_clouds: expected points and limit of at least 0, got ", options.points, " and ",
        options.limit);
  check(options.points > 0 || options.selection != PointSelection::farthest,
        "load_point_clouds: the farthest points of a cloud need a number of points");
}

std::span<const float> rows_of(const PointCloudSet& set, const Tensor& table, int64_t row) {
  const int64_t begin =
      set.offsets.defined() ? set.offsets.data<int64_t>()[row] : row * set.points.size(1);
  return {table.data<float>() + 3 * begin, static_cast<size_t>(3 * set.points_of(row))};
}

// Rows of a table of one cloud, in the order of `chosen`. -> [chosen, 3]
Tensor gathered(const Tensor& from, const std::vector<int64_t>& chosen) {
  Tensor out = Tensor::empty({static_cast<int64_t>(chosen.size()), 3}, DType::f32);
  auto* xyz = out.mutable_data<float>();
  for (const int64_t i : chosen) xyz = std::copy_n(from.data<float>() + 3 * i, 3, xyz);
  return out;
}

bool is_well_formed(const PointCloudSet& set) {
  const auto floats = [](const Tensor& t, int rank) {
    return t.defined() && t.dtype() == DType::f32 && t.rank() == rank && t.size(-1) == 3;
  };
  const bool labelled =
      set.labels.defined() && set.labels.rank() == 1 && set.labels.dtype() == DType::i64;
  const bool packed = set.offsets.defined();
  if (!labelled || !floats(set.points, packed ? 2 : 3)) return false;
  if (set.normals.defined() && !(set.normals.shape() == set.points.shape())) return false;
  if (set.normals.defined() && set.normals.dtype() != DType::f32) return false;
  const int64_t n = set.labels.size(0);
  if (!packed) return set.points.size(0) == n && set.points.size(1) > 0;
  if (set.offsets.dtype() != DType::i64 || !(set.offsets.shape() == Shape{n + 1})) return false;
  const auto* offset = set.offsets.data<int64_t>();
  bool rising = offset[0] == 0 && offset[n] == set.points.size(0);
  for (int64_t i = 0; i < n; ++i) rising = rising && offset[i] < offset[i + 1];
  return rising;
}

void check_finite(const std::string& where, int64_t row, std::span<const float> xyz,
                  const char* what) {
  const auto bad =
      std::find_if_not(xyz.begin(), xyz.end(), [](float x) { return std::isfinite(x); });
  if (bad == xyz.end()) return;
  fail(ErrorKind::data, where, ": row ", row, ": ", what, (bad - xyz.begin()) / 3,
       " is not finite");
}

// The embedded classes take turns, so the first rows hold all of them; a stride could skip some.
void keep_first(PointCloudSet& set, int64_t limit) {
  if (limit <= 0 || limit >= set.size()) return;
  std::vector<int64_t> rows(static_cast<size_t>(limit));
  std::iota(rows.begin(), rows.end(), int64_t{0});
  set = subset(set, rows);
}

// Every cloud cut to its farthest points.
void keep_farthest(PointCloudSet& set, int64_t points) {
  Tensor out = Tensor::empty({set.size(), points, 3}, DType::f32);
  auto* to = out.mutable_data<float>();
  parallel_tiles(set.size(), [&](int64_t row) {
    const std::span<const float> from = set.xyz(row);
    float* xyz = to + 3 * points * row;
    for (const int64_t i : farthest_points(from, points)) xyz = std::copy_n(&from[3 * i], 3, xyz);
  });
  set.points = std::move(out);
  seal(set);
}

PointCloudSplits load_embedded(const LoadOptions& options) {
  if (options.normals) {
    fail(ErrorKind::data, "embedded shapes: they have no normals: noise and clutter leave none");
  }
  const bool farthest = options.selection == PointSelection::farthest;
  int64_t points = options.points > 0 ? options.points : kEmbeddedPoints;
  if (farthest) points = kept_at_random(points);
  if (options.selection == PointSelection::random) points = std::max(points, kEmbeddedPoints);
  PointCloudSplits splits = embedded_shapes(kEmbeddedTrain, kEmbeddedTest, static_cast<int>(points),
                                            options.seed, options.normalise);
  for (PointCloudSet* set : {&splits.train, &splits.test}) {
    keep_first(*set, options.limit);
    if (farthest) keep_farthest(*set, options.points);
  }
  splits.description = describe("embedded shapes", splits, options.normalise);
  splits.selection =
      folders::left_to_choose(folders::with_selection(options, PointSelection::first));
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

int64_t PointCloudSet::points_of(int64_t row) const {
  if (!offsets.defined()) return points.defined() ? points.size(1) : 0;
  return offsets.data<int64_t>()[row + 1] - offsets.data<int64_t>()[row];
}

int64_t PointCloudSet::points_per_cloud() const {
  int64_t out = size() > 0 ? points_of(0) : 0;
  for (int64_t i = 1; offsets.defined() && i < size(); ++i) out = std::min(out, points_of(i));
  return out;
}

int64_t PointCloudSet::most_points() const {
  int64_t out = size() > 0 ? points_of(0) : 0;
  for (int64_t i = 1; offsets.defined() && i < size(); ++i) out = std::max(out, points_of(i));
  return out;
}

std::span<const float> PointCloudSet::xyz(int64_t row) const { return rows_of(*this, points, row); }

std::span<const float> PointCloudSet::normals_of(int64_t row) const {
  return normals.defined() ? rows_of(*this, normals, row) : std::span<const float>();
}

int64_t kept_at_random(int64_t points) { return std::max<int64_t>(2048, 4 * points); }

void seal(PointCloudSet& set) {
  const std::string& where = set.source;
  if (!is_well_formed(set)) {
    fail(ErrorKind::data, where, ": expected points [n, P, 3] f32 and labels [n] i64");
  }
  if (set.size() == 0) fail(ErrorKind::data, where, ": expected at least one shape");
  const auto* label = set.labels.data<int64_t>();
  for (int64_t i = 0; i < set.size(); ++i) {
    if (label[i] < 0 || label[i] >= set.classes()) {
      fail(ErrorKind::data, where, ": row ", i, ": expected a label from 0 to ", set.classes() - 1,
           ", got ", label[i]);
    }
    check_finite(where, i, set.xyz(i), "point ");
    check_finite(where, i, set.normals_of(i), "the normal of point ");
  }
  // Digest of digests: no buffer has to be copied to sit beside another.
  std::string all;
  for (const Tensor& t : {set.points, set.labels, set.normals, set.offsets}) {
    if (t.defined()) all += sha256_hex(bytes_of(t));
  }
  set.content_hash =
      sha256_hex(std::span(reinterpret_cast<const uint8_t*>(all.data()), all.size()));
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

Repeats repeats_of(const PointCloudSet& set, const PointCloudSet& other) {
  const auto bytes = [](const PointCloudSet& of, int64_t row) {
    const std::span<const float> xyz = of.xyz(row);
    return std::string_view(reinterpret_cast<const char*>(xyz.data()), xyz.size_bytes());
  };
  std::unordered_map<std::string_view, std::vector<int64_t>> labels;  // of the other's clouds
  for (int64_t row = 0; row < other.size(); ++row) {
    labels[bytes(other, row)].push_back(other.labels.data<int64_t>()[row]);
  }
  Repeats out;
  for (int64_t row = 0; row < set.size(); ++row) {
    const auto found = labels.find(bytes(set, row));
    if (found == labels.end()) continue;
    out.rows.push_back(row);
    const int64_t own = set.labels.data<int64_t>()[row];
    if (std::count(found->second.begin(), found->second.end(), own) == 0) ++out.relabelled;
  }
  return out;
}

PointCloudSet subset(const PointCloudSet& set, std::span<const int64_t> rows) {
  std::vector<int64_t> offsets{0}, labels;
  for (const int64_t row : rows) {
    check(row >= 0 && row < set.size(), "subset: row ", row, " is outside 0 to ", set.size() - 1);
    offsets.push_back(offsets.back() + set.points_of(row));
    labels.push_back(set.labels.data<int64_t>()[row]);
  }
  const auto n = static_cast<int64_t>(rows.size());
  const bool packed = set.offsets.defined();
  const Shape shape = packed ? Shape{offsets.back(), 3} : Shape{n, set.points_per_cloud(), 3};
  PointCloudSet out;
  out.points = Tensor::empty(shape, DType::f32);
  if (set.normals.defined()) out.normals = Tensor::empty(shape, DType::f32);
  if (packed) out.offsets = Tensor::from(offsets, {n + 1});
  out.labels = Tensor::from(labels, {n});
  out.class_names = set.class_names;
  out.source = set.source;
  auto* xyz = out.points.mutable_data<float>();
  auto* normals = out.normals.defined() ? out.normals.mutable_data<float>() : nullptr;
  for (const int64_t row : rows) {
    const std::span<const float> points = set.xyz(row), along = set.normals_of(row);
    xyz = std::copy(points.begin(), points.end(), xyz);
    normals = std::copy(along.begin(), along.end(), normals);
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
    PointCloudSplits splits{std::move(found->train), std::move(found->test), {}, found->selection};
    splits.description = describe(found->layout, splits, options.normalise);
    tell_of_small(splits.train, options.points, "training");
    tell_of_small(splits.test, options.points, "test");
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

LoadedCloud load_cloud(const fs::path& file, const LoadOptions& options) {
  check_options(options);
  const auto read = [&](int64_t) { return folders::read_cloud({file, 0}, options); };
  const auto name = [&](int64_t) { return file.string(); };
  const PointCloudSet one =
      folders::collect({1, read, name, options.points}, options, file.string());
  const int64_t have = one.points.size(1), wanted = options.points > 0 ? options.points : have;
  const uint64_t stream = stream_id("again " + file.filename().string());
  const std::vector<int64_t> chosen = drawn_points(have, wanted, options.seed, stream);
  LoadedCloud out{gathered(one.points, chosen), {}};
  if (options.normals) out.normals = gathered(one.normals, chosen);
  if (have < wanted) {
    log_message(LogLevel::info, str(file.string(), ": it has ", have, " points, fewer than ",
                                    wanted, "; points of it are taken again"));
  }
  return out;
}

PointCloudSplits load_dataset(const std::string& spec, const LoadOptions& options) {
  check(!spec.empty(), "load_dataset: expected \"embedded\" or a folder, got nothing");
  check_options(options);
  return spec == "embedded" ? load_embedded(options) : load_point_clouds(spec, options);
}

}  // namespace basin
