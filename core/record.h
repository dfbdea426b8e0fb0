// Flat records: named scalars, written as JSON of one level (so that awk and grep read them), full
// precision (17 significant digits), keys in the order of insertion. JSON has no NaN: a non-finite
// number is written as null, followed by the key "<key>_non_finite" with "nan", "inf" or "-inf".
// Strings may hold any bytes, a path that is not UTF-8 for one: the file is UTF-8 all the same, and
// they come back (core/utf8.h). Read back are only files of our own, and still every fault is a data
// error. No locale has a say in either direction.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace basin {

class Record {
 public:
  Record& add(const std::string& key, double value);
  Record& add(const std::string& key, int64_t value);
  Record& add(const std::string& key, int value) { return add(key, int64_t{value}); }
  Record& add(const std::string& key, bool value);
  Record& add(const std::string& key, std::string_view value);
  Record& add(const std::string& key, const char* value) {
    return add(key, std::string_view(value));
  }
  void append(const Record& other);
  bool empty() const { return fields_.empty(); }

  std::string line() const;    // {"a": 1, "b": 2}, without a line feed
  std::string pretty() const;  // one key per line, with a final line feed

 private:
  void raw(const std::string& key, std::string value);
  std::vector<std::pair<std::string, std::string>> fields_;  // key, encoded value
};

std::string json_string(std::string_view text);  // quoted, escaped, UTF-8
std::string number_text(double value);           // 17 significant digits; nan, inf, -inf
std::string shortest_text(double value);         // that reads back to the same bits: 0.1, 1e-04

// A record as read: every scalar as text, a null with its flag restored to "nan", "inf".
class RecordFields {
 public:
  RecordFields() = default;
  RecordFields(std::string name, std::map<std::string, std::string> values)
      : name_(std::move(name)), values_(std::move(values)) {}

  bool has(const std::string& key) const { return values_.contains(key); }
  // data errors naming the file and the key
  const std::string& text(const std::string& key) const;
  double number(const std::string& key) const;
  int64_t integer(const std::string& key) const;
  bool flag(const std::string& key) const;
  const std::map<std::string, std::string>& values() const { return values_; }

 private:
  std::string name_;
  std::map<std::string, std::string> values_;
};

// data error "NAME: offset N: ..." when the text is no flat JSON object.
RecordFields parse_record(std::string_view text, const std::string& name);

}  // namespace basin
