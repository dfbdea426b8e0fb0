// Configuration layers: see config.h. TOML is read with toml++, which gives line numbers to errors.
#include "basin/tools/common/config.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "basin/core/log.h"
#include "basin/core/params.h"
#include "basin/core/printable.h"
#include "basin/tools/common/json.h"

// Some damaged files break assumptions of toml++ 3.3 ("[=" for one): without NDEBUG it asserts,
// with it the behaviour is undefined. Here a broken assumption is an exception in either build.
namespace basin::tools {
namespace {
struct BrokenAssumption {};
[[noreturn]] void broken_assumption() { throw BrokenAssumption{}; }
}  // namespace
}  // namespace basin::tools
#undef NDEBUG
// From its headers: the parser of the compiled library, which its package links, was built with the
// assumptions unchecked.
#undef TOML_HEADER_ONLY
#undef TOML_SHARED_LIB
#define TOML_HEADER_ONLY 1
#define TOML_ASSERT(expr) ((expr) ? static_cast<void>(0) : ::basin::tools::broken_assumption())
#include <toml++/toml.h>

namespace basin::tools {
namespace {

constexpr int64_t kMaxDots = 2000;

// Where the tests find real data; of the library; of the tests' emulated device.
bool other_variable(std::string_view name) {
  return name == "BASIN_DATA" || name == "BASIN_SYNC" || name.starts_with("BASIN_EMULATION_");
}

std::string underscored(std::string_view key) {
  std::string out(key);
  std::replace(out.begin(), out.end(), '-', '_');
  return out;
}

std::string environment_name(const Setting& s) {
  if (!s.environment.empty()) return s.environment;
  std::string out = "BASIN_";
  for (const char c : s.alias.empty() ? s.name : s.alias) {
    out += c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return out;
}

std::string shortest(double value) {
  std::array<char, 40> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  return std::string(buffer.data(), end);
}

std::string flag_text(std::string_view text) {
  if (text == "true" || text == "on" || text == "1" || text == "yes") return "true";
  if (text == "false" || text == "off" || text == "0" || text == "no") return "false";
  return "";
}

// The value in its canonical form, or a usage error.
std::string canonical(const Setting& s, std::string_view value, const std::string& origin) {
  const auto refuse = [&](std::string_view expected) {
    fail(ErrorKind::usage, origin, ": ", s.name, " is expected to be ", expected, ", given '",
         printable(value), "'");
  };
  if (s.kind == Kind::integer) {
    int64_t n = 0;
    if (!parse_int64(value, n)) refuse("an integer");
    return std::to_string(n);
  }
  if (s.kind == Kind::number) {
    double x = 0;
    if (!parse_double(value, x)) refuse("a number");
    return shortest(x);
  }
  if (s.kind == Kind::flag) {
    const std::string flag = flag_text(value);
    if (flag.empty()) refuse("true or false");
    return flag;
  }
  return std::string(value);
}

// A canonical number as TOML that reads back as itself: "-0" and what leaves 64 bits need a point.
std::string toml_number(const std::string& text) {
  int64_t n = 0;
  const bool integer = parse_int64(text, n) && std::to_string(n) == text;
  return integer || text.find_first_of(".einf") != text.npos ? text : text + ".0";
}

std::string toml_value(Kind kind, const std::string& text) {
  if (kind == Kind::text || text.empty()) return json_string(text);
  return kind == Kind::number ? toml_number(text) : text;
}

// An undeclared option: a number where it reads back as the same text, else a string.
std::string toml_guess(const std::string& text) {
  double x = 0;
  int64_t n = 0;
  if (parse_int64(text, n) && std::to_string(n) == text) return text;
  if (parse_double(text, x) && shortest(x) == text && text.find_first_of("nN") == text.npos) {
    return toml_number(text);
  }
  return json_string(text);
}

// The part of a name behind its table. Quoted unless bare: two names may share a dotted beginning.
std::string toml_key(const std::string& name) {
  const bool bare = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '-';
  });
  return bare && !name.empty() ? name : json_string(name);
}

std::string scalar_text(const toml::node& node, const std::string& where, std::string_view key) {
  if (const auto v = node.as_string()) return v->get();
  if (const auto v = node.as_integer()) return std::to_string(v->get());
  if (const auto v = node.as_floating_point()) return shortest(v->get());
  if (const auto v = node.as_boolean()) return v->get() ? "true" : "false";
  fail(ErrorKind::usage, where, ": ", printable(key),
       " is expected to be a string, number, boolean or a list");
}

std::string node_text(const toml::node& node, const std::string& where, std::string_view key) {
  const toml::array* list = node.as_array();
  if (list == nullptr) return scalar_text(node, where, key);
  std::string out;
  for (const toml::node& item : *list) {
    if (!out.empty()) out += ",";
    out += scalar_text(item, where, key);
  }
  return out;
}

void load_table(Config& config, const toml::table& table, const std::string& prefix,
                const std::string& file) {
  for (const auto& [key, node] : table) {
    const std::string name = prefix + std::string(key.str());
    const std::string where = str(file, ":", key.source().begin.line);
    if (const toml::table* inner = node.as_table()) {
      load_table(config, *inner, name + ".", file);
    } else {
      config.set(name, node_text(node, where, name), Source::file, where);
    }
  }
}

}  // namespace

std::string_view name_of(Source source) {
  constexpr std::string_view names[] = {"default",     "preset", "file",
                                        "environment", "--set",  "flag"};
  return names[static_cast<int>(source)];
}

Config::Config(std::vector<Setting> settings, std::vector<std::string> open_prefixes)
    : settings_(std::move(settings)), open_(std::move(open_prefixes)) {
  for (const Setting& s : settings_) {
    const bool unset = s.initial.empty();
    values_[s.name] = {unset ? "" : canonical(s, s.initial, "default"), Source::builtin, ""};
  }
}

const Setting* Config::find(std::string_view key) const {
  const std::string name = underscored(key);
  for (const Setting& s : settings_) {
    if (s.name == name || (!s.alias.empty() && s.alias == name)) return &s;
  }
  return nullptr;
}

std::string Config::resolve(std::string_view key, const std::string& origin) const {
  if (const Setting* s = find(key)) return s->name;
  for (const std::string& prefix : open_) {
    if (key.starts_with(prefix) && key.size() > prefix.size()) return std::string(key);
  }
  std::vector<std::string> known;
  for (const Setting& s : settings_) {
    known.push_back(s.name);
    if (!s.alias.empty()) known.push_back(s.alias);
  }
  const std::string near = nearest_name(underscored(key), known);
  fail(ErrorKind::usage, origin, ": unknown key '", printable(key), "'",
       near.empty() ? "; --help lists the known ones" : "; did you mean '" + near + "'?");
}

void Config::set(std::string_view key, std::string_view value, Source source,
                 const std::string& origin) {
  const std::string name = resolve(key, origin);
  const Setting* s = find(name);
  const std::string text = s ? canonical(*s, value, origin) : std::string(value);
  const auto it = values_.find(name);
  if (it != values_.end() && it->second.source > source) return;
  values_[name] = {text, source, origin};
}

void Config::load_toml(const fs::path& path) {
  const std::string file = path.string();
  std::string text;
  try {
    text = read_text_file(path, uint64_t{1} << 24);
  } catch (const Error& e) {
    fail(ErrorKind::usage, "--config: ", e.what());
  }
  // toml++ and load_table() recurse once per part of a dotted key.
  const auto dots = std::count(text.begin(), text.end(), '.');
  if (dots > kMaxDots) {
    fail(ErrorKind::usage, file, ": expected at most ", kMaxDots, " dots in a file, got ", dots);
  }
  try {
    load_table(*this, toml::parse(text, file), "", file);
  } catch (const toml::parse_error& e) {
    fail(ErrorKind::usage, file, ":", e.source().begin.line, ": column ", e.source().begin.column,
         ": not valid TOML: ", printable(e.description()));
  } catch (const BrokenAssumption&) {
    fail(ErrorKind::usage, file, ": not valid TOML, in a way that its parser does not locate");
  }
}

void Config::load_environment() {
  std::map<std::string, std::string> names;
  std::vector<std::string> known;
  for (const Setting& s : settings_) {
    names[environment_name(s)] = s.name;
    known.push_back(environment_name(s));
  }
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view pair(*entry);
    const size_t equals = pair.find('=');
    if (!pair.starts_with("BASIN_") || equals == pair.npos) continue;
    const std::string name(pair.substr(0, equals));
    if (const auto it = names.find(name); it != names.end()) {
      set(it->second, pair.substr(equals + 1), Source::environment, name);
    } else if (!other_variable(name)) {
      const std::string near = nearest_name(name, known);
      if (near.empty()) continue;
      log_message(LogLevel::warning,
                  str("environment: ", name, " is not known; did you mean ", near, "?"));
    }
  }
}

const Config::Value& Config::value(std::string_view key) const {
  const auto it = values_.find(key);
  if (it == values_.end()) fail(ErrorKind::internal, "config: '", key, "' was never declared");
  return it->second;
}

const std::string& Config::text(std::string_view key) const { return value(key).text; }

int64_t Config::integer(std::string_view key) const {
  int64_t n = 0;
  parse_int64(value(key).text, n);
  return n;
}

double Config::number(std::string_view key) const {
  double x = 0;
  parse_double(value(key).text, x);
  return x;
}

bool Config::flag(std::string_view key) const { return value(key).text == "true"; }

bool Config::given(std::string_view key) const { return value(key).source > Source::builtin; }

Source Config::source(std::string_view key) const { return value(key).source; }

std::string Config::origin(std::string_view key) const {
  const auto it = values_.find(key);
  if (it == values_.end() || it->second.origin.empty()) return str("default of ", key);
  return it->second.origin;
}

std::map<std::string, std::string> Config::under(std::string_view prefix) const {
  std::map<std::string, std::string> out;
  for (const auto& [name, v] : values_) {
    if (name.starts_with(prefix) && !find(name)) out[name.substr(prefix.size())] = v.text;
  }
  return out;
}

// Declared settings in the order of declaration, then the open keys.
std::vector<std::pair<std::string, Config::Value>> Config::ordered() const {
  std::vector<std::pair<std::string, Value>> out;
  for (const Setting& s : settings_) out.emplace_back(s.name, value(s.name));
  for (const auto& [name, v] : values_) {
    if (!find(name)) out.emplace_back(name, v);
  }
  return out;
}

std::string Config::to_toml() const {
  std::string top;
  std::map<std::string, std::string> tables;
  for (const auto& [name, v] : ordered()) {
    const Setting* s = find(name);
    if (s && s->purpose == Purpose::action) continue;
    if (v.text.empty() && s && s->kind != Kind::text) continue;
    const std::string text = s ? toml_value(s->kind, v.text) : toml_guess(v.text);
    const size_t dot = name.find('.');
    if (dot == name.npos) {
      top += str(name, " = ", text, "\n");
    } else {
      tables[name.substr(0, dot)] += str(toml_key(name.substr(dot + 1)), " = ", text, "\n");
    }
  }
  for (const auto& [table, lines] : tables) top += str("\n[", table, "]\n", lines);
  return top;
}

std::string Config::describe() const {
  TextWriter out;
  for (const auto& [name, v] : ordered()) {
    const Setting* s = find(name);
    std::string line = str(name, " = ", s ? toml_value(s->kind, v.text) : toml_guess(v.text));
    line.resize(std::max<size_t>(line.size() + 1, 40), ' ');
    out << line << "# " << name_of(v.source);
    if (!v.origin.empty() && v.source != Source::flag) out << ": " << v.origin;
    out << '\n';
  }
  return out.str();
}

std::string Config::hash() const {
  std::string text;
  for (const auto& [name, v] : ordered()) {
    const Setting* s = find(name);
    if (!s || s->purpose == Purpose::result) text += str(name, "=", v.text, "\n");
  }
  return sha256_hex(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

std::string Config::first_difference(const Config& other) const {
  const auto differs = [](const Config& a, const Config& b) -> std::string {
    for (const auto& [name, v] : a.ordered()) {
      const Setting* s = a.find(name);
      if (s && s->purpose != Purpose::result) continue;
      const auto it = b.values_.find(name);
      if (it == b.values_.end() || it->second.text != v.text) return name;
    }
    return "";
  };
  const std::string first = differs(*this, other);
  return first.empty() ? differs(other, *this) : first;
}

}  // namespace basin::tools
