// Lines of a text from outside, whatever ends them: a line feed, a carriage return, or the two
// together. A UTF-8 byte-order mark, which programs on Windows put in front of a text, is no part
// of the first line. Every reader of text takes its lines, or its text, from here. And pieces of a
// line, as the values of settings are: "a,b,c".
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace basin {

// The text behind a leading mark EF BB BF; without a mark the text itself.
std::string_view without_byte_order_mark(std::string_view text);

class LineReader {
 public:
  explicit LineReader(std::string_view text);  // the text must outlive the reader

  // The next line, without its end; false, and an empty line, behind the last one.
  bool next(std::string_view& line);
  int64_t number() const { return number_; }  // of the line that next() gave: 1, 2, ...; 0 before
  size_t offset() const { return pos_; }      // of what follows that line, counted with the mark

 private:
  std::string_view text_;
  size_t pos_ = 0;
  size_t feed_ = 0;  // the first line feed at or behind pos_, else the end of the text
  int64_t number_ = 0;
};

// What stands between the separators: n of them make n + 1 pieces, empty ones included.
std::vector<std::string_view> split(std::string_view text, char separator);
// The pieces of "a,b"; none of an empty text.
std::vector<std::string> comma_list(std::string_view text);

}  // namespace basin
