// Options of what is chosen by name (models, optimizers, tasks): each declares name, default and
// help once; the declaration gives the parser, the error sentences and the --help text. Values
// travel as text, so that a program configures everything with strings only.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "basin/core/error.h"

namespace basin {

// What the text of a value must be. A program shows it in --help and brings the text into one form.
enum class OptionKind : uint8_t { text, integer, number, flag };

struct OptionInfo {
  std::string name;
  std::string default_value;
  std::string help;
  OptionKind kind = OptionKind::text;
  // Its default says what was done before there was this option: a run from then has the same
  // settings as one of today that leaves it alone.
  bool added = false;
};

using OptionValues = std::map<std::string, std::string>;

// Typed access to the values of one owner, e.g. "model egnn"; usage errors name owner, option,
// value and expectation.
class OptionReader {
 public:
  // usage error for a given option that is not declared, with the nearest one.
  OptionReader(std::string_view owner, const std::vector<OptionInfo>& declared,
               const OptionValues& given);
  const std::string& text(const std::string& name) const;  // internal error when not declared
  double number(const std::string& name) const;
  double number_in(const std::string& name, double low, double high) const;  // low <= x <= high
  int64_t integer_in(const std::string& name, int64_t low, int64_t high) const;
  bool flag(const std::string& name) const;  // true|false|on|off|1|0
  // Exactly `count` positive integers, at most 2^20 each, separated by commas.
  std::vector<int64_t> sizes(const std::string& name, size_t count) const;
  // Position of the value in `choices`.
  size_t choice(const std::string& name, const std::vector<std::string>& choices) const;
  // parse(text of the option), whose usage error gets the owner and the option in front.
  template <class Parse>
  auto parsed(const std::string& name, Parse&& parse) const {
    try {
      return parse(text(name));
    } catch (const Error& e) {
      fail(e.kind(), place(name), ": ", e.what());
    }
  }
  const OptionValues& values() const { return values_; }  // every option with its value

  // What error sentences call an option, e.g. "--points" for a program that read it there. Default:
  // OWNER: option 'NAME'.
  void set_place(std::function<std::string(const std::string& name)> place) {
    place_ = std::move(place);
  }

 private:
  std::string place(const std::string& name) const;

  std::string owner_;
  OptionValues values_;
  std::function<std::string(const std::string&)> place_;
};

// "  NAME=DEFAULT  HELP" per option, for --help.
std::string option_help(const std::vector<OptionInfo>& options);

// How a sentence about an unknown name ends: "; did you mean 'NEAR'?", or, where none of them is
// near, "; known: A B C".
std::string name_suggestion(std::string_view word, const std::vector<std::string>& known);

}  // namespace basin
