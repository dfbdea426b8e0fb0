// The two cells that need rules: shortest round-trip numbers and quoted texts.
#include "basin/analysis/csv.h"

#include "basin/core/record.h"

namespace basin {

std::string csv_number(double value) { return shortest_text(value); }

std::string csv_text(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == text.npos) return std::string(text);
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

}  // namespace basin
