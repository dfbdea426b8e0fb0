// Flat records cut short or altered at any byte: read, or refused with a sentence (malformed.h).
#include "basin/tests/core/malformed.h"

#include "basin/core/record.h"

using namespace basin;

TEST_CASE("malformed: flat JSON") {
  const auto read = [](const fs::path& path) { parse_record(read_text_file(path), path.string()); };
  const test::Reader reader{"flat_json", "a.json", read, ErrorKind::data};
  const test::Refusals r = run_malformed(reader, test::fuzz_seeds("flat_json"), 100, 100);
  CHECK(r.files >= 400);
  CHECK(r.refused >= 0.6 * r.files);
}

TEST_CASE("record: a quoted name stays on the line of its message") {
  test::check_error(ErrorKind::data, {"name", "'a?b'", "it is a list"},
                    [] { parse_record("{\"a\\nb\": [1]}", "name"); });
}
