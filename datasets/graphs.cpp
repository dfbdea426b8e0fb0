// Layouts of graph data, splits from a file, and what every set is held to.
#include "basin/datasets/graphs.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "basin/core/parallel.h"
#include "basin/core/printable.h"
#include "basin/datasets/detail/graphs.h"
#include "basin/datasets/npz.h"

namespace basin {
namespace graphs {
namespace {

template <class T>
std::string hash_of(const std::vector<T>& values) {
  return sha256_hex({reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(T)});
}

// One edge of a graph and where it was appended.
struct Place {
  int32_t receiver, sender;
  int64_t from;
};

bool operator<(const Place& a, const Place& b) {
  return std::tie(a.receiver, a.sender) < std::tie(b.receiver, b.sender);
}

bool same_features(const GraphSet& set, int64_t a, int64_t b) {
  const auto columns = static_cast<int64_t>(set.edge_kinds.size());
  const auto at = [&](int64_t e) { return set.edge_features.begin() + e * columns; };
  return std::equal(at(a), at(a + 1), at(b));
}

// The order of one graph's edges.
std::vector<Place> sorted_edges(const GraphSet& set, int64_t graph, const EdgePlace& place) {
  std::vector<Place> order;
  const auto g = static_cast<size_t>(graph);
  for (int64_t e = set.edge_start[g]; e < set.edge_start[g + 1]; ++e) {
    const Place p{set.receiver[static_cast<size_t>(e)], set.sender[static_cast<size_t>(e)], e};
    if (p.receiver == p.sender) {
      fail(ErrorKind::data, place(e), ": graph ", graph, ": an edge joins node ", p.sender,
           " to itself");
    }
    order.push_back(p);
  }
  std::sort(order.begin(), order.end());
  for (size_t i = 0; i < order.size(); ++i) {
    const Place& p = order[i];
    if (i > 0 && !(order[i - 1] < p)) {
      fail(ErrorKind::data, place(std::max(p.from, order[i - 1].from)), ": graph ", graph,
           ": the edge from ", p.sender, " to ", p.receiver, " is there twice");
    }
    const Place reverse{p.sender, p.receiver, 0};
    const auto found = std::lower_bound(order.begin(), order.end(), reverse);
    if (found == order.end() || reverse < *found || !same_features(set, p.from, found->from)) {
      fail(ErrorKind::data, place(p.from), ": graph ", graph, ": the edge from ", p.sender, " to ",
           p.receiver, " has no reverse of the same features");
    }
  }
  return order;
}

}  // namespace

void seal(GraphSet& set, const EdgePlace& place) {
  const size_t columns = set.edge_kinds.size();
  std::vector<uint16_t> features(set.edge_features.size());
  std::vector<int32_t> sender(set.sender.size()), receiver(set.sender.size());
  parallel_for(set.graphs(), 64, [&](int64_t g, int64_t last) {
    for (; g < last; ++g) {
      auto to = static_cast<size_t>(set.edge_start[static_cast<size_t>(g)]);
      for (const Place& p : sorted_edges(set, g, place)) {
        sender[to] = p.sender;
        receiver[to] = p.receiver;
        std::copy_n(set.edge_features.begin() + p.from * static_cast<int64_t>(columns), columns,
                    features.begin() + static_cast<std::ptrdiff_t>(to * columns));
        ++to;
      }
    }
  });
  set.edge_features = std::move(features);
  set.sender = std::move(sender);
  set.receiver = std::move(receiver);
  hash(set);
}

void hash(GraphSet& set) {
  std::string all = hash_of(set.node_start) + hash_of(set.edge_start) + hash_of(set.node_features) +
                    hash_of(set.edge_features) + hash_of(set.sender) + hash_of(set.receiver) +
                    hash_of(set.targets) + hash_of(set.node_kinds) + hash_of(set.edge_kinds);
  for (const std::vector<int64_t>& rows : set.splits) all += hash_of(rows);
  set.content_hash = sha256_hex({reinterpret_cast<const uint8_t*>(all.data()), all.size()});
}

int split_of(std::string_view word) {
  return word == "train" ? 0 : word == "val" || word == "validation" ? 1 : word == "test" ? 2 : -1;
}

std::string counts(const GraphSet& set) {
  return str(set.graphs(), " graphs, ", set.node_start.back(), " nodes, ", set.edge_start.back(),
             " directed edges");
}

}  // namespace graphs

namespace {

constexpr uint64_t kMostTextBytes = uint64_t{64} << 20;

using Splits = std::array<std::vector<int64_t>, 3>;

Splits read_split_arrays(const fs::path& file, int64_t graphs) {
  const NpzFile arrays(file);
  Splits out;
  std::vector<bool> seen(static_cast<size_t>(graphs));
  constexpr const char* kNames[] = {"train", "val", "test"};
  for (size_t s = 0; s < 3; ++s) {
    const Tensor rows = arrays.read(kNames[s]);
    const auto fault = [&](const auto&... parts) {
      fail(ErrorKind::data, file.string(), ": member '", kNames[s], "': ", parts...);
    };
    if (rows.rank() != 1 || is_float(rows.dtype())) {
      fault("expected numbers of graphs, got ", rows.shape(), " ", name_of(rows.dtype()));
    }
    out[s] = rows.to_vector<int64_t>();
    for (size_t i = 0; i < out[s].size(); ++i) {
      const int64_t g = out[s][i];
      if (g < 0 || g >= graphs) fault("element ", i, " is ", g, ", expected 0 to ", graphs - 1);
      if (seen[static_cast<size_t>(g)]) fault("element ", i, " names graph ", g, " again");
      seen[static_cast<size_t>(g)] = true;
    }
    std::sort(out[s].begin(), out[s].end());
  }
  return out;
}

Splits read_split_words(const fs::path& file, int64_t graphs) {
  const std::string text = read_text_file(file, kMostTextBytes);
  Splits out;
  int64_t line = 0;
  for (size_t begin = 0; begin < text.size(); ++line) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view word = std::string_view(text).substr(begin, end - begin);
    if (word.ends_with('\r')) word.remove_suffix(1);
    const int split = graphs::split_of(word);
    if (split < 0 || line >= graphs) {
      fail(ErrorKind::data, file.string(), ": line ", line + 1, ": expected ",
           line < graphs ? "train, val or test" : str("the end after ", graphs, " graphs"),
           ", got '", printable(word.substr(0, 40)), "'");
    }
    out[static_cast<size_t>(split)].push_back(line);
    begin = end + 1;
  }
  if (line != graphs) {
    fail(ErrorKind::data, file.string(), ": line ", line,
         ": the file ends, expected a line for "
         "each of ",
         graphs, " graphs");
  }
  return out;
}

// Files that hold SMILES where this build makes no graphs of them.
void refuse_smiles(const fs::path& dir) {
  const auto refuse = [&](const char* file, const char* arrays) {
    fail(ErrorKind::data, (dir / file).string(),
         ": holds SMILES, of which this build makes no "
         "graphs; put ",
         arrays, " beside it (datasets/graphs.h names the arrays)");
  };
  for (const char* file : {"zinc_val.csv", "zinc_test.csv"}) {
    if (fs::is_regular_file(dir / file))
      refuse(file, "zinc_train.npz, zinc_val.npz and zinc_test.npz");
  }
  if (fs::is_regular_file(dir / graphs::kPeptideTable)) {
    refuse(graphs::kPeptideTable,
           "peptides_func_graphs.npz, or build with RDKit (BASIN_WITH_RDKIT)");
  }
}

}  // namespace

GraphSet load_graphs(const std::string& data, const GraphRequest& request) {
  const fs::path& split = request.split;
  if (data == "embedded" || data == "embedded_labels") {
    check(split.empty(), "graphs: the embedded graphs have a split of their own");
    return embedded_graphs(data == "embedded_labels");
  }
  const fs::path dir = data;
  if (!fs::is_directory(dir)) {
    fail(ErrorKind::data, data, ": expected a folder of graphs, 'embedded' or 'embedded_labels'");
  }
  std::optional<GraphSet> found = graphs::read_peptides(dir);
  if (!found) found = graphs::read_zinc(dir);
  if (!found) found = graphs::read_lists(dir, request.targets);
#ifdef BASIN_HAS_RDKIT
  if (!found && fs::is_regular_file(dir / graphs::kPeptideTable)) {
    check(!request.targets || !split.empty(), data,
          ": the table of peptides has no split; add --split FILE, made of the official one as "
          "datasets/graphs.h says");
    found = graphs::read_smiles(dir);
  }
#endif
  if (!found) {
    refuse_smiles(dir);
    fail(ErrorKind::data, data, ": expected peptides_func_graphs.npz, zinc_val.npz or graphs.csv");
  }
  if (!split.empty()) {
    found->splits = split.extension() == ".npz" ? read_split_arrays(split, found->graphs())
                                                : read_split_words(split, found->graphs());
    found->description += "; split from " + split.filename().string();
    graphs::hash(*found);
  }
  if (request.targets && found->splits[0].empty()) {
    fail(ErrorKind::data, data, ": no graph is in the training split");
  }
  found->source = data;
  return std::move(*found);
}

}  // namespace basin
