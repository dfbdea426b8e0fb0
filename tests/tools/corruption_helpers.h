// What the tests of the corruptions share: 15 shapes as a folder, a small tree of meshes, the
// longest axis of a cloud.
#pragma once
#include <algorithm>

#include "basin/datasets/npy.h"
#include "basin/datasets/shapes.h"
#include "basin/tests/datasets/test_meshes.h"
#include "basin/tests/tools/helpers.h"
#include "basin/tools/train_modelnet/corruption_eval.h"

namespace basin::tools {

// 15 of the embedded shapes, each of 2,048 points, as a folder: quicker than to make them all.
inline const std::string& shapes_folder() {
  static const TempDir dir;
  static const std::string path = [] {
    const PointCloudSplits splits = embedded_shapes(1, 1, 2048, 5);
    write_npy(dir / "train_points.npy", splits.train.points);
    write_npy(dir / "train_labels.npy", splits.train.labels);
    write_npy(dir / "test_points.npy", splits.test.points);
    write_npy(dir / "test_labels.npy", splits.test.labels);
    return dir.path().string();
  }();
  return path;
}

inline Config few_shapes(const std::string& points) {
  Config config = tiny_settings("adamw");
  config.set("data", shapes_folder(), Layer::flag, "--data");
  config.set("limit", "6", Layer::flag, "--limit");
  config.set("points", points, Layer::flag, "--points");
  return config;
}

inline const CorruptionRow& row_of(const std::vector<CorruptionRow>& rows,
                                   const std::string& name) {
  for (const CorruptionRow& r : rows) {
    if (r.corruption.name == name) return r;
  }
  FAIL("no row ", name);
  return rows.front();
}

inline void write_off(const fs::path& path, const TriangleMesh& mesh) {
  std::string out = str("OFF\n", mesh.vertices.size(), " ", mesh.triangles.size(), " 0\n");
  for (const auto& v : mesh.vertices) out += str(v[0], " ", v[1], " ", v[2], "\n");
  for (const auto& t : mesh.triangles) out += str("3 ", t[0], " ", t[1], " ", t[2], "\n");
  fs::create_directories(path.parent_path());
  write_file_atomic(path, out);
}

// Two balls and two pillars in each split, the pillars tall along z, so that an exchange of axes
// shows.
inline void write_mesh_tree(const TempDir& dir) {
  for (const char* split : {"train", "test"}) {
    for (int i = 0; i < 2; ++i) {
      write_off(dir / str("pillar/", split, "/pillar_000", i, ".off"),
                test::box_mesh(0.3, 0.25, 1 + i));
      write_off(dir / str("ball/", split, "/ball_000", i, ".off"), test::sphere_mesh(1, 8));
    }
  }
}

// The axis along which a cloud is longest.
inline int longest_axis(const Tensor& points) {
  double low[3] = {1e9, 1e9, 1e9}, high[3] = {-1e9, -1e9, -1e9};
  for (int64_t i = 0; i < points.numel(); ++i) {
    low[i % 3] = std::min(low[i % 3], points.at(i));
    high[i % 3] = std::max(high[i % 3], points.at(i));
  }
  int axis = 0;
  for (int a = 1; a < 3; ++a) {
    if (high[a] - low[a] > high[axis] - low[axis]) axis = a;
  }
  return axis;
}

}  // namespace basin::tools
