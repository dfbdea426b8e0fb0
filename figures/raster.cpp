// Pixels set one by one: balls with a depth buffer and the built-in face (its glyphs: font.cpp).
#include "basin/figures/raster.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "basin/core/error.h"

namespace basin {

Picture::Picture(int width, int height, Rgb background) : width_(width), height_(height) {
  check(width > 0 && height > 0 && width <= 1 << 15 && height <= 1 << 15,
        "picture: expects 1 to 32768 pixels each way, given ", width, " x ", height);
  const auto n = static_cast<size_t>(width) * static_cast<size_t>(height);
  pixels_.assign(n, background);
  depth_.assign(n, -std::numeric_limits<float>::infinity());
}

Rgb Picture::at(int x, int y) const {
  check(x >= 0 && x < width_ && y >= 0 && y < height_, "picture: (", x, ", ", y, ") is outside ",
        width_, " x ", height_);
  return pixels_[static_cast<size_t>(y) * width_ + x];
}

void Picture::set(int x, int y, Rgb colour) {
  if (x < 0 || x >= width_ || y < 0 || y >= height_) return;
  pixels_[static_cast<size_t>(y) * width_ + x] = colour;
}

void Picture::fill(int x, int y, int width, int height, Rgb colour) {
  for (int row = std::max(y, 0); row < std::min(y + height, height_); ++row) {
    for (int column = std::max(x, 0); column < std::min(x + width, width_); ++column) {
      set(column, row, colour);
    }
  }
}

void Picture::ball(double x, double y, double z, double radius, Rgb colour) {
  constexpr double kLight[] = {-0.45, -0.6, 0.66};  // a unit vector, y downwards
  const int x0 = static_cast<int>(std::floor(x - radius)), x1 = static_cast<int>(x + radius) + 1;
  const int y0 = static_cast<int>(std::floor(y - radius)), y1 = static_cast<int>(y + radius) + 1;
  for (int row = std::max(y0, 0); row <= std::min(y1, height_ - 1); ++row) {
    for (int column = std::max(x0, 0); column <= std::min(x1, width_ - 1); ++column) {
      const double u = (column + 0.5 - x) / radius, v = (row + 0.5 - y) / radius;
      const double inside = 1 - u * u - v * v;
      if (inside < 0) continue;
      const double front = std::sqrt(inside);
      float& depth = depth_[static_cast<size_t>(row) * width_ + column];
      const auto here = static_cast<float>(z + radius * front);
      if (here <= depth) continue;
      depth = here;
      const double lit = std::max(0.0, u * kLight[0] + v * kLight[1] + front * kLight[2]);
      set(column, row, mix(mix(colour, {0, 0, 0}, 0.45), colour, 0.25 + 0.75 * lit));
    }
  }
}

namespace {

// Calls ink(column, row) for every pixel of the face that is set, in its own pixels.
template <class Ink>
void for_each_ink(std::string_view words, Ink ink) {
  int column = 0, line = 0;
  for (const char c : words) {
    if (c == '\n') {
      column = 0;
      line += kGlyphLine;
      continue;
    }
    const std::string_view rows = glyph(c);
    const int top = line + glyph_drop(c);
    for (int i = 0; i < 35; ++i) {
      if (rows[static_cast<size_t>(i)] == '#') ink(column + i % 5, top + i / 5);
    }
    column += kGlyphAdvance;
  }
}

}  // namespace

void Picture::text(int x, int y, std::string_view words, Rgb colour, int scale) {
  for_each_ink(words, [&](int column, int row) {
    fill(x + column * scale, y + row * scale, scale, scale, colour);
  });
}

void Picture::text_upwards(int x, int y, std::string_view words, Rgb colour, int scale) {
  for_each_ink(words, [&](int column, int row) {
    fill(x + row * scale, y - (column + 1) * scale, scale, scale, colour);
  });
}

int text_pixels(std::string_view words, int scale) {
  return words.empty() ? 0 : static_cast<int>(words.size()) * kGlyphAdvance * scale - scale;
}

}  // namespace basin
