// Flat records: writing, and a strict reader of one flat JSON object (RFC 8259). What is nested is
// refused where it begins, so there is no depth to bound.
#include "basin/core/record.h"

#include <array>
#include <charconv>
#include <cmath>
#include <set>

#include "basin/core/detail/json_text.h"
#include "basin/core/error.h"
#include "basin/core/io.h"
#include "basin/core/lines.h"
#include "basin/core/printable.h"
#include "basin/core/text.h"
#include "basin/core/utf8.h"

namespace basin {
namespace {

constexpr std::string_view kNonFinite = "_non_finite";

}  // namespace

std::string number_text(double value) { return short_text(value, 17); }

std::string shortest_text(double value) {
  std::array<char, 32> buffer{};
  return {buffer.data(), std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr};
}

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : to_utf8(text)) {
    const auto code = static_cast<unsigned char>(c);
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\t': out += "\\t"; break;
      case '\r': out += "\\r"; break;
      default:
        if (code < 0x20 || code == 0x7f) {  // TOML forbids DEL as it is
          constexpr std::string_view kDigits = "0123456789abcdef";
          out += str("\\u00", kDigits[code >> 4], kDigits[code & 15]);
        } else {
          out += c;
        }
    }
  }
  return out + "\"";
}

void Record::raw(const std::string& key, std::string value) {
  fields_.emplace_back(key, std::move(value));
}

Record& Record::add(const std::string& key, double value) {
  if (std::isfinite(value)) {
    raw(key, number_text(value));
  } else {
    raw(key, "null");
    add(key + std::string(kNonFinite), std::string_view(number_text(value)));
  }
  return *this;
}

Record& Record::add(const std::string& key, int64_t value) {
  raw(key, str(value));
  return *this;
}

Record& Record::add(const std::string& key, bool value) {
  raw(key, value ? "true" : "false");
  return *this;
}

Record& Record::add(const std::string& key, std::string_view value) {
  raw(key, json_string(value));
  return *this;
}

void Record::append(const Record& other) {
  fields_.insert(fields_.end(), other.fields_.begin(), other.fields_.end());
}

std::string Record::line() const {
  std::string out = "{";
  for (const auto& [key, value] : fields_) {
    if (out.size() > 1) out += ", ";
    out += json_string(key) + ": " + value;
  }
  return out + "}";
}

std::string Record::pretty() const {
  std::string out = "{\n";
  for (size_t i = 0; i < fields_.size(); ++i) {
    out += "  " + json_string(fields_[i].first) + ": " + fields_[i].second;
    out += i + 1 < fields_.size() ? ",\n" : "\n";
  }
  return out + "}\n";
}

const std::string& RecordFields::text(const std::string& key) const {
  const auto it = values_.find(key);
  if (it == values_.end())
    fail(ErrorKind::data, name_, ": the key '", printable(key), "' is missing");
  return it->second;
}

double RecordFields::number(const std::string& key) const {
  const std::string& value = text(key);
  if (value == "nan") return std::nan("");
  if (value == "inf") return HUGE_VAL;
  if (value == "-inf") return -HUGE_VAL;
  double out = 0;
  if (!parse_double(value, out)) {
    fail(ErrorKind::data, name_, ": '", printable(key), "' is expected to be a number, it is '",
         printable(value), "'");
  }
  return out;
}

int64_t RecordFields::integer(const std::string& key) const {
  int64_t out = 0;
  if (!parse_int64(text(key), out)) {
    fail(ErrorKind::data, name_, ": '", printable(key), "' is expected to be an integer, it is '",
         printable(text(key)), "'");
  }
  return out;
}

bool RecordFields::flag(const std::string& key) const {
  const std::string& value = text(key);
  if (value != "true" && value != "false") {
    fail(ErrorKind::data, name_, ": '", printable(key),
         "' is expected to be true or false, it is '", printable(value), "'");
  }
  return value == "true";
}

namespace {

class RecordReader {
 public:
  RecordReader(std::string_view text, const std::string& name)
      : text_(text), name_(name), at_(text.size() - without_byte_order_mark(text).size()) {}

  std::map<std::string, std::string> read() {
    skip_space();
    if (std::string_view("[\"-0123456789tfn").find(peek()) != std::string_view::npos) {
      fail(ErrorKind::data, name_, ": expected one JSON object");
    }
    expect('{');
    skip_space();
    if (peek() != '}') {
      do member();
      while (accept(','));
    }
    expect('}');
    skip_space();
    if (at_ != text_.size()) fault();
    restore_nulls();
    return std::move(values_);
  }

 private:
  // The offset counts the bytes up to the fault, the one at fault among them.
  [[noreturn]] void fault() const {
    fail(ErrorKind::data, name_, ": offset ", at_ + 1, ": not valid JSON");
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\x7f'; }  // DEL begins nothing

  void skip_space() {
    constexpr std::string_view kBlanks = " \t\r\n";
    while (kBlanks.find(peek()) != kBlanks.npos) ++at_;
  }

  bool accept(char c) {
    skip_space();
    if (peek() != c) return false;
    ++at_;
    return true;
  }

  void expect(char c) {
    if (!accept(c)) fault();
  }

  std::string string() {
    std::string out;
    if (!read_json_string(text_, at_, out).empty()) fault();
    return from_utf8(out);
  }

  std::string word(std::string_view expected) {
    for (const char c : expected) {
      if (peek() != c) fault();
      ++at_;
    }
    return std::string(expected);
  }

  void digits() {
    const auto digit = [&] { return peek() >= '0' && peek() <= '9'; };
    if (!digit()) fault();
    while (digit()) ++at_;
  }

  // An integer of 64 bits stays as it is; what is larger, or has a fraction or an exponent, is
  // brought into the form that number_text gives. A number that no double holds is a fault.
  std::string number() {
    const size_t begin = at_;
    const bool negative = peek() == '-';
    if (negative) ++at_;
    if (peek() == '0') {
      ++at_;
    } else {
      digits();
    }
    bool whole = true;
    if (peek() == '.') {
      whole = false;
      ++at_;
      digits();
    }
    if (peek() == 'e' || peek() == 'E') {
      whole = false;
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      digits();
    }
    const std::string_view text = text_.substr(begin, at_ - begin);
    if (whole && (negative ? fits<int64_t>(text) : fits<uint64_t>(text))) {
      return text == "-0" ? "0" : std::string(text);
    }
    double value = 0;
    if (!parse_double(text, value)) fault();
    return number_text(value);
  }

  template <class Integer>
  static bool fits(std::string_view text) {
    Integer value = 0;
    return std::from_chars(text.data(), text.data() + text.size(), value).ec == std::errc{};
  }

  void member() {
    skip_space();
    const std::string key = string();
    expect(':');
    skip_space();
    nulls_.erase(key);
    std::string value;
    switch (peek()) {
      case '{':
      case '[':
        fail(ErrorKind::data, name_, ": '", printable(key),
             "' is expected to be one value, it is a list");
      case '"': value = string(); break;
      case 't': value = word("true"); break;
      case 'f': value = word("false"); break;
      case 'n':
        word("null");
        value = "nan";
        nulls_.insert(key);
        break;
      default: value = number();
    }
    values_[key] = std::move(value);
  }

  void restore_nulls() {
    for (const std::string& key : nulls_) {
      const auto flag = values_.find(key + std::string(kNonFinite));
      if (flag == values_.end()) continue;
      const std::string& value = flag->second;
      if (value != "nan" && value != "inf" && value != "-inf") {
        fail(ErrorKind::data, name_, ": '", printable(flag->first),
             "' is expected to be nan, inf or -inf, it is '", printable(value), "'");
      }
      values_[key] = value;
    }
  }

  std::string_view text_;
  const std::string& name_;
  size_t at_;
  std::map<std::string, std::string> values_;
  std::set<std::string> nulls_;
};

}  // namespace

RecordFields parse_record(std::string_view text, const std::string& name) {
  return RecordFields(name, RecordReader(text, name).read());
}

}  // namespace basin
