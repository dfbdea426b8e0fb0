// Text in and out. Streams that do not lose any of it: a standard stream catches std::bad_alloc,
// sets a bit and goes on, so that the text is cut short and nobody hears of it; these two let the
// exception out. And numbers for the eye, in which no locale has a say.
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

std::string fixed_text(double value, int decimals);     // "0.4500"; nan, inf, -inf
std::string short_text(double value, int significant);  // "0.45", "1.2e-07": as printf's %g

}  // namespace basin
