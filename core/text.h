// Text in and out, in which no locale has a say: neither the global one of C++, which a stream
// takes up when it is made, nor that of C, which printf, strtod, toupper and strerror ask. All text
// of Basin, files and messages alike, is written and read through this header, std::to_chars and
// std::from_chars (tests/lint/locale.sh).
//   The two streams do not lose text either: a standard stream catches std::bad_alloc, sets a bit
// and goes on, so that the text is cut short and nobody hears of it; these let the exception out.
#pragma once
#include <sstream>
#include <string>
#include <system_error>

namespace basin {

struct TextWriter : std::ostringstream {
  TextWriter() {
    imbue(std::locale::classic());
    exceptions(std::ios::badbit);
  }
};

struct TextReader : std::istringstream {
  explicit TextReader(const std::string& text) : std::istringstream(text) {
    imbue(std::locale::classic());
    exceptions(std::ios::badbit);
  }
};

std::string fixed_text(double value, int decimals);       // "0.4500"; nan, inf, -inf
std::string short_text(double value, int significant);    // "0.45", "1.2e-07": as printf's %g
std::string scientific_text(double value, int decimals);  // "4.50e-01": as printf's %e

// What the system says of an errno, in English: "No such file or directory".
std::string error_text(int code);
inline std::string error_text(const std::error_code& error) { return error_text(error.value()); }

// Of ASCII letters alone; other bytes, those of UTF-8 among them, stay as they are.
constexpr char ascii_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
constexpr char ascii_upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

}  // namespace basin
