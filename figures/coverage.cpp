// Strokes and discs by the distance from each pixel to them, polygons by eight scan lines a pixel.
#include "basin/figures/detail/coverage.h"

#include <algorithm>
#include <cmath>

namespace basin {

Coverage::Coverage(int width, int height)
    : width_(width),
      height_(height),
      left_(width),
      top_(height),
      share_(static_cast<size_t>(width) * static_cast<size_t>(height), 0.0f) {}

Coverage::Span Coverage::touch(double left, double top, double right, double bottom) {
  const auto whole = [](double v, int most) {
    return static_cast<int>(std::clamp(v, 0.0, static_cast<double>(most)));
  };
  const Span s{whole(std::floor(left), width_), whole(std::floor(top), height_),
               whole(std::ceil(right), width_), whole(std::ceil(bottom), height_)};
  if (s.left >= s.right || s.top >= s.bottom) return {0, 0, 0, 0};
  left_ = std::min(left_, s.left), right_ = std::max(right_, s.right);
  top_ = std::min(top_, s.top), bottom_ = std::max(bottom_, s.bottom);
  return s;
}

void Coverage::stroke(PixelPoint a, PixelPoint b, double width) {
  const double half = width / 2, reach = half + 1;
  const auto [ax, ay] = a;
  const double dx = b.first - ax, dy = b.second - ay, length2 = dx * dx + dy * dy;
  const Span s = touch(std::min(ax, b.first) - reach, std::min(ay, b.second) - reach,
                       std::max(ax, b.first) + reach, std::max(ay, b.second) + reach);
  for (int y = s.top; y < s.bottom; ++y) {
    // Columns that the line can reach in this row, so that a long diagonal costs its length only.
    int from = s.left, to = s.right;
    if (std::abs(dy) > 1e-9) {
      const double t0 = (y + 0.5 - reach - ay) / dy, t1 = (y + 0.5 + reach - ay) / dy;
      const double low = std::clamp(std::min(t0, t1), 0.0, 1.0),
                   high = std::clamp(std::max(t0, t1), 0.0, 1.0);
      const double x0 = ax + low * dx, x1 = ax + high * dx;
      from = std::max(from, static_cast<int>(std::max(-1.0, std::min(x0, x1) - reach)));
      to = std::min<int>(
          to, static_cast<int>(std::clamp(std::max(x0, x1) + reach + 1, 0.0, 1.0 * width_)));
    }
    for (int x = from; x < to; ++x) {
      const double px = x + 0.5 - ax, py = y + 0.5 - ay;
      const double t = length2 > 0 ? std::clamp((px * dx + py * dy) / length2, 0.0, 1.0) : 0;
      const double distance = std::hypot(px - t * dx, py - t * dy);
      // A line thinner than a pixel is fainter, not wider.
      const double share = std::clamp(half + 0.5 - distance, 0.0, std::min(1.0, width));
      float& here = share_[static_cast<size_t>(y) * width_ + x];
      here = std::max(here, static_cast<float>(share));
    }
  }
}

void Coverage::disc(PixelPoint centre, double radius) { stroke(centre, centre, 2 * radius); }

void Coverage::add_row(int y, double from, double to, double weight) {
  const int first = std::max(static_cast<int>(std::floor(from)), 0),
            last = std::min(static_cast<int>(std::ceil(to)), width_);
  for (int x = first; x < last; ++x) {
    const double overlap = std::min(to, x + 1.0) - std::max(from, 1.0 * x);
    float& here = share_[static_cast<size_t>(y) * width_ + x];
    if (overlap > 0) here = std::min(1.0f, here + static_cast<float>(weight * overlap));
  }
}

void Coverage::fill(const std::vector<std::vector<PixelPoint>>& outlines, bool even_odd) {
  constexpr int kLines = 8;  // per row of pixels
  double left = INFINITY, top = INFINITY, right = -INFINITY, bottom = -INFINITY;
  for (const auto& outline : outlines) {
    for (const auto& [x, y] : outline) {
      left = std::min(left, x), right = std::max(right, x);
      top = std::min(top, y), bottom = std::max(bottom, y);
    }
  }
  if (!(left <= right)) return;
  const Span s = touch(left, top, right, bottom);
  std::vector<std::pair<double, int>> crossings;
  for (int y = s.top; y < s.bottom; ++y) {
    for (int k = 0; k < kLines; ++k) {
      const double at = y + (k + 0.5) / kLines;
      crossings.clear();
      for (const auto& outline : outlines) {
        for (size_t i = 0; i < outline.size(); ++i) {
          const auto& [ax, ay] = outline[i];
          const auto& [bx, by] = outline[(i + 1) % outline.size()];
          if ((ay <= at) == (by <= at)) continue;
          crossings.emplace_back(ax + (at - ay) / (by - ay) * (bx - ax), ay < by ? 1 : -1);
        }
      }
      std::sort(crossings.begin(), crossings.end());
      int winding = 0;
      for (size_t i = 0; i + 1 < crossings.size(); ++i) {
        winding += crossings[i].second;
        const bool inside = even_odd ? i % 2 == 0 : winding != 0;
        if (inside) add_row(y, crossings[i].first, crossings[i + 1].first, 1.0 / kLines);
      }
    }
  }
}

}  // namespace basin
