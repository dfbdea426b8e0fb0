// Streams over text that do not lose any of it. A standard stream catches std::bad_alloc, sets a
// bit and goes on: the text is cut short and nobody hears of it. These two let the exception out.
#pragma once
#include <sstream>
#include <string>

namespace basin {

struct TextWriter : std::ostringstream {
  TextWriter() { exceptions(std::ios::badbit); }
};

struct TextReader : std::istringstream {
  explicit TextReader(const std::string& text) : std::istringstream(text) {
    exceptions(std::ios::badbit);
  }
};

}  // namespace basin
