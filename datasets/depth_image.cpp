// Depth images: see depth_image.h. One pass over the triangles, each over the pixels of its
// bounding box; a pixel belongs to a triangle if its centre does, edges included.
#include "basin/datasets/depth_image.h"

#include <algorithm>
#include <cmath>

namespace basin {
namespace {

constexpr int64_t kMaxPixels = int64_t{1} << 26;
// Pixel centres on a common edge belong to both triangles: the slack is far above the rounding of
// the weights and far below a pixel, so no ray slips through between two neighbours.
constexpr double kEdgeSlack = 1e-9;
constexpr double kSmallestArea = 1e-9;  // twice the area in pixels^2; less covers no pixel centre

struct Corner {
  double u, v, inverse_depth;
};

// Whole numbers in [low, high] and in [0, size).
struct Range {
  int64_t begin, end;
};
Range pixels_between(double low, double high, int64_t size) {
  const double last = static_cast<double>(size - 1);
  return {static_cast<int64_t>(std::ceil(std::clamp(low, 0.0, last + 1))),
          static_cast<int64_t>(std::floor(std::clamp(high, -1.0, last))) + 1};
}

void draw(const Corner& a, const Corner& b, const Corner& c, DepthImage& image) {
  const double bu = b.u - a.u, bv = b.v - a.v, cu = c.u - a.u, cv = c.v - a.v;
  const double area = bu * cv - bv * cu;
  if (!(std::abs(area) > kSmallestArea)) return;
  const Range columns = pixels_between(std::min({a.u, b.u, c.u}) - kEdgeSlack,
                                       std::max({a.u, b.u, c.u}) + kEdgeSlack, image.width);
  const Range rows = pixels_between(std::min({a.v, b.v, c.v}) - kEdgeSlack,
                                    std::max({a.v, b.v, c.v}) + kEdgeSlack, image.height);
  // Slivers have inexact weights; their depths still stay between those of the corners.
  const auto [nearest, farthest] = std::minmax({a.inverse_depth, b.inverse_depth, c.inverse_depth});
  for (int64_t v = rows.begin; v < rows.end; ++v) {
    double* line = image.depth.data() + v * image.width;
    const double pv = static_cast<double>(v) - a.v;
    for (int64_t u = columns.begin; u < columns.end; ++u) {
      const double pu = static_cast<double>(u) - a.u;
      const double wb = (pu * cv - pv * cu) / area, wc = (bu * pv - bv * pu) / area;
      if (wb < -kEdgeSlack || wc < -kEdgeSlack || wb + wc > 1 + kEdgeSlack) continue;
      const double inverse = a.inverse_depth + wb * (b.inverse_depth - a.inverse_depth) +
                             wc * (c.inverse_depth - a.inverse_depth);
      const double depth = 1 / std::clamp(inverse, nearest, farthest);
      if (line[u] == 0 || depth < line[u]) line[u] = depth;
    }
  }
}

}  // namespace

PinholeCamera camera_at(double azimuth, double tilt, double distance) {
  const double ca = std::cos(azimuth), sa = std::sin(azimuth);
  const double ct = std::cos(tilt), st = std::sin(tilt);
  PinholeCamera camera;
  camera.axes = {ca, sa, 0, -sa * ct, ca * ct, st, sa * st, -ca * st, ct};
  for (int i = 0; i < 3; ++i) camera.position[i] = -distance * camera.axes[6 + i];
  return camera;
}

DepthImage render_depth(const TriangleMesh& mesh, const PinholeCamera& camera) {
  const int64_t width = camera.width, height = camera.height;
  check(width > 0 && height > 0 && width <= kMaxPixels && height <= kMaxPixels / width,
        "render_depth: expected an image of 1 to ", kMaxPixels, " pixels, got ", width, " x ",
        height);
  check(camera.focal > 0, "render_depth: expected a positive focal length, got ", camera.focal);
  const double centre_u = 0.5 * static_cast<double>(width - 1);
  const double centre_v = 0.5 * static_cast<double>(height - 1);
  std::vector<Corner> corners;
  corners.reserve(mesh.vertices.size());
  for (const auto& p : mesh.vertices) {
    double q[3] = {0, 0, 0};
    for (int i = 0; i < 3; ++i) {
      for (int j = 0; j < 3; ++j) q[i] += camera.axes[3 * i + j] * (p[j] - camera.position[j]);
    }
    corners.push_back(
        {camera.focal * q[0] / q[2] + centre_u, camera.focal * q[1] / q[2] + centre_v, 1 / q[2]});
  }
  DepthImage image{width, height, std::vector<double>(static_cast<size_t>(width * height), 0.0)};
  for (const auto& t : mesh.triangles) {
    for (const int32_t corner : t) {
      check(corner >= 0 && static_cast<size_t>(corner) < corners.size(),
            "render_depth: expected corners from 0 to ", corners.size(), " - 1, got ", corner);
      const Corner& q = corners[corner];
      check(q.inverse_depth > 0 && std::isfinite(q.inverse_depth) && std::isfinite(q.u + q.v),
            "render_depth: expected every corner in front of the camera, vertex ", corner,
            " is not");
    }
    draw(corners[t[0]], corners[t[1]], corners[t[2]], image);
  }
  return image;
}

std::array<double, 3> back_project(const PinholeCamera& camera, int64_t pixel, double depth) {
  const int64_t row = pixel / camera.width, column = pixel % camera.width;
  const auto u = static_cast<double>(column), v = static_cast<double>(row);
  const double q[3] = {(u - 0.5 * static_cast<double>(camera.width - 1)) * depth / camera.focal,
                       (v - 0.5 * static_cast<double>(camera.height - 1)) * depth / camera.focal,
                       depth};
  std::array<double, 3> p = camera.position;
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) p[j] += camera.axes[3 * i + j] * q[i];
  }
  return p;
}

}  // namespace basin
