// Fuzz target: edge lists of graphs and the arrays of ZINC and Peptides-func. The first byte says
// which file the rest of the input is.
#include "basin/datasets/graphs.h"
#include "basin/tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace basin;
  if (size == 0) return 0;
  static const fuzz::Folder lists("graph_lists"), zinc("zinc"), peptides("peptides");
  const std::string_view given = fuzz::text_of(data + 1, size - 1);
  const int file = data[0] % 5;
  if (file == 3) {
    for (const char* name : {"zinc_train.npz", "zinc_val.npz", "zinc_test.npz"}) {
      fuzz::write_file(zinc.path() / name, given);
    }
    return fuzz::guarded([&] { load_graphs(zinc.path().string()); });
  }
  if (file == 4) {
    fuzz::write_file(peptides.path() / "peptides_func_graphs.npz", given);
    return fuzz::guarded([&] { load_graphs(peptides.path().string()); });
  }
  const fs::path& dir = lists.path();
  fuzz::write_file(dir / "graphs.csv", file == 0 ? given : "split,y\ntrain,0.5\nval,\n");
  fuzz::write_file(dir / "nodes.csv", file == 1 ? given : "graph,kind\n0,0\n0,2\n0,1\n1,0\n");
  fuzz::write_file(dir / "edges.csv",
                   file == 2 ? given : "graph,source,target,k\n0,0,1,0\n0,1,2,1\n");
  return fuzz::guarded([&] { load_graphs(dir.string()); });
}
