// The two cells that need rules: shortest round-trip numbers and quoted texts.
#include "basin/analysis/csv.h"

#include "basin/core/record.h"
#include "basin/core/utf8.h"

namespace basin {

std::string csv_number(double value) { return shortest_text(value); }

std::string csv_text(std::string_view words) {
  std::string text = to_utf8(words);
  if (text.find_first_of(",\"\r\n") == text.npos) return text;
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

}  // namespace basin
