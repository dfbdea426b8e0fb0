// The encoder is that of stb_image_write, compiled into this file only.
#include "basin/figures/png.h"

#include "basin/core/error.h"

#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#include <stb_image_write.h>

namespace basin {

std::vector<uint8_t> encode_png(const Picture& picture) {
  std::vector<uint8_t> out;
  const auto append = [](void* target, void* bytes, int size) {
    const auto* from = static_cast<const uint8_t*>(bytes);
    static_cast<std::vector<uint8_t>*>(target)->insert(
        static_cast<std::vector<uint8_t>*>(target)->end(), from, from + size);
  };
  static_assert(sizeof(Rgb) == 3);
  const int written = stbi_write_png_to_func(append, &out, picture.width(), picture.height(), 3,
                                             picture.pixels().data(), 3 * picture.width());
  if (written == 0) fail(ErrorKind::resource, "png: no memory for the encoded picture");
  return out;
}

}  // namespace basin
