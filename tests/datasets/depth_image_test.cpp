// Depth images: the camera, planes, boxes and spheres against their rays, watertight edges, the way
// back to points.
#include "basin/datasets/depth_image.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "basin/tests/core/files.h"
#include "basin/tests/datasets/test_meshes.h"

using namespace basin;

namespace {

using Point = std::array<double, 3>;
constexpr double kPi = std::numbers::pi;

double dot(const Point& a, const Point& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

Point row(const PinholeCamera& camera, int i) {
  return {camera.axes[3 * i], camera.axes[3 * i + 1], camera.axes[3 * i + 2]};
}

PinholeCamera small_camera(double azimuth, double tilt, double distance) {
  PinholeCamera camera = camera_at(azimuth, tilt, distance);
  camera.width = 216, camera.height = 144, camera.focal = 73;
  return camera;
}

// Distance along the ray (in units of `ray`) to the box, or 0.
double hit_box(const Point& from, const Point& ray, const Point& half) {
  double enter = 0, leave = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 3; ++i) {
    const double a = (-half[i] - from[i]) / ray[i], b = (half[i] - from[i]) / ray[i];
    enter = std::max(enter, std::min(a, b)), leave = std::min(leave, std::max(a, b));
  }
  return enter <= leave ? enter : 0;
}

// Likewise for the sphere about the origin.
double hit_sphere(const Point& from, const Point& ray, double radius) {
  const double a = dot(ray, ray), b = dot(from, ray), c = dot(from, from) - radius * radius;
  const double root = b * b - a * c;
  return root > 0 ? (-b - std::sqrt(root)) / a : 0;
}

// The ray through a pixel with depth 1.
Point ray_of(const PinholeCamera& camera, int64_t pixel) {
  Point p = back_project(camera, pixel, 1);
  for (int i = 0; i < 3; ++i) p[i] -= camera.position[i];
  return p;
}

}  // namespace

TEST_CASE("depth image: the camera stands where it says and looks at the origin") {
  for (const double azimuth : {0.0, 1.0, 4.0}) {
    for (const double tilt : {2.0, 2.5}) {
      const PinholeCamera camera = camera_at(azimuth, tilt, 3);
      for (int i = 0; i < 3; ++i) {
        for (int j = 0; j < 3; ++j) {
          CHECK(std::abs(dot(row(camera, i), row(camera, j)) - (i == j)) < 1e-15);
        }
        CHECK(camera.position[i] == doctest::Approx(-3 * row(camera, 2)[i]).epsilon(1e-15));
      }
      CHECK(std::abs(camera.position[0] + 3 * std::sin(tilt) * std::sin(azimuth)) < 1e-14);
      CHECK(std::abs(camera.position[1] - 3 * std::sin(tilt) * std::cos(azimuth)) < 1e-14);
      CHECK(camera.position[2] == doctest::Approx(-3 * std::cos(tilt)));
      CHECK(camera.position[2] > 0);  // above the object
      CHECK((camera.width == 1080 && camera.height == 720 && camera.focal == 365));
    }
  }
}

TEST_CASE("depth image: a box is seen exactly, from several sides") {
  const Point half{0.7, 1, 0.4};
  const TriangleMesh mesh = test::box_mesh(half[0], half[1], half[2]);
  for (const double azimuth : {0.3, 2.0, 3.9, 5.5}) {
    const PinholeCamera camera = small_camera(azimuth, 2.3, 3);
    const DepthImage image = render_depth(mesh, camera);
    int64_t covered = 0, wrong = 0;
    double worst = 0;
    for (int64_t i = 0; i < image.width * image.height; ++i) {
      const double expected = hit_box(camera.position, ray_of(camera, i), half);
      const bool both = (expected > 0) == (image.depth[i] > 0);
      wrong += !both;
      if (!both) continue;
      covered += expected > 0;
      worst = std::max(worst, std::abs(expected - image.depth[i]));
    }
    CHECK(wrong == 0);
    CHECK(covered > 1000);
    CHECK(worst < 1e-12);
  }
}

TEST_CASE("depth image: a sphere of facets is as near as facets can be") {
  const int rings = 64;
  const double sag = 2 * (1 - std::cos(kPi / rings));
  const TriangleMesh mesh = test::sphere_mesh(1, rings);
  const PinholeCamera camera = small_camera(1, 2.2, 3);
  const DepthImage image = render_depth(mesh, camera);
  int64_t seen = 0, missing = 0, extra = 0;
  for (int64_t i = 0; i < image.width * image.height; ++i) {
    const Point ray = ray_of(camera, i);
    const bool hit = hit_sphere(camera.position, ray, 1) > 0;
    extra += image.depth[i] > 0 && !hit;
    missing += image.depth[i] == 0 && hit_sphere(camera.position, ray, 1 - sag) > 0;
    if (image.depth[i] == 0) continue;
    ++seen;
    const Point p = back_project(camera, i, image.depth[i]);
    const double radius = std::sqrt(dot(p, p));
    REQUIRE((radius < 1 + 1e-12 && radius > 1 - sag));
    // The visible cap of a unit sphere: p . position >= 1, up to the facets' tilt at the rim.
    REQUIRE(dot(p, camera.position) > 1 - 3 * sag);
  }
  CHECK(extra == 0);
  CHECK(missing == 0);
  // The silhouette is a circle of radius focal tan(asin(1 / 3)) pixels.
  const double circle = kPi * std::pow(camera.focal / std::sqrt(8.0), 2);
  CHECK(static_cast<double>(seen) == doctest::Approx(circle).epsilon(0.01));
}

// Two squares of many triangles of which the edges run through pixel centres: where a pixel fell
// between two triangles, the far square or nothing would show.
TEST_CASE("depth image: neighbouring triangles leave no gap, the nearer surface wins") {
  PinholeCamera camera{{1, 0, 0, 0, 1, 0, 0, 0, 1}, {0, 0, 0}, 10, 21, 21};  // along z
  TriangleMesh mesh;
  const int cells = 10;  // of 3 pixels, their corners on pixel centres
  for (const double z : {10.0, 5.0}) {
    const auto first = static_cast<int32_t>(mesh.vertices.size());
    for (int i = 0; i <= cells; ++i) {
      for (int j = 0; j <= cells; ++j) {
        mesh.vertices.push_back({0.3 * z * (i - 5), 0.3 * z * (j - 5), z});
      }
    }
    for (int i = 0; i < cells; ++i) {
      for (int j = 0; j < cells; ++j) {
        const int32_t a = first + i * (cells + 1) + j, b = a + cells + 1;
        mesh.triangles.push_back({a, b, b + 1});
        mesh.triangles.push_back({a + 1, a, b + 1});  // the other winding
      }
    }
  }
  const DepthImage image = render_depth(mesh, camera);
  CHECK(std::all_of(image.depth.begin(), image.depth.end(),
                    [](double d) { return std::abs(d - 5) < 1e-12; }));
  std::reverse(mesh.triangles.begin(), mesh.triangles.end());
  CHECK(render_depth(mesh, camera).depth == image.depth);
}

TEST_CASE("depth image: pixel centres, an edge of the image, slivers") {
  PinholeCamera camera{{1, 0, 0, 0, 1, 0, 0, 0, 1}, {0, 0, 0}, 1, 4, 2};
  const Point corner = back_project(camera, 0, 2), last = back_project(camera, 7, 2);
  CHECK(corner == Point{-3, -1, 2});
  CHECK(last == Point{3, 1, 2});
  // Covers the pixels u <= 1 and reaches outside the image.
  TriangleMesh mesh{{{-9, -9, 1}, {-9, 9, 1}, {-0.4, -9, 1}, {-0.4, 9, 1}}, {{0, 1, 2}, {1, 3, 2}}};
  CHECK(render_depth(mesh, camera).depth == std::vector<double>{1, 1, 0, 0, 1, 1, 0, 0});
  // Seen edge on: nothing, whatever the rounding.
  mesh = {{{-1, 0.5, 1}, {1, 1, 2}, {0, 1.5, 3}}, {{0, 1, 2}}};
  CHECK(render_depth(mesh, camera).depth == std::vector<double>(8, 0.0));
}

TEST_CASE("depth image: wrong cameras and meshes are usage errors") {
  PinholeCamera camera{{1, 0, 0, 0, 1, 0, 0, 0, 1}, {0, 0, 0}, 1, 4, 2};
  TriangleMesh mesh{{{0, 0, 1}, {1, 0, 1}, {0, 1, -1}}, {{0, 1, 2}}};
  test::check_error(ErrorKind::usage, {"in front of the camera", "vertex 2"},
                    [&] { render_depth(mesh, camera); });
  mesh.triangles[0][2] = 3;
  test::check_error(ErrorKind::usage, {"0 to 3 - 1, got 3"}, [&] { render_depth(mesh, camera); });
  mesh.triangles[0][2] = -1;
  test::check_error(ErrorKind::usage, {"got -1"}, [&] { render_depth(mesh, camera); });
  camera.width = int64_t{1} << 40;
  test::check_error(ErrorKind::usage, {"pixels"}, [&] { render_depth(mesh, camera); });
  camera.width = 0;
  test::check_error(ErrorKind::usage, {"pixels, got 0 x 2"}, [&] { render_depth(mesh, camera); });
  camera.width = 4, camera.focal = 0;
  test::check_error(ErrorKind::usage, {"focal"}, [&] { render_depth(mesh, camera); });
}
