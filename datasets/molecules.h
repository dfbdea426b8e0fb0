// Small procedural molecules with an analytic energy: data for a regression that need no download
// and whose labels are exact. A molecule is a tree of 5 to 9 atoms (H, C, N, O) grown at bond
// lengths near the sum of the covalent radii, then shaken; its energy is a sum of Morse potentials
// over all pairs of atoms,
//   E = sum_{i<j} D_ij ((1 - exp(-a (r_ij - r0_ij)))^2 - 1),  D_ij = 4.5 sqrt(v_i v_j) / 4 eV,
//   r0_ij = c_i + c_j,  a = 1.9 / Å
// with v the valence and c the covalent radius (Cordero et al. 2008, rounded) of an element (Morse
// 1929). Invariant under rotations, reflections, translations and permutations of equal atoms.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace basin {

inline constexpr int kMoleculeElements = 4;  // H, C, N, O, numbered from 0 in this order

struct Molecule {
  std::vector<int> elements;                     // 0 .. kMoleculeElements - 1
  std::vector<std::array<double, 3>> positions;  // Å
  double energy = 0;                             // eV
};

struct MoleculeSplits {
  std::vector<Molecule> train, validation, test;
  std::string content_hash;  // SHA-256 over elements, positions and energies of all splits
};

double morse_energy(const Molecule& molecule);  // eV
Molecule random_molecule(uint64_t seed, uint64_t index);

// A function of nothing: the same splits everywhere.
MoleculeSplits embedded_molecules(int64_t train = 1024, int64_t validation = 128,
                                  int64_t test = 256);

}  // namespace basin
