// Parsing of option values.
#include "basin/models/options.h"

#include <algorithm>

#include "basin/core/io.h"

namespace basin {
namespace {

[[noreturn]] void bad_value(const ModelConfig& config, const std::string& name,
                            const std::string& expected) {
  fail(ErrorKind::usage, config.name, ": option '", name, "' expects ", expected, ", got '",
       text_option(config, name), "'");
}

}  // namespace

const std::string& text_option(const ModelConfig& config, const std::string& name) {
  const auto found = config.options.find(name);
  if (found == config.options.end()) {
    fail(ErrorKind::internal, config.name, ": option '", name, "' is not declared");
  }
  return found->second;
}

bool flag_option(const ModelConfig& config, const std::string& name) {
  const std::string& text = text_option(config, name);
  if (text == "true" || text == "on" || text == "1") return true;
  if (text == "false" || text == "off" || text == "0") return false;
  bad_value(config, name, "true or false");
}

double number_option(const ModelConfig& config, const std::string& name, double low, double high) {
  double value = 0;
  if (!parse_double(text_option(config, name), value) || !(value >= low && value <= high)) {
    bad_value(config, name, str("a number from ", low, " to ", high));
  }
  return value;
}

std::vector<int64_t> sizes_option(const ModelConfig& config, const std::string& name,
                                  size_t count) {
  const std::string expected = str(count, " positive integers separated by commas");
  constexpr int64_t kLargest = 1 << 20;
  const std::string& text = text_option(config, name);
  std::vector<int64_t> sizes;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    int64_t size = 0;
    if (!parse_int64(std::string_view(text).substr(begin, end - begin), size) || size < 1 ||
        size > kLargest) {
      bad_value(config, name, expected);
    }
    sizes.push_back(size);
    begin = end + 1;
  }
  if (sizes.size() != count) bad_value(config, name, expected);
  return sizes;
}

size_t choice_option(const ModelConfig& config, const std::string& name,
                     const std::vector<std::string>& choices) {
  const auto found = std::find(choices.begin(), choices.end(), text_option(config, name));
  if (found == choices.end()) {
    std::string expected;
    for (const std::string& c : choices) expected += (expected.empty() ? "" : " or ") + c;
    bad_value(config, name, expected);
  }
  return static_cast<size_t>(found - choices.begin());
}

}  // namespace basin
