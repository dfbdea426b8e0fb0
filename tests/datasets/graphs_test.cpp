// Graphs: every layout, what is refused and where it says so, splits from a file, walks, the
// embedded graphs, and the real data.
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "basin/tests/datasets/graph_files.h"

using namespace basin;
using namespace basin::test;

namespace {

// "1>0:2" per directed edge of a graph: sender, receiver, first feature.
std::string edges_of(const GraphSet& set, size_t graph) {
  std::string out;
  for (auto e = static_cast<size_t>(set.edge_start[graph]);
       e < static_cast<size_t>(set.edge_start[graph + 1]); ++e) {
    out += str(out.empty() ? "" : " ", set.sender[e], ">", set.receiver[e], ":",
               set.edge_features[e * set.edge_kinds.size()]);
  }
  return out;
}

using Rows = std::vector<int64_t>;

// The sentence with which a folder is refused.
std::string error_of_load(const std::string& data, const fs::path& split = {}) {
  try {
    load_graphs(data, {.split = split});
  } catch (const Error& e) {
    return e.what();
  }
  return "nothing was thrown";
}

void write_gzip(const fs::path& path, const std::string& text) {
  gzFile file = gzopen(path.c_str(), "wb");
  REQUIRE(gzwrite(file, text.data(), static_cast<unsigned>(text.size())) ==
          static_cast<int>(text.size()));
  gzclose(file);
}

}  // namespace

TEST_CASE("graphs: edge lists are read, edges in both directions and sorted") {
  const TempDir dir;
  write_lists(dir.path());
  const GraphSet set = load_graphs(dir.path().string());
  CHECK(set.graphs() == 3);
  CHECK(set.target_names == std::vector<std::string>{"a", "b"});
  CHECK_FALSE(set.labels);
  CHECK(set.node_kinds == Rows{3, 5});
  CHECK(set.edge_kinds == Rows{3});
  CHECK(set.node_start == Rows{0, 4, 5, 7});
  CHECK(set.edge_start == Rows{0, 8, 8, 10});
  CHECK(edges_of(set, 0) == "1>0:0 2>0:1 0>1:0 2>1:2 3>1:1 0>2:1 1>2:2 1>3:1");
  CHECK(edges_of(set, 1).empty());
  CHECK(set.splits == std::array<Rows, 3>{Rows{0}, Rows{1}, Rows{2}});
  CHECK(std::isnan(set.targets[1]));
  CHECK(std::isnan(set.targets[4]));
  CHECK(set.targets[5] == 3);
  CHECK(set.description == "edge lists, 3 graphs, 7 nodes, 10 directed edges");
  CHECK(set.content_hash.size() == 64);

  // Labels, no features of edges, line ends of another system, a byte-order mark.
  write_text(dir / "graphs.csv", "\xef\xbb\xbfsplit,y\r\ntrain,1\r\ntrain,0\r\ntest,\r\n");
  write_text(dir / "edges.csv", "graph,source,target\n0,0,1\n");
  const GraphSet labels = load_graphs(dir.path().string());
  CHECK(labels.labels);
  CHECK(labels.target_names == std::vector<std::string>{"y"});
  CHECK(labels.edge_kinds == Rows{1});
  CHECK(labels.edge_start == Rows{0, 2, 2, 2});
  CHECK(labels.content_hash != set.content_hash);

  // For predictions the targets may be absent.
  fs::remove(dir / "graphs.csv");
  CHECK(load_graphs(dir.path().string(), {.targets = false}).graphs() == 3);
  check_error(ErrorKind::data, {dir.path().string(), "graphs.csv"},
              [&] { load_graphs(dir.path().string()); });
}

TEST_CASE("graphs: a fault in an edge list is named with file and line") {
  struct Fault {
    std::string file, text, words;
  };
  const std::string long_header = std::string(1100, ',');
  const std::vector<Fault> faults{
      {"graphs.csv", "", "graphs.csv: line 1: expected a header, the file is empty"},
      {"graphs.csv", "part,y\n", "graphs.csv: line 1: expected a header that begins with split"},
      {"graphs.csv", "split\ntrain\n", "graphs.csv: line 1: expected at least one target"},
      {"graphs.csv", "split,y\n", "graphs.csv: line 1: expected a line per graph"},
      {"graphs.csv", "split,y\ntrain,1\ndev,2\n",
       "graphs.csv: line 3: expected train, val or test, got 'dev'"},
      {"graphs.csv", "split,y\ntrain,1e999\n",
       "graphs.csv: line 2: expected y as a number, got '1e999'"},
      {"graphs.csv", "split,y\ntrain,1,2\n",
       "graphs.csv: line 2: expected 2 fields as in the header, got 3"},
      {"graphs.csv", "split,y\nval,1\nval,1\nval,1\n", "no graph is in the training split"},
      {"graphs.csv", "split,y\ntrain,1\n",
       "nodes.csv: line 6: expected graph as a whole number from 0 to 0, got '1'"},
      {"graphs.csv", long_header, "graphs.csv: line 1: expected at most 1024 fields"},
      {"nodes.csv", "graph\n0\n", "nodes.csv: line 1: expected at least one feature"},
      {"nodes.csv", "graph,k\n0,1\n2,0\n",
       "nodes.csv: line 3: expected a node of graph 0 or 1, got one of graph 2"},
      {"nodes.csv", "graph,k\n1,0\n",
       "nodes.csv: line 2: expected a node of graph 0, got one of graph 1"},
      {"nodes.csv", "graph,k\n0,65536\n",
       "nodes.csv: line 2: expected k as a whole number from 0 to 65535, got '65536'"},
      {"nodes.csv", "graph,k\n0,-1\n", "nodes.csv: line 2: expected k as a whole number"},
      {"nodes.csv", "graph,k\n0,1\n1,0\n",
       "nodes.csv: line 3: the file ends, expected nodes of 3 graphs"},
      {"edges.csv", "graph,source\n",
       "edges.csv: line 1: expected a header that begins with graph,source,target"},
      {"edges.csv", "graph,source,target\n0,0,4\n",
       "edges.csv: line 2: expected target as a whole number from 0 to 3, got '4'"},
      {"edges.csv", "graph,source,target\n2,0,1\n0,0,1\n",
       "edges.csv: line 3: expected graph as a whole number from 2 to 2"},
      {"edges.csv", "graph,source,target\n0,1,1\n",
       "edges.csv: line 2: graph 0: an edge joins node 1 to itself"},
      {"edges.csv", "graph,source,target\n0,0,1\n0,1,2\n0,1,0\n",
       "edges.csv: line 4: graph 0: the edge from"},
      {"edges.csv", "graph,source,target,b\n0,0,1,x\x1b\n",
       "edges.csv: line 2: expected b as a whole number from 0 to 65535, got 'x?'"}};
  for (const Fault& fault : faults) {
    const TempDir dir;
    write_lists(dir.path());
    write_text(dir / fault.file, fault.text);
    check_error(ErrorKind::data, {dir.path().string(), fault.words},
                [&] { load_graphs(dir.path().string()); });
  }
}

TEST_CASE("graphs: ZINC's arrays, a substitute is said, faults name file and member") {
  const TempDir dir;
  write_zinc(dir / "official");
  const GraphSet set = load_graphs((dir / "official").string());
  CHECK(set.graphs() == 6);
  CHECK(set.node_kinds == Rows{28});
  CHECK(set.edge_kinds == Rows{4});
  CHECK(edges_of(set, 2) == "1>0:1 0>1:1 2>1:2 1>2:2");
  CHECK(edges_of(set, 5).empty());
  CHECK(set.splits == std::array<Rows, 3>{Rows{0, 1}, Rows{2, 3}, Rows{4, 5}});
  CHECK(set.targets == std::vector<double>{1.5, -0.25, 1.5, -0.25, 1.5, -0.25});
  CHECK(set.description.find("substitute") == std::string::npos);
  write_zinc(dir / "substitute", "zinc_train_substitute.npz");
  CHECK(load_graphs((dir / "substitute").string()).description.find("is a substitute") !=
        std::string::npos);

  const auto refused = [&](const char* name, const Tensor& value, const char* words) {
    Arrays bad = zinc_arrays();
    replace_array(bad, name, value);
    write_npz(dir / "official/zinc_val.npz", bad);
    check_error(ErrorKind::data, {"zinc_val.npz", str("member '", name, "'"), words},
                [&] { load_graphs((dir / "official").string()); });
  };
  const auto i64 = [](const std::vector<int64_t>& v, const Shape& s) { return Tensor::from(v, s); };
  refused("x", i64({0, 2, 28, 5}, {4}), "row 2, column 0 is 28, expected 0 to 27");
  refused("x", Tensor::zeros({4}, DType::f32), "expected whole numbers, got f32");
  refused("x", i64({0, 2, 27, 5}, {2, 2}), "expected [n], got [2, 2]");
  refused("edge_attr", i64({1, 1, -1, 2}, {4}), "row 2, column 0 is -1");
  refused("edge_index", i64({0, 1, 1, 3, 1, 0, 3, 1}, {2, 4}),
          "edge 2 ends at node 3 of a graph of 3 nodes");
  refused("edge_index", i64({0, 1, 1, 2, 1, 0, 2, 2}, {2, 4}), "graph 2: an edge joins node 2");
  refused("edge_index", i64({0, 1, 1, 0, 1, 0, 2, 2}, {2, 4}), "has no reverse");
  refused("edge_index", i64({0, 1, 1, 2}, {2, 2}), "expected [2, 4], got [2, 2]");
  refused("node_ptr", i64({0, 3, 3}, {3}), "every graph needs a node");
  refused("node_ptr", i64({0, 2, 3}, {3}), "ends at 3, expected 4");
  refused("node_ptr", i64({1, 3, 4}, {3}), "expected to begin with 0");
  refused("node_ptr", Tensor::zeros({0}, DType::i64), "expected to begin with 0");
  refused("edge_ptr", i64({0, 5, 4}, {3}), "element 2 is 4 after 5");
  refused("y", Tensor::from(std::vector<float>{1, INFINITY}, {2}), "element 1 is inf");
  Arrays uneven = zinc_arrays();
  replace_array(uneven, "edge_attr", i64({1, 2, 2, 2}, {4}));
  write_npz(dir / "official/zinc_val.npz", uneven);
  check_error(ErrorKind::data,
              {"zinc_val.npz: member 'edge_index': edge 1: graph 2: the edge from 1 to 0 has no "
               "reverse of the same features"},
              [&] { load_graphs((dir / "official").string()); });
  fs::remove(dir / "official/zinc_train.npz");
  check_error(ErrorKind::data, {"expected zinc_train.npz"},
              [&] { load_graphs((dir / "official").string()); });
}

TEST_CASE("graphs: Peptides-func's arrays and what is wrong with them") {
  const TempDir dir;
  const fs::path file = dir / "peptides_func_graphs.npz";
  write_npz(file, peptide_arrays());
  const GraphSet set = load_graphs(dir.path().string());
  CHECK(set.graphs() == 2);
  CHECK(set.labels);
  CHECK(set.target_names.size() == 10);
  CHECK(std::accumulate(set.node_kinds.begin(), set.node_kinds.end(), int64_t{0}) == 174);
  CHECK(std::accumulate(set.edge_kinds.begin(), set.edge_kinds.end(), int64_t{0}) == 13);
  CHECK(edges_of(set, 0) == "1>0:0 0>1:0 2>1:3 1>2:3");
  CHECK(edges_of(set, 1) == "1>0:1 0>1:1");
  CHECK(set.splits == std::array<Rows, 3>{Rows{0}, Rows{}, Rows{1}});
  const auto refused = [&](const char* name, const Tensor& value, const char* words) {
    Arrays bad = peptide_arrays();
    replace_array(bad, name, value);
    write_npz(file, bad);
    check_error(ErrorKind::data, {file.string(), str("member '", name, "'"), words},
                [&] { load_graphs(dir.path().string()); });
  };
  const auto i64 = [](const std::vector<int64_t>& v, const Shape& s) { return Tensor::from(v, s); };
  refused("node_feat", Tensor::full({5, 9}, DType::i64, 2),
          "row 0, column 7 is 2, expected 0 to 1");
  refused("node_feat", Tensor::zeros({5, 8}, DType::i64), "expected [n, 9], got [5, 8]");
  refused("bond_index", i64({0, 1, 2, 1, 0, 2}, {3, 2}), "edge 2 ends at node 2");
  refused("bond_index", i64({0, 1, 0, 1, 0, 1}, {3, 2}), "edge 1: graph 0: the edge from");
  refused("split", i64({0, 3}, {2}), "element 1 is 3, expected 0, 1 or 2");
  refused("labels", Tensor::full({2, 10}, DType::i64, 2), "row 0, column 0 is 2");
}

TEST_CASE("graphs: a split from a file") {
  const TempDir dir;
  write_lists(dir / "lists");
  const std::string data = (dir / "lists").string();
  const auto with = [&](const std::string& name) {
    return load_graphs(data, {.split = dir / name});
  };
  write_text(dir / "split.txt", "test\r\ntrain\nval\n");
  const GraphSet words = with("split.txt");
  CHECK(words.splits == std::array<Rows, 3>{Rows{1}, Rows{2}, Rows{0}});
  CHECK(words.description.find("split from split.txt") != std::string::npos);
  CHECK(words.content_hash != load_graphs(data).content_hash);
  const auto i64 = [](const Rows& v) { return Tensor::from(v, {static_cast<int64_t>(v.size())}); };
  write_npz(dir / "split.npz", {{"train", i64({2, 0})}, {"val", i64({})}, {"test", i64({1})}});
  CHECK(with("split.npz").splits == std::array<Rows, 3>{Rows{0, 2}, Rows{}, Rows{1}});

  const auto refused = [&](const char* name, const char* words_of_it) {
    check_error(ErrorKind::data, {name, words_of_it}, [&] { with(name); });
  };
  write_text(dir / "split.txt", "test\ntrain\n");
  refused("split.txt", "line 2: the file ends, expected a line for each of 3 graphs");
  write_text(dir / "split.txt", "test\ntrain\nval\ntest\n");
  refused("split.txt", "line 4: expected the end after 3 graphs, got 'test'");
  write_text(dir / "split.txt", "test\nno\n");
  refused("split.txt", "line 2: expected train, val or test, got 'no'");
  write_npz(dir / "split.npz", {{"train", i64({0})}, {"val", i64({3})}, {"test", i64({})}});
  refused("split.npz", "member 'val': element 0 is 3, expected 0 to 2");
  write_npz(dir / "split.npz", {{"train", i64({0})}, {"val", i64({0})}, {"test", i64({})}});
  refused("split.npz", "member 'val': element 0 names graph 0 again");
  check_error(ErrorKind::usage, {"the embedded graphs have a split of their own"},
              [&] { load_graphs("embedded", {.split = dir / "split.npz"}); });
}

TEST_CASE("graphs: folders of something else are refused with what was looked for") {
  const TempDir dir;
  const std::string data = dir.path().string();
  check_error(ErrorKind::data,
              {data, "expected peptides_func_graphs.npz, zinc_val.npz or graphs.csv"},
              [&] { load_graphs(data); });
  check_error(ErrorKind::data, {"expected a folder of graphs"},
              [&] { load_graphs(data + "/none"); });
  write_text(dir / "zinc_val.csv", "");
  check_error(ErrorKind::data, {"holds SMILES", "zinc_val.npz"}, [&] { load_graphs(data); });
}

// What a build without RDKit says, and what one with it wants and makes.
TEST_CASE("graphs: Peptides-func as published") {
  const TempDir dir;
  const std::string data = dir.path().string();
  const char* const name = "peptide_multi_class_dataset.csv.gz";
  write_text(dir / name, "no gzip");
  write_text(dir / "split.txt", "train\ntest\n");
  const fs::path split = dir / "split.txt";
  if (error_of_load(data, split).find("of which this build makes no graphs") != std::string::npos)
    return;
  CHECK(error_of_load(data).find("has no split; add --split FILE") != std::string::npos);
  CHECK(error_of_load(data, split).find("peptide_multi_class_dataset.csv.gz: offset ") !=
        std::string::npos);
  const std::string header = ",smiles,peptide_seq,labels,identifier\n",
                    labels = "\"[0, 1, 0, 0, 0, 0, 0, 0, 0, 1]\"";
  write_gzip(dir / name,
             header + "0,Cl[C@H](/C=C/C)Br,x," + labels + ",4\n1,C,y," + labels + ",5\n");
  const GraphSet set = load_graphs(data, {.split = split});
  REQUIRE(set.graphs() == 2);
  CHECK(set.node_start == Rows{0, 6, 7});
  CHECK(std::vector<uint16_t>(set.node_features.begin() + 9, set.node_features.begin() + 18) ==
        std::vector<uint16_t>{5, 2, 4, 5, 1, 0, 2, 0, 0});
  // The double bond, between nodes 2 and 3.
  for (size_t e = 0; e < set.sender.size(); ++e) {
    if (set.sender[e] != 2 || set.receiver[e] != 3) continue;
    CHECK(std::vector<uint16_t>(set.edge_features.begin() + static_cast<ptrdiff_t>(3 * e),
                                set.edge_features.begin() + static_cast<ptrdiff_t>(3 * e + 3)) ==
          std::vector<uint16_t>{1, 2, 0});
  }
  CHECK(set.targets[1] == 1);
  CHECK(set.targets[2] == 0);
  CHECK(set.targets[9] == 1);
  for (const auto& [row, words] : std::vector<std::pair<std::string, std::string>>{
           {"0,C(,x," + labels + ",4\n", ": line 2: RDKit makes no molecule of 'C('"},
           {"0,,x," + labels + ",4\n", ": line 2: RDKit makes no molecule of ''"},
           {"0,C,x,\"[0, 1]\",4\n", ": line 2: expected [10 labels of 0 or 1], got '[0, 1]'"},
           {"0,C,x," + labels + "\n", ": line 2: expected 5 cells"}}) {
    write_gzip(dir / name, header + row);
    CHECK_MESSAGE(error_of_load(data, split).find(words) != std::string::npos,
                  error_of_load(data, split));
  }
  write_gzip(dir / name, "a,b\n");
  CHECK(error_of_load(data, split).find(": line 1: expected the header") != std::string::npos);
  write_gzip(dir / name, header);
  CHECK(error_of_load(data, split).find(": line 2: expected molecules") != std::string::npos);
}

TEST_CASE("graphs: return probabilities are the diagonals of the powers of P") {
  const GraphSet set = embedded_graphs(false, 5, 1, 1);
  constexpr int64_t kSteps = 7;
  const std::vector<float> walks = random_walks(set, kSteps);
  REQUIRE(walks.size() == static_cast<size_t>(set.node_start.back() * kSteps));
  double largest = 0;
  for (int64_t g = 0; g < set.graphs(); ++g) {
    const auto n = static_cast<size_t>(set.nodes_of(g));
    std::vector<double> p(n * n), power(n * n);
    for (auto e = static_cast<size_t>(set.edge_start[static_cast<size_t>(g)]);
         e < static_cast<size_t>(set.edge_start[static_cast<size_t>(g) + 1]); ++e) {
      p[static_cast<size_t>(set.sender[e]) * n + static_cast<size_t>(set.receiver[e])] = 1;
    }
    for (size_t i = 0; i < n; ++i) {
      const double degree = std::accumulate(&p[i * n], &p[i * n] + n, 0.0);
      for (size_t j = 0; j < n; ++j) p[i * n + j] /= degree;
      power[i * n + i] = 1;
    }
    for (int64_t t = 0; t < kSteps; ++t) {
      std::vector<double> next(n * n);
      for (size_t i = 0; i < n; ++i) {
        for (size_t k = 0; k < n; ++k) {
          for (size_t j = 0; j < n; ++j) next[i * n + j] += power[i * n + k] * p[k * n + j];
        }
      }
      power = next;
      for (size_t i = 0; i < n; ++i) {
        const auto node = static_cast<size_t>(set.node_start[static_cast<size_t>(g)]) + i;
        largest = std::max(
            largest, std::abs(power[i * n + i] - walks[node * kSteps + static_cast<size_t>(t)]));
      }
    }
  }
  CHECK(largest < 1e-7);
  // More nodes than are followed together, one without an edge: a path of 150 and a single node.
  GraphSet path;
  path.node_start = {0, 150, 151};
  path.edge_start = {0, 298, 298};
  for (int32_t i = 0; i < 150; ++i) {
    for (const int32_t j : {i - 1, i + 1}) {
      if (j < 0 || j > 149) continue;
      path.receiver.push_back(i);
      path.sender.push_back(j);
    }
  }
  const std::vector<float> along = random_walks(path, 2);
  CHECK(along[0] == 0);
  CHECK(along[1] == 0.5f);  // the end goes to its neighbour, which comes back half the time
  CHECK(along[2 * 1 + 1] == 0.75f);
  CHECK(along[2 * 75 + 1] == 0.5f);
  CHECK(along[2 * 149 + 1] == 0.5f);
  CHECK(along[2 * 150] == 0);
  CHECK(along[2 * 150 + 1] == 0);
}

TEST_CASE("graphs: walks equal PyTorch Geometric's") {
  const NpzFile numbers(fixtures() / "parity" / "gine_tuned.npz");
  const std::vector<int64_t> nodes = numbers.read("nodes").to_vector<int64_t>(),
                             owner = numbers.read("graph").to_vector<int64_t>(),
                             sender = numbers.read("sender").to_vector<int64_t>(),
                             receiver = numbers.read("receiver").to_vector<int64_t>();
  GraphSet set;
  for (size_t g = 0; g < nodes.size(); ++g) {
    for (size_t e = 0; e < sender.size(); ++e) {
      if (owner[static_cast<size_t>(sender[e])] != static_cast<int64_t>(g)) continue;
      set.sender.push_back(static_cast<int32_t>(sender[e] - set.node_start.back()));
      set.receiver.push_back(static_cast<int32_t>(receiver[e] - set.node_start.back()));
    }
    set.node_start.push_back(set.node_start.back() + nodes[g]);
    set.edge_start.push_back(static_cast<int64_t>(set.sender.size()));
  }
  const Tensor wanted = numbers.read("walks");
  const std::vector<float> walks = random_walks(set, wanted.size(1));
  for (size_t i = 0; i < walks.size(); ++i) {
    CHECK(std::abs(walks[i] - wanted.at(static_cast<int64_t>(i))) < 1e-6);
  }
}

TEST_CASE(
    "graphs: the embedded graphs are connected, repeat, and their targets are the formula's") {
  const GraphSet set = embedded_graphs(false), labels = embedded_graphs(true);
  CHECK(set.graphs() == 1024);
  CHECK(set.splits[0].size() == 768);
  CHECK(set.content_hash == embedded_graphs(false).content_hash);
  CHECK(set.sender == labels.sender);
  const double charge[] = {-1, -0.5, 0.5, 1}, strength[] = {0.5, 1, 1.5};
  std::array<double, 3> positives{};
  for (size_t g = 0; g < 1024; ++g) {
    double energy = 0, sum = 0;
    bool pair = false;
    const auto kind = [&](int32_t node) {
      return set.node_features[static_cast<size_t>(set.node_start[g] + node)];
    };
    const int64_t nodes = set.nodes_of(static_cast<int64_t>(g));
    for (int32_t i = 0; i < nodes; ++i) sum += charge[kind(i)];
    std::vector<int32_t> reached(static_cast<size_t>(nodes));
    std::iota(reached.begin(), reached.end(), 0);
    for (auto e = static_cast<size_t>(set.edge_start[g]);
         e < static_cast<size_t>(set.edge_start[g + 1]); ++e) {
      const int32_t a = set.sender[e], b = set.receiver[e];
      energy += strength[set.edge_features[e]] * charge[kind(a)] * charge[kind(b)] / 2;
      pair = pair || (set.edge_features[e] == 2 && kind(a) == 3 && kind(b) == 3);
      const int32_t from =
                        std::max(reached[static_cast<size_t>(a)], reached[static_cast<size_t>(b)]),
                    to = std::min(reached[static_cast<size_t>(a)], reached[static_cast<size_t>(b)]);
      for (int32_t& r : reached) r = r == from ? to : r;
    }
    CHECK(std::count(reached.begin(), reached.end(), 0) == nodes);  // connected
    const double cycles = static_cast<double>(set.edge_start[g + 1] - set.edge_start[g]) / 2 -
                          static_cast<double>(nodes) + 1;
    CHECK(set.targets[g] == doctest::Approx(energy + cycles / 4).epsilon(1e-12));
    CHECK(labels.targets[3 * g] == (cycles > 0 ? 1 : 0));
    CHECK(labels.targets[3 * g + 1] == (sum > 0 ? 1 : 0));
    CHECK(labels.targets[3 * g + 2] == (pair ? 1 : 0));
    for (size_t t = 0; t < 3; ++t) positives[t] += labels.targets[3 * g + t] / 1024;
  }
  for (const double share : positives) CHECK(std::abs(share - 0.5) < 0.45);
}

TEST_CASE("graphs: real ZINC-12k") {
  const fs::path dir = real_data("zinc");
  if (dir.empty()) return;
  const GraphSet set = load_graphs(dir.string());
  CHECK(set.splits[0].size() == 10000);
  CHECK(set.splits[1].size() == 1000);
  CHECK(set.splits[2].size() == 1000);
  const auto counted = [&](const std::vector<int64_t>& starts, size_t from, size_t to) {
    return starts[to] - starts[from];
  };
  CHECK(counted(set.node_start, 10000, 11000) == 23083);
  CHECK(counted(set.edge_start, 10000, 11000) == 49692);
  CHECK(counted(set.node_start, 11000, 12000) == 23117);
  CHECK(counted(set.edge_start, 11000, 12000) == 49720);
  CHECK(set.targets[10000] == doctest::Approx(0.6299158));
  CHECK(set.targets[10001] == doctest::Approx(2.4657564));
  CHECK(set.description.find("substitute") != std::string::npos);
}

TEST_CASE("graphs: real Peptides-func") {
  const fs::path dir = real_data("peptides_func");
  if (dir.empty()) return;
  const GraphSet set = load_graphs(dir.string());
  CHECK(set.graphs() == 15535);
  CHECK(set.node_start.back() == 2344859);
  CHECK(set.edge_start.back() == 4773974);
  CHECK(set.splits[0].size() == 10873);
  CHECK(set.splits[1].size() == 2331);
  CHECK(set.splits[2].size() == 2331);
  std::vector<int64_t> positives(10);
  for (size_t i = 0; i < set.targets.size(); ++i) positives[i % 10] += set.targets[i] == 1;
  CHECK(positives == Rows{1378, 545, 995, 969, 9745, 3077, 1662, 2866, 299, 4044});
}
