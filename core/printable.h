// What a message may quote from a file: control characters become '?', so that the sentence stays
// one line and cannot steer a terminal; what is longer than kMaxPrinted is cut. Bytes from 0x80 on
// (UTF-8) pass.
#pragma once
#include <string>
#include <string_view>

namespace basin {

constexpr size_t kMaxPrinted = 600;

inline std::string printable(std::string_view text) {
  std::string out(text.substr(0, kMaxPrinted));
  for (char& c : out) {
    const auto code = static_cast<unsigned char>(c);
    if (code < 0x20 || code == 0x7f) c = '?';
  }
  if (text.size() > kMaxPrinted) out += "...";
  return out;
}

}  // namespace basin
