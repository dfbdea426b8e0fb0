// The files of a probe: see record.h.
#include "basin/tools/landscape_probe/record.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "basin/core/printable.h"

namespace basin::tools {

using nlohmann::json;

// Every field of a record is named once here; writing and reading both walk this list.
struct Writer {
  json& j;
  template <class T>
  void operator()(const char* key, const T& value) {
    if constexpr (std::is_same_v<T, Estimate>) {
      Writer inner{j[key]};
      fields(inner, value);
    } else {
      j[key] = value;
    }
  }
};
class Reader {
 public:
  // `place`: of the object in its file, as "weights[3]"; empty for the outermost.
  Reader(const json& object, std::string place, const std::string& file)
      : object_(object), place_(std::move(place)), file_(file) {
    if (!object.is_object()) expected("an object", object, place_);
  }
  template <class T>
  void operator()(const char* key, T& value) {
    const auto found = object_.find(key);
    const std::string at = place_.empty() ? key : place_ + "." + key;
    if (found == object_.end()) fail(ErrorKind::data, file_, ": '", at, "' is missing");
    read(*found, value, at);
  }
  template <class T>
  void read(const json& j, T& value, const std::string& at);

 private:
  [[noreturn]] void expected(const char* what, const json& found, const std::string& at) const {
    fail(ErrorKind::data, file_, ": '", at, "' is expected to be ", what, ", it is ",
         found.is_structured() ? str("an ", found.type_name()) : printable(found.dump()));
  }
  const json& object_;
  std::string place_;
  const std::string& file_;
};

template <class Walk, class R>
void fields(Walk& walk, R& r) requires std::is_same_v<std::remove_const_t<R>, Estimate> {
  walk("value", r.value), walk("standard_error", r.standard_error), walk("low", r.interval.low);
  walk("high", r.interval.high), walk("level", r.interval.level), walk("samples", r.samples);
  walk("method", r.method);
}
template <class Walk, class R>
void fields(Walk& walk, R& r) requires std::is_same_v<std::remove_const_t<R>, EigenRecord> {
  walk("value", r.value), walk("residual", r.residual), walk("converged", r.converged);
}
template <class Walk, class R>
void fields(Walk& walk, R& r) requires std::is_same_v<std::remove_const_t<R>, BlockRecord> {
  walk("kind", r.kind), walk("name", r.name), walk("size", r.size), walk("trace", r.trace);
}
template <class Walk, class R>
void fields(Walk& walk, R& r) requires std::is_same_v<std::remove_const_t<R>, QuadratureRecord> {
  walk("nodes", r.nodes), walk("weights", r.weights);
}
template <class Walk, class R>
void fields(Walk& walk, R& r) requires std::is_same_v<std::remove_const_t<R>, PaperRecord> {
  walk("measured", r.measured), walk("lambda", r.lambda), walk("residual", r.residual);
  walk("iterations", r.iterations), walk("stopped_by_tolerance", r.stopped_by_tolerance);
  walk("trace", r.trace), walk("probes", r.probes);
}
template <class Walk, class R>
void fields(Walk& walk, R& r) requires std::is_same_v<std::remove_const_t<R>, CurvatureRecord> {
  walk("kind", r.kind), walk("subset", r.subset), walk("size", r.size), walk("loss", r.loss);
  walk("gradient_norm", r.gradient_norm), walk("top", r.top), walk("bottom", r.bottom);
  walk("converged", r.converged), walk("note", r.note), walk("products", r.products);
  walk("trace", r.trace), walk("trace_samples", r.trace_samples), walk("blocks", r.blocks);
  walk("density", r.density), walk("negative_share", r.negative_share), walk("paper", r.paper);
  walk("seconds", r.seconds);
}
template <class Walk, class R>
void fields(Walk& walk, R& r) requires std::is_same_v<std::remove_const_t<R>, WeightRecord> {
  walk("name", r.name), walk("rows", r.rows), walk("cols", r.cols);
  walk("singular", r.singular), walk("initial", r.initial);
  walk("stable", r.stable), walk("effective", r.effective);
  walk("initial_stable", r.initial_stable), walk("initial_effective", r.initial_effective);
}
template <class Walk, class R>
void fields(Walk& walk, R& r) requires std::is_same_v<std::remove_const_t<R>, SkippedRecord> {
  walk("name", r.name), walk("reason", r.reason);
}
template <class Walk, class R>
void fields(Walk& walk, R& r) requires std::is_same_v<std::remove_const_t<R>, RanksRecord> {
  walk("weights", r.weights), walk("skipped", r.skipped);
}
template <class Walk, class R>
void fields(Walk& walk, R& r) requires std::is_same_v<std::remove_const_t<R>, LayerRankRecord> {
  walk("layer", r.layer), walk("samples", r.samples), walk("channels", r.channels);
  walk("centred", r.centred), walk("pooled", r.pooled);
  walk("stable", r.stable), walk("effective", r.effective);
}
template <class Walk, class R>
void fields(Walk& walk,
            R& r) requires std::is_same_v<std::remove_const_t<R>, RepresentationsRecord> {
  walk("data", r.data), walk("layers", r.layers);
}
template <class Walk, class R>
void fields(Walk& walk, R& r) requires std::is_same_v<std::remove_const_t<R>, SharpnessRecord> {
  walk("name", r.name), walk("definition", r.definition), walk("value", r.value);
  walk("note", r.note);
}
template <class Walk, class R>
void fields(Walk& walk, R& r) requires std::is_same_v<std::remove_const_t<R>, SharpnessRecords> {
  walk("measures", r.measures);
}
template <class Walk, class R>
void fields(Walk& walk, R& r) requires std::is_same_v<std::remove_const_t<R>, SliceRecord> {
  walk("name", r.name), walk("file", r.file), walk("data", r.data), walk("done", r.done);
  walk("failed", r.failed), walk("missing", r.missing), walk("loss", r.loss);
  walk("g1", r.g1), walk("g2", r.g2), walk("h11", r.h11), walk("h12", r.h12), walk("h22", r.h22);
  walk("holds_within", r.holds_within);
}
template <class Walk, class R>
void fields(Walk& walk, R& r) requires std::is_same_v<std::remove_const_t<R>, SlicesRecord> {
  walk("slices", r.slices);
}

template <class R>
void to_json(json& j, const R& record) requires requires(Writer& w) {
  fields(w, record);
}
{
  j = json::object();
  Writer walk{j};
  fields(walk, record);
}
template <class T>
constexpr bool kIsList = false;
template <class T>
constexpr bool kIsList<std::vector<T>> = true;

template <class T>
void Reader::read(const json& j, T& value, const std::string& at) {
  if constexpr (std::is_same_v<T, double>) {  // what JSON cannot hold is null, and null is NaN
    if (!j.is_null() && !j.is_number()) expected("a number", j, at);
    value = j.is_null() ? std::numeric_limits<double>::quiet_NaN() : j.get<double>();
  } else if constexpr (std::is_same_v<T, int64_t>) {  // every integer of a record counts something
    if (!j.is_number_unsigned() ||
        j.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()}) {
      expected("a count below 2^63", j, at);
    }
    value = j.get<int64_t>();
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!j.is_boolean()) expected("true or false", j, at);
    value = j.get<bool>();
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!j.is_string()) expected("a text", j, at);
    value = j.get<std::string>();
  } else if constexpr (kIsList<T>) {
    if (!j.is_array()) expected("a list", j, at);
    value.clear();
    value.reserve(j.size());
    for (const json& item : j) {
      const size_t index = value.size();
      read(item, value.emplace_back(), str(at, "[", index, "]"));
    }
  } else {
    Reader inner(j, at, file_);
    fields(inner, value);
  }
}

namespace {

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

// The figures take these for granted.
void check_values(const std::vector<CurvatureRecord>& record, const std::string& file) {
  for (const CurvatureRecord& c : record) {
    for (const QuadratureRecord& q : c.density) {
      const auto finite = [](double x) { return std::isfinite(x); };
      if (q.nodes.empty() || q.nodes.size() != q.weights.size() ||
          !std::all_of(q.nodes.begin(), q.nodes.end(), finite) ||
          !std::all_of(q.weights.begin(), q.weights.end(), finite)) {
        fail(ErrorKind::data, file, ": 'density' of ", printable(c.kind), " ", printable(c.subset),
             " is expected to hold finite nodes and as many finite weights, it holds ",
             q.nodes.size(), " and ", q.weights.size());
      }
    }
  }
}
void check_values(const SlicesRecord& record, const std::string& file) {
  for (const SliceRecord& s : record.slices) {
    if (s.file.empty() || fs::path(s.file).filename() != s.file) {
      fail(ErrorKind::data, file,
           ": 'file' of a slice is expected to be a name in this folder, it is '",
           printable(s.file), "'");
    }
  }
}
template <class Record>
void check_values(const Record&, const std::string&) {}

}  // namespace

bool PartFiles::has(const std::string& part) const { return fs::exists(file(part)); }

RecordFields read_identity(const fs::path& file) {
  const Tree tree = parse_part(file);
  const auto it = tree.root.find("identity");
  if (it == tree.root.end()) fail(ErrorKind::data, file.string(), ": 'identity' is missing");
  return parse_record(it->dump(), file.string());
}

void PartFiles::refuse_other(const std::string& part, const Record& identity) const {
  const RecordFields found = this->identity(part);
  const RecordFields wanted = parse_record(identity.line(), part);
  for (const auto& [key, value] : wanted.values()) {
    const std::string there = found.has(key) ? found.text(key) : "nothing";
    if (there == value) continue;
    fail(ErrorKind::output, file(part).string(), ": was measured with ", key, " = ",
         printable(there), ", asked for is ", value, "; choose another --out, or remove the file");
  }
}

template <class Record>
void PartFiles::write(const std::string& part, const Record& identity, const Record& record) const {
  Tree tree;
  json& whole = tree.root;
  whole["identity"] = json::parse(identity.line());
  whole["record"] = record;
  write_file_atomic(file(part), whole.dump(1) + "\n");
}

template <class Record>
Record read_record(const fs::path& file) {
  const Tree tree = parse_part(file);
  const std::string name = file.string();
  Record out;
  Reader whole(tree.root, "", name);
  whole("record", out);
  check_values(out, name);
  return out;
}

template void PartFiles::write(const std::string&, const Record&,
                               const std::vector<CurvatureRecord>&) const;
template void PartFiles::write(const std::string&, const Record&, const RanksRecord&) const;
template void PartFiles::write(const std::string&, const Record&,
                               const RepresentationsRecord&) const;
template void PartFiles::write(const std::string&, const Record&, const SharpnessRecords&) const;
template void PartFiles::write(const std::string&, const Record&, const SlicesRecord&) const;
template std::vector<CurvatureRecord> read_record(const fs::path&);
template RanksRecord read_record(const fs::path&);
template RepresentationsRecord read_record(const fs::path&);
template SharpnessRecords read_record(const fs::path&);
template SlicesRecord read_record(const fs::path&);

}  // namespace basin::tools
