// Slice files cut short or altered at any byte: the reader takes them or refuses them with a
// sentence (tests/core/malformed.h).
#include "basin/tests/core/malformed.h"

#include "basin/analysis/slice_file.h"

using namespace basin;

TEST_CASE("malformed: slice files") {
  const test::Reader reader{
      "slice", "a.jsonl", [](const fs::path& p) { read_slice(p); }, ErrorKind::data, {": line "}};
  const test::Refusals r = run_malformed(reader, test::fuzz_seeds("slice_file"), 260, 60);
  CHECK(r.files >= 1000);
  CHECK(r.refused >= 0.8 * r.files);
}
