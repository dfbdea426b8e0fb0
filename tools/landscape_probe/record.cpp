// The files of a probe as JSON trees.
#include "basin/tools/landscape_probe/record.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "basin/core/printable.h"
#include "basin/core/utf8.h"

namespace basin::tools {
namespace {

using nlohmann::json;

class Writer : public FieldWalk {
 public:
  explicit Writer(json& root) : at_{&root} {}

 private:
  bool has(const char*) const override { return false; }
  void enter(const char* key) override { at_.push_back(&(*at_.back())[key]); }
  void enter(size_t index) override { at_.push_back(&(*at_.back())[index]); }
  void leave() override { at_.pop_back(); }
  void leaf(double& value) override { *at_.back() = value; }
  void leaf(int64_t& value) override { *at_.back() = value; }
  void leaf(bool& value) override { *at_.back() = value; }
  void leaf(std::string& value) override { *at_.back() = to_utf8(value); }
  void begin_object() override { *at_.back() = json::object(); }
  size_t begin_list(size_t size) override {
    *at_.back() = json::array();
    return size;
  }

  std::vector<json*> at_;  // the value under way, within those before it
};

class Reader : public FieldWalk {
 public:
  Reader(const json& root, std::string file) : file_(std::move(file)), at_{&root}, places_{""} {
    if (!root.is_object()) expected("an object");
  }

 private:
  bool has(const char* key) const override { return at_.back()->contains(key); }
  void enter(const char* key) override {
    const std::string place = places_.back().empty() ? key : places_.back() + "." + key;
    const auto found = at_.back()->find(key);
    if (found == at_.back()->end()) fail(ErrorKind::data, file_, ": '", place, "' is missing");
    at_.push_back(&*found);
    places_.push_back(place);
  }
  void enter(size_t index) override {
    places_.push_back(str(places_.back(), "[", index, "]"));
    at_.push_back(&(*at_.back())[index]);
  }
  void leave() override {
    at_.pop_back();
    places_.pop_back();
  }
  void leaf(double& value) override {  // what JSON cannot hold is null, and null is NaN
    if (!here().is_null() && !here().is_number()) expected("a number");
    value = here().is_null() ? std::numeric_limits<double>::quiet_NaN() : here().get<double>();
  }
  void leaf(int64_t& value) override {  // every integer of a record counts something
    if (!here().is_number_unsigned() ||
        here().get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()}) {
      expected("a count below 2^63");
    }
    value = here().get<int64_t>();
  }
  void leaf(bool& value) override {
    if (!here().is_boolean()) expected("true or false");
    value = here().get<bool>();
  }
  void leaf(std::string& value) override {
    if (!here().is_string()) expected("a text");
    value = from_utf8(here().get_ref<const std::string&>());
  }
  void begin_object() override {
    if (!here().is_object()) expected("an object");
  }
  size_t begin_list(size_t) override {
    if (!here().is_array()) expected("a list");
    return here().size();
  }

  const json& here() const { return *at_.back(); }
  [[noreturn]] void expected(const char* what) const {
    fail(ErrorKind::data, file_, ": '", places_.back(), "' is expected to be ", what, ", it is ",
         here().is_structured() ? str("an ", here().type_name()) : printable(here().dump()));
  }

  std::string file_;
  std::vector<const json*> at_;
  std::vector<std::string> places_;  // of the values under way, as "record.weights[3]"
};

// The destructor of a tree asks for memory to take it apart, and ends the process where there is
// none. Emptied from the leaves upwards it asks for nothing. No tree is deeper than kDeepest.
void dismantle(json& tree) {
  if (!tree.is_structured()) return;
  for (json& child : tree) dismantle(child);
  tree.clear();
}

struct Tree {
  json root = json::object();
  Tree() = default;
  explicit Tree(json parsed) : root(std::move(parsed)) {}
  Tree(const Tree&) = delete;
  // NOLINTNEXTLINE(bugprone-exception-escape): neither walking nor clearing throws
  ~Tree() { dismantle(root); }
};

// A tree takes up to 64 bytes per value: these keep it below the file's size and 64 MB.
constexpr uint64_t kMostBytes = uint64_t{1} << 26;
constexpr int kMostValues = 1'000'000, kDeepest = 16;

Tree parse_part(const fs::path& path) {
  int values = 0;
  const auto limits = [&](int depth, json::parse_event_t event, json&) {
    values += event != json::parse_event_t::object_end && event != json::parse_event_t::array_end;
    if (depth > kDeepest) {
      fail(ErrorKind::data, path.string(), ": lists within more than ", kDeepest, " others");
    }
    if (values > kMostValues) {
      fail(ErrorKind::data, path.string(), ": more than ", kMostValues, " values");
    }
    return true;
  };
  try {
    return Tree(json::parse(read_file(path, kMostBytes), limits));
  } catch (const json::parse_error& e) {
    fail(ErrorKind::data, path.string(), ": offset ", e.byte, ": not valid JSON");
  } catch (const json::exception& e) {  // a number that no double holds
    fail(ErrorKind::data, path.string(), ": not valid JSON: ", printable(e.what()));
  }
}

}  // namespace

void fields(FieldWalk& walk, Estimate& e) {
  walk("value", e.value), walk("standard_error", e.standard_error), walk("low", e.interval.low);
  walk("high", e.interval.high), walk("level", e.interval.level), walk("samples", e.samples);
  walk("method", e.method);
}

void write_part_file(const fs::path& file, const Record& identity, const WalkRecord& record) {
  Tree tree;
  tree.root["identity"] = json::parse(identity.line());
  Writer walk(tree.root);
  record(walk);
  write_file_atomic(file, tree.root.dump(1) + "\n");
}

void read_part_file(const fs::path& file, const WalkRecord& record) {
  const Tree tree = parse_part(file);
  Reader walk(tree.root, file.string());
  record(walk);
}

RecordFields read_identity(const fs::path& file) {
  const Tree tree = parse_part(file);
  const auto it = tree.root.find("identity");
  if (it == tree.root.end()) fail(ErrorKind::data, file.string(), ": 'identity' is missing");
  return parse_record(it->dump(), file.string());
}

bool PartFiles::has(const std::string& part) const { return fs::exists(file(part)); }

void PartFiles::refuse_other(const std::string& part, const Record& identity) const {
  const RecordFields found = this->identity(part);
  const RecordFields wanted = parse_record(identity.line(), part);
  const bool before_tasks = wanted.has("task") && !found.has("task");
  for (const auto& [key, value] : wanted.values()) {
    if (before_tasks && !found.has(key) && !key.starts_with("probe_")) continue;
    const std::string there = found.has(key) ? found.text(key) : "nothing";
    if (there == value) continue;
    fail(ErrorKind::output, file(part).string(), ": was measured with ", key, " = ",
         printable(there), ", asked for is ", value, "; choose another --out, or remove the file");
  }
  for (const auto& [key, value] : found.values()) {
    if (wanted.has(key) || !key.starts_with("probe_")) continue;
    fail(ErrorKind::output, file(part).string(), ": was measured with ", key, " = ",
         printable(value), ", asked for is its default; choose another --out, or remove the file");
  }
}

}  // namespace basin::tools
