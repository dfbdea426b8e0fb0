// QM9 in every form, the committed three molecules and the shared samples: counts, values, units,
// equal content whichever form it came in, and what each reader refuses.
#include "basin/datasets/qm9.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include "basin/datasets/npz.h"
#include "basin/tests/core/files.h"

using namespace basin;

namespace {

fs::path sample(const std::string& name) { return test::fixtures() / "qm9" / name; }

void check_water(const Qm9Set& set, int64_t row, double coordinate_error) {
  CHECK(set.ids[static_cast<size_t>(row)] == 3);
  REQUIRE(set.atoms(row) == 3);
  const auto at = static_cast<size_t>(set.offsets[static_cast<size_t>(row)]);
  CHECK(std::vector<int64_t>(set.z.begin() + static_cast<ptrdiff_t>(at),
                             set.z.begin() + static_cast<ptrdiff_t>(at) + 3) ==
        std::vector<int64_t>{8, 1, 1});
  CHECK(std::abs(set.positions[3 * at] - -0.0343604951) < coordinate_error);
  CHECK(std::abs(set.positions[3 * at + 8] - 0.0006931336) < coordinate_error);
}

void check_water_properties(const Qm9Set& set, int64_t row) {
  CHECK(set.property(row, qm9_property("mu")) == 1.8511);
  CHECK(set.property(row, qm9_property("alpha")) == 6.31);
  CHECK(set.property(row, qm9_property("homo")) == -0.2928);
  CHECK(set.property(row, qm9_property("r2")) == 19.0002);
  CHECK(set.property(row, qm9_property("u0")) == -76.404702);
  CHECK(set.property(row, qm9_property("cv")) == 6.002);
}

Qm9Set parsed(std::string_view text) { return parse_molecules_xyz(text, "a.xyz"); }

}  // namespace

TEST_CASE("qm9: names of properties and elements") {
  CHECK(qm9_property("A") == 0);
  CHECK(qm9_property("epsHOMO") == qm9_property("homo"));
  CHECK(qm9_property("<R2>") == qm9_property("r2"));
  CHECK(qm9_property("u298") == qm9_property("U"));
  CHECK(qm9_property("U0") != qm9_property("U"));
  CHECK(qm9_property("omega1") == -1);
  CHECK(qm9_property("u0_atom") == -1);
  CHECK(atomic_number("F") == 9);
  CHECK(atomic_number("Og") == 118);
  CHECK(atomic_number("h") == 0);
  CHECK(element_symbol(17) == "Cl");
}

TEST_CASE("qm9: the same three molecules from the archive, SDF, frames and arrays") {
  const Qm9Data archive = load_qm9(sample("archive"));
  CHECK(archive.description == "the archive's files, 3 molecules");
  CHECK(archive.set.own_ids);
  CHECK(archive.set.offsets == std::vector<int64_t>{0, 5, 9, 12});
  check_water(archive.set, 2, 1e-12);
  check_water_properties(archive.set, 2);

  const Qm9Data parts = load_qm9(sample("parts"));
  CHECK(parts.own_split == std::array<int64_t, 3>{1, 1, 1});
  CHECK(parts.set.content_hash() == archive.set.content_hash());
  CHECK(read_molecules(sample("parts") / "test.npz").content_hash() ==
        subset(archive.set, std::vector<int64_t>{2}).content_hash());

  const Qm9Data sdf = load_qm9(sample("sdf"));
  CHECK(sdf.set.ids == archive.set.ids);
  CHECK(sdf.set.z == archive.set.z);
  check_water(sdf.set, 2, 6e-5);  // four decimals
  for (size_t i = 0; i < sdf.set.properties.size(); ++i) {
    CHECK(sdf.set.properties[i] == archive.set.properties[i]);
  }

  const Qm9Set frames = read_molecules(sample("three.xyz"));
  CHECK_FALSE(frames.own_ids);
  CHECK(frames.ids == archive.set.ids);  // counted from 1
  check_water(frames, 2, 1e-8);
  check_water_properties(frames, 2);

  const Qm9Set plain = read_molecules(sample("plain.xyz.gz"));
  CHECK(plain.own_ids);
  CHECK(plain.positions == archive.set.positions);
  CHECK(std::isnan(plain.property(0, 3)));
}

TEST_CASE("qm9: frames of XYZ in other dress") {
  const Qm9Set two = parsed(
      "\xef\xbb\xbf"
      "2\r\ngdb_7 homo=-0.25 note=\"two words\" unknown=x\r\nO 0 0 0\r\n1 0 0 1.5*^-1\r\n"
      "\n1\nid=9 Properties=forces:R:3:Z:I:1:pos:R:3\n9 9 9 2 1e-3 2 3");
  CHECK(two.ids == std::vector<int64_t>{7, 9});
  CHECK(two.z == std::vector<int64_t>{8, 1, 2});
  CHECK(two.positions == std::vector<double>{0, 0, 0, 0, 0, 0.15, 1e-3, 2, 3});
  CHECK(two.property(0, qm9_property("homo")) == -0.25);
  const auto refuses = [](std::string_view text, const std::vector<std::string>& words) {
    test::check_error(ErrorKind::data, words, [&] { parsed(text); });
  };
  CHECK(parsed("1\r\rH 0 0 1\r1\r\rF 0 0 2\r").z == std::vector<int64_t>{1, 9});
  refuses("PK\x03\x04 zip", {"a.xyz: line 1: expected the number of atoms", "this is a"});
  refuses("", {"a.xyz: line 1: expected molecules, found none"});
  refuses("2\n\nH 0 0 0\n", {"a.xyz: line 1: expected 2 atoms, the file has 9 bytes left"});
  refuses("1\n\nH 0 0 zero\n", {"line 3: expected a coordinate, got 'zero'"});
  refuses("1\n\nXx 0 0 0\n", {"line 3: expected an element, got 'Xx'"});
  refuses("1\n\nH 0 0 2e4\n", {"line 3: expected a coordinate in Angstrom of at most 10000"});
  refuses("1\nhomo=x\nH 0 0 0\n", {"line 2: expected a number, got 'x'"});
  refuses("1\npbc=\"T T T\"\nH 0 0 0\n", {"line 2: expected a molecule, got periodic boundaries"});
  refuses("1\nProperties=pos:R:3\nH 0 0 0\n", {"line 2: expected Properties with species:S:1"});
  refuses("1\nProperties=species:S:1:pos:R:3\nH 0 0 0 1\n",
          {"line 3: expected 4 columns", "got 5"});
  refuses("1\ngdb 5\t1\nH 0 0 0 0\n", {"line 2: expected 15 values, got ''"});
  const std::string water = read_text_file(sample("archive") / "dsgdb9nsd_000003.xyz");
  const auto cut = [&](const std::string& from) { return water.substr(0, water.find(from)); };
  refuses(cut("InChI"), {"line 7: expected InChI, the file ends"});
  std::string fewer = water;
  fewer.erase(fewer.find("1671."), 9);
  refuses(fewer, {"line 6: expected 3 or 4 frequencies, got 2"});
}

TEST_CASE("qm9: SDF and its table are held together") {
  const std::string text = read_text_file(sample("sdf") / "gdb9.sdf");
  const std::string table = read_text_file(sample("sdf") / "gdb9.sdf.csv");
  const Qm9Set set = parse_molecules_sdf(text, "a.sdf");
  const auto refuses = [&](const std::string& csv, const std::vector<std::string>& words) {
    test::check_error(ErrorKind::data, words, [&] {
      Qm9Set other = set;
      parse_molecules_csv(csv, "a.csv", other);
    });
  };
  refuses(table.substr(0, table.rfind("gdb_3")),
          {"a.csv: line 3: expected 3 rows, one per molecule", "got 2"});
  refuses(table + "gdb_4,x\n", {"line 5: expected 20 columns, got 2"});
  std::string other = table;
  other.replace(other.find("gdb_2"), 5, "gdb_9");
  refuses(other, {"line 3: expected the molecule gdb_2, got 9"});
  refuses("name,smiles\n", {"line 1: expected columns of properties"});
  refuses("homo,epsHOMO\n", {"line 1: expected each property once, got 'epsHOMO' again"});
  std::string v3000 = text;
  v3000.replace(v3000.find("V2000"), 5, "V3000");
  test::check_error(ErrorKind::data, {"a.sdf: line 4: expected V2000, got V3000"},
                    [&] { parse_molecules_sdf(v3000, "a.sdf"); });
  test::check_error(ErrorKind::data, {"expected $$$$, the file ends"},
                    [&] { parse_molecules_sdf(text.substr(0, text.rfind("$$$$")), "a.sdf"); });
}

TEST_CASE("qm9: arrays are checked row by row") {
  const test::TempDir dir;
  const NpzFile good(sample("parts") / "train.npz");
  const auto refuses = [&](const std::string& member, const Tensor& changed,
                           const std::vector<std::string>& words) {
    std::vector<std::pair<std::string, Tensor>> arrays;
    for (const std::string& name : good.names()) {
      arrays.emplace_back(name, name == member ? changed : good.read(name));
    }
    write_npz(dir / "a.npz", arrays);
    test::check_error(ErrorKind::data, words, [&] { read_molecules_npz(dir / "a.npz"); });
  };
  const auto integers = [](std::vector<int64_t> v, const Shape& s) { return Tensor::from(v, s); };
  refuses("num_atoms", integers({7}, {1}), {"num_atoms.npy): row 0: expected 1 to 6 atoms, got 7"});
  refuses("charges", integers({6, 1, 1, 1, 0, 0}, {1, 6}),
          {"charges.npy): row 0: expected 5 atomic numbers and then 0, got 0 at 4"});
  refuses("charges", integers({6, 1, 1, 1, 1, 1}, {1, 6}), {"got 1 at 5"});
  refuses("positions", Tensor::full({1, 6, 3}, DType::f64, NAN), {"positions.npy): row 0", "nan"});
  refuses("positions", Tensor::zeros({1, 5, 3}, DType::f64), {"expected [1, 6, 3], got [1, 5, 3]"});
  refuses("homo", Tensor::zeros({2}, DType::f64), {"homo.npy): expected 1 values, got [2]"});
  refuses("charges", Tensor::zeros({1, 6}, DType::f32), {"expected integers, got f32"});
}

TEST_CASE("qm9: uncharacterized molecules are left out by their 1-based identifiers") {
  const std::string text = read_text_file(sample("uncharacterized.txt"));
  CHECK(parse_uncharacterized(text, "list") == std::vector<int64_t>{2, 58, 133});
  const Qm9Data data = load_qm9(sample("archive"), sample("uncharacterized.txt"));
  CHECK(data.set.ids == std::vector<int64_t>{1, 3});  // not the third: numbers are not positions
  CHECK(data.description == "the archive's files, 2 molecules, 1 uncharacterized ones left out");
  check_water(data.set, 1, 1e-12);
  test::check_error(ErrorKind::data, {"three.xyz: line 1: expected identifiers (gdb_N)"},
                    [] { load_qm9(sample("three.xyz"), sample("uncharacterized.txt")); });
  test::check_error(ErrorKind::data, {"line 12: expected rising identifiers", "got 58"}, [&] {
    parse_uncharacterized(text.substr(0, text.find("   133")) + "    58  C\n", "list");
  });
  test::check_error(ErrorKind::data, {"list: line 3: expected 9 lines of heading, the file ends"},
                    [] { parse_uncharacterized("a\nb\nc\n", "list"); });
  // All of QM9, as far as the counts go.
  const test::TempDir dir;
  std::string frames;
  for (int64_t id = 1; id <= kQm9Molecules; ++id) frames += str("1\ngdb_", id, "\nH 0 0 0\n");
  std::ofstream(dir / "all.xyz") << frames;
  std::string heading(9, '\n'), list = heading;
  for (int64_t i = 0; i < kQm9Uncharacterized; ++i) list += str(58 + 40 * i, "\n");
  std::ofstream(dir / "uncharacterized.txt") << list;
  const Qm9Data full = load_qm9(dir / "all.xyz");  // the list beside it
  CHECK(full.set.size() == 130831);
  CHECK(std::find(full.set.ids.begin(), full.set.ids.end(), 58) == full.set.ids.end());
  CHECK(qm9_split("auto", full, 0).description == "split torchmd");
  std::ofstream(dir / "short.txt") << heading << "58\n";
  test::check_error(ErrorKind::data, {"short.txt: expected to leave 3054 of all 133885"},
                    [&] { load_qm9(dir / "all.xyz", dir / "short.txt"); });
}

TEST_CASE("qm9: what a folder holds must be one data set") {
  const test::TempDir dir;
  test::check_error(ErrorKind::data, {"expected molecules as", "found none"},
                    [&] { load_qm9(dir.path()); });
  fs::create_directories(dir / "raw");
  fs::copy_file(sample("three.xyz"), dir / "raw" / "three.xyz");
  CHECK(load_qm9(dir.path()).set.size() == 3);
  fs::copy_file(sample("three.xyz"), dir / "UPPER.XYZ");
  CHECK(read_molecules(dir / "UPPER.XYZ").size() == 3);
  fs::remove(dir / "UPPER.XYZ");
  fs::copy_file(sample("sdf") / "gdb9.sdf", dir / "raw" / "gdb9.sdf");
  test::check_error(ErrorKind::data, {"found several; name one of gdb9.sdf, three.xyz"},
                    [&] { load_qm9(dir / "raw"); });
  test::check_error(ErrorKind::data, {"no such file or folder"}, [&] { load_qm9(dir / "none"); });
  fs::create_directories(dir / "twice");
  for (const char* part : {"train.npz", "valid.npz", "test.npz"}) {
    fs::copy_file(sample("parts") / "test.npz", dir / "twice" / part);
  }
  test::check_error(ErrorKind::data, {"expected each molecule once, gdb_3 is there again"},
                    [&] { load_qm9(dir / "twice"); });
  // A list beside a split of its own is not for it; without identifiers molecules are counted.
  for (const char* part : {"train.npz", "valid.npz", "test.npz"}) {
    const NpzFile whole(sample("parts") / part);
    std::vector<std::pair<std::string, Tensor>> arrays;
    for (const std::string& name : whole.names()) {
      if (name != "index") arrays.emplace_back(name, whole.read(name));
    }
    write_npz(dir / "twice" / part, arrays);
  }
  fs::copy_file(sample("uncharacterized.txt"), dir / "twice" / "uncharacterized.txt");
  const Qm9Data counted = load_qm9(dir / "twice");
  CHECK_FALSE(counted.set.own_ids);
  CHECK(counted.set.ids == std::vector<int64_t>{1, 2, 3});
  test::check_error(ErrorKind::data, {"expected molecules in a file called .xyz"},
                    [&] { read_molecules(sample("make_molecules.py")); });
}

TEST_CASE("qm9: the shared samples") {
  const fs::path folder = test::real_data("qm9");
  if (folder.empty()) return;
  const Qm9Data parts = load_qm9(folder / "npz");
  CHECK(parts.own_split == std::array<int64_t, 3>{12027, 1515, 1481});
  CHECK(parts.set.size() == 15023);
  for (int64_t i = 0; i < parts.set.size(); ++i) {
    const double gap =
        parts.set.property(i, qm9_property("lumo")) - parts.set.property(i, qm9_property("homo"));
    REQUIRE(std::abs(parts.set.property(i, qm9_property("gap")) - gap) < 2e-4);
    const int64_t digit = parts.set.ids[static_cast<size_t>(i)] % 10;
    REQUIRE((i < 12027 ? digit < 8 : digit == (i < 12027 + 1515 ? 8 : 9)));
  }
  const Qm9Data archive = load_qm9(folder / "dsgdb9nsd");
  CHECK(archive.set.size() == 20);
  const Qm9Data sdf = load_qm9(folder / "qm9_mini.sdf");
  CHECK(sdf.set.size() == 21);
  check_water_properties(sdf.set, 2);
  const Qm9Set frames = read_molecules(folder / "qm9_reduced_100.xyz");
  CHECK(frames.size() == 100);
  check_water_properties(frames, 2);
  // Every geometry of the test part once more, from the gzipped frames.
  const Qm9Set test = read_molecules(folder / "npz" / "test.npz");
  const Qm9Set geometry = read_molecules(folder / "qm9_test_geometry.xyz.gz");
  CHECK(geometry.ids == test.ids);
  CHECK(geometry.z == test.z);
  CHECK(geometry.positions == test.positions);
}
