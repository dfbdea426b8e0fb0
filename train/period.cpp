// Reading and writing periods.
#include "basin/train/period.h"

#include "basin/core/error.h"
#include "basin/core/io.h"

namespace basin {

std::string Period::text() const { return str(count, epochs ? "e" : ""); }

Period parse_period(const std::string& text) {
  constexpr int64_t kMost = 1000000000000;
  Period out;
  out.epochs = text.ends_with('e');
  const std::string_view digits =
      std::string_view(text).substr(0, text.size() - (out.epochs ? 1 : 0));
  check(parse_int64(digits, out.count) && out.count >= 1 && out.count <= kMost,
        "expected a number of steps (500) or of epochs (5e), at least 1, given '", text, "'");
  return out;
}

}  // namespace basin
