// Graphs as edge lists: graphs.csv, nodes.csv, edges.csv. See graphs.h for the format.
#include <algorithm>
#include <cmath>

#include "basin/core/lines.h"
#include "basin/core/printable.h"
#include "basin/datasets/detail/graphs.h"

namespace basin::graphs {
namespace {

constexpr uint64_t kMostBytes = uint64_t{4} << 30;
constexpr size_t kMostFields = 1024;

// Lines of one file, each cut at its commas.
class Lines {
 public:
  explicit Lines(const fs::path& file)
      : file_(file.string()), text_(read_text_file(file, kMostBytes)), lines_(text_) {
    if (!read()) fault("expected a header, the file is empty");
    header = fields;
  }

  Lines(const Lines&) = delete;  // header, fields and lines_ look into text_

  bool read() {
    std::string_view rest;
    if (!lines_.next(rest)) return false;
    line = lines_.number();
    fields.clear();
    for (bool more = true; more;) {
      const size_t comma = rest.find(',');
      more = comma != rest.npos;
      fields.push_back(rest.substr(0, comma));
      if (more) rest.remove_prefix(comma + 1);
      if (fields.size() > kMostFields) fault("expected at most ", kMostFields, " fields");
    }
    if (!header.empty() && fields.size() != header.size()) {
      fault("expected ", header.size(), " fields as in the header, got ", fields.size());
    }
    return true;
  }

  // The first names of the header.
  void expect(const std::vector<std::string_view>& names) const {
    if (header.size() < names.size() || !std::equal(names.begin(), names.end(), header.begin())) {
      std::string wanted;
      for (const std::string_view n : names) wanted += (wanted.empty() ? "" : ",") + std::string(n);
      fault("expected a header that begins with ", wanted);
    }
  }

  int64_t integer(size_t field, int64_t low, int64_t high) const {
    int64_t value = 0;
    if (!parse_int64(fields[field], value) || value < low || value > high) {
      fault("expected ", printable(header[field].substr(0, 40)), " as a whole number from ", low,
            " to ", high, ", got '", printable(fields[field].substr(0, 40)), "'");
    }
    return value;
  }

  // NaN for an empty cell or nan.
  double number(size_t field) const {
    double value = 0;
    if (fields[field].empty() || fields[field] == "nan") return NAN;
    if (!parse_double(fields[field], value) || !std::isfinite(value)) {
      fault("expected ", printable(header[field].substr(0, 40)), " as a number, got '",
            printable(fields[field].substr(0, 40)), "'");
    }
    return value;
  }

  template <class... A>
  [[noreturn]] void fault(const A&... parts) const {
    fail(ErrorKind::data, place(line), ": ", parts...);
  }
  std::string place(int64_t at) const { return str(file_, ": line ", std::max<int64_t>(at, 1)); }

  std::vector<std::string_view> header, fields;
  int64_t line = 0;

 private:
  std::string file_, text_;
  LineReader lines_;
};

void read_graphs(Lines in, GraphSet& set) {
  in.expect({"split"});
  if (in.header.size() < 2) in.fault("expected at least one target behind the split");
  for (size_t t = 1; t < in.header.size(); ++t) {
    if (in.header[t].empty() || printable(in.header[t]) != in.header[t]) {
      in.fault("expected a printable name for the target in column ", t + 1);
    }
    set.target_names.emplace_back(in.header[t]);
  }
  bool zeros_and_ones = true;
  for (int64_t g = 0; in.read(); ++g) {
    const int split = split_of(in.fields[0]);
    if (split < 0) {
      in.fault("expected train, val or test, got '", printable(in.fields[0].substr(0, 40)), "'");
    }
    set.splits[static_cast<size_t>(split)].push_back(g);
    for (size_t t = 1; t < in.fields.size(); ++t) {
      const double value = in.number(t);
      zeros_and_ones = zeros_and_ones && (std::isnan(value) || value == 0 || value == 1);
      set.targets.push_back(value);
    }
  }
  if (set.targets.empty()) in.fault("expected a line per graph, there is none");
  set.labels = zeros_and_ones;
}

// The categories from field `first` on; widens `kinds`.
void read_categories(const Lines& in, size_t first, std::vector<int64_t>& kinds,
                     std::vector<uint16_t>& out) {
  for (size_t f = first; f < in.fields.size(); ++f) {
    const int64_t value = in.integer(f, 0, kMostKinds - 1);
    int64_t& most = kinds[f - first];
    most = std::max(most, value + 1);
    out.push_back(static_cast<uint16_t>(value));
  }
}

// graphs 0: as many as there are
void read_nodes(Lines in, int64_t graphs, GraphSet& set) {
  in.expect({"graph"});
  if (in.header.size() < 2) in.fault("expected at least one feature behind the graph");
  set.node_kinds.assign(in.header.size() - 1, 1);
  int64_t nodes = 0;
  while (in.read()) {
    const int64_t last = set.graphs();  // the graph that is being read
    const int64_t g = in.integer(0, 0, graphs > 0 ? graphs - 1 : INT32_MAX);
    if (g != last && !(g == last + 1 && nodes > set.node_start.back())) {
      in.fault("expected a node of graph ", last,
               nodes > set.node_start.back() ? str(" or ", last + 1) : "", ", got one of graph ",
               g);
    }
    if (g == last + 1) set.node_start.push_back(nodes);
    read_categories(in, 1, set.node_kinds, set.node_features);
    ++nodes;
  }
  if (nodes == 0 || (graphs > 0 && set.graphs() != graphs - 1)) {
    in.fault("the file ends, expected nodes of ", std::max<int64_t>(graphs, 1), " graphs");
  }
  set.node_start.push_back(nodes);
}

void read_edges(Lines in, GraphSet& set) {
  in.expect({"graph", "source", "target"});
  const size_t features = in.header.size() - 3;
  set.edge_kinds.assign(std::max<size_t>(features, 1), 1);
  std::vector<int64_t> lines;
  std::vector<uint16_t> kinds;
  int64_t last = 0;
  while (in.read()) {
    const int64_t g = in.integer(0, last, set.graphs() - 1);
    for (; last < g; ++last) set.edge_start.push_back(static_cast<int64_t>(set.sender.size()));
    const int64_t most = set.nodes_of(g) - 1;
    const auto a = static_cast<int32_t>(in.integer(1, 0, most));
    const auto b = static_cast<int32_t>(in.integer(2, 0, most));
    kinds.clear();
    read_categories(in, 3, set.edge_kinds, kinds);
    if (features == 0) kinds = {0};
    for (const auto& [from, to] : {std::pair(a, b), std::pair(b, a)}) {
      set.sender.push_back(from);
      set.receiver.push_back(to);
      set.edge_features.insert(set.edge_features.end(), kinds.begin(), kinds.end());
      lines.push_back(in.line);
    }
  }
  for (; last < set.graphs(); ++last) {
    set.edge_start.push_back(static_cast<int64_t>(set.sender.size()));
  }
  seal(set, [&](int64_t edge) { return in.place(lines[static_cast<size_t>(edge)]); });
}

}  // namespace

std::optional<GraphSet> read_lists(const fs::path& dir, bool targets) {
  const bool known = fs::is_regular_file(dir / "graphs.csv");
  if (!known && (targets || !fs::is_regular_file(dir / "nodes.csv"))) return {};
  GraphSet set;
  int64_t graphs = 0;
  if (known) {
    read_graphs(Lines(dir / "graphs.csv"), set);
    graphs = static_cast<int64_t>(set.targets.size() / set.target_names.size());
  }
  read_nodes(Lines(dir / "nodes.csv"), graphs, set);
  read_edges(Lines(dir / "edges.csv"), set);
  set.description = "edge lists, " + counts(set);
  return set;
}

}  // namespace basin::graphs
