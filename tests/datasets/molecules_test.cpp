// The embedded molecules: energies against the formula by hand, what leaves them alone, and the
// same set everywhere.
#include "basin/datasets/molecules.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "basin/core/random.h"
#include "basin/tests/core/files.h"

using namespace basin;

namespace {

double morse(double depth, double gap) {
  const double bracket = 1 - std::exp(-1.9 * gap);
  return depth * (bracket * bracket - 1);
}

// Rotated about z and then about x, and shifted.
Molecule moved(const Molecule& m, double a, double b) {
  Molecule out = m;
  for (auto& p : out.positions) {
    const double x = std::cos(a) * p[0] - std::sin(a) * p[1];
    const double y = std::sin(a) * p[0] + std::cos(a) * p[1], z = p[2];
    p = {x + 3, std::cos(b) * y - std::sin(b) * z - 2, std::sin(b) * y + std::cos(b) * z + 0.5};
  }
  return out;
}

}  // namespace

TEST_CASE("molecules: the energy is the formula's") {
  // Carbon and oxygen at 1.5 Å: r0 = 0.76 + 0.66, D = 4.5 sqrt(4 2) / 4.
  const Molecule pair{{1, 3}, {{0, 0, 0}, {0, 1.5, 0}}, 0};
  const double depth = 4.5 * std::sqrt(8.0) / 4;
  CHECK(morse_energy(pair) == doctest::Approx(morse(depth, 1.5 - 1.42)).epsilon(1e-14));
  // At rest the energy is minus the depth.
  const Molecule rest{{1, 1}, {{0, 0, 0}, {1.52, 0, 0}}, 0};
  CHECK(morse_energy(rest) == doctest::Approx(-4.5).epsilon(1e-14));
  // Three atoms: H, N, C; every pair.
  const Molecule three{{0, 2, 1}, {{0, 0, 0}, {1, 0, 0}, {0, 1, 1}}, 0};
  const double sum = morse(4.5 * std::sqrt(3.0) / 4, 1 - 1.02) +
                     morse(4.5 * std::sqrt(4.0) / 4, std::sqrt(2.0) - 1.07) +
                     morse(4.5 * std::sqrt(12.0) / 4, std::sqrt(3.0) - 1.47);
  CHECK(morse_energy(three) == doctest::Approx(sum).epsilon(1e-14));
  CHECK(morse_energy({{1}, {{0, 0, 0}}, 0}) == 0);
  test::check_error(ErrorKind::usage, {"2 elements for 1 positions"}, [] {
    morse_energy({{1, 1}, {{0, 0, 0}}, 0});
  });
}

TEST_CASE("molecules: no motion, reflection or order of the atoms changes an energy") {
  for (uint64_t i = 0; i < 20; ++i) {
    const Molecule m = random_molecule(5, i);
    CHECK(m.energy == morse_energy(m));
    CHECK(morse_energy(moved(m, 0.3 + static_cast<double>(i), 1.1)) ==
          doctest::Approx(m.energy).epsilon(1e-11));
    Molecule mirrored = m, reversed = m;
    for (auto& p : mirrored.positions) p[1] = -p[1];
    CHECK(morse_energy(mirrored) == doctest::Approx(m.energy).epsilon(1e-12));
    std::reverse(reversed.positions.begin(), reversed.positions.end());
    std::reverse(reversed.elements.begin(), reversed.elements.end());
    CHECK(morse_energy(reversed) == doctest::Approx(m.energy).epsilon(1e-12));
    // What it does depend on.
    Molecule other = m;
    other.elements[0] = 0;
    CHECK(std::abs(morse_energy(other) - m.energy) > 1e-3);
  }
}

TEST_CASE("molecules: the embedded set is the same everywhere, its splits differ") {
  const MoleculeSplits a = embedded_molecules(), b = embedded_molecules();
  CHECK(a.content_hash == b.content_hash);
  CHECK(a.content_hash == "422052cd0397de887dd73c1d5f5126561547f6771fe40a36f27617e8bb8070d4");
  CHECK(embedded_molecules(16, 4, 4).content_hash != a.content_hash);
  CHECK(a.train.size() == 1024);
  CHECK(a.validation.size() == 128);
  CHECK(a.test.size() == 256);
  std::set<double> energies;
  std::set<size_t> sizes;
  for (const auto* split : {&a.train, &a.validation, &a.test}) {
    for (const Molecule& m : *split) {
      CHECK(std::isfinite(m.energy));
      for (const int element : m.elements) CHECK((element >= 0 && element < kMoleculeElements));
      energies.insert(m.energy);
      sizes.insert(m.elements.size());
    }
  }
  CHECK(energies.size() == 1024 + 128 + 256);  // no molecule is there twice
  CHECK(sizes == std::set<size_t>{5, 6, 7, 8, 9});
  // A molecule is a function of its seed and number.
  CHECK(random_molecule(1, 7).positions == a.train[7].positions);
}
