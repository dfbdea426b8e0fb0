// The corruptions that need a whole mesh (occlusion, lidar), corrupted copies of a test set, and
// the published arrays; what works on a cloud alone is in corruptions.cpp.
#include <cmath>
#include <exception>
#include <limits>
#include <numbers>

#include "basin/core/content.h"
#include "basin/core/parallel.h"
#include "basin/datasets/detail/corruption_draws.h"
#include "basin/datasets/detail/folders.h"

namespace basin {
namespace {

using corruption::choose;
using Point = std::array<double, 3>;

constexpr int64_t kPicturePoints = 1024, kLidarPoints = 768;
constexpr double kPi = std::numbers::pi;
constexpr double kRing = kPi / 180;  // of polar angle

void check_mesh_corruption(const char* where, const CorruptionInfo& info) {
  check(info.input == CorruptionInput::mesh, where, ": ", info.name,
        " is made from clouds; use corrupt_cloud");
}

PinholeCamera draw_camera(const CorruptionInfo& info, int severity, Rng& rng) {
  const bool lidar = info.name == "lidar";
  const double tilt = lidar ? 5 * kPi / 8 : rng.uniform(2 * kPi / 3, 5 * kPi / 6);
  const double centre = info.levels[severity - 1] * kPi / 180;
  return camera_at(rng.uniform(centre - kPi / 5, centre + kPi / 5), tilt, lidar ? 5 : 3);
}

// BOX of all vertices, in double.
TriangleMesh boxed(const TriangleMesh& mesh, const CorruptionInfo& info) {
  TriangleMesh out = mesh;
  double centre[3], size = 0;
  for (int axis = 0; axis < 3; ++axis) {
    double low = std::numeric_limits<double>::infinity(), high = -low;
    for (const auto& v : mesh.vertices) {
      low = std::min(low, v[axis]), high = std::max(high, v[axis]);
    }
    centre[axis] = 0.5 * low + 0.5 * high;
    size = std::max(size, high - low);
  }
  if (!(size > 0) || !std::isfinite(size)) {
    fail(ErrorKind::data, info.name, ": expected a mesh with an extent, got ", mesh.vertices.size(),
         " vertices in a box of edge ", size);
  }
  for (auto& v : out.vertices) {
    for (int axis = 0; axis < 3; ++axis) v[axis] = (v[axis] - centre[axis]) * (2 / size);
  }
  return out;
}

// kPicturePoints points of the picture, in the axes of the mesh.
std::vector<Point> seen_points(const TriangleMesh& mesh, const PinholeCamera& camera,
                               const CorruptionInfo& info, Rng& rng) {
  const DepthImage image = render_depth(boxed(mesh, info), camera);
  std::vector<int64_t> pixels;
  for (size_t i = 0; i < image.depth.size(); ++i) {
    if (image.depth[i] > 0) pixels.push_back(static_cast<int64_t>(i));
  }
  const auto seen = static_cast<int64_t>(pixels.size());
  if (seen == 0) {
    fail(ErrorKind::data, info.name, ": expected a mesh that covers a pixel, ",
         mesh.triangles.size(), " triangles cover none");
  }
  const bool enough = seen >= kPicturePoints;
  const std::vector<int64_t> chosen =
      enough ? choose(seen, kPicturePoints, rng) : std::vector<int64_t>();
  std::vector<Point> out;
  for (int64_t i = 0; i < kPicturePoints; ++i) {
    const int64_t pixel = pixels[enough ? chosen[i] : rng.below(seen)];
    out.push_back(back_project(camera, pixel, image.depth[pixel]));
  }
  return out;
}

std::vector<Point> scan_lines(const std::vector<Point>& points, const Point& camera, Rng& rng) {
  std::vector<double> polar;
  for (const Point& p : points) {
    polar.push_back(std::atan2(std::hypot(p[0] - camera[0], p[1] - camera[1]), p[2] - camera[2]));
  }
  const double first = *std::min_element(polar.begin(), polar.end());
  std::vector<Point> lines;
  for (size_t i = 0; i < points.size(); ++i) {
    const double rings = (polar[i] - first) / kRing, ring = std::floor(rings);
    if (rings - ring < 0.25 || rings - ring >= 0.75) continue;
    const double angle = first + (ring + 0.5) * kRing;
    const double d[3] = {points[i][0] - camera[0], points[i][1] - camera[1],
                         points[i][2] - camera[2]};
    const double radius = std::hypot(d[0], d[1], d[2]), flat = std::hypot(d[0], d[1]);
    const double outward = flat > 0 ? radius * std::sin(angle) / flat : 0;
    lines.push_back({camera[0] + d[0] * outward, camera[1] + d[1] * outward,
                     camera[2] + radius * std::cos(angle)});
  }
  if (lines.empty())
    fail(ErrorKind::data, "lidar: expected a mesh that meets a scan line, it meets none");
  std::vector<Point> out;
  for (int64_t i = 0; i < kLidarPoints; ++i) {
    out.push_back(lines[rng.below(static_cast<int64_t>(lines.size()))]);
  }
  return out;
}

// Copies rows of make(i) -> [n, 3] into one array, in parallel. Of several faults the first row's
// is reported, for any thread count.
template <class Make>
Tensor gather_clouds(int64_t shapes, int64_t points, Make make) {
  Tensor out = Tensor::empty({shapes, points, 3}, DType::f32);
  auto* xyz = out.mutable_data<float>();
  std::vector<std::exception_ptr> errors(static_cast<size_t>(shapes));
  parallel_tiles(shapes, [&](int64_t i) {
    try {
      const Tensor cloud = make(i);
      std::copy_n(cloud.template data<float>(), 3 * points, xyz + 3 * points * i);
    } catch (...) {
      errors[i] = std::current_exception();
    }
  });
  for (const auto& error : errors) {
    if (error) std::rethrow_exception(error);
  }
  return out;
}

std::string described(const std::string& source, const CorruptionInfo& info, int severity) {
  return str(source, ", ", info.name, " severity ", severity);
}

bool is_mesh(const fs::path& path) {
  const std::string extension = lower_extension(path);
  return (extension == ".off" || extension == ".obj") && folders::is_file(path);
}

// Class folders with their test meshes, both sorted.
std::vector<std::pair<std::string, std::vector<fs::path>>> test_meshes(const fs::path& dir) {
  std::vector<std::pair<std::string, std::vector<fs::path>>> out;
  for (const fs::path& folder : folders::sorted_entries(dir)) {
    std::error_code error;
    if (!fs::is_directory(folder / "test", error)) continue;
    std::vector<fs::path> files = folders::sorted_entries(folder / "test");
    std::erase_if(files, [](const fs::path& p) { return !is_mesh(p); });
    if (!files.empty()) out.emplace_back(folder.filename().string(), std::move(files));
  }
  return out;
}

}  // namespace

PinholeCamera corruption_camera(const CorruptionInfo& info, int severity, uint64_t seed,
                                uint64_t index) {
  corruption::check_severity("corruption_camera", severity);
  check_mesh_corruption("corruption_camera", info);
  Rng rng = corruption::stream("corruption", info, severity, seed, index);
  return draw_camera(info, severity, rng);
}

Tensor corrupt_mesh(const TriangleMesh& mesh, const CorruptionInfo& info, int severity,
                    uint64_t seed, uint64_t index) {
  corruption::check_severity("corrupt_mesh", severity);
  check_mesh_corruption("corrupt_mesh", info);
  Rng rng = corruption::stream("corruption", info, severity, seed, index);
  const PinholeCamera camera = draw_camera(info, severity, rng);
  std::vector<Point> points = seen_points(mesh, camera, info, rng);
  if (info.name == "lidar") points = scan_lines(points, camera.position, rng);
  Tensor out = Tensor::empty({static_cast<int64_t>(points.size()), 3}, DType::f32);
  auto* xyz = out.mutable_data<float>();
  for (const Point& p : points) {
    for (const double x : {-p[0], p[2], p[1]}) *xyz++ = static_cast<float>(x);
  }
  corruption::finish(info, out);
  return out;
}

PointCloudSet corrupt_set(const PointCloudSet& test, const CorruptionInfo& info, int severity,
                          uint64_t seed) {
  check(info.input != CorruptionInput::mesh, "corrupt_set: ", info.name,
        " is made from meshes, clouds cannot give it; use corrupt_mesh_tree");
  const int64_t out_points = corrupted_points(info, severity);
  const int64_t base =
      info.input == CorruptionInput::dense_cloud ? kCorruptionDensePoints : kCorruptionPoints;
  check(test.points_per_cloud() >= base, "corrupt_set: ", info.name, " needs clouds of at least ",
        base, " points, those of ", test.source, " have ", test.points_per_cloud());
  check(!test.normals.defined(), "corrupt_set: the corruptions move, add and remove points and do ",
        "not say what becomes of normals; load the set without them");
  PointCloudSet out;
  out.points = gather_clouds(test.size(), out_points, [&](int64_t i) {
    const auto shape = static_cast<uint64_t>(i);
    const std::span<const float> from = test.xyz(i);
    Rng rng = corruption::stream("corruption base", info, severity, seed, shape);
    Tensor cloud = Tensor::empty({base, 3}, DType::f32);
    auto* xyz = cloud.mutable_data<float>();
    for (int64_t row : choose(test.points_of(i), base, rng)) {
      xyz = std::copy_n(&from[3 * row], 3, xyz);
    }
    return corrupt_cloud(cloud, info, severity, seed, shape);
  });
  out.labels = test.labels;
  out.class_names = test.class_names;
  out.source = described(test.source, info, severity);
  seal(out);
  return out;
}

std::vector<fs::path> test_mesh_files(const fs::path& dir, int64_t limit) {
  std::vector<fs::path> all, out;
  for (const auto& [name, files] : test_meshes(dir))
    all.insert(all.end(), files.begin(), files.end());
  for (const int64_t i : spread_rows(static_cast<int64_t>(all.size()), limit)) {
    out.push_back(all[static_cast<size_t>(i)]);
  }
  return out;
}

bool has_test_meshes(const fs::path& dir) {
  std::error_code error;
  const std::vector<fs::path> files =
      fs::is_directory(dir, error) ? test_mesh_files(dir, 1) : std::vector<fs::path>();
  return !files.empty() && !read_mesh(files.front()).triangles.empty();
}

PointCloudSet corrupt_mesh_tree(const fs::path& dir, const CorruptionInfo& info, int severity,
                                uint64_t seed, int64_t limit,
                                const std::vector<std::string>& class_names) {
  check_mesh_corruption("corrupt_mesh_tree", info);
  check(limit >= 0, "corrupt_mesh_tree: expected a limit of at least 0, got ", limit);
  const auto tree = test_meshes(dir);
  if (tree.empty()) {
    fail(ErrorKind::data, dir.string(), ": expected meshes <class>/test/*.off or *.obj, got none");
  }
  PointCloudSet out;
  out.class_names = class_names;
  const fs::path names_file = folders::find_file(dir, "shape_names.txt");
  if (out.class_names.empty() && folders::is_file(names_file)) {
    out.class_names = folders::read_lines(names_file);
  } else if (out.class_names.empty()) {
    for (const auto& [name, files] : tree) out.class_names.push_back(name);
  }
  std::vector<folders::Item> items;
  for (const auto& [name, files] : tree) {
    const auto found = std::find(out.class_names.begin(), out.class_names.end(), name);
    check(found != out.class_names.end(), "corrupt_mesh_tree: class '", name, "' of ", dir.string(),
          " is not in the list of class names");
    for (const fs::path& file : files) items.push_back({file, found - out.class_names.begin()});
  }
  const auto rows = spread_rows(static_cast<int64_t>(items.size()), limit);
  std::vector<int64_t> labels;
  for (int64_t row : rows) labels.push_back(items[row].label);
  const auto shapes = static_cast<int64_t>(rows.size());
  out.points = gather_clouds(shapes, corrupted_points(info, severity), [&](int64_t i) {
    const fs::path& file = items[rows[i]].path;
    const TriangleMesh mesh = read_mesh(file);
    try {
      return corrupt_mesh(mesh, info, severity, seed, static_cast<uint64_t>(rows[i]));
    } catch (const Error& error) {
      fail(error.kind(), file.string(), ": ", error.what());
    }
  });
  out.labels = Tensor::from(labels, {shapes});
  out.source = described(dir.string(), info, severity);
  seal(out);
  return out;
}

fs::path published_corruption_file(const fs::path& dir, const CorruptionInfo& info, int severity) {
  corruption::check_severity("published_corruption_file", severity);
  return dir / str("data_", info.name, "_", severity, ".npy");
}

bool has_published_corruption(const fs::path& dir, const CorruptionInfo& info, int severity) {
  return folders::is_file(published_corruption_file(dir, info, severity));
}

PointCloudSet load_published_corruption(const fs::path& dir, const CorruptionInfo& info,
                                        int severity, const std::vector<std::string>& class_names) {
  LoadOptions as_they_are;
  as_they_are.normalise = Normalisation::none;
  const fs::path file = published_corruption_file(dir, info, severity);
  if (!folders::is_file(file)) fail(ErrorKind::data, file.string(), ": there is no such file");
  PointCloudSet set = load_npy_set(file, dir / "label.npy", as_they_are);
  if (class_names.empty()) return set;
  set.class_names = class_names;
  seal(set);
  return set;
}

}  // namespace basin
