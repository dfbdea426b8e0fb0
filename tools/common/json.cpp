// Flat JSON: see json.h. Writing is by hand (the number format is ours), reading through
// nlohmann-json, which sees only files that Basin wrote.
#include "basin/tools/common/json.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>

#include "basin/core/error.h"
#include "basin/core/io.h"
#include "basin/core/printable.h"

namespace basin::tools {
namespace {

constexpr std::string_view kNonFinite = "_non_finite";

}  // namespace

std::string number_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::array<char, 40> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 std::chars_format::general, 17)
                       .ptr;  // no locale's decimal comma
  return {buffer.data(), end};
}

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\t': out += "\\t"; break;
      case '\r': out += "\\r"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {  // TOML forbids DEL as it is
          std::array<char, 8> buffer{};
          std::snprintf(buffer.data(), buffer.size(), "\\u%04x", static_cast<unsigned>(c));
          out += buffer.data();
        } else {
          out += c;
        }
    }
  }
  return out + "\"";
}

void JsonObject::raw(const std::string& key, std::string value) {
  fields_.emplace_back(key, std::move(value));
}

JsonObject& JsonObject::add(const std::string& key, double value) {
  if (std::isfinite(value)) {
    raw(key, number_text(value));
  } else {
    raw(key, "null");
    add(key + std::string(kNonFinite), std::string_view(number_text(value)));
  }
  return *this;
}

JsonObject& JsonObject::add(const std::string& key, int64_t value) {
  raw(key, std::to_string(value));
  return *this;
}

JsonObject& JsonObject::add(const std::string& key, bool value) {
  raw(key, value ? "true" : "false");
  return *this;
}

JsonObject& JsonObject::add(const std::string& key, std::string_view value) {
  raw(key, json_string(value));
  return *this;
}

void JsonObject::append(const JsonObject& other) {
  fields_.insert(fields_.end(), other.fields_.begin(), other.fields_.end());
}

std::string JsonObject::line() const {
  std::string out = "{";
  for (const auto& [key, value] : fields_) {
    if (out.size() > 1) out += ", ";
    out += json_string(key) + ": " + value;
  }
  return out + "}";
}

std::string JsonObject::pretty() const {
  std::string out = "{\n";
  for (size_t i = 0; i < fields_.size(); ++i) {
    out += "  " + json_string(fields_[i].first) + ": " + fields_[i].second;
    out += i + 1 < fields_.size() ? ",\n" : "\n";
  }
  return out + "}\n";
}

const std::string& JsonFields::text(const std::string& key) const {
  const auto it = values_.find(key);
  if (it == values_.end())
    fail(ErrorKind::data, name_, ": the key '", printable(key), "' is missing");
  return it->second;
}

double JsonFields::number(const std::string& key) const {
  const std::string& value = text(key);
  if (value == "nan") return std::nan("");
  if (value == "inf") return HUGE_VAL;
  if (value == "-inf") return -HUGE_VAL;
  double out = 0;
  if (!parse_double(value, out)) {
    fail(ErrorKind::data, name_, ": '", key, "' is expected to be a number, it is '",
         printable(value), "'");
  }
  return out;
}

int64_t JsonFields::integer(const std::string& key) const {
  int64_t out = 0;
  if (!parse_int64(text(key), out)) {
    fail(ErrorKind::data, name_, ": '", key, "' is expected to be an integer, it is '",
         printable(text(key)), "'");
  }
  return out;
}

bool JsonFields::flag(const std::string& key) const {
  const std::string& value = text(key);
  if (value != "true" && value != "false") {
    fail(ErrorKind::data, name_, ": '", key, "' is expected to be true or false, it is '",
         printable(value), "'");
  }
  return value == "true";
}

namespace {

// Collects the values as they are read: a document tree would ask for memory in its destructor.
// What is wrong with the shape of the document is told after what is wrong with its syntax.
struct FlatReader : nlohmann::json_sax<nlohmann::json> {
  std::map<std::string, std::string> values;
  std::set<std::string> nulls;
  std::string last_key, list_at;
  bool object = false, flat = true;
  int depth = 0;
  size_t fault = 0;

  bool put(std::string text) {
    if (depth != 1 || !object) return true;
    nulls.erase(last_key);
    values[last_key] = std::move(text);
    return true;
  }
  bool null() override {
    put("nan");
    if (depth == 1 && object) nulls.insert(last_key);
    return true;
  }
  bool boolean(bool value) override { return put(value ? "true" : "false"); }
  bool number_integer(int64_t value) override { return put(std::to_string(value)); }
  bool number_unsigned(uint64_t value) override { return put(std::to_string(value)); }
  bool number_float(double value, const std::string&) override { return put(number_text(value)); }
  bool string(std::string& value) override { return put(std::move(value)); }
  bool binary(nlohmann::json::binary_t&) override { return true; }
  bool key(std::string& name) override {
    if (depth == 1) last_key = std::move(name);
    return true;
  }
  bool open(bool is_object) {
    if (depth == 0) object = is_object;
    if (depth == 1 && object && flat) {
      flat = false;
      list_at = last_key;
    }
    ++depth;
    return true;
  }
  bool start_object(size_t) override { return open(true); }
  bool start_array(size_t) override { return open(false); }
  bool end_object() override { return --depth, true; }
  bool end_array() override { return --depth, true; }
  bool parse_error(size_t at, const std::string&, const nlohmann::json::exception&) override {
    fault = at;
    return false;
  }
};

}  // namespace

JsonFields parse_flat_json(std::string_view text, const std::string& name) {
  FlatReader in;
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &in)) {
    fail(ErrorKind::data, name, ": offset ", in.fault, ": not valid JSON");
  }
  if (!in.object) fail(ErrorKind::data, name, ": expected one JSON object");
  if (!in.flat) {
    fail(ErrorKind::data, name, ": '", printable(in.list_at),
         "' is expected to be one value, it is a list");
  }
  for (const std::string& key : in.nulls) {
    const auto flag = in.values.find(key + std::string(kNonFinite));
    if (flag == in.values.end()) continue;
    const std::string& value = flag->second;
    if (value != "nan" && value != "inf" && value != "-inf") {
      fail(ErrorKind::data, name, ": '", printable(flag->first),
           "' is expected to be nan, inf or -inf, it is '", printable(value), "'");
    }
    in.values[key] = value;
  }
  return JsonFields(name, std::move(in.values));
}

}  // namespace basin::tools
