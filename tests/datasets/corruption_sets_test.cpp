// Corruptions of meshes (what a camera sees), of whole test sets, and the published arrays.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>

#include "basin/core/parallel.h"
#include "basin/datasets/corruptions.h"
#include "basin/datasets/npy.h"
#include "basin/tests/core/files.h"
#include "basin/tests/datasets/corruption_clouds.h"
#include "basin/tests/datasets/test_meshes.h"

using namespace basin;
using test::plain, test::Point, test::Points, test::points_of, test::random_cloud;

namespace {

constexpr double kPi = std::numbers::pi;

double dot(const Point& a, const Point& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

// From the axes of the HDF5 clouds (y up) back to those of the mesh (z up).
Points mesh_axes(const Tensor& cloud) {
  Points out = points_of(cloud);
  for (Point& p : out) p = {-p[0], p[2], p[1]};
  return out;
}

PointCloudSet sample_set(int64_t shapes, int64_t points) {
  PointCloudSet set;
  set.points = random_cloud(shapes * points).view({shapes, points, 3});
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < shapes; ++i) labels.push_back(i % 3);
  set.labels = Tensor::from(labels, {shapes});
  set.class_names = {"a", "b", "c"};
  set.source = "sample";
  seal(set);
  return set;
}

std::string off_text(const TriangleMesh& mesh) {
  std::string out = str("OFF\n", mesh.vertices.size(), " ", mesh.triangles.size(), " 0\n");
  for (const auto& v : mesh.vertices) out += str(v[0], " ", v[1], " ", v[2], "\n");
  for (const auto& t : mesh.triangles) out += str("3 ", t[0], " ", t[1], " ", t[2], "\n");
  return out;
}

void write_off(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  write_file_atomic(path, text);
}

}  // namespace

TEST_CASE("corruption sets: cameras stand in the sector, at the tilt and distance of the table") {
  for (const char* name : {"occlusion", "lidar"}) {
    const CorruptionInfo& info = corruption_info(name);
    const bool lidar = info.name == "lidar";
    for (int s = 1; s <= kSeverities; ++s) {
      std::vector<double> turns, tilts;
      for (uint64_t i = 0; i < 300; ++i) {
        const PinholeCamera camera = corruption_camera(info, s, 1, i);
        const Point& p = camera.position;
        REQUIRE(std::sqrt(dot(p, p)) == doctest::Approx(lidar ? 5 : 3).epsilon(1e-12));
        tilts.push_back(std::acos(camera.axes[8]));
        // Azimuth 0 stands on the y axis; in fractions of the sector about its centre.
        const double azimuth = std::atan2(-p[0], p[1]), centre = 2 * kPi * s / 5;
        turns.push_back(std::remainder(azimuth - centre, 2 * kPi) / (kPi / 5));
        REQUIRE(std::abs(turns.back()) < 1 + 1e-12);
      }
      const auto [low, high] = std::minmax_element(turns.begin(), turns.end());
      CHECK((*low < -0.95 && *high > 0.95));
      const auto [flat, steep] = std::minmax_element(tilts.begin(), tilts.end());
      if (lidar) {
        CHECK(std::abs(*flat - 5 * kPi / 8) < 1e-12);
        CHECK(std::abs(*steep - 5 * kPi / 8) < 1e-12);
      } else {
        CHECK((*flat > 2 * kPi / 3 && *flat < 2 * kPi / 3 + 0.03));
        CHECK((*steep < 5 * kPi / 6 && *steep > 5 * kPi / 6 - 0.03));
      }
    }
  }
}

TEST_CASE("corruption sets: occlusion shows the near side of a sphere and of a box, exactly") {
  const int rings = 64;
  const double sag = 2 * (1 - std::cos(kPi / rings));
  const TriangleMesh sphere = test::sphere_mesh(3, rings);  // BOX makes the radius 1
  const Point half{0.7, 1, 0.4};
  TriangleMesh box = test::box_mesh(70, 100, 40);
  for (auto& v : box.vertices) v[0] += 500;  // BOX takes scale and place away
  for (int s = 1; s <= kSeverities; ++s) {
    const auto info = plain("occlusion");
    const Point eye = corruption_camera(info, s, 2, 9).position;
    const Points ball = mesh_axes(corrupt_mesh(sphere, info, s, 2, 9));
    REQUIRE(ball.size() == 1024);
    CHECK(std::set<Point>(ball.begin(), ball.end()).size() == 1024);  // no pixel twice
    for (const Point& p : ball) {
      REQUIRE(std::abs(std::sqrt(dot(p, p)) - 1) < sag + 1e-6);
      REQUIRE(dot(p, eye) > 1 - 3 * sag);
    }
    const Points faces = mesh_axes(corrupt_mesh(box, info, s, 2, 9));
    std::array<int64_t, 6> on_face{};
    for (const Point& p : faces) {
      bool found = false;
      for (int a = 0; a < 3 && !found; ++a) {
        if (std::abs(std::abs(p[a]) - half[a]) > 1e-6) continue;
        found = true;
        REQUIRE(p[a] * eye[a] > 0);  // this face looks towards the camera
        ++on_face[2 * a + (p[a] > 0)];
      }
      REQUIRE(found);
      for (int a = 0; a < 3; ++a) REQUIRE(std::abs(p[a]) < half[a] + 1e-6);
    }
    CHECK(on_face[5] > 200);  // the top, from 30 to 60 degrees above
    CHECK(on_face[4] == 0);
  }
}

TEST_CASE("corruption sets: occlusion ends in BOX, whatever the mesh's size and winding") {
  const CorruptionInfo& info = corruption_info("occlusion");
  TriangleMesh mesh = test::box_mesh(1, 0.5, 0.25);
  const Tensor cloud = corrupt_mesh(mesh, info, 2, 3, 0);
  double low[3] = {9, 9, 9}, high[3] = {-9, -9, -9}, longest = 0;
  for (const Point& p : points_of(cloud)) {
    for (int a = 0; a < 3; ++a) low[a] = std::min(low[a], p[a]), high[a] = std::max(high[a], p[a]);
  }
  for (int a = 0; a < 3; ++a) {
    CHECK(std::abs(low[a] + high[a]) < 1e-6);
    longest = std::max(longest, high[a] - low[a]);
  }
  CHECK(std::abs(longest - 2) < 1e-6);
  for (auto& t : mesh.triangles) std::swap(t[1], t[2]);
  const auto inside_out = points_of(corrupt_mesh(mesh, info, 2, 3, 0));
  for (auto& v : mesh.vertices) {
    for (double& x : v) x = 7 * x - 3;
  }
  const auto larger = points_of(corrupt_mesh(mesh, info, 2, 3, 0)), first = points_of(cloud);
  for (size_t i = 0; i < first.size(); ++i) {
    for (int a = 0; a < 3; ++a) {
      REQUIRE(std::abs(inside_out[i][a] - first[i][a]) < 1e-5);
      REQUIRE(std::abs(larger[i][a] - first[i][a]) < 1e-5);
    }
  }
}

TEST_CASE("corruption sets: lidar points lie on rings 1 degree apart, seen from the camera") {
  const CorruptionInfo& info = corruption_info("lidar");
  CHECK(!info.renormalised);
  const TriangleMesh box = test::box_mesh(1, 0.8, 0.6);
  for (int s = 1; s <= kSeverities; ++s) {
    const Point eye = corruption_camera(info, s, 4, 1).position;
    const Points cloud = mesh_axes(corrupt_mesh(box, info, s, 4, 1));
    REQUIRE(cloud.size() == 768);
    const size_t different = std::set<Point>(cloud.begin(), cloud.end()).size();
    CHECK((different > 360 && different < 435));  // 768 draws of 512: 512 (1 - exp(-1.5)) = 398
    std::vector<double> polar;
    for (const Point& p : cloud) {
      const double flat = std::hypot(p[0] - eye[0], p[1] - eye[1]);
      polar.push_back(std::atan2(flat, p[2] - eye[2]) * 180 / kPi);
    }
    const double first = *std::min_element(polar.begin(), polar.end());
    std::set<int64_t> rings;
    for (size_t i = 0; i < polar.size(); ++i) {
      const double ring = std::round(polar[i] - first);
      REQUIRE(std::abs(polar[i] - first - ring) < 1e-4);
      rings.insert(static_cast<int64_t>(ring));
      // A point is moved along its meridian by at most a quarter of a ring: 5.5 units times that.
      double outside = 0;
      const Point half{1, 0.8, 0.6};
      for (int a = 0; a < 3; ++a) {
        outside = std::max(outside, std::abs(cloud[i][a]) - half[a]);
      }
      REQUIRE(outside < 7 * kPi / 720);
    }
    CHECK(rings.size() > 10);
    CHECK(*rings.rbegin() + 1 <= static_cast<int64_t>(rings.size()) + 1);  // no large gap
  }
}

TEST_CASE("corruption sets: small meshes are drawn from with replacement, faults are named") {
  const CorruptionInfo& info = corruption_info("occlusion");
  TriangleMesh speck{{{0, 0, 0}, {0.02, 0, 0}, {0, 0.02, 0}, {1, 1, 1}, {-1, -1, -1}}, {{0, 1, 2}}};
  const Points few = points_of(corrupt_mesh(speck, plain("occlusion"), 1, 1, 0));
  CHECK(few.size() == 1024);
  CHECK(std::set<Point>(few.begin(), few.end()).size() < 20);
  const auto data_fault = [&](const TriangleMesh& mesh, const std::vector<std::string>& words) {
    test::check_error(ErrorKind::data, words, [&] { corrupt_mesh(mesh, info, 1, 1, 0); });
  };
  data_fault({}, {"occlusion", "extent", "0 vertices"});
  data_fault({{{1, 1, 1}, {1, 1, 1}, {1, 1, 1}}, {{0, 1, 2}}}, {"extent", "3 vertices"});
  data_fault({{{0, 0, 0}, {1, 0, 0}, {0, 1, 0}}, {}}, {"covers a pixel", "0 triangles"});
  test::check_error(ErrorKind::usage, {"shear", "clouds", "corrupt_cloud"},
                    [&] { corrupt_mesh(speck, corruption_info("shear"), 1, 1, 0); });
  test::check_error(ErrorKind::usage, {"1 to 5", "got 9"},
                    [&] { corrupt_mesh(speck, info, 9, 1, 0); });
}

TEST_CASE("corruption sets: a set is its shapes, each from a fresh subset, for any threads") {
  const PointCloudSet dense = sample_set(7, 2048);
  std::set<std::string> hashes;
  for (const CorruptionInfo& info : corruptions()) {
    if (info.input == CorruptionInput::mesh) continue;
    INFO(info.name);
    const PointCloudSet out = corrupt_set(dense, info, 2, 11);
    CHECK(out.points.shape() == Shape{7, corrupted_points(info, 2), 3});
    CHECK(out.labels.to_vector<int64_t>() == dense.labels.to_vector<int64_t>());
    CHECK(out.class_names == dense.class_names);
    CHECK(out.source == "sample, " + info.name + " severity 2");
    hashes.insert(out.content_hash);
    const int before = num_threads();
    for (int threads : {1, 2, 3}) {
      set_num_threads(threads);
      CHECK(corrupt_set(dense, info, 2, 11).content_hash == out.content_hash);
    }
    set_num_threads(before);
    CHECK(corrupt_set(dense, info, 2, 12).content_hash != out.content_hash);
    // A shape does not depend on the others.
    const std::vector<int64_t> rows{0, 1, 2};
    const auto some = corrupt_set(subset(dense, rows), info, 2, 11).points.to_vector<float>();
    const auto all = out.points.to_vector<float>();
    CHECK(std::equal(some.begin(), some.end(), all.begin()));
  }
  CHECK(hashes.size() == 13);
  // Points of cutout are untouched: a subset of the shape's points, none twice, another subset for
  // another severity.
  const auto kept = [&](int severity) {
    const PointCloudSet out = corrupt_set(dense, corruption_info("cutout"), severity, 11);
    const Points cloud = points_of(out.points.view({7 * out.points_per_cloud(), 3}));
    return std::set<Point>(cloud.begin(), cloud.begin() + out.points_per_cloud());
  };
  const Points shape = points_of(dense.points.view({7 * 2048, 3}));
  const std::set<Point> source(shape.begin(), shape.begin() + 2048);
  const auto one = kept(1), two = kept(2);
  CHECK(one.size() == 964);
  CHECK(std::includes(source.begin(), source.end(), one.begin(), one.end()));
  int64_t common = 0;
  for (const Point& p : one) common += two.contains(p);
  CHECK((common > 350 && common < 550));  // 964 x 934 / 2048 = 440 of two independent subsets
}

TEST_CASE("corruption sets: too few points and meshes are usage errors") {
  const PointCloudSet small = sample_set(2, 512), usual = sample_set(2, 1024);
  test::check_error(ErrorKind::usage, {"uniform", "at least 1024", "sample", "512"},
                    [&] { corrupt_set(small, corruption_info("uniform"), 1, 1); });
  test::check_error(ErrorKind::usage, {"density_inc", "at least 2048", "1024"},
                    [&] { corrupt_set(usual, corruption_info("density_inc"), 1, 1); });
  test::check_error(ErrorKind::usage, {"lidar", "meshes"},
                    [&] { corrupt_set(usual, corruption_info("lidar"), 1, 1); });
  CHECK(corrupt_set(usual, corruption_info("density"), 5, 1).points_per_cloud() == 649);
}

TEST_CASE("corruption sets: a tree of meshes gives one cloud per test mesh, in order") {
  const test::TempDir dir;
  CHECK(!has_test_meshes(dir.path()));
  CHECK(!has_test_meshes(dir / "nothing"));
  const CorruptionInfo &seen = corruption_info("occlusion"), &lidar = corruption_info("lidar");
  test::check_error(ErrorKind::data, {"<class>/test/*.off"},
                    [&] { corrupt_mesh_tree(dir.path(), seen, 1, 1); });
  const TriangleMesh ball = test::sphere_mesh(1, 8), box = test::box_mesh(1, 2, 3);
  write_off(dir / "box/test/box_2.off", off_text(box));
  write_off(dir / "ball/test/ball_1.off", off_text(ball));
  write_off(dir / "box/test/box_1.off", off_text(box));
  write_off(dir / "box/test/notes.txt", "x");
  write_off(dir / "box/train/box_0.off", "not read");
  CHECK(has_test_meshes(dir.path()));
  const PointCloudSet all = corrupt_mesh_tree(dir.path(), seen, 3, 5);
  CHECK(all.points.shape() == Shape{3, 1024, 3});
  CHECK(all.class_names == std::vector<std::string>{"ball", "box"});
  CHECK(all.labels.to_vector<int64_t>() == std::vector<int64_t>{0, 1, 1});
  // Row 2 is box_2: the text of the file holds the box's numbers exactly.
  const auto rows = all.points.to_vector<float>();
  const auto third = corrupt_mesh(box, seen, 3, 5, 2).to_vector<float>();
  CHECK(std::equal(third.begin(), third.end(), rows.begin() + 2 * 3072));
  const int before = num_threads();
  for (int threads : {1, 3}) {
    set_num_threads(threads);
    CHECK(corrupt_mesh_tree(dir.path(), seen, 3, 5).content_hash == all.content_hash);
  }
  set_num_threads(before);
  CHECK(corrupt_mesh_tree(dir.path(), lidar, 3, 5).points_per_cloud() == 768);
  // A limit keeps rows 0 and 1 as they were; the classes of a training set set the labels.
  const PointCloudSet two =
      corrupt_mesh_tree(dir.path(), seen, 3, 5, 2, {"apple", "box", "cup", "ball"});
  CHECK(two.labels.to_vector<int64_t>() == std::vector<int64_t>{3, 1});
  const auto part = two.points.to_vector<float>();
  CHECK(std::equal(part.begin(), part.end(), rows.begin()));
  test::check_error(ErrorKind::usage, {"'ball'", "class names"},
                    [&] { corrupt_mesh_tree(dir.path(), seen, 3, 5, 0, {"box"}); });
  test::check_error(ErrorKind::usage, {"uniform", "clouds"},
                    [&] { corrupt_mesh_tree(dir.path(), corruption_info("uniform"), 3, 5); });
  write_off(dir / "box/test/box_3.off", "OFF\n3 1 0\n0 0 0\n0 0 0\n0 0 0\n3 0 1 2\n");
  write_off(dir / "box/test/box_4.off", "OFF\n3 1 0\n");
  test::check_error(ErrorKind::data, {"box_3.off", "extent"},
                    [&] { corrupt_mesh_tree(dir.path(), seen, 3, 5); });
}

TEST_CASE("corruption sets: the published arrays are read as they are") {
  const test::TempDir dir;
  const CorruptionInfo& info = corruption_info("distortion_rbf_inv");
  CHECK(published_corruption_file(dir.path(), info, 4).filename() ==
        "data_distortion_rbf_inv_4.npy");
  CHECK(!has_published_corruption(dir.path(), info, 4));
  test::check_error(ErrorKind::data, {"data_distortion_rbf_inv_4.npy"},
                    [&] { load_published_corruption(dir.path(), info, 4); });
  const Tensor points = random_cloud(6 * 1046, 5).view({6, 1046, 3});
  write_npy(dir / "data_distortion_rbf_inv_4.npy", points.to(DType::f64));
  CHECK(has_published_corruption(dir.path(), info, 4));
  test::check_error(ErrorKind::data, {"label.npy"},
                    [&] { load_published_corruption(dir.path(), info, 4); });
  write_npy(dir / "label.npy", Tensor::from(std::vector<int64_t>{0, 1, 2, 2, 1, 0}, {6, 1}));
  const PointCloudSet set = load_published_corruption(dir.path(), info, 4, {"a", "b", "c", "d"});
  CHECK(set.points.shape() == Shape{6, 1046, 3});  // no slice, no normalisation
  CHECK(set.points.to_vector<float>() == points.to_vector<float>());
  CHECK(set.labels.to_vector<int64_t>() == std::vector<int64_t>{0, 1, 2, 2, 1, 0});
  CHECK(set.classes() == 4);
  CHECK(load_published_corruption(dir.path(), info, 4).classes() == 3);
  test::check_error(ErrorKind::data, {"row 2", "0 to 1", "got 2"}, [&] {
    load_published_corruption(dir.path(), info, 4, {"a", "b"});
  });
  write_npy(dir / "label.npy", Tensor::from(std::vector<int64_t>{0, 1}, {2}));
  test::check_error(ErrorKind::data, {"labels [6]"},
                    [&] { load_published_corruption(dir.path(), info, 4); });
}

TEST_CASE("corruption sets: real meshes, what is seen lies on the mesh's box and has its spread") {
  for (const char* name : {"modelnet40/off/chair_0001.off", "modelnet40/off/bathtub_0001.off",
                           "modelnet40/off/toilet_0001.off", "meshes/suzanne.obj"}) {
    const fs::path path = test::real_data(name);
    if (path.empty()) continue;
    INFO(name);
    const TriangleMesh mesh = read_mesh(path);
    for (int s = 1; s <= kSeverities; ++s) {
      const Points seen = points_of(corrupt_mesh(mesh, plain("occlusion"), s, 1, 0));
      CHECK(std::set<Point>(seen.begin(), seen.end()).size() == 1024);
      double low[3] = {9, 9, 9}, high[3] = {-9, -9, -9};
      for (const Point& p : seen) {
        for (int a = 0; a < 3; ++a) {
          REQUIRE(std::abs(p[a]) < 1 + 1e-6);
          low[a] = std::min(low[a], p[a]), high[a] = std::max(high[a], p[a]);
        }
      }
      CHECK(std::max({high[0] - low[0], high[1] - low[1], high[2] - low[2]}) > 1.4);
      CHECK(corrupt_mesh(mesh, corruption_info("lidar"), s, 1, 0).size(0) == 768);
    }
  }
}
