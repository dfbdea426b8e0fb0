// Reading of option values: names are checked once, values when they are asked for.
#include "basin/core/options.h"

#include <algorithm>
#include <cmath>

#include "basin/core/io.h"
#include "basin/core/lines.h"
#include "basin/core/params.h"

namespace basin {
OptionReader::OptionReader(std::string_view owner, const std::vector<OptionInfo>& declared,
                           const OptionValues& given)
    : owner_(owner) {
  std::vector<std::string> names;
  for (const OptionInfo& o : declared) {
    values_[o.name] = o.default_value;
    names.push_back(o.name);
  }
  for (const auto& [name, value] : given) {
    const auto it = values_.find(name);
    check(it != values_.end(), owner_, ": no option '", name, "'", name_suggestion(name, names));
    it->second = value;
  }
}

std::string OptionReader::place(const std::string& name) const {
  return place_ ? place_(name) : owner_ + ": option '" + name + "'";
}

const std::string& OptionReader::text(const std::string& name) const {
  const auto it = values_.find(name);
  if (it == values_.end()) {
    fail(ErrorKind::internal, owner_, ": reads the option '", name, "' that it does not declare");
  }
  return it->second;
}

double OptionReader::number(const std::string& name) const {
  double value = 0;
  check(parse_double(text(name), value) && std::isfinite(value), place(name),
        " must be a number, got '", text(name), "'");
  return value;
}

double OptionReader::number_in(const std::string& name, double low, double high) const {
  const double value = number(name);
  check(value >= low && value <= high, place(name), " must be from ", low, " to ", high, ", got ",
        text(name));
  return value;
}

int64_t OptionReader::integer_in(const std::string& name, int64_t low, int64_t high) const {
  int64_t value = 0;
  check(parse_int64(text(name), value) && value >= low && value <= high, place(name),
        " must be an integer from ", low, " to ", high, ", got '", text(name), "'");
  return value;
}

bool OptionReader::flag(const std::string& name) const {
  const std::string& value = text(name);
  if (value == "true" || value == "on" || value == "1") return true;
  check(value == "false" || value == "off" || value == "0", place(name),
        " must be true or false, got '", value, "'");
  return false;
}

std::vector<int64_t> OptionReader::sizes(const std::string& name, size_t count) const {
  constexpr int64_t kLargest = 1 << 20;
  const std::string_view value = text(name);
  std::vector<int64_t> sizes;
  bool good = true;
  for (const std::string_view piece : split(value, ',')) {
    int64_t size = 0;
    good = good && parse_int64(piece, size) && size >= 1 && size <= kLargest;
    sizes.push_back(size);
  }
  const std::string expected =
      count == 1 ? "a positive integer" : str(count, " positive integers separated by commas,");
  check(good && sizes.size() == count, place(name), " must be ", expected, " of at most ", kLargest,
        ", got '", value, "'");
  return sizes;
}

size_t OptionReader::choice(const std::string& name,
                            const std::vector<std::string>& choices) const {
  const auto it = std::find(choices.begin(), choices.end(), text(name));
  check(it != choices.end(), place(name), " has no choice '", text(name), "'",
        name_suggestion(text(name), choices));
  return static_cast<size_t>(it - choices.begin());
}

std::string option_help(const std::vector<OptionInfo>& options) {
  size_t width = 0;
  for (const OptionInfo& o : options) {
    width = std::max(width, o.name.size() + o.default_value.size() + 1);
  }
  std::string help;
  for (const OptionInfo& o : options) {
    const std::string head = o.name + "=" + o.default_value;
    help += "  " + head + std::string(width - head.size() + 2, ' ') + o.help + "\n";
  }
  return help;
}

std::string name_suggestion(std::string_view word, const std::vector<std::string>& known) {
  const std::string near = nearest_name(word, known);
  if (!near.empty()) return "; did you mean '" + near + "'?";
  std::string list = "; known:";
  for (const std::string& name : known) list += " " + name;
  return known.empty() ? "" : list;
}

}  // namespace basin
