// Published and other splits of QM9, and the embedded molecules in its form.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>

#include "basin/core/random.h"
#include "basin/datasets/detail/numpy_random.h"
#include "basin/datasets/detail/qm9_atoms.h"
#include "basin/datasets/molecules.h"
#include "basin/datasets/npz.h"

namespace basin {
namespace {

constexpr int64_t kCharacterized = kQm9Molecules - kQm9Uncharacterized;
constexpr double kHeldOut = 0.1;  // share of a random split for each of validation and test
constexpr std::array<std::string_view, 3> kParts{"train", "valid", "test"};

// Rows in the order given, cut into three.
Qm9Split cut(const std::vector<int64_t>& order, int64_t train, int64_t validation) {
  Qm9Split out;
  const auto at = [&](int64_t i) { return order.begin() + static_cast<std::ptrdiff_t>(i); };
  out.rows[0].assign(order.begin(), at(train));
  out.rows[1].assign(at(train), at(train + validation));
  out.rows[2].assign(at(train + validation), order.end());
  return out;
}

void require_all(const Qm9Data& data, const std::string& split) {
  if (data.set.size() == kCharacterized) return;
  fail(ErrorKind::data, data.set.source, ": the split ", split, " is one of ", kCharacterized,
       " molecules, this data set has ", data.set.size(),
       data.set.size() == kQm9Molecules ? "; the uncharacterized ones are still among them" : "");
}

Qm9Split own_split(const Qm9Data& data) {
  if (data.own_split[0] == 0) {
    fail(ErrorKind::data, data.set.source, ": expected train.npz, valid.npz and test.npz for a",
         " split of the data's own");
  }
  std::vector<int64_t> order(static_cast<size_t>(data.set.size()));
  std::iota(order.begin(), order.end(), int64_t{0});
  return cut(order, data.own_split[0], data.own_split[1]);
}

Qm9Split random_split(const Qm9Data& data, uint64_t seed) {
  std::vector<int64_t> order(static_cast<size_t>(data.set.size()));
  std::iota(order.begin(), order.end(), int64_t{0});
  Rng(seed, stream_id("qm9 split")).shuffle(std::span<int64_t>(order));
  const auto held = static_cast<int64_t>(kHeldOut * static_cast<double>(order.size()));
  return cut(order, data.set.size() - 2 * held, held);
}

// Each row at most once, over all parts.
void require_rows(const Qm9Split& split, int64_t molecules, const std::string& name) {
  std::vector<bool> used(static_cast<size_t>(molecules));
  for (size_t part = 0; part < kParts.size(); ++part) {
    for (size_t i = 0; i < split.rows[part].size(); ++i) {
      const int64_t row = split.rows[part][i];
      if (row < 0 || row >= molecules || used[static_cast<size_t>(row)]) {
        fail(ErrorKind::data, name, ": ", kParts[part], ", entry ", i, ": expected distinct rows ",
             "from 0 to ", molecules - 1, ", got ", row);
      }
      used[static_cast<size_t>(row)] = true;
    }
  }
  if (split.rows[0].empty()) fail(ErrorKind::data, name, ": expected molecules to train on");
}

Qm9Split index_arrays(const fs::path& path) {
  const NpzFile file(path);
  Qm9Split out;
  constexpr std::array<const char*, 3> kNames{"idx_train", "idx_val", "idx_test"};
  for (size_t part = 0; part < kNames.size(); ++part) {
    const Tensor rows = file.read(kNames[part]);
    if (is_float(rows.dtype())) {
      fail(ErrorKind::data, path.string(), "(", kNames[part], ".npy): expected integers, got ",
           name_of(rows.dtype()));
    }
    out.rows[part] = rows.to(DType::i64).to_vector<int64_t>();
  }
  return out;
}

Qm9Split identifier_lines(const fs::path& path, const Qm9Set& set) {
  std::unordered_map<int64_t, int64_t> row_of;
  for (int64_t i = 0; i < set.size(); ++i) row_of[set.ids[static_cast<size_t>(i)]] = i;
  Qm9Split out;
  const std::string name = path.string(), text = read_text_file(path);
  TextLines in(text, name);
  while (in.next()) {
    const std::string_view line = in.line();
    if (without_blanks(line).empty()) continue;
    const size_t comma = std::min(line.find(','), line.size());
    const std::string_view first = without_blanks(line.substr(0, comma));
    const int64_t id =
        identifier_of(first) > 0 ? identifier_of(first) : in.integer_of(first, "an identifier");
    const std::string_view word = without_blanks(line.substr(std::min(comma + 1, line.size())));
    const auto part = std::find(kParts.begin(), kParts.end(), word);
    if (part == kParts.end()) {
      in.fault("expected train, valid or test behind the identifier, got '", TextLines::shown(word),
               "'");
    }
    const auto row = row_of.find(id);
    if (row == row_of.end())
      in.fault("expected a molecule of the data, there is no ", kIdentifier, id);
    out.rows[static_cast<size_t>(part - kParts.begin())].push_back(row->second);
  }
  return out;
}

Qm9Split split_of_file(const std::string& name, const Qm9Set& set) {
  const fs::path path = name;
  Qm9Split out = path.extension() == ".npz" ? index_arrays(path) : identifier_lines(path, set);
  require_rows(out, set.size(), name);
  out.description = "split of " + name;
  return out;
}

// Debye per electron charge and Angstrom, Angstrom per bohr, eV per hartree (CODATA 2018).
constexpr double kDebye = 4.80320471, kBohr = 0.529177210903, kHartree = 27.211386246;
constexpr std::array<int64_t, kMoleculeElements> kNumbers{1, 6, 7, 8};
constexpr std::array<double, kMoleculeElements> kElectronegativity{2.20, 2.55, 3.04, 3.44};
constexpr double kChargePerUnit = 0.2;  // electron charges per unit of electronegativity

void add_embedded(Qm9Set& set, const Molecule& m) {
  const auto n = static_cast<double>(m.elements.size());
  double mean = 0, total_z = 0;
  std::array<double, 3> centre{}, dipole{};
  for (size_t i = 0; i < m.elements.size(); ++i) {
    const auto e = static_cast<size_t>(m.elements[i]);
    mean += kElectronegativity[e] / n;
    total_z += static_cast<double>(kNumbers[e]);
    for (size_t c = 0; c < 3; ++c) {
      centre[c] += static_cast<double>(kNumbers[e]) * m.positions[i][c];
    }
  }
  double spread = 0;
  for (size_t i = 0; i < m.elements.size(); ++i) {
    const auto e = static_cast<size_t>(m.elements[i]);
    set.z.push_back(kNumbers[e]);
    for (size_t c = 0; c < 3; ++c) {
      const double x = m.positions[i][c], from_centre = x - centre[c] / total_z;
      set.positions.push_back(x);
      dipole[c] += kChargePerUnit * (mean - kElectronegativity[e]) * x;
      spread += static_cast<double>(kNumbers[e]) * from_centre * from_centre;
    }
  }
  auto values = nothing_known();
  const auto place = [&](const char* name) -> double& {
    return values[static_cast<size_t>(qm9_property(name))];
  };
  place("u0") = m.energy / kHartree;
  place("mu") = kDebye * std::hypot(dipole[0], dipole[1], dipole[2]);
  place("r2") = spread / (kBohr * kBohr);
  set.finish_molecule(set.size() + 1, values);
}

}  // namespace

Qm9Split qm9_split(const std::string& name, const Qm9Data& data, uint64_t seed) {
  Qm9Split out;
  if (name == "torchmd" ||
      (name == "auto" && data.own_split[0] == 0 && data.set.size() == kCharacterized)) {
    require_all(data, "torchmd");
    out = cut(numpy::generator_permutation(1, kCharacterized), 110'000, 10'000);
    out.description = "split torchmd";
  } else if (name == "cormorant") {
    require_all(data, name);
    out = cut(numpy::random_state_permutation(0, kCharacterized), 100'000, 17'748);
    out.description = "split cormorant";
  } else if (name == "own" || (name == "auto" && data.own_split[0] > 0)) {
    out = own_split(data);
    out.description = "the data's own split";
  } else if (name == "random" || name == "auto") {
    out = random_split(data, seed);
    out.description = str("random split (seed ", seed, "), not a published one");
  } else {
    out = split_of_file(name, data.set);
  }
  return out;
}

Qm9Data embedded_qm9() {
  const MoleculeSplits splits = embedded_molecules();
  Qm9Data out;
  out.set.source = "embedded";
  const std::vector<Molecule>* const parts[] = {&splits.train, &splits.validation, &splits.test};
  for (size_t i = 0; i < 3; ++i) {
    for (const Molecule& m : *parts[i]) add_embedded(out.set, m);
    out.own_split[i] = static_cast<int64_t>(parts[i]->size());
  }
  out.description = str("embedded molecules: H, C, N, O, 5 to 9 atoms; u0, mu and r2 are known");
  return out;
}

}  // namespace basin
