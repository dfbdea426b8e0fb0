// The projection of a cloud onto the picture and the colour of each ball by its depth.
#include "basin/figures/cloud_picture.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "basin/core/error.h"

namespace basin {

void draw_cloud(Picture& picture, int x, int y, int size, const Tensor& points,
                const CloudView& view) {
  check(points.rank() == 2 && points.size(1) == 3, "draw_cloud: expects points [N, 3], got ",
        points.shape());
  check(size > 0 && view.extent > 0 && view.point > 0,
        "draw_cloud: expects a positive size, extent and point radius");
  const double a = view.azimuth * std::numbers::pi / 180;
  const double e = view.elevation * std::numbers::pi / 180;
  const double pixels = size / (2 * view.extent), middle = size / 2.0;
  // In a picture of its own, so that the depth buffer and the edges are those of this square.
  Picture square(
      size, size,
      picture.at(std::clamp(x, 0, picture.width() - 1), std::clamp(y, 0, picture.height() - 1)));
  for (int64_t i = 0; i < points.size(0); ++i) {
    const double px = points.at(3 * i), py = points.at(3 * i + 1), pz = points.at(3 * i + 2);
    const double right = px * std::cos(a) - pz * std::sin(a);
    const double deep = px * std::sin(a) + pz * std::cos(a);
    const double up = py * std::cos(e) - deep * std::sin(e);
    const double front = py * std::sin(e) + deep * std::cos(e);
    const double share = std::clamp(0.5 - 0.5 * front / 1.1, 0.0, 1.0);
    square.ball(middle + right * pixels, middle - up * pixels, front * pixels, view.point * pixels,
                mix(view.near_colour, view.far_colour, share));
  }
  for (int row = 0; row < size; ++row) {
    for (int column = 0; column < size; ++column) {
      picture.set(x + column, y + row, square.at(column, row));
    }
  }
}

}  // namespace basin
