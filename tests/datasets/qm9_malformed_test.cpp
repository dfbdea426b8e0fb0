// Malformed files given to every reader of molecules: see tests/core/malformed.h. The seeds are
// those of the fuzz targets.
#include "basin/datasets/qm9.h"
#include "basin/tests/core/malformed.h"

using namespace basin;
using test::Reader;

namespace {

void check_readers(const Reader& reader, const std::vector<std::vector<uint8_t>>& seeds,
                   size_t cuts, int mutations, int files, double refused) {
  const test::Refusals r = run_malformed(reader, seeds, cuts, mutations);
  CHECK(r.files >= files);
  CHECK(r.refused >= refused * r.files);
}

std::vector<uint8_t> without_first_byte(std::vector<uint8_t> bytes) {
  bytes.erase(bytes.begin());
  return bytes;
}

}  // namespace

TEST_CASE("malformed: molecules as XYZ, SDF and arrays") {
  check_readers({"molecules xyz",
                 "a.xyz",
                 [](const fs::path& p) { read_molecules_xyz(p); },
                 ErrorKind::data,
                 {": line ", ": offset "}},
                test::fuzz_seeds("molecules_xyz"), 300, 150, 1000, 0.5);
  check_readers({"molecules sdf",
                 "a.sdf",
                 [](const fs::path& p) { read_molecules(p); },
                 ErrorKind::data,
                 {": line "}},
                test::fuzz_seeds("molecules_sdf"), 300, 200, 700, 0.4);
  check_readers({"molecules npz",
                 "a.npz",
                 [](const fs::path& p) { read_molecules_npz(p); },
                 ErrorKind::data,
                 {"offset", ".npy)", "expected a member"}},
                test::fuzz_seeds("molecules_npz"), 300, 300, 600, 0.7);
}

TEST_CASE("malformed: tables, lists and splits of molecules") {
  const fs::path three = test::fixtures() / "qm9" / "sdf" / "gdb9.sdf";
  const auto seeds = test::fuzz_seeds("molecule_tables");
  REQUIRE(seeds.size() == 3);  // csv, list, split
  const Qm9Data data{parse_molecules_sdf(read_text_file(three), "gdb9.sdf"), {}, {}};
  check_readers({"molecules csv",
                 "a.csv",
                 [&](const fs::path& p) {
                   Qm9Set set = data.set;
                   parse_molecules_csv(read_text_file(p), p.string(), set);
                 },
                 ErrorKind::data,
                 {": line "}},
                {without_first_byte(seeds[0])}, 300, 200, 400, 0.7);
  check_readers({"uncharacterized list",
                 "a.txt",
                 [](const fs::path& p) { parse_uncharacterized(read_text_file(p), p.string()); },
                 ErrorKind::data,
                 {": line "}},
                {without_first_byte(seeds[1])}, 300, 200, 400, 0.2);
  check_readers({"split lines",
                 "a.csv",
                 [&](const fs::path& p) { qm9_split(p.string(), data, 0); },
                 ErrorKind::data,
                 {": line ", ", entry ", "expected molecules to train on"}},
                {without_first_byte(seeds[2])}, 300, 300, 300, 0.4);
}
