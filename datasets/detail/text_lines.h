// A text file line by line (core/lines.h) and word by word, for readers whose faults name the line.
// Blanks and tabs separate words.
#pragma once
#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>

#include "basin/core/io.h"
#include "basin/core/lines.h"
#include "basin/core/printable.h"

namespace basin {

inline std::string_view without_blanks(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

class TextLines {
 public:
  TextLines(std::string_view text, const std::string& name)
      : size_(text.size()), lines_(text), name_(name) {}

  // Moves to the next line; false at the end.
  bool next() {
    if (!lines_.next(line_)) return false;
    rest_ = line_;
    return true;
  }
  void expect_next(std::string_view what) {
    if (!next()) fault("expected ", what, ", the file ends");
  }

  std::string_view line() const { return line_; }
  // The next word of the line, empty at its end.
  std::string_view word() {
    rest_ = without_blanks(rest_);
    const std::string_view out = rest_.substr(0, rest_.find_first_of(" \t"));
    rest_.remove_prefix(out.size());
    return out;
  }
  size_t remaining() const { return size_ - lines_.offset(); }  // bytes

  double real(std::string_view what) { return real_of(word(), what); }
  int64_t integer(std::string_view what) { return integer_of(word(), what); }

  // A finite number, also in the form 1.2*^-6.
  double real_of(std::string_view word, std::string_view what) const {
    double value = 0;
    const size_t power = word.find("*^");
    const bool number =
        power == word.npos
            ? parse_double(word, value)
            : parse_double(str(word.substr(0, power), "e", word.substr(power + 2)), value);
    if (!number || !std::isfinite(value)) fault("expected ", what, ", got '", shown(word), "'");
    return value;
  }
  int64_t integer_of(std::string_view word, std::string_view what) const {
    int64_t value = 0;
    if (!parse_int64(word, value)) fault("expected ", what, ", got '", shown(word), "'");
    return value;
  }

  template <class... A>
  [[noreturn]] void fault(const A&... parts) const {
    fail(ErrorKind::data, name_, ": line ", lines_.number(), ": ", printable(str(parts...)));
  }
  static std::string_view shown(std::string_view word) { return word.substr(0, 40); }

 private:
  size_t size_;
  LineReader lines_;
  std::string_view line_, rest_;
  const std::string& name_;
};

}  // namespace basin
