// Molecules as arrays, names of properties and elements, the list of uncharacterized molecules.
#include "basin/datasets/qm9.h"

#include <algorithm>
#include <cctype>
#include <cstring>

#include "basin/core/error.h"
#include "basin/core/text.h"
#include "basin/datasets/detail/qm9_atoms.h"

namespace basin {
namespace {

constexpr std::array<std::string_view, 118> kSymbols{
    "H",  "He", "Li", "Be", "B",  "C",  "N",  "O",  "F",  "Ne", "Na", "Mg", "Al", "Si", "P",
    "S",  "Cl", "Ar", "K",  "Ca", "Sc", "Ti", "V",  "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn",
    "Ga", "Ge", "As", "Se", "Br", "Kr", "Rb", "Sr", "Y",  "Zr", "Nb", "Mo", "Tc", "Ru", "Rh",
    "Pd", "Ag", "Cd", "In", "Sn", "Sb", "Te", "I",  "Xe", "Cs", "Ba", "La", "Ce", "Pr", "Nd",
    "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu", "Hf", "Ta", "W",  "Re",
    "Os", "Ir", "Pt", "Au", "Hg", "Tl", "Pb", "Bi", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Th",
    "Pa", "U",  "Np", "Pu", "Am", "Cm", "Bk", "Cf", "Es", "Fm", "Md", "No", "Lr", "Rf", "Db",
    "Sg", "Bh", "Hs", "Mt", "Ds", "Rg", "Cn", "Nh", "Fl", "Mc", "Lv", "Ts", "Og"};

constexpr int kHeadingLines = 9;  // of the list of uncharacterized molecules

template <class T>
void append_bytes(std::vector<uint8_t>& bytes, const std::vector<T>& values) {
  const size_t at = bytes.size(), count = values.size() * sizeof(T);
  bytes.resize(at + count);
  if (count > 0) std::memcpy(bytes.data() + at, values.data(), count);
}

template <class T>
void append_all(std::vector<T>& to, const std::vector<T>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

const std::array<Qm9Property, kQm9Properties>& qm9_properties() {
  static constexpr std::array<Qm9Property, kQm9Properties> all{{{"a", "GHz"},
                                                                {"b", "GHz"},
                                                                {"c", "GHz"},
                                                                {"mu", "D"},
                                                                {"alpha", "bohr^3"},
                                                                {"homo", "Ha"},
                                                                {"lumo", "Ha"},
                                                                {"gap", "Ha"},
                                                                {"r2", "bohr^2"},
                                                                {"zpve", "Ha"},
                                                                {"u0", "Ha"},
                                                                {"u", "Ha"},
                                                                {"h", "Ha"},
                                                                {"g", "Ha"},
                                                                {"cv", "cal/(mol K)"}}};
  return all;
}

int qm9_property(std::string_view name) {
  std::string key;
  for (const char c : name) {
    if (c != '<' && c != '>') {
      key += ascii_lower(c);
    }
  }
  if (key.starts_with("eps")) key.erase(0, 3);
  if (key == "u298" || key == "h298" || key == "g298") key.resize(1);
  const auto& all = qm9_properties();
  const auto found = std::find_if(all.begin(), all.end(), [&](auto& p) { return p.name == key; });
  return found == all.end() ? -1 : static_cast<int>(found - all.begin());
}

int64_t atomic_number(std::string_view symbol) {
  const auto found = std::find(kSymbols.begin(), kSymbols.end(), symbol);
  return found == kSymbols.end() ? 0 : found - kSymbols.begin() + 1;
}

std::string_view element_symbol(int64_t z) {
  check(z >= 1 && z <= static_cast<int64_t>(kSymbols.size()),
        "element_symbol: expected an atomic number from 1 to 118, got ", z);
  return kSymbols[static_cast<size_t>(z - 1)];
}

void Qm9Set::finish_molecule(int64_t id, std::span<const double, kQm9Properties> values) {
  ids.push_back(id);
  offsets.push_back(static_cast<int64_t>(z.size()));
  properties.insert(properties.end(), values.begin(), values.end());
}

void Qm9Set::append(const Qm9Set& other) {
  const int64_t first = offsets.back();
  own_ids = own_ids && other.own_ids;
  append_all(ids, other.ids);
  append_all(z, other.z);
  append_all(positions, other.positions);
  append_all(properties, other.properties);
  for (size_t i = 1; i < other.offsets.size(); ++i) offsets.push_back(first + other.offsets[i]);
}

std::string Qm9Set::content_hash() const {
  std::vector<uint8_t> bytes;
  append_bytes(bytes, ids);
  append_bytes(bytes, offsets);
  append_bytes(bytes, z);
  append_bytes(bytes, positions);
  append_bytes(bytes, properties);
  return sha256_hex(bytes);
}

Qm9Set subset(const Qm9Set& set, std::span<const int64_t> rows) {
  Qm9Set out;
  out.source = set.source;
  out.own_ids = set.own_ids;
  for (const int64_t row : rows) {
    check(row >= 0 && row < set.size(), "subset: expected rows from 0 to ", set.size() - 1,
          ", got ", row);
    const auto begin = static_cast<std::ptrdiff_t>(set.offsets[static_cast<size_t>(row)]);
    const auto end = static_cast<std::ptrdiff_t>(set.offsets[static_cast<size_t>(row) + 1]);
    out.z.insert(out.z.end(), set.z.begin() + begin, set.z.begin() + end);
    out.positions.insert(out.positions.end(), set.positions.begin() + 3 * begin,
                         set.positions.begin() + 3 * end);
    const double* known = set.properties.data() + static_cast<size_t>(row) * kQm9Properties;
    out.finish_molecule(set.ids[static_cast<size_t>(row)],
                        std::span<const double, kQm9Properties>(known, kQm9Properties));
  }
  return out;
}

std::vector<int64_t> parse_uncharacterized(std::string_view text, const std::string& name) {
  TextLines in(text, name);
  for (int i = 0; i < kHeadingLines; ++i) in.expect_next("9 lines of heading");
  std::vector<int64_t> out;
  bool ended = false;
  while (in.next()) {
    const std::string_view first = in.word();
    int64_t id = 0;
    if (!parse_int64(first, id)) {
      if (!first.empty() && first.find_first_not_of("-=_") != first.npos) {
        in.fault("expected an identifier or a closing rule, got '", TextLines::shown(first), "'");
      }
      ended = true;
      continue;
    }
    if (ended) in.fault("expected nothing behind the closing rule, got '", id, "'");
    if (id < 1 || id > kQm9Molecules || (!out.empty() && id <= out.back())) {
      in.fault("expected rising identifiers from 1 to ", kQm9Molecules, ", got ", id);
    }
    out.push_back(id);
  }
  if (out.empty()) in.fault("expected identifiers behind 9 lines of heading, found none");
  return out;
}

}  // namespace basin
