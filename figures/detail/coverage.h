// How much of each pixel a shape covers, 0 .. 1: what turns outlines into smooth edges. Shapes of
// one drawing are collected here and then blended at once, so that a half-transparent line does not
// darken where it crosses itself. Lengths are pixels of the picture.
#pragma once
#include <utility>
#include <vector>

#include "basin/figures/raster.h"

namespace basin {

using PixelPoint = std::pair<double, double>;

struct PixelBox {
  double left = 0, top = 0, right = 0, bottom = 0;
};

class Coverage {
 public:
  Coverage(int width, int height);

  // A line from a to b with round ends: covered where the distance is below half its width.
  void stroke(PixelPoint a, PixelPoint b, double width);
  void disc(PixelPoint centre, double radius);
  // The inside of closed outlines, by the even-odd or the non-zero rule; what is added touches what
  // is there without a seam.
  void fill(const std::vector<std::vector<PixelPoint>>& outlines, bool even_odd);

  // Mixes `colour(x, y)` into the picture by coverage times opacity, inside `clip` only, and
  // forgets the shapes.
  template <class Colour>
  void blend(Picture& picture, const PixelBox& clip, double opacity, Colour colour) {
    for (int y = top_; y < bottom_; ++y) {
      for (int x = left_; x < right_; ++x) {
        float& share = share_[static_cast<size_t>(int64_t{y} * width_ + x)];
        const double cx = x + 0.5, cy = y + 0.5;
        const bool inside =
            cx >= clip.left && cx <= clip.right && cy >= clip.top && cy <= clip.bottom;
        if (share > 0 && inside) {
          picture.set(x, y, mix(picture.at(x, y), colour(x, y), share * opacity));
        }
        share = 0;
      }
    }
    left_ = width_, top_ = height_, right_ = bottom_ = 0;
  }

 private:
  struct Span {
    int left, top, right, bottom;
  };
  Span touch(double left, double top, double right, double bottom);
  void add_row(int y, double from, double to, double weight);

  int width_, height_;
  int left_, top_, right_ = 0, bottom_ = 0;  // what is touched since the last blend
  std::vector<float> share_;
};

}  // namespace basin
