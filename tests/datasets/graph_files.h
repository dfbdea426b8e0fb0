// Small good graph data in every layout, for tests of the readers.
#pragma once
#include <fstream>

#include "basin/datasets/graphs.h"
#include "basin/datasets/npz.h"
#include "basin/tests/core/files.h"

namespace basin::test {

inline void write_text(const fs::path& path, std::string_view text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

// Three graphs: a triangle with a tail, one node, two joined nodes.
inline constexpr const char* kGraphsCsv = "split,a,b\ntrain,0.5,\nval,-1,2\ntest,nan,3\n";
inline constexpr const char* kNodesCsv =
    "graph,kind,mark\n0,0,1\n0,2,0\n0,1,0\n0,2,4\n1,0,0\n2,1,1\n2,0,0\n";
inline constexpr const char* kEdgesCsv =
    "graph,source,target,bond\n0,2,0,1\n0,0,1,0\n0,1,2,2\n0,3,1,1\n2,0,1,0\n";

inline void write_lists(const fs::path& dir) {
  write_text(dir / "graphs.csv", kGraphsCsv);
  write_text(dir / "nodes.csv", kNodesCsv);
  write_text(dir / "edges.csv", kEdgesCsv);
}

using Arrays = std::vector<std::pair<std::string, Tensor>>;

// Two molecules: a chain of three atoms and a single atom.
inline Arrays zinc_arrays() {
  const auto i64 = [](const std::vector<int64_t>& v) {
    return Tensor::from(v, {static_cast<int64_t>(v.size())});
  };
  return {
      {"x", i64({0, 2, 27, 5})},        {"edge_index", i64({0, 1, 1, 2, 1, 0, 2, 1}).view({2, 4})},
      {"edge_attr", i64({1, 1, 2, 2})}, {"y", Tensor::from(std::vector<float>{1.5f, -0.25f}, {2})},
      {"node_ptr", i64({0, 3, 4})},     {"edge_ptr", i64({0, 4, 4})}};
}

// Two peptides of three and two atoms, one of the training and one of the test split.
inline Arrays peptide_arrays() {
  const auto i64 = [](const std::vector<int64_t>& v, const Shape& shape) {
    return Tensor::from(v, shape);
  };
  std::vector<int64_t> atoms, labels;
  for (int64_t i = 0; i < 5 * 9; ++i) atoms.push_back(i % 2);
  for (int64_t i = 0; i < 2 * 10; ++i) labels.push_back(i % 3 == 0);
  return {{"node_feat", i64(atoms, {5, 9})},
          {"node_ptr", i64({0, 3, 5}, {3})},
          {"bond_index", i64({0, 1, 2, 1, 0, 1}, {3, 2})},
          {"bond_feat", i64({0, 0, 1, 3, 5, 0, 1, 0, 0}, {3, 3})},
          {"bond_ptr", i64({0, 2, 3}, {3})},
          {"labels", i64(labels, {2, 10})},
          {"split", i64({0, 2}, {2})}};
}

inline void replace_array(Arrays& arrays, const std::string& name, Tensor value) {
  for (auto& [key, tensor] : arrays) {
    if (key == name) tensor = std::move(value);
  }
}

inline void write_zinc(const fs::path& dir, const char* train = "zinc_train.npz") {
  fs::create_directories(dir);
  for (const char* name : {train, "zinc_val.npz", "zinc_test.npz"}) {
    write_npz(dir / name, zinc_arrays());
  }
}

}  // namespace basin::test
