// Normals: read from every format that carries them, of length 1, beside their points through
// selection, pose and augmentation; a clear sentence where there are none.
#include <doctest/doctest.h>

#include <cmath>

#include "basin/datasets/augment.h"
#include "basin/datasets/corruptions.h"
#include "basin/datasets/loader.h"
#include "basin/datasets/npy.h"
#include "basin/tests/core/files.h"
#include "basin/tests/datasets/folder_helpers.h"
#include "basin/tests/datasets/hdf5_skip.h"

using namespace basin;
using test::check_error;
using test::write;

namespace {

LoadOptions with_normals(int64_t points = 0) {
  LoadOptions o;
  o.points = points;
  o.normals = true;
  return o;
}

// Four points of the sphere about (9, 0, 0), whose normals, twice too long, point outwards.
std::vector<double> rows() {
  std::vector<double> out;
  for (const auto& n : {std::array{1.0, 0.0, 0.0}, std::array{-1.0, 0.0, 0.0},
                        std::array{0.0, 0.6, 0.8}, std::array{0.0, -0.6, -0.8}}) {
    for (int axis = 0; axis < 3; ++axis) out.push_back(n[axis] + (axis == 0 ? 9 : 0));
    for (int axis = 0; axis < 3; ++axis) out.push_back(2 * n[axis]);
  }
  return out;
}

std::string lines(const char* separator) {
  std::string out;
  const std::vector<double> all = rows();
  for (size_t i = 0; i < all.size(); ++i) out += str(all[i], i % 6 == 5 ? "\n" : separator);
  return out;
}

// After unit_sphere a sphere's points are its normals.
void check_sphere(const LoadedCloud& cloud) {
  REQUIRE(cloud.normals.shape() == cloud.points.shape());
  for (int64_t i = 0; i < cloud.points.numel(); ++i) {
    CHECK(cloud.normals.at(i) == doctest::Approx(cloud.points.at(i)).epsilon(1e-6));
  }
}

}  // namespace

TEST_CASE("normals: text, PLY, NOFF, OBJ and npy give them, of length 1") {
  const test::TempDir dir;
  std::string obj;
  const std::vector<double> all = rows();
  for (size_t i = 0; i < 24; i += 6) {
    obj += str("v ", all[i], " ", all[i + 1], " ", all[i + 2], "\n");
    obj += str("vn ", all[i + 3], " ", all[i + 4], " ", all[i + 5], "\n");
  }
  write(dir / "a.txt", lines(","));
  write(dir / "a.xyz", lines(" "));
  write(dir / "a.ply",
        "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty "
        "float z\nproperty float nx\nproperty float ny\nproperty float nz\nend_header\n" +
            lines(" "));
  write(dir / "a.off", "NOFF\n4 0 0\n" + lines(" "));
  write(dir / "a.obj", obj);
  write_npy(dir / "a.npy", Tensor::from(all, {4, 6}));
  for (const char* file : {"a.txt", "a.xyz", "a.ply", "a.off", "a.obj", "a.npy"}) {
    CAPTURE(file);
    const LoadedCloud cloud = load_cloud(dir / file, with_normals());
    check_sphere(cloud);
    CHECK_FALSE(load_cloud(dir / file).normals.defined());  // nobody asked
    // Fewer and more points than there are: normals stay with their points.
    check_sphere({cloud.points, cloud.normals});
    LoadOptions more = with_normals(9);
    const LoadedCloud again = load_cloud(dir / file, more);
    CHECK(again.points.shape() == Shape{9, 3});
    check_sphere(again);
  }
}

TEST_CASE("normals: the dataset `normal` of HDF5 files, and the columns of the text release") {
  const test::TempDir text;
  for (const std::string split : {"train", "test"}) {
    write(text / ("modelnet40_" + split + ".txt"), "ball_0001\n");
  }
  write(text / "ball/ball_0001.txt", lines(","));
  const PointCloudSet release = load_point_clouds(text.path(), with_normals(3)).train;
  CHECK(release.normals.shape() == Shape{1, 3, 3});
  CHECK(release.normals.at(7) == doctest::Approx(0.6));
  if (test::skip_without_hdf5()) return;
  const test::TempDir dir;
  for (const char* name : {"train.h5", "test.h5"}) {
    fs::copy_file(test::fixtures() / "hdf5_forms/normal.h5", dir / name);
  }
  LoadOptions o = with_normals(5);
  o.normalise = Normalisation::none;
  const PointCloudSet set = load_point_clouds(dir.path(), o).train;
  REQUIRE(set.normals.shape() == Shape{3, 5, 3});
  // The fixture's normals are its points, negated.
  for (int64_t p = 1; p < 15; ++p) {
    const double length =
        std::hypot(set.points.at(3 * p), set.points.at(3 * p + 1), set.points.at(3 * p + 2));
    for (int64_t i = 3 * p; i < 3 * p + 3; ++i) {
      CHECK(set.normals.at(i) == doctest::Approx(-set.points.at(i) / length).epsilon(1e-6));
    }
  }
  fs::copy_file(test::fixtures() / "hdf5_layout/ply_data_test0.h5", dir / "test.h5",
                fs::copy_options::overwrite_existing);
  check_error(ErrorKind::data, {"test.h5: row 0: expected normals"},
              [&] { load_point_clouds(dir.path(), o); });
}

TEST_CASE("normals: those of a sampled mesh are across its faces") {
  const test::TempDir dir;
  write(dir / "flat.off", "OFF\n4 2 0\n0 0 5\n1 0 5\n1 1 5\n0 1 5\n3 0 1 2\n3 0 2 3\n");
  const LoadedCloud flat = load_cloud(dir / "flat.off", with_normals(50));
  for (int64_t i = 0; i < 50; ++i) {
    CHECK(flat.normals.at(3 * i) == 0);
    CHECK(flat.normals.at(3 * i + 2) == 1);
  }
  CHECK(load_cloud(dir / "flat.off", {.points = 50}).points.to_vector<float>() ==
        flat.points.to_vector<float>());  // the points are drawn alike
}

TEST_CASE("normals: what has none says so") {
  const test::TempDir dir;
  write(dir / "a.txt", "1,2,3\n4,5,6\n");
  write(dir / "b.txt", "1,2,3,0,0,1\n4,5,6\n");
  write(dir / "c.txt", "1,2,3,0,0\n");
  write(dir / "a.off", "OFF\n2 0 0\n1 2 3\n4 5 6\n");
  write_npy(dir / "a.npy", Tensor::zeros({2, 3}, DType::f32));
  for (const char* file : {"a.txt", "b.txt", "a.off", "a.npy"}) {
    CAPTURE(file);
    check_error(ErrorKind::data, {file, "expected normals, it has none", "HDF5 dataset 'normal'"},
                [&] { load_cloud(dir / file, with_normals()); });
  }
  check_error(ErrorKind::data, {"c.txt: line 1: expected x,y,z,nx,ny,nz"},
              [&] { load_cloud(dir / "c.txt", with_normals()); });
  check_error(ErrorKind::data, {"embedded shapes", "no normals"},
              [] { load_dataset("embedded", with_normals(8)); });
  write(dir / "d.txt", "1,2,3,nan,0,1\n");
  check_error(ErrorKind::data, {"d.txt: line 1"},
              [&] { load_cloud(dir / "d.txt", with_normals()); });
}

TEST_CASE("normals: arrays of six columns, and sets with normals") {
  const test::TempDir dir;
  std::vector<double> two = rows();
  const std::vector<double> once = two;
  two.insert(two.end(), once.begin(), once.end());
  for (const std::string split : {"train", "test"}) {
    write_npy(dir / (split + "_points.npy"), Tensor::from(two, {2, 4, 6}));
    write_npy(dir / (split + "_labels.npy"), Tensor::from(std::vector<int64_t>{0, 1}, {2}));
  }
  const PointCloudSet plain = load_point_clouds(dir.path()).train;
  CHECK_FALSE(plain.normals.defined());
  const PointCloudSet set = load_point_clouds(dir.path(), with_normals()).train;
  CHECK(set.points.to_vector<float>() == plain.points.to_vector<float>());
  CHECK(set.content_hash != plain.content_hash);
  const int64_t last[] = {1};
  CHECK(subset(set, last).normals.shape() == Shape{1, 4, 3});
  check_error(ErrorKind::usage, {"corrupt_set"},
              [&] { corrupt_set(set, corruption_info("uniform"), 1, 0); });
  PointCloudSet bad = set;
  bad.normals = Tensor::full({2, 4, 3}, DType::f32, NAN);
  check_error(ErrorKind::data, {"row 0", "normal of point 0", "not finite"}, [&] { seal(bad); });
  bad.normals = Tensor::zeros({2, 3, 3}, DType::f32);
  check_error(ErrorKind::data, {"expected points"}, [&] { seal(bad); });
}

TEST_CASE("normals: a loader turns them with the points and leaves them where these only move") {
  const test::TempDir dir;
  write(dir / "a.txt", lines(","));
  const LoadedCloud cloud = load_cloud(dir / "a.txt", with_normals());
  PointCloudSet set;
  set.points = cloud.points.view({1, 4, 3});
  set.normals = cloud.normals.view({1, 4, 3});
  set.labels = Tensor::zeros({1}, DType::i64);
  set.class_names = {"ball"};
  seal(set);
  LoaderOptions o;
  o.batch = 1, o.points = 3, o.selection = PointSelection::random, o.pose = Pose::so3;
  o.augment = parse_augment("yaw,iso_scale=2:2,dropout,shuffle");
  // A sphere about 0 stays one, twice as large.
  for (int64_t epoch = 0; epoch < 4; ++epoch) {
    const PointBatch b = PointCloudLoader(set, o).batch(epoch, 0);
    REQUIRE(b.normals.shape() == Shape{1, 3, 3});
    for (int64_t i = 0; i < 9; ++i) {
      CHECK(b.points.at(i) == doctest::Approx(2 * b.normals.at(i)).epsilon(1e-6));
    }
  }
  o.augment = parse_augment("shift,jitter");
  o.pose = Pose::fixed;
  o.selection = PointSelection::first;
  const PointBatch moved = PointCloudLoader(set, o).batch(0, 0);
  CHECK(moved.points.at(0) != set.points.at(0));
  for (int64_t i = 0; i < 9; ++i) CHECK(moved.normals.at(i) == set.normals.at(i));
}

TEST_CASE("normals: a scale per axis gives the normals of the stretched surface") {
  Rng rng(2, 0);
  const Augment stretch = parse_augment("scale=0.5:2,shift");
  for (int repeat = 0; repeat < 20; ++repeat) {
    // Two tangents of a plane, and its normal, as three points of a cloud; the fourth is the
    // origin.
    std::vector<float> xyz, normals;
    double t[2][3];
    for (auto& tangent : t) {
      for (double& x : tangent) x = rng.uniform(-1, 1);
    }
    const double n[3] = {t[0][1] * t[1][2] - t[0][2] * t[1][1],
                         t[0][2] * t[1][0] - t[0][0] * t[1][2],
                         t[0][0] * t[1][1] - t[0][1] * t[1][0]};
    const double length = std::hypot(n[0], n[1], n[2]);
    for (int i = 0; i < 3; ++i) {
      for (int axis = 0; axis < 3; ++axis) {
        xyz.push_back(i < 2 ? static_cast<float>(t[i][axis]) : 0);
        normals.push_back(static_cast<float>(n[axis] / length));
      }
    }
    const std::vector<float> before = xyz;
    Rng a(3, static_cast<uint64_t>(repeat)), b = a;
    apply(stretch, Axis::z, xyz, normals, a);
    std::vector<float> alone = before;
    apply(stretch, Axis::z, alone, b);
    CHECK(alone == xyz);  // normals take no draws
    double along[2] = {0, 0}, size = 0;
    for (int axis = 0; axis < 3; ++axis) {
      for (int i = 0; i < 2; ++i) along[i] += (xyz[3 * i + axis] - xyz[6 + axis]) * normals[axis];
      size += normals[axis] * normals[axis];
    }
    CHECK(std::abs(along[0]) < 2e-6);
    CHECK(std::abs(along[1]) < 2e-6);
    CHECK(size == doctest::Approx(1).epsilon(1e-6));
  }
  std::vector<float> point{1, 2, 3}, zero{0, 0, 0};
  apply(stretch, Axis::z, point, zero, rng);
  CHECK(zero == std::vector<float>{0, 0, 0});
}
