// The files of a probe: see record.h.
#include "basin/tools/landscape_probe/record.h"

#include <limits>
#include <nlohmann/json.hpp>

namespace basin {

using nlohmann::json;

// A number that JSON cannot hold is null, and null is NaN.
static double number_of(const json& j) {
  return j.is_null() ? std::numeric_limits<double>::quiet_NaN() : j.get<double>();
}

static void to_json(json& j, const Estimate& e) {
  j = {{"value", e.value},        {"standard_error", e.standard_error}, {"low", e.interval.low},
       {"high", e.interval.high}, {"level", e.interval.level},          {"samples", e.samples},
       {"method", e.method}};
}
static void from_json(const json& j, Estimate& e) {
  e.value = number_of(j.at("value"));
  e.standard_error = number_of(j.at("standard_error"));
  e.interval = {number_of(j.at("low")), number_of(j.at("high")), number_of(j.at("level"))};
  e.samples = j.at("samples").get<int64_t>();
  e.method = j.at("method").get<std::string>();
}

namespace tools {

// Every field of a record is named once here; writing and reading both walk this list.
struct Writer {
  json& j;
  template <class T>
  void operator()(const char* key, const T& value) {
    j[key] = value;
  }
};
struct Reader {
  const json& j;
  template <class T>
  void operator()(const char* key, T& value) {
    if constexpr (std::is_same_v<T, double>) {
      value = number_of(j.at(key));
    } else if constexpr (std::is_same_v<T, std::vector<double>>) {
      value.clear();
      for (const json& x : j.at(key)) value.push_back(number_of(x));
    } else {
      j.at(key).get_to(value);
    }
  }
};

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
template <class R>
void from_json(const json& j, R& record) requires requires(Reader& w) {
  fields(w, record);
}
{
  Reader walk{j};
  fields(walk, record);
}

namespace {

// The destructor of a tree asks for memory to take it apart, and ends the process where there is
// none. Emptied from the leaves upwards it asks for nothing. (A record of ours is not deep.)
void dismantle(json& tree, int deepest = 32) {
  if (!tree.is_structured() || deepest == 0) return;
  for (json& child : tree) dismantle(child, deepest - 1);
  tree.clear();
}

struct Tree {
  json root = json::object();
  Tree() = default;
  explicit Tree(json parsed) : root(std::move(parsed)) {}
  Tree(const Tree&) = delete;
  ~Tree() { dismantle(root); }
};

Tree parse_part(const fs::path& path) {
  try {
    return Tree(json::parse(read_file(path)));
  } catch (const json::exception& e) {
    fail(ErrorKind::data, path.string(), ": is no record of a probe: ", e.what());
  }
}

}  // namespace

bool PartFiles::has(const std::string& part) const { return fs::exists(file(part)); }

JsonFields PartFiles::identity(const std::string& part) const {
  const Tree tree = parse_part(file(part));
  const json& whole = tree.root;
  const auto it = whole.find("identity");
  if (it == whole.end()) {
    fail(ErrorKind::data, file(part).string(), ": expected the key 'identity', found none");
  }
  return parse_flat_json(it->dump(), file(part).string());
}

void PartFiles::refuse_other(const std::string& part, const JsonObject& identity) const {
  const JsonFields found = this->identity(part);
  const JsonFields wanted = parse_flat_json(identity.line(), part);
  for (const auto& [key, value] : wanted.values()) {
    const std::string there = found.has(key) ? found.text(key) : "nothing";
    if (there == value) continue;
    fail(ErrorKind::output, file(part).string(), ": was measured with ", key, " = ", there,
         ", asked for is ", value, "; choose another --out, or remove the file");
  }
}

template <class Record>
void PartFiles::write(const std::string& part, const JsonObject& identity,
                      const Record& record) const {
  Tree tree;
  json& whole = tree.root;
  whole["identity"] = json::parse(identity.line());
  whole["record"] = record;
  write_file_atomic(file(part), whole.dump(1) + "\n");
}

template <class Record>
Record PartFiles::read(const std::string& part) const {
  const Tree tree = parse_part(file(part));
  const json& whole = tree.root;
  try {
    return whole.at("record").get<Record>();
  } catch (const json::exception& e) {
    fail(ErrorKind::data, file(part).string(),
         ": a field is missing or of another kind: ", e.what());
  }
}

template void PartFiles::write(const std::string&, const JsonObject&,
                               const std::vector<CurvatureRecord>&) const;
template void PartFiles::write(const std::string&, const JsonObject&, const RanksRecord&) const;
template void PartFiles::write(const std::string&, const JsonObject&,
                               const RepresentationsRecord&) const;
template void PartFiles::write(const std::string&, const JsonObject&,
                               const SharpnessRecords&) const;
template void PartFiles::write(const std::string&, const JsonObject&, const SlicesRecord&) const;
template std::vector<CurvatureRecord> PartFiles::read(const std::string&) const;
template RanksRecord PartFiles::read(const std::string&) const;
template RepresentationsRecord PartFiles::read(const std::string&) const;
template SharpnessRecords PartFiles::read(const std::string&) const;
template SlicesRecord PartFiles::read(const std::string&) const;

}  // namespace tools
}  // namespace basin
