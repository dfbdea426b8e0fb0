// Lines: see lines.h. The place of the next line feed is kept, so that a text of carriage returns
// alone is searched once, not once per line.
#include "basin/core/lines.h"

#include <algorithm>

namespace basin {
namespace {

constexpr std::string_view kMark = "\xEF\xBB\xBF";

}  // namespace

std::string_view without_byte_order_mark(std::string_view text) {
  return text.starts_with(kMark) ? text.substr(kMark.size()) : text;
}

LineReader::LineReader(std::string_view text)
    : text_(text),
      pos_(text.size() - without_byte_order_mark(text).size()),
      feed_(std::min(text.find('\n', pos_), text.size())) {}

bool LineReader::next(std::string_view& line) {
  line = {};
  if (pos_ >= text_.size()) return false;
  if (feed_ < pos_) feed_ = std::min(text_.find('\n', pos_), text_.size());
  const std::string_view rest = text_.substr(pos_, feed_ - pos_);
  line = rest.substr(0, rest.find('\r'));
  const size_t end = pos_ + line.size();  // of the line; a return just before the feed ends it too
  pos_ = std::min(feed_ - end <= 1 ? feed_ + 1 : end + 1, text_.size());
  ++number_;
  return true;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> out;
  for (;;) {
    const size_t end = text.find(separator);
    out.push_back(text.substr(0, end));
    if (end == text.npos) return out;
    text.remove_prefix(end + 1);
  }
}

std::vector<std::string> comma_list(std::string_view text) {
  if (text.empty()) return {};
  const std::vector<std::string_view> pieces = split(text, ',');
  return {pieces.begin(), pieces.end()};
}

}  // namespace basin
