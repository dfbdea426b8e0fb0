// One pass each way; the decoder takes exactly what the encoder writes for an escape.
#include "basin/core/utf8.h"

#include <cstdint>

namespace basin {
namespace {

constexpr std::string_view kDigits = "0123456789ABCDEF";

void append_escape(std::string& out, char c) {
  const auto byte = static_cast<uint8_t>(c);
  out += "\\x";
  out += kDigits[byte >> 4];
  out += kDigits[byte & 15];
}

// \xHH at the start of `text`.
bool is_escape(std::string_view text) {
  return text.size() >= 4 && text[0] == '\\' && text[1] == 'x' &&
         kDigits.find(text[2]) != kDigits.npos && kDigits.find(text[3]) != kDigits.npos;
}

}  // namespace

size_t utf8_length(std::string_view text) {
  if (text.empty()) return 0;
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t a = byte(0);
  if (a < 0x80) return 1;
  const size_t n = a >= 0xC2 && a < 0xE0   ? 2
                   : (a & 0xF0) == 0xE0    ? 3
                   : a >= 0xF0 && a < 0xF5 ? 4
                                           : 0;
  if (n == 0 || text.size() < n) return 0;
  for (size_t i = 1; i < n; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const uint8_t b = byte(1);
  const bool overlong = (a == 0xE0 && b < 0xA0) || (a == 0xF0 && b < 0x90);
  const bool outside = (a == 0xED && b >= 0xA0) || (a == 0xF4 && b >= 0x90);
  return overlong || outside ? 0 : n;
}

std::string to_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  for (size_t at = 0; at < bytes.size();) {
    const size_t length = is_escape(bytes.substr(at)) ? 0 : utf8_length(bytes.substr(at));
    if (length == 0) {
      append_escape(out, bytes[at++]);
    } else {
      out += bytes.substr(at, length);
      at += length;
    }
  }
  return out;
}

std::string from_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    if (is_escape(text.substr(at))) {
      const size_t high = kDigits.find(text[at + 2]), low = kDigits.find(text[at + 3]);
      out += static_cast<char>(high << 4 | low);
      at += 4;
    } else {
      out += text[at++];
    }
  }
  return out;
}

}  // namespace basin
