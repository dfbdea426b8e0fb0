// MDL SDF, version V2000, of which only the atoms are used (the bond tables of QM9 hold impossible
// bonds), and tables of properties.
#include <utility>

#include "basin/core/content.h"
#include "basin/datasets/detail/qm9_atoms.h"

namespace basin {
namespace {

// The text of a fixed column, without blanks around it.
std::string_view fixed_column(const TextLines& in, size_t begin, size_t width) {
  const std::string_view line = in.line();
  return begin < line.size() ? without_blanks(line.substr(begin, width)) : std::string_view{};
}

void read_bond(TextLines& in, int64_t atoms) {
  for (const size_t at : {size_t{0}, size_t{3}}) {
    const int64_t end = in.integer_of(fixed_column(in, at, 3), "the atoms of a bond");
    if (end < 1 || end > atoms)
      in.fault("expected a bond between atoms 1 to ", atoms, ", got ", end);
  }
}

// From the line of counts to "M  END".
void read_table(TextLines& in, Qm9Set& out) {
  if (in.line().find("V3000") != std::string_view::npos) {
    in.fault("expected V2000, got V3000; convert the file");
  }
  const int64_t atoms = in.integer_of(fixed_column(in, 0, 3), "the number of atoms");
  const int64_t bonds = in.integer_of(fixed_column(in, 3, 3), "the number of bonds");
  if (atoms < 1 || bonds < 0 || fixed_column(in, 33, 6) != "V2000") {
    in.fault("expected counts of atoms and bonds and V2000, got '", TextLines::shown(in.line()),
             "'");
  }
  for (int64_t i = 0; i < atoms; ++i) {
    in.expect_next("an atom");
    for (const size_t at : {size_t{0}, size_t{10}, size_t{20}}) {
      out.positions.push_back(coordinate_of(in, fixed_column(in, at, 10)));
    }
    out.z.push_back(element_of(in, fixed_column(in, 31, 3)));
  }
  for (int64_t i = 0; i < bonds; ++i) {
    in.expect_next("a bond");
    read_bond(in, atoms);
  }
  do {
    in.expect_next("M  END");
  } while (!in.line().starts_with("M  END"));
}

std::vector<std::string_view> table_cells(std::string_view line) {
  std::vector<std::string_view> out;
  for (;;) {
    const size_t comma = line.find(',');
    out.push_back(without_blanks(line.substr(0, comma)));
    if (comma == line.npos) return out;
    line.remove_prefix(comma + 1);
  }
}

struct TableHeader {
  size_t columns = 0, id = 0;
  bool has_id = false;
  std::vector<std::pair<size_t, size_t>> known;  // column, property
};

TableHeader parse_table_header(TextLines& in) {
  in.expect_next("the names of the columns");
  TableHeader out;
  std::array<bool, kQm9Properties> seen{};
  for (const std::string_view name : table_cells(in.line())) {
    if (name == "mol_id" || name == "id" || name == "index") {
      if (out.has_id) in.fault("expected one column of identifiers, got two");
      out.id = out.columns;
      out.has_id = true;
    } else if (const int which = qm9_property(name); which >= 0) {
      if (std::exchange(seen[static_cast<size_t>(which)], true)) {
        in.fault("expected each property once, got '", TextLines::shown(name), "' again");
      }
      out.known.emplace_back(out.columns, static_cast<size_t>(which));
    }
    ++out.columns;
  }
  if (out.known.empty()) in.fault("expected columns of properties (homo, u0, ...), found none");
  return out;
}

}  // namespace

Qm9Set parse_molecules_sdf(std::string_view text, const std::string& name) {
  Qm9Set out;
  out.source = name;
  TextLines in(text, name);
  int64_t with_id = 0;
  while (in.next()) {
    if (in.remaining() == 0 && without_blanks(in.line()).empty()) break;
    const int64_t id = identifier_of(without_blanks(in.line()));
    in.expect_next("the program's line");
    in.expect_next("a comment line");
    in.expect_next("the counts of atoms and bonds");
    if (out.size() == 0 && !describe_content(text).empty()) {
      in.fault("expected an SDF", content_note(text));
    }
    read_table(in, out);
    do {
      in.expect_next("$$$$");
    } while (!in.line().starts_with("$$$$"));
    with_id += id > 0 ? 1 : 0;
    out.finish_molecule(id, nothing_known());
  }
  if (out.size() == 0) fail(ErrorKind::data, name, ": line 1: expected molecules, found none");
  if (with_id != out.size()) {
    out.own_ids = false;
    for (size_t i = 0; i < out.ids.size(); ++i) out.ids[i] = static_cast<int64_t>(i) + 1;
  }
  return out;
}

void parse_molecules_csv(std::string_view text, const std::string& name, Qm9Set& molecules) {
  TextLines in(text, name);
  const TableHeader header = parse_table_header(in);
  int64_t row = 0;
  bool all_ids = header.has_id;
  std::vector<int64_t> ids;
  for (; in.next(); ++row) {
    const std::vector<std::string_view> cells = table_cells(in.line());
    if (cells.size() != header.columns) {
      in.fault("expected ", header.columns, " columns, got ", cells.size());
    }
    if (row == molecules.size()) in.fault("expected ", row, " rows, one per molecule, got more");
    double* values = molecules.properties.data() + static_cast<size_t>(row) * kQm9Properties;
    for (const auto& [at, which] : header.known) values[which] = in.real_of(cells[at], "a number");
    int64_t id = 0;
    if (header.has_id) {
      id = identifier_of(cells[header.id]);
      if (id == 0) parse_int64(cells[header.id], id);
      const int64_t own = molecules.ids[static_cast<size_t>(row)];
      if (molecules.own_ids && id > 0 && id != own) {
        in.fault("expected the molecule ", kIdentifier, own, ", got ", id);
      }
    }
    all_ids = all_ids && id > 0;
    ids.push_back(id);
  }
  if (row != molecules.size()) {
    in.fault("expected ", molecules.size(), " rows, one per molecule, got ", row);
  }
  if (!molecules.own_ids && all_ids) {
    molecules.ids = std::move(ids);
    molecules.own_ids = true;
  }
}

}  // namespace basin
