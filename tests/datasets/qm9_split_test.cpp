// Splits of QM9: the published ones and those of files, and the embedded molecules.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <numeric>

#include "basin/datasets/molecules.h"
#include "basin/datasets/npz.h"
#include "basin/datasets/qm9.h"
#include "basin/tests/core/files.h"

using namespace basin;

namespace {

Qm9Data hydrogens(int64_t molecules) {
  Qm9Data out;
  out.set.source = "made";
  for (int64_t i = 1; i <= molecules; ++i) {
    out.set.z.push_back(1);
    out.set.positions.insert(out.set.positions.end(), {0, 0, 0});
    out.set.finish_molecule(i, std::array<double, kQm9Properties>{});
  }
  return out;
}

void check_partition(const Qm9Split& split, int64_t molecules) {
  std::vector<int64_t> all;
  for (const auto& rows : split.rows) all.insert(all.end(), rows.begin(), rows.end());
  std::sort(all.begin(), all.end());
  std::vector<int64_t> expected(static_cast<size_t>(molecules));
  std::iota(expected.begin(), expected.end(), int64_t{0});
  CHECK(all == expected);
}

}  // namespace

TEST_CASE("qm9 splits: the published ones are cut from NumPy's permutations") {
  const Qm9Data data = hydrogens(130831);
  const NpzFile numpy(test::fixtures() / "qm9" / "numpy_permutations.npz");
  const auto starts = [&](const std::vector<int64_t>& rows, const std::string& name) {
    CHECK(std::vector<int64_t>(rows.begin(), rows.begin() + 16) ==
          numpy.read(name + "_first").to_vector<int64_t>());
  };
  const Qm9Split torchmd = qm9_split("torchmd", data, 5);
  CHECK(torchmd.rows[0].size() == 110000);
  CHECK(torchmd.rows[1].size() == 10000);
  CHECK(torchmd.rows[2].size() == 10831);
  starts(torchmd.rows[0], "generator_1_qm9");
  check_partition(torchmd, 130831);
  CHECK(qm9_split("auto", data, 0).rows == torchmd.rows);
  const Qm9Split cormorant = qm9_split("cormorant", data, 5);
  CHECK(cormorant.rows[0].size() == 100000);
  CHECK(cormorant.rows[1].size() == 17748);
  CHECK(cormorant.rows[2].size() == 13083);
  starts(cormorant.rows[0], "state_0_qm9");
  check_partition(cormorant, 130831);
  test::check_error(ErrorKind::data, {"made: the split torchmd is one of 130831", "has 100"},
                    [] { qm9_split("torchmd", hydrogens(100), 0); });
  test::check_error(ErrorKind::data, {"the uncharacterized ones are still among them"},
                    [] { qm9_split("cormorant", hydrogens(kQm9Molecules), 0); });
}

TEST_CASE("qm9 splits: by the seed, the data's own, and of files") {
  const Qm9Data data = hydrogens(100);
  const Qm9Split random = qm9_split("auto", data, 3);
  CHECK(random.description == "random split (seed 3), not a published one");
  CHECK(random.rows[0].size() == 80);
  CHECK(random.rows[1].size() == 10);
  check_partition(random, 100);
  CHECK(qm9_split("random", data, 3).rows == random.rows);
  CHECK(qm9_split("random", data, 4).rows != random.rows);
  test::check_error(ErrorKind::data, {"expected train.npz, valid.npz and test.npz"},
                    [&] { qm9_split("own", data, 0); });

  const test::TempDir dir;
  const auto rows = [](std::vector<int64_t> v) {
    const auto n = static_cast<int64_t>(v.size());
    return Tensor::from(v, {n});
  };
  const auto arrays = [&](const std::vector<int64_t>& test) {
    write_npz(dir / "s.npz",
              {{"idx_train", rows({5, 1})}, {"idx_val", rows({0})}, {"idx_test", rows(test)}});
    return qm9_split((dir / "s.npz").string(), data, 0);
  };
  CHECK(arrays({99}).rows ==
        std::array<std::vector<int64_t>, 3>{std::vector<int64_t>{5, 1}, {0}, {99}});
  test::check_error(ErrorKind::data,
                    {"s.npz: test, entry 1: expected distinct rows from 0 to 99", "100"}, [&] {
                      arrays({7, 100});
                    });
  test::check_error(ErrorKind::data, {"test, entry 0", "got 5"}, [&] { arrays({5}); });

  const auto lines = [&](const std::string& text) {
    std::ofstream(dir / "s.csv") << text;
    return qm9_split((dir / "s.csv").string(), data, 0);
  };
  CHECK(lines("gdb_6,train\n\n2, valid\r\n100,test\n").rows ==
        std::array<std::vector<int64_t>, 3>{std::vector<int64_t>{5}, {1}, {99}});
  test::check_error(ErrorKind::data, {"s.csv: line 1: expected train, valid or test", "'dev'"},
                    [&] { lines("6,dev\n"); });
  test::check_error(ErrorKind::data,
                    {"line 2: expected a molecule of the data, there is no gdb_101"},
                    [&] { lines("6,train\n101,train\n"); });
  test::check_error(ErrorKind::data, {"expected molecules to train on"},
                    [&] { lines("6,test\n"); });
}

TEST_CASE("qm9: the embedded molecules have an energy, a dipole moment and a second moment") {
  const Qm9Data data = embedded_qm9();
  CHECK(data.own_split == std::array<int64_t, 3>{1024, 128, 256});
  CHECK(qm9_split("auto", data, 0).description == "the data's own split");
  const MoleculeSplits molecules = embedded_molecules();
  const Molecule& first = molecules.train[0];
  CHECK(data.set.property(0, qm9_property("u0")) ==
        doctest::Approx(first.energy / 27.211386246).epsilon(1e-14));
  CHECK(std::isnan(data.set.property(0, qm9_property("homo"))));
  REQUIRE(data.set.atoms(0) == static_cast<int64_t>(first.elements.size()));
  CHECK(data.set.positions[0] == first.positions[0][0]);

  // The formulas in another form: the second moment as a sum over pairs.
  const Qm9Set& set = data.set;
  for (int64_t i = 0; i < 50; ++i) {
    std::array<double, 3> dipole{};
    double pairs = 0, total = 0, mean = 0;
    const auto n = static_cast<double>(set.atoms(i));
    const auto at = [&](int64_t a) {
      return static_cast<size_t>(set.offsets[static_cast<size_t>(i)] + a);
    };
    const auto chi = [&](int64_t a) {
      const int64_t z = set.z[at(a)];
      return z == 1 ? 2.20 : z == 6 ? 2.55 : z == 7 ? 3.04 : 3.44;
    };
    for (int64_t a = 0; a < set.atoms(i); ++a) mean += chi(a) / n;
    for (int64_t a = 0; a < set.atoms(i); ++a) {
      total += static_cast<double>(set.z[at(a)]);
      for (size_t c = 0; c < 3; ++c) {
        dipole[c] += 0.2 * (chi(a) - mean) * set.positions[3 * at(a) + c];
      }
      for (int64_t b = 0; b < a; ++b) {
        for (size_t c = 0; c < 3; ++c) {
          const double gap = set.positions[3 * at(a) + c] - set.positions[3 * at(b) + c];
          pairs += static_cast<double>(set.z[at(a)] * set.z[at(b)]) * gap * gap;
        }
      }
    }
    CHECK(set.property(i, qm9_property("mu")) ==
          doctest::Approx(4.80320471 * std::hypot(dipole[0], dipole[1], dipole[2])).epsilon(1e-10));
    CHECK(set.property(i, qm9_property("r2")) ==
          doctest::Approx(pairs / total / (0.529177210903 * 0.529177210903)).epsilon(1e-10));
  }
}
