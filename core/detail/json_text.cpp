// Decoding of JSON strings: one pass, without recursion or look-up tables.
#include "basin/core/detail/json_text.h"

#include <cstdint>

#include "basin/core/utf8.h"

namespace basin {
namespace {

void append_utf8(std::string& out, uint32_t c) {
  const auto put = [&](uint32_t byte) { out += static_cast<char>(byte); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6), put(0x80 | (c & 63));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12), put(0x80 | (c >> 6 & 63)), put(0x80 | (c & 63));
  } else {
    put(0xF0 | c >> 18), put(0x80 | (c >> 12 & 63)), put(0x80 | (c >> 6 & 63));
    put(0x80 | (c & 63));
  }
}

// The four digits at text[at]; `at` ends behind them, or at the first byte that is none.
bool read_hex4(std::string_view text, size_t& at, uint32_t& value) {
  value = 0;
  for (int i = 0; i < 4; ++i, ++at) {
    const char c = at < text.size() ? text[at] : '\0';
    uint32_t digit = 0;
    if (c >= '0' && c <= '9') {
      digit = static_cast<uint32_t>(c - '0');
    } else if (const char lower = static_cast<char>(c | 32); lower >= 'a' && lower <= 'f') {
      digit = static_cast<uint32_t>(lower - 'a') + 10;
    } else {
      return false;
    }
    value = value << 4 | digit;
  }
  return true;
}

constexpr std::string_view kEnds = "it ends inside a string";
constexpr std::string_view kHex = "expected four hexadecimal digits after \\u";
constexpr std::string_view kHigh = "a high surrogate without its low one";

// `at` stands behind the backslash.
std::string_view read_escape(std::string_view text, size_t& at, std::string& out) {
  if (at >= text.size()) return kEnds;
  constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
  const char c = text[at];
  if (const size_t i = kFrom.find(c); i != kFrom.npos) {
    out += kTo[i];
    ++at;
    return {};
  }
  if (c != 'u') return "unknown escape in a string";
  uint32_t code = 0;
  if (!read_hex4(text, ++at, code)) return kHex;
  if (code >= 0xD800 && code < 0xDC00) {
    if (text.substr(at, 2) != "\\u") return kHigh;
    at += 2;
    uint32_t low = 0;
    if (!read_hex4(text, at, low)) return kHex;
    if (low < 0xDC00 || low > 0xDFFF) return kHigh;
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
  } else if (code >= 0xDC00 && code < 0xE000) {
    return "a low surrogate without its high one";
  }
  append_utf8(out, code);
  return {};
}

}  // namespace

std::string_view read_json_string(std::string_view text, size_t& at, std::string& out) {
  out.clear();
  if (at >= text.size() || text[at] != '"') return "expected '\"'";
  for (++at; at < text.size() && text[at] != '"';) {
    if (text[at] == '\\') {
      const std::string_view fault = read_escape(text, ++at, out);
      if (!fault.empty()) return fault;
      continue;
    }
    if (static_cast<uint8_t>(text[at]) < 0x20) return "a control character inside a string";
    const size_t n = utf8_length(text.substr(at));
    if (n == 0) return "a string is not UTF-8";
    out.append(text, at, n);
    at += n;
  }
  if (at >= text.size()) return kEnds;
  ++at;
  return {};
}

}  // namespace basin
