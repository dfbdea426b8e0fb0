// Peptides-func from the published SMILES beside the ready graphs, all 15,535 of them.
#include <algorithm>

#include "basin/tests/datasets/graph_files.h"

using namespace basin;
using namespace basin::test;

TEST_CASE("graphs: real Peptides-func from SMILES equals the ready graphs") {
  const fs::path real = real_data("peptides_func");
  if (real.empty()) return;
  const TempDir dir;
  fs::create_symlink(fs::canonical(real / "peptide_multi_class_dataset.csv.gz"),
                     dir / "peptide_multi_class_dataset.csv.gz");
  const GraphSet ready = load_graphs(real.string());
  std::string words;
  for (int64_t g = 0; g < ready.graphs(); ++g) {
    const auto in = [&](size_t s) {
      return std::binary_search(ready.splits[s].begin(), ready.splits[s].end(), g);
    };
    words += in(0) ? "train\n" : in(1) ? "val\n" : "test\n";
  }
  write_text(dir / "split.txt", words);
  GraphSet made;
  try {
    made = load_graphs(dir.path().string(), {.split = dir / "split.txt"});
  } catch (const Error& e) {
    CHECK(std::string(e.what()).find("of which this build makes no graphs") != std::string::npos);
    std::printf("SKIPPED: this build is without RDKit\n");
    return;
  }
  CHECK(made.node_start == ready.node_start);
  CHECK(made.node_features == ready.node_features);
  CHECK(made.edge_start == ready.edge_start);
  CHECK(made.sender == ready.sender);
  CHECK(made.edge_features == ready.edge_features);
  CHECK(made.targets == ready.targets);
  CHECK(made.content_hash == ready.content_hash);
}
