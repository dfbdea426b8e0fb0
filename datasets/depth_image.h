// Depth images of triangle meshes, without a window or a GPU: a pinhole camera, a z-buffer and the
// way back from pixels to points.
//   camera coordinates q = axes (p - position): right, down, forward; depth = q_2
//   pixel (u, v) = focal (q_0, q_1) / q_2 + (width - 1, height - 1) / 2, centres at whole numbers
// Inside a triangle 1 / depth is affine in (u, v), so depths are exact to rounding. Both sides of a
// triangle are seen: the winding of CAD meshes is not to be relied on.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "basin/datasets/mesh.h"

namespace basin {

struct PinholeCamera {
  std::array<double, 9> axes;  // rows right, down, forward: orthonormal, world to camera
  std::array<double, 3> position;
  double focal = 365;  // pixels
  int64_t width = 1080, height = 720;
};

// Looks at the origin from `distance` away. The camera's axes are the columns of
// Rz(azimuth) Rx(tilt), angles in radians, so it stands at
// -distance (sin tilt sin azimuth, -sin tilt cos azimuth, cos tilt); tilts above pi / 2 look down.
PinholeCamera camera_at(double azimuth, double tilt, double distance);

struct DepthImage {
  int64_t width = 0, height = 0;
  std::vector<double> depth;  // [height * width], along the optical axis; 0 where nothing is seen
};

// usage error: an image larger than 2^26 pixels or empty, a corner index outside the vertices, a
// corner that is not in front of the camera.
DepthImage render_depth(const TriangleMesh& mesh, const PinholeCamera& camera);

// The world point seen at a pixel (v * width + u) in this depth.
std::array<double, 3> back_project(const PinholeCamera& camera, int64_t pixel, double depth);

}  // namespace basin
