// A picture in memory: shaded discs with a depth buffer, rectangles, and text in a built-in face of
// 5 x 7 pixels. For figures of point clouds, where a vector file would hold a shape per point.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "basin/figures/colour.h"

namespace basin {

class Picture {
 public:
  Picture(int width, int height, Rgb background = {255, 255, 255});

  int width() const { return width_; }
  int height() const { return height_; }
  Rgb at(int x, int y) const;                                 // usage error outside
  const std::vector<Rgb>& pixels() const { return pixels_; }  // row after row

  // What lies outside the picture is cut off.
  void set(int x, int y, Rgb colour);
  void fill(int x, int y, int width, int height, Rgb colour);
  // A ball seen from the front: lit from the upper left, the edge darkened. Nearer pixels (larger
  // z) win, whatever the order of the calls.
  void ball(double x, double y, double z, double radius, Rgb colour);
  // Top left corner; a line feed starts a new line. Every pixel of the face is scale x scale.
  void text(int x, int y, std::string_view words, Rgb colour, int scale = 1);
  // The same turned by 90 degrees, reading upwards from the lower left corner (x, y).
  void text_upwards(int x, int y, std::string_view words, Rgb colour, int scale = 1);

 private:
  int width_, height_;
  std::vector<Rgb> pixels_;
  std::vector<float> depth_;
};

constexpr int kGlyphAdvance = 6, kGlyphLine = 10;        // of the face, in its own pixels
int text_pixels(std::string_view words, int scale = 1);  // width of one line

// Seven rows of five, "#" is ink; a box for a character that the face does not have.
std::string_view glyph(char c);
// UTF-8 as characters of the face, one for each of the text: letters that the figures use beside
// ASCII (lambda, plus-minus, minus) have glyphs; what has none is shown as a box.
std::string in_face(std::string_view utf8);
int glyph_drop(char c);  // rows by which it stands below the others

}  // namespace basin
