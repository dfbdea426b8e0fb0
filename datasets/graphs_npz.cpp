// Graphs in NumPy archives: ZINC-12k and Peptides-func. See graphs.h for the arrays.
#include <cmath>

#include "basin/core/record.h"
#include "basin/datasets/detail/graphs.h"
#include "basin/datasets/npz.h"

namespace basin::graphs {
namespace {

// Kinds per feature: of OGB's features of atoms and bonds, and of the vocabulary of ZINC.
const std::vector<int64_t> kPeptideAtoms{119, 5, 12, 12, 10, 6, 6, 2, 2}, kPeptideBonds{5, 6, 2};
const std::vector<int64_t> kZincAtoms{28}, kZincBonds{4};

// In the order in which they stand in the data.
const char* const kPeptideLabels[] = {"label_0", "label_1", "label_2", "label_3", "label_4",
                                      "label_5", "label_6", "label_7", "label_8", "label_9"};

// Members of one archive, checked for shape and range.
class Arrays {
 public:
  explicit Arrays(const fs::path& file) : file_(file.string()), npz_(file) {}

  template <class... A>
  [[noreturn]] void fault(const char* member, const A&... parts) const {
    fail(ErrorKind::data, file_, ": member '", member, "': ", parts...);
  }

  // -1 in `shape`: any number
  std::vector<int64_t> integers(const char* member, const std::vector<int64_t>& shape) const {
    const Tensor t = npz_.read(member);
    if (is_float(t.dtype())) fault(member, "expected whole numbers, got ", name_of(t.dtype()));
    check_shape(member, t, shape);
    return t.to_vector<int64_t>();
  }
  std::vector<double> numbers(const char* member, const std::vector<int64_t>& shape) const {
    const Tensor t = npz_.read(member);
    check_shape(member, t, shape);
    return t.to_vector<double>();
  }

  // Offsets of `graphs` rising segments of `rows` rows; graphs -1: as many as there are.
  std::vector<int64_t> offsets(const char* member, int64_t graphs, int64_t rows,
                               bool empty_allowed) const {
    std::vector<int64_t> out = integers(member, {graphs < 0 ? -1 : graphs + 1});
    if (out.empty() || out.front() != 0) fault(member, "expected to begin with 0");
    for (size_t g = 1; g < out.size(); ++g) {
      if (out[g] < out[g - 1] || (out[g] == out[g - 1] && !empty_allowed)) {
        fault(member, "element ", g, " is ", out[g], " after ", out[g - 1],
              empty_allowed ? "" : "; every graph needs a node");
      }
    }
    if (out.back() != rows) fault(member, "ends at ", out.back(), ", expected ", rows);
    return out;
  }

  // Appends categories, row by row, to 16-bit ones.
  void append_categories(const char* member, const std::vector<int64_t>& values,
                         const std::vector<int64_t>& kinds, std::vector<uint16_t>& out) const {
    for (size_t i = 0; i < values.size(); ++i) {
      const int64_t most = kinds[i % kinds.size()] - 1;
      if (values[i] < 0 || values[i] > most) {
        fault(member, "row ", i / kinds.size(), ", column ", i % kinds.size(), " is ", values[i],
              ", expected 0 to ", most);
      }
      out.push_back(static_cast<uint16_t>(values[i]));
    }
  }

  void check_end(const char* member, int64_t end, int64_t edge, int64_t nodes) const {
    if (end < 0 || end >= nodes) {
      fault(member, "edge ", edge, " ends at node ", end, " of a graph of ", nodes, " nodes");
    }
  }

  std::string place(const char* member, int64_t edge) const {
    return str(file_, ": member '", member, "': edge ", edge);
  }

 private:
  void check_shape(const char* member, const Tensor& t, const std::vector<int64_t>& shape) const {
    bool fits = t.rank() == static_cast<int>(shape.size());
    for (int a = 0; fits && a < t.rank(); ++a) {
      fits = shape[static_cast<size_t>(a)] < 0 || t.size(a) == shape[static_cast<size_t>(a)];
    }
    std::string expected;
    for (const int64_t n : shape)
      expected += (expected.empty() ? "" : ", ") + (n < 0 ? "n" : str(n));
    if (!fits) fault(member, "expected [", expected, "], got ", t.shape());
  }

  std::string file_;
  NpzFile npz_;
};

void append_edge(GraphSet& set, int64_t sender, int64_t receiver) {
  set.sender.push_back(static_cast<int32_t>(sender));
  set.receiver.push_back(static_cast<int32_t>(receiver));
}

// One split of ZINC behind the graphs that the set has.
void append_zinc(GraphSet& set, const fs::path& file, size_t split) {
  const Arrays in(file);
  const std::vector<int64_t> atoms = in.integers("x", {-1}), bonds = in.integers("edge_attr", {-1});
  const auto edges = static_cast<int64_t>(bonds.size());
  const std::vector<int64_t> ends = in.integers("edge_index", {2, edges});
  const std::vector<int64_t> node_ptr =
      in.offsets("node_ptr", -1, static_cast<int64_t>(atoms.size()), false);
  const auto graphs = static_cast<int64_t>(node_ptr.size()) - 1;
  const std::vector<int64_t> edge_ptr = in.offsets("edge_ptr", graphs, edges, true);
  const std::vector<double> y = in.numbers("y", {graphs});
  in.append_categories("x", atoms, kZincAtoms, set.node_features);
  in.append_categories("edge_attr", bonds, kZincBonds, set.edge_features);
  const int64_t node_base = set.node_start.back(), edge_base = set.edge_start.back();
  for (int64_t g = 0; g < graphs; ++g) {
    const auto i = static_cast<size_t>(g);
    if (!std::isfinite(y[i])) in.fault("y", "element ", g, " is ", number_text(y[i]));
    for (int64_t e = edge_ptr[i]; e < edge_ptr[i + 1]; ++e) {
      const int64_t from = ends[static_cast<size_t>(e)], to = ends[static_cast<size_t>(edges + e)];
      for (const int64_t end : {from, to}) {
        in.check_end("edge_index", end, e, node_ptr[i + 1] - node_ptr[i]);
      }
      append_edge(set, from, to);
    }
    set.splits[split].push_back(set.graphs());
    set.node_start.push_back(node_base + node_ptr[i + 1]);
    set.edge_start.push_back(edge_base + edge_ptr[i + 1]);
    set.targets.push_back(y[i]);
  }
}

}  // namespace

std::optional<GraphSet> read_zinc(const fs::path& dir) {
  const auto is_file = [&](const char* name) { return fs::is_regular_file(dir / name); };
  const bool official = is_file("zinc_train.npz");
  if (!official && !is_file("zinc_train_substitute.npz")) {
    if (!is_file("zinc_val.npz") && !is_file("zinc_test.npz")) return {};
    fail(ErrorKind::data, dir.string(),
         ": expected zinc_train.npz (or zinc_train_substitute.npz) beside the other splits");
  }
  const std::string train = official ? "zinc_train.npz" : "zinc_train_substitute.npz";
  GraphSet set;
  set.target_names = {"penalised_logp"};
  set.node_kinds = kZincAtoms;
  set.edge_kinds = kZincBonds;
  std::vector<std::pair<std::string, int64_t>> files;  // with the number of their first edge
  size_t split = 0;
  for (const std::string& name :
       {train, std::string("zinc_val.npz"), std::string("zinc_test.npz")}) {
    files.emplace_back((dir / name).string(), set.edge_start.back());
    append_zinc(set, dir / name, split++);
  }
  seal(set, [&files](int64_t edge) {
    size_t f = files.size() - 1;
    while (edge < files[f].second) --f;
    return str(files[f].first, ": member 'edge_index': edge ", edge - files[f].second);
  });
  set.description = str("ZINC-12k, ", counts(set),
                        official ? ""
                                 : "; the training split is a substitute, not the official "
                                   "10,000 molecules: not comparable with published errors");
  return set;
}

GraphSet peptide_set() {
  GraphSet set;
  set.target_names.assign(std::begin(kPeptideLabels), std::end(kPeptideLabels));
  set.labels = true;
  set.node_kinds = kPeptideAtoms;
  set.edge_kinds = kPeptideBonds;
  return set;
}

std::optional<GraphSet> read_peptides(const fs::path& dir) {
  const fs::path file = dir / "peptides_func_graphs.npz";
  if (!fs::is_regular_file(file)) return {};
  const Arrays in(file);
  GraphSet set = peptide_set();
  const std::vector<int64_t> atoms = in.integers("node_feat", {-1, 9});
  set.node_start = in.offsets("node_ptr", -1, static_cast<int64_t>(atoms.size()) / 9, false);
  in.append_categories("node_feat", atoms, kPeptideAtoms, set.node_features);
  const int64_t graphs = set.graphs();
  const std::vector<int64_t> bonds = in.integers("bond_feat", {-1, 3});
  const auto count = static_cast<int64_t>(bonds.size()) / 3;
  const std::vector<int64_t> ends = in.integers("bond_index", {count, 2});
  const std::vector<int64_t> bond_ptr = in.offsets("bond_ptr", graphs, count, true);
  const std::vector<int64_t> labels = in.integers("labels", {graphs, 10});
  const std::vector<int64_t> splits = in.integers("split", {graphs});
  std::vector<uint16_t> features;
  in.append_categories("bond_feat", bonds, kPeptideBonds, features);
  for (int64_t g = 0; g < graphs; ++g) {
    const auto i = static_cast<size_t>(g);
    for (int64_t b = bond_ptr[i]; b < bond_ptr[i + 1]; ++b) {
      const int64_t a = ends[static_cast<size_t>(2 * b)], c = ends[static_cast<size_t>(2 * b + 1)];
      for (const int64_t end : {a, c}) in.check_end("bond_index", end, b, set.nodes_of(g));
      append_edge(set, a, c);
      append_edge(set, c, a);
      for (int both = 0; both < 2; ++both) {
        set.edge_features.insert(set.edge_features.end(), features.begin() + 3 * b,
                                 features.begin() + 3 * b + 3);
      }
    }
    set.edge_start.push_back(static_cast<int64_t>(set.sender.size()));
    if (splits[i] < 0 || splits[i] > 2) {
      in.fault("split", "element ", g, " is ", splits[i], ", expected 0, 1 or 2");
    }
    set.splits[static_cast<size_t>(splits[i])].push_back(g);
  }
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] != 0 && labels[i] != 1) {
      in.fault("labels", "row ", i / 10, ", column ", i % 10, " is ", labels[i],
               ", expected 0 or 1");
    }
    set.targets.push_back(static_cast<double>(labels[i]));
  }
  seal(set, [&in](int64_t edge) { return in.place("bond_index", edge / 2); });
  set.description = "Peptides-func, " + counts(set);
  return set;
}

}  // namespace basin::graphs
