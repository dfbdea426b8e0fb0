// Growing molecules atom by atom, and their energy.
#include "basin/datasets/molecules.h"

#include <cmath>
#include <cstring>

#include "basin/core/error.h"
#include "basin/core/io.h"
#include "basin/core/random.h"

namespace basin {
namespace {

constexpr std::array<double, kMoleculeElements> kCovalentRadius{0.31, 0.76, 0.71, 0.66};  // Å
constexpr std::array<double, kMoleculeElements> kValence{1, 4, 3, 2};
constexpr double kWidth = 1.9;     // a
constexpr double kDepth = 4.5;     // of a bond between two carbon atoms, eV
constexpr double kShake = 0.08;    // standard deviation of each coordinate, Å
constexpr double kTooClose = 0.7;  // share of r0 below which a new atom is placed anew

using Point = std::array<double, 3>;

double distance(const Point& a, const Point& b) {
  return std::hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
}

double rest_length(int a, int b) {
  return kCovalentRadius[static_cast<size_t>(a)] + kCovalentRadius[static_cast<size_t>(b)];
}

Point random_direction(Rng& rng) {
  Point d{rng.normal(), rng.normal(), rng.normal()};
  const double length = std::hypot(d[0], d[1], d[2]);
  for (double& v : d) v /= length;
  return d;
}

bool clashes(const Molecule& m, int element, const Point& at) {
  for (size_t i = 0; i < m.positions.size(); ++i) {
    if (distance(m.positions[i], at) < kTooClose * rest_length(m.elements[i], element)) return true;
  }
  return false;
}

std::vector<Molecule> drawn(uint64_t seed, int64_t count) {
  std::vector<Molecule> out;
  for (int64_t i = 0; i < count; ++i) {
    out.push_back(random_molecule(seed, static_cast<uint64_t>(i)));
  }
  return out;
}

void append(std::vector<uint8_t>& bytes, const void* from, size_t count) {
  const size_t at = bytes.size();
  bytes.resize(at + count);
  std::memcpy(bytes.data() + at, from, count);
}

}  // namespace

double morse_energy(const Molecule& m) {
  check(m.elements.size() == m.positions.size(), "morse_energy: ", m.elements.size(),
        " elements for ", m.positions.size(), " positions");
  double energy = 0;
  for (size_t i = 0; i < m.positions.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const double gap =
          distance(m.positions[i], m.positions[j]) - rest_length(m.elements[i], m.elements[j]);
      const double depth = kDepth / 4 *
                           std::sqrt(kValence[static_cast<size_t>(m.elements[i])] *
                                     kValence[static_cast<size_t>(m.elements[j])]);
      const double bracket = 1 - std::exp(-kWidth * gap);
      energy += depth * (bracket * bracket - 1);
    }
  }
  return energy;
}

Molecule random_molecule(uint64_t seed, uint64_t index) {
  constexpr int64_t kSmallest = 5, kLargest = 9, kTries = 64;
  Rng rng(seed, stream_id("molecule", index));
  Molecule m;
  const int64_t atoms = kSmallest + rng.below(kLargest - kSmallest + 1);
  m.elements.push_back(1 + static_cast<int>(rng.below(3)));  // grown from a heavy atom
  m.positions.push_back({0, 0, 0});
  for (int64_t tries = 0; static_cast<int64_t>(m.elements.size()) < atoms; ++tries) {
    const auto parent = static_cast<size_t>(rng.below(static_cast<int64_t>(m.elements.size())));
    const int element = static_cast<int>(rng.below(kMoleculeElements));
    const Point d = random_direction(rng);
    const double length = rest_length(m.elements[parent], element);
    Point at = m.positions[parent];
    for (size_t c = 0; c < 3; ++c) at[c] += length * d[c];
    if (tries < kTries * atoms && clashes(m, element, at)) continue;
    m.elements.push_back(element);
    m.positions.push_back(at);
  }
  for (Point& p : m.positions) {
    for (double& v : p) v += kShake * rng.normal();
  }
  m.energy = morse_energy(m);
  return m;
}

MoleculeSplits embedded_molecules(int64_t train, int64_t validation, int64_t test) {
  MoleculeSplits out{drawn(1, train), drawn(2, validation), drawn(3, test), {}};
  std::vector<uint8_t> bytes;
  for (const auto* split : {&out.train, &out.validation, &out.test}) {
    for (const Molecule& m : *split) {
      append(bytes, m.elements.data(), m.elements.size() * sizeof(int));
      append(bytes, m.positions.data(), m.positions.size() * sizeof(Point));
      append(bytes, &m.energy, sizeof(double));
    }
  }
  out.content_hash = sha256_hex(bytes);
  return out;
}

}  // namespace basin
