// A point cloud as a picture: orthographic view from a fixed camera, y up, every point a small lit
// ball; near ones are dark and saturated, far ones pale, so that depth reads without perspective.
#pragma once
#include "basin/core/tensor.h"
#include "basin/figures/raster.h"

namespace basin {

struct CloudView {
  double azimuth = 35;    // degrees about the y axis
  double elevation = 22;  // degrees above the horizon
  double extent = 1.35;   // half of the length that fits into the square
  double point = 0.022;   // radius of a point, in units of the cloud
  Rgb near_colour = {8, 64, 129};
  Rgb far_colour = {176, 205, 226};
};

// Into the square of `size` pixels at (x, y). points [N, 3]; what leaves the square is cut off.
void draw_cloud(Picture& picture, int x, int y, int size, const Tensor& points,
                const CloudView& view = {});

}  // namespace basin
