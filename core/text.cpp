// Numbers as text through std::to_chars, which knows no locale, and errors in that of "C".
#include "basin/core/text.h"

#include <locale.h>
#include <string.h>

#include <array>
#include <charconv>
#include <cmath>

namespace basin {
namespace {

std::string text_of(double value, std::chars_format format, int precision) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::array<char, 400> buffer{};  // 309 digits before the point and some behind it
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, format, precision).ptr;
  return {buffer.data(), end};
}

}  // namespace

std::string fixed_text(double value, int decimals) {
  return text_of(value, std::chars_format::fixed, decimals);
}

std::string short_text(double value, int significant) {
  return text_of(value, std::chars_format::general, significant);
}

std::string scientific_text(double value, int decimals) {
  return text_of(value, std::chars_format::scientific, decimals);
}

std::string error_text(int code) {
  static const locale_t english = ::newlocale(LC_ALL_MASK, "C", nullptr);
  return english == nullptr ? "error " + std::to_string(code) : ::strerror_l(code, english);
}

}  // namespace basin
