// Small molecules for tests of networks that take positions, z, molecule and atoms.
#pragma once
#include <array>
#include <vector>

#include "basin/tests/models/pointnet_fixture.h"

namespace basin::testing {

struct MoleculeSample {
  std::vector<int64_t> z;
  std::vector<double> x;  // three per atom
};

// Random atoms, about 1.3 apart; sizes as told, elements H, C, N, O.
inline std::vector<MoleculeSample> some_molecules(const std::vector<int64_t>& sizes,
                                                  uint64_t seed) {
  Rng rng(seed, 7);
  constexpr int64_t elements[] = {1, 6, 7, 8};
  std::vector<MoleculeSample> all;
  for (const int64_t atoms : sizes) {
    MoleculeSample m;
    for (int64_t i = 0; i < atoms; ++i) {
      m.z.push_back(elements[rng.below(4)]);
      for (int c = 0; c < 3; ++c) {
        m.x.push_back((c == 0 ? 1.3 * static_cast<double>(i) : 0) + rng.uniform(-0.6, 0.6));
      }
    }
    all.push_back(std::move(m));
  }
  return all;
}

// {positions, z, molecule, atoms} of a batch.
inline Tensors batch_of(const std::vector<MoleculeSample>& molecules, DType dtype = DType::f64) {
  std::vector<double> x;
  std::vector<int64_t> z, owner, atoms;
  for (size_t b = 0; b < molecules.size(); ++b) {
    const MoleculeSample& m = molecules[b];
    x.insert(x.end(), m.x.begin(), m.x.end());
    z.insert(z.end(), m.z.begin(), m.z.end());
    owner.insert(owner.end(), m.z.size(), static_cast<int64_t>(b));
    atoms.push_back(static_cast<int64_t>(m.z.size()));
  }
  const auto n = static_cast<int64_t>(z.size());
  return {Tensor::from(x, {n, 3}).to(dtype), Tensor::from(z, {n}), Tensor::from(owner, {n}),
          Tensor::from(atoms, {static_cast<int64_t>(atoms.size())})};
}

}  // namespace basin::testing
