// PNG files (8 bits a channel, RGB, zlib) of a picture in memory.
#pragma once
#include <cstdint>
#include <vector>

#include "basin/figures/raster.h"

namespace basin {

std::vector<uint8_t> encode_png(const Picture& picture);

}  // namespace basin
