// Edge lists and .npz graphs, cut short and mutated: each is read or refused as bad data.
#include "basin/tests/core/malformed.h"
#include "basin/tests/datasets/graph_files.h"

using namespace basin;
using namespace basin::test;

TEST_CASE("malformed: edge lists of graphs") {
  const std::pair<const char*, const char*> files[] = {
      {"graphs.csv", kGraphsCsv}, {"nodes.csv", kNodesCsv}, {"edges.csv", kEdgesCsv}};
  for (const auto& [file, good] : files) {
    const auto read = [&](const fs::path& given) {
      const fs::path dir = given.parent_path();
      for (const auto& [other, text] : files) {
        if (std::string_view(other) != file) write_text(dir / other, text);
      }
      load_graphs(dir.string());
    };
    const Refusals r =
        run_malformed({str("graph list ", file), file, read}, {bytes_of(good)}, 200, 300);
    CHECK(r.files >= 320);
    CHECK(r.refused >= r.files / 4);
  }
}

TEST_CASE("malformed: arrays of graphs") {
  const Reader zinc{"zinc", "zinc_val.npz", [](const fs::path& given) {
                      const fs::path dir = given.parent_path();
                      for (const char* other : {"zinc_train.npz", "zinc_test.npz"}) {
                        write_npz(dir / other, zinc_arrays());
                      }
                      load_graphs(dir.string());
                    }};
  const Refusals of_zinc = run_malformed(zinc, {serialize_npz(zinc_arrays())}, 200, 300);
  CHECK(of_zinc.files >= 500);
  CHECK(of_zinc.refused >= of_zinc.files / 2);
  const Reader peptides{"peptides", "peptides_func_graphs.npz",
                        [](const fs::path& given) { load_graphs(given.parent_path().string()); }};
  const Refusals of_peptides = run_malformed(peptides, {serialize_npz(peptide_arrays())}, 200, 300);
  CHECK(of_peptides.files >= 500);
  CHECK(of_peptides.refused >= of_peptides.files / 2);
}

// The archive's checksums stop most mutations above: here the arrays themselves change.
TEST_CASE("malformed: arrays of graphs with other values") {
  const TempDir dir;
  int refused = 0, files = 0;
  for (int kind = 0; kind < 2; ++kind) {
    const fs::path folder = dir / str(kind);
    if (kind == 0) write_zinc(folder);
    fs::create_directories(folder);
    const fs::path file = folder / (kind == 0 ? "zinc_train.npz" : "peptides_func_graphs.npz");
    for (uint64_t m = 0; m < 250; ++m) {
      Rng rng(2021, stream_id("malformed graph arrays", static_cast<uint64_t>(kind), m));
      Arrays arrays = kind == 0 ? zinc_arrays() : peptide_arrays();
      auto& [name, value] =
          arrays[static_cast<size_t>(rng.below(static_cast<int64_t>(arrays.size())))];
      if (name == "y") continue;
      if (rng.below(4) == 0) {
        const std::vector<int64_t> all = value.to_vector<int64_t>();
        Shape shape = value.shape();
        shape.set(0, rng.below(value.size(0) + 1));
        value = Tensor::from(std::vector<int64_t>(all.begin(), all.begin() + shape.numel()), shape);
      } else {
        constexpr int64_t kValues[] = {-1, 0, 1, 2, 7, 1 << 20, INT64_MAX, INT64_MIN};
        value = value.clone();
        value.mutable_data<int64_t>()[rng.below(value.numel())] = kValues[rng.below(8)];
      }
      write_npz(file, arrays);
      ++files;
      try {
        load_graphs(folder.string());
      } catch (const Error& e) {
        ++refused;
        CHECK(e.kind() == ErrorKind::data);
        CHECK_MESSAGE(std::string(e.what()).find(folder.string()) != std::string::npos, e.what());
      }
    }
  }
  CHECK(files > 400);
  CHECK(refused > files / 2);
}
