// Draws a figure's SVG into a picture, for places that take no vector graphics: what Svg writes
// (rectangles, circles, lines, polylines, straight paths, text, clips, hatches), with smooth edges,
// text in the face of raster.h. Not a reader of SVG files from elsewhere.
#pragma once
#include <string>

#include "basin/figures/raster.h"

namespace basin {

// `scale` pixels per unit of the document. usage error for a scale <= 0, a size beyond what a
// picture takes, and for an element that Svg does not write.
Picture svg_picture(const std::string& document, double scale = 2);

}  // namespace basin
