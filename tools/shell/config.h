// Configuration: named settings with a kind, a default and a help line, filled from several layers.
// Precedence: flag > --set > environment BASIN_* > file > preset > default; every value remembers
// which layer gave it, --print-config shows that. A key that nobody declared is a usage error with
// the nearest known one, never ignored. The resolved configuration is valid TOML and reads back as
// itself.
//   Names use underscores (label_smoothing); flags hyphens (--label-smoothing); the environment
//   BASIN_LABEL_SMOOTHING. A prefix such as "optimizer." may be open: its keys are checked later,
//   by whoever knows the chosen optimizer.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "basin/core/io.h"

namespace basin::tools {

enum class Kind : uint8_t { text, integer, number, flag };
enum class Layer : uint8_t { builtin, preset, file, environment, set, flag };
std::string_view name_of(Layer source);

// result: decides the numbers of a run (part of its identity); record: recorded, but may differ in
// a resumed run; action: a request to the program, not recorded.
enum class Purpose : uint8_t { result, record, action };

struct Setting {
  std::string name;
  Kind kind = Kind::text;
  std::string initial;
  std::string help;
  Purpose purpose = Purpose::result;
  // Second accepted name: short for a dotted one ("optimizer" for "optimizer.name"), or an earlier
  // name of a plain one.
  std::string alias = {};
  std::string environment = {};  // if not BASIN_<NAME>
  // Its default says what runs did before there was this setting: then it is no part of the hash.
  bool added = false;
};

class Config {
 public:
  Config(std::vector<Setting> settings, std::vector<std::string> open_prefixes);

  // A layer of higher precedence stays. usage errors name `origin` (e.g. "--set", "run.toml:3").
  void set(std::string_view key, std::string_view value, Layer source, const std::string& origin);
  void load_toml(const fs::path& path, const char* flag = "--config");    // which named the file
  void load_toml_text(const std::string& text, const std::string& name);  // of the errors
  void load_environment();  // BASIN_*; a near miss of a known name draws a warning

  const std::string& text(std::string_view key) const;
  int64_t integer(std::string_view key) const;
  double number(std::string_view key) const;
  bool flag(std::string_view key) const;
  bool has(std::string_view key) const { return values_.find(key) != values_.end(); }
  bool given(std::string_view key) const;       // by any layer above the default
  bool is_initial(std::string_view key) const;  // the value is the default's
  Layer source(std::string_view key) const;
  std::string origin(std::string_view key) const;  // for error sentences: "--set lr", "run.toml:3"
  // Values of an open prefix, without it. Reserved names (declared settings) are left out.
  std::map<std::string, std::string> under(std::string_view prefix) const;

  const std::vector<Setting>& settings() const { return settings_; }
  std::string to_toml() const;   // what is recorded
  std::string describe() const;  // key = value  # source
  std::string hash() const;      // SHA-256 over the settings of purpose `result`
  // The first key of purpose `result` with another value in `other`; empty if none.
  std::string first_difference(const Config& other) const;

 private:
  struct Value {
    std::string text;
    Layer source = Layer::builtin;
    std::string origin;
  };
  const Setting* find(std::string_view key) const;  // by name or alias, '-' read as '_'
  std::string resolve(std::string_view key, const std::string& origin) const;
  std::vector<std::pair<std::string, Value>> ordered() const;
  const Value& value(std::string_view key) const;

  std::vector<Setting> settings_;
  std::vector<std::string> open_;
  std::map<std::string, Value, std::less<>> values_;
};

}  // namespace basin::tools
