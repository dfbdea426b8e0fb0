// QM9 (Ramakrishnan, Dral, Rupp, von Lilienfeld, Scientific Data 1, 140022, 2014): 133,885 small
// molecules of H, C, N, O, F with 15 properties, from any of the forms in which it is passed round:
//   dsgdb9nsd_NNNNNN.xyz   the published archive, a file per molecule: number of atoms; "gdb", the
//                          identifier and 15 values; element, x, y, z, charge of each atom;
//                          frequencies; SMILES; InChI. Numbers may be written 1.2*^-6
//   *.sdf with *.csv       MDL V2000 with coordinates rounded to 4 decimals, and a table
//   *.npz                  padded arrays num_atoms, charges, positions and one per property, as the
//                          codes of Cormorant and EGNN have them: one file, or train, valid, test
//   *.xyz, *.extxyz, also gzipped   frames one after another, KEY=VALUE pairs in the comment
// Values stay as they are in the files, in f64: positions in Å, properties in the units of
// qm9_properties(). Every fault is a data error that names the file and the line, row or offset.
#pragma once
#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "basin/core/io.h"

namespace basin {

inline constexpr size_t kQm9Properties = 15;
inline constexpr int64_t kQm9Molecules = 133'885, kQm9Uncharacterized = 3'054;

struct Qm9Property {
  std::string_view name, unit;
};
// a, b, c (GHz), mu, alpha, homo, lumo, gap, r2, zpve, u0, u, h, g, cv: the order of the archive.
const std::array<Qm9Property, kQm9Properties>& qm9_properties();
// The position of a property by its name in any of the forms above ("homo", "epsHOMO", "<R2>",
// "u298", in any case); -1: there is none such.
int qm9_property(std::string_view name);

// Molecules one after another.
struct Qm9Set {
  std::string source;
  // Identifiers in QM9, from 1. Where the source has none: counted from 1, and own_ids is false.
  std::vector<int64_t> ids;
  bool own_ids = true;
  std::vector<int64_t> offsets{
      0};                          // [N + 1]; atoms of molecule i: offsets[i] .. offsets[i + 1] - 1
  std::vector<int64_t> z;          // [A] atomic numbers
  std::vector<double> positions;   // [A, 3] Å
  std::vector<double> properties;  // [N, 15]; NaN: not known

  int64_t size() const { return static_cast<int64_t>(ids.size()); }
  int64_t atoms(int64_t molecule) const {
    return offsets[static_cast<size_t>(molecule) + 1] - offsets[static_cast<size_t>(molecule)];
  }
  double property(int64_t molecule, int which) const {
    return properties[static_cast<size_t>(molecule) * kQm9Properties + static_cast<size_t>(which)];
  }
  // The last molecule is complete: its atoms have been appended to z and positions.
  void finish_molecule(int64_t id, std::span<const double, kQm9Properties> values);
  void append(const Qm9Set& other);
  std::string content_hash() const;  // SHA-256 over everything but the source
};
Qm9Set subset(const Qm9Set& set, std::span<const int64_t> rows);

// The atomic number of an element's symbol, 1 to 118; 0: there is none such.
int64_t atomic_number(std::string_view symbol);
std::string_view element_symbol(int64_t z);  // 1 <= z <= 118

// --- single files; `name` is what error messages call them
Qm9Set parse_molecules_xyz(std::string_view text, const std::string& name);
Qm9Set read_molecules_xyz(const fs::path& path);  // gzipped, too
Qm9Set parse_molecules_sdf(std::string_view text, const std::string& name);
// The properties of the molecules of an SDF, row by row; identifiers of both must agree.
void parse_molecules_csv(std::string_view text, const std::string& name, Qm9Set& molecules);
Qm9Set read_molecules_npz(const fs::path& path);
// Identifiers of molecules whose geometry failed the consistency check: 9 lines of heading, then
// lines that begin with an identifier, then at most a closing rule.
std::vector<int64_t> parse_uncharacterized(std::string_view text, const std::string& name);
// One of the above by its name's ending: .xyz, .extxyz, .xyz.gz, .sdf (with its table, if there is
// one), .npz.
Qm9Set read_molecules(const fs::path& path);

// --- a data set
struct Qm9Data {
  Qm9Set set;
  // Where the data come in three files: how many molecules each of train, valid, test has, in this
  // order in `set`; else zeros.
  std::array<int64_t, 3> own_split{};
  std::string description;  // "QM9 as SDF, 130831 molecules, 3054 uncharacterized ones left out"
};
// A file, or a folder that holds one of the forms (or in which one folder does). `uncharacterized`:
// the list of those to leave out; empty: uncharacterized.txt in that folder, if it is there. All
// 133,885 molecules must lose 3,054 by it.
Qm9Data load_qm9(const fs::path& path, const fs::path& uncharacterized = {});

// Which rows of a set are for what.
struct Qm9Split {
  std::array<std::vector<int64_t>, 3> rows;  // train, validation, test
  std::string description;
};
// NAME      torchmd    110,000 / 10,000 / 10,831 of a permutation by NumPy's default_rng(1)
//           cormorant  100,000 / 17,748 / 13,083 by numpy.random.RandomState(0)
//           own        that of the three files
//           random     10 % each for validation and test by `seed`
//           auto       own, else torchmd for 130,831 molecules, else random
//           a file     .npz with idx_train, idx_val, idx_test (rows of the set from 0), or text
//                      lines IDENTIFIER,train|valid|test
// data error where the data are not those of the split (130,831 molecules for the published ones).
Qm9Split qm9_split(const std::string& name, const Qm9Data& data, uint64_t seed);

// The procedural molecules of datasets/molecules.h, numbered from 1, splits 1024 / 128 / 256 as
// own_split. Known properties, each an exact function of the geometry: u0, the Morse energy; mu,
// the dipole moment of charges proportional to the electronegativity (Pauling) about its mean over
// the molecule; r2, the second moment of the atomic numbers about their centre.
Qm9Data embedded_qm9();

}  // namespace basin
