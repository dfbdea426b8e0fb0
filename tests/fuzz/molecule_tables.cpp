// Fuzz target: the texts beside molecules. The first byte says which: the table of properties, the
// list of uncharacterized molecules, or the lines of a split.
#include "basin/datasets/qm9.h"
#include "basin/tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace basin;
  if (size == 0) return 0;
  Qm9Data three;
  for (int64_t id = 1; id <= 3; ++id) {
    three.set.z.push_back(1);
    three.set.positions.insert(three.set.positions.end(), {0, 0, 0});
    three.set.finish_molecule(id, std::array<double, kQm9Properties>{});
  }
  const std::string_view text = fuzz::text_of(data + 1, size - 1);
  return fuzz::guarded([&] {
    if (data[0] % 3 == 0) {
      parse_molecules_csv(text, "input", three.set);
    } else if (data[0] % 3 == 1) {
      parse_uncharacterized(text, "input");
    } else {
      const fuzz::MemoryFile file(data + 1, size - 1);
      qm9_split(file.path().string(), three, 0);
    }
  });
}
