// Bytes of any kind in formats that are UTF-8. A name of a file is a row of bytes on Linux, while
// JSON, TOML, SVG and HTML are UTF-8; what Basin writes into them passes through to_utf8(), and what
// it reads back from its own records through from_utf8(), so that a path is found again.
//   A byte that is no part of well-formed UTF-8 (RFC 3629) becomes \xHH, two upper-case hexadecimal
//   digits; a backslash that would be read as the beginning of such an escape becomes \x5C. Every
//   other text, a path with backslashes among them, stays as it is.
#pragma once
#include <string>
#include <string_view>

namespace basin {

// Length of the well-formed sequence that `text` starts with; 0 where it starts with none.
size_t utf8_length(std::string_view text);

std::string to_utf8(std::string_view bytes);
std::string from_utf8(std::string_view text);  // from_utf8(to_utf8(bytes)) == bytes

}  // namespace basin
