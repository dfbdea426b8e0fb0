// Peptides-func from its SMILES: the official table, read with RDKit. Each row becomes the graph
// that OGB's features describe (graphs.h names their kinds); hydrogens are not nodes.
#ifdef BASIN_HAS_RDKIT
#include <RDGeneral/RDLog.h>
// RDLog.h first: the others log.
#include <GraphMol/GraphMol.h>
#include <GraphMol/SmilesParse/SmilesParse.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <memory>

#include "basin/core/parallel.h"
#include "basin/core/printable.h"
#include "basin/datasets/detail/graphs.h"

namespace basin::graphs {
namespace {

constexpr size_t kMostBytes = size_t{1} << 30;  // of the table once inflated
constexpr size_t kMostSmiles = 20'000;          // characters
constexpr size_t kLabels = 10;

struct Molecule {
  int64_t atoms = 0;
  std::vector<uint16_t> atom_features;  // [atoms, 9]
  std::vector<std::array<int32_t, 2>> bonds;
  std::vector<uint16_t> bond_features;  // [bonds, 3]
};

// The place of a value among the listed ones, or behind the last.
template <class T, size_t N>
uint16_t place_among(const std::array<T, N>& known, T value) {
  return static_cast<uint16_t>(std::find(known.begin(), known.end(), value) - known.begin());
}

uint16_t clipped(int value, int low, int high) {  // what is outside counts as misc, behind high
  return static_cast<uint16_t>(value >= low && value <= high ? value - low : high - low + 1);
}

void append_atom(const RDKit::Atom& a, Molecule& out) {
  using RDKit::Atom;
  constexpr std::array kChirality{Atom::CHI_UNSPECIFIED, Atom::CHI_TETRAHEDRAL_CW,
                                  Atom::CHI_TETRAHEDRAL_CCW, Atom::CHI_OTHER};
  constexpr std::array kHybridisation{Atom::SP, Atom::SP2, Atom::SP3, Atom::SP3D, Atom::SP3D2};
  const bool ring = a.getOwningMol().getRingInfo()->numAtomRings(a.getIdx()) > 0;
  out.atom_features.insert(
      out.atom_features.end(),
      {clipped(a.getAtomicNum(), 1, 118), place_among(kChirality, a.getChiralTag()),
       clipped(static_cast<int>(a.getTotalDegree()), 0, 10), clipped(a.getFormalCharge(), -5, 5),
       clipped(static_cast<int>(a.getTotalNumHs()), 0, 8),
       clipped(static_cast<int>(a.getNumRadicalElectrons()), 0, 4),
       place_among(kHybridisation, a.getHybridization()),
       static_cast<uint16_t>(a.getIsAromatic() ? 1 : 0), static_cast<uint16_t>(ring ? 1 : 0)});
}

void append_bond(const RDKit::Bond& b, Molecule& out) {
  using RDKit::Bond;
  constexpr std::array kTypes{Bond::SINGLE, Bond::DOUBLE, Bond::TRIPLE, Bond::AROMATIC};
  constexpr std::array kStereo{Bond::STEREONONE, Bond::STEREOZ,     Bond::STEREOE,
                               Bond::STEREOCIS,  Bond::STEREOTRANS, Bond::STEREOANY};
  out.bonds.push_back(
      {static_cast<int32_t>(b.getBeginAtomIdx()), static_cast<int32_t>(b.getEndAtomIdx())});
  out.bond_features.insert(
      out.bond_features.end(),
      {place_among(kTypes, b.getBondType()), place_among(kStereo, b.getStereo()),
       static_cast<uint16_t>(b.getIsConjugated() ? 1 : 0)});
}

// `place`: file and line, for the sentence.
Molecule molecule_of(const std::string& smiles, const std::string& place) {
  std::unique_ptr<RDKit::ROMol> mol;
  std::string why = "no molecule";
  try {
    mol.reset(RDKit::SmilesToMol(smiles));
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& e) {
    why = e.what();
  }
  if (!mol || mol->getNumAtoms() == 0) {
    fail(ErrorKind::data, place, ": RDKit makes no molecule of '",
         printable(std::string_view(smiles).substr(0, 60)),
         "': ", printable(std::string_view(why).substr(0, 200)));
  }
  Molecule out;
  out.atoms = mol->getNumAtoms();
  for (const RDKit::Atom* a : mol->atoms()) append_atom(*a, out);
  for (const RDKit::Bond* b : mol->bonds()) append_bond(*b, out);
  return out;
}

std::string inflated(const fs::path& file) {
  const std::vector<uint8_t> packed = read_file(file, kMostBytes);
  std::string out;
  z_stream stream{};
  if (inflateInit2(&stream, MAX_WBITS + 16) != Z_OK) {
    fail(ErrorKind::resource, file.string(), ": zlib cannot start, out of memory");
  }
  const std::unique_ptr<z_stream, int (*)(z_streamp)> end(&stream, inflateEnd);
  stream.next_in = const_cast<Bytef*>(packed.data());
  stream.avail_in = static_cast<uInt>(packed.size());
  int status = Z_OK;
  while (status == Z_OK) {
    std::array<char, 65536> part;
    stream.next_out = reinterpret_cast<Bytef*>(part.data());
    stream.avail_out = static_cast<uInt>(part.size());
    status = ::inflate(&stream, Z_NO_FLUSH);
    out.append(part.data(), part.size() - stream.avail_out);
    if (out.size() > kMostBytes) status = Z_DATA_ERROR;
  }
  if (status != Z_STREAM_END) {
    fail(ErrorKind::data, file.string(), ": offset ", packed.size() - stream.avail_in,
         ": the gzip stream is damaged or unpacks to more than ", kMostBytes, " bytes");
  }
  return out;
}

// The cells of a line; one may be quoted, without quotes inside.
std::vector<std::string> cells_of(std::string_view line) {
  std::vector<std::string> out(1);
  bool quoted = false;
  for (const char c : line) {
    if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      out.emplace_back();
    } else {
      out.back() += c;
    }
  }
  return out;
}

void append_labels(const std::string& text, const std::string& place, GraphSet& set) {
  size_t found = 0;
  for (const char c : text) {
    if (c == '0' || c == '1') {
      set.targets.push_back(c == '1' ? 1 : 0);
      ++found;
    } else if (std::string_view("[], ").find(c) == std::string_view::npos) {
      found = kLabels + 1;
    }
  }
  if (found != kLabels) {
    fail(ErrorKind::data, place, ": expected [", kLabels, " labels of 0 or 1], got '",
         printable(std::string_view(text).substr(0, 60)), "'");
  }
}

void append_molecule(const Molecule& m, GraphSet& set) {
  set.node_features.insert(set.node_features.end(), m.atom_features.begin(), m.atom_features.end());
  for (size_t b = 0; b < m.bonds.size(); ++b) {
    const auto features = m.bond_features.begin() + static_cast<std::ptrdiff_t>(3 * b);
    for (const bool back : {false, true}) {
      set.sender.push_back(m.bonds[b][back ? 1 : 0]);
      set.receiver.push_back(m.bonds[b][back ? 0 : 1]);
      set.edge_features.insert(set.edge_features.end(), features, features + 3);
    }
  }
  set.node_start.push_back(set.node_start.back() + m.atoms);
  set.edge_start.push_back(static_cast<int64_t>(set.sender.size()));
}

}  // namespace

GraphSet read_smiles(const fs::path& dir) {
  const fs::path file = dir / kPeptideTable;
  boost::logging::disable_logs("rdApp.*");
  const std::string text = inflated(file);
  const auto place = [&file](size_t row) { return str(file.string(), ": line ", row + 2); };
  GraphSet set = peptide_set();
  std::vector<std::string> smiles;
  size_t begin = std::min(text.find('\n'), text.size());
  if (text.substr(0, begin) != ",smiles,peptide_seq,labels,identifier") {
    fail(ErrorKind::data, file.string(),
         ": line 1: expected the header ,smiles,peptide_seq,labels,identifier, got '",
         printable(std::string_view(text).substr(0, std::min<size_t>(begin, 60))), "'");
  }
  for (++begin; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::vector<std::string> cells =
        cells_of(std::string_view(text).substr(begin, end - begin));
    if (cells.size() != 5 || cells[1].size() > kMostSmiles) {
      fail(ErrorKind::data, place(smiles.size()), ": expected 5 cells, SMILES of at most ",
           kMostSmiles, " characters second, got ", cells.size());
    }
    append_labels(cells[3], place(smiles.size()), set);
    smiles.push_back(cells[1]);
    begin = end + 1;
  }
  if (smiles.empty()) fail(ErrorKind::data, file.string(), ": line 2: expected molecules, none");
  std::vector<Molecule> molecules(smiles.size());
  parallel_for(static_cast<int64_t>(smiles.size()), 64, [&](int64_t i, int64_t last) {
    for (; i < last; ++i) {
      const auto row = static_cast<size_t>(i);
      molecules[row] = molecule_of(smiles[row], place(row));
    }
  });
  for (const Molecule& m : molecules) append_molecule(m, set);
  seal(set, [&file](int64_t) { return file.string(); });
  set.description = "Peptides-func from SMILES, " + counts(set);
  return set;
}

}  // namespace basin::graphs
#endif
