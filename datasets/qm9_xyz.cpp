// Frames of XYZ: the number of atoms, a comment, a line per atom. The comment decides the rest: a
// frame of the QM9 archive ("gdb" and 16 values) has a charge column and three more lines; another
// may hold KEY=VALUE pairs, of which Properties=species:S:1:pos:R:3 tells the columns.
#include <zlib.h>

#include "basin/core/content.h"
#include "basin/datasets/detail/qm9_atoms.h"

namespace basin {
namespace {

constexpr uint64_t kInflatedLimit = uint64_t{1} << 30, kInflatedFloor = uint64_t{1} << 20;
constexpr uint64_t kTextRatio = 100;       // of text to its gzipped size
constexpr uint64_t kSmallestAtomLine = 8;  // "H 0 0 0\n"

// Which words of an atom's line are what.
struct Columns {
  size_t element = 0, position = 1, count = 4;
  bool exactly = false;  // no further words
};

struct Frame {
  int64_t atoms = 0, id = 0;
  std::array<double, kQm9Properties> values = nothing_known();
  Columns columns;
  bool archive = false;
};

Columns parse_columns(const TextLines& in, std::string_view spec) {
  Columns out{0, 0, 0, true};
  bool element = false, position = false;
  while (!spec.empty()) {
    std::array<std::string_view, 3> field;  // name, type, width
    for (std::string_view& part : field) {
      part = spec.substr(0, spec.find(':'));
      spec.remove_prefix(std::min(part.size() + 1, spec.size()));
    }
    const int64_t width = in.integer_of(field[2], "the width of a column in Properties");
    if (width < 1 || width > 100) in.fault("expected columns 1 to 100 wide, got ", width);
    if ((field[0] == "species" || field[0] == "Z") && width == 1 && !element) {
      out.element = out.count;
      element = true;
    } else if (field[0] == "pos" && width == 3 && !position) {
      out.position = out.count;
      position = true;
    }
    out.count += static_cast<size_t>(width);
    if (out.count > 1000) in.fault("expected at most 1000 columns in Properties");
  }
  if (!element || !position) in.fault("expected Properties with species:S:1 and pos:R:3");
  return out;
}

// KEY=VALUE, KEY="VALUE" or a bare word; the rest of the comment without it.
std::string_view take_pair(const TextLines& in, std::string_view& rest, std::string_view& value) {
  const std::string_view key = rest.substr(0, rest.find_first_of("= \t"));
  rest.remove_prefix(key.size());
  value = {};
  if (rest.empty() || rest.front() != '=') return key;
  rest.remove_prefix(1);
  const char quote = rest.empty() ? '\0' : rest.front();
  size_t end = 0;
  if (quote == '"' || quote == '\'') {
    rest.remove_prefix(1);
    end = rest.find(quote);
    if (end == rest.npos) in.fault("expected the quoted value of '", key, "' to end");
  } else {
    end = std::min(rest.find_first_of(" \t"), rest.size());
  }
  value = rest.substr(0, end);
  rest.remove_prefix(std::min(end + (quote == '"' || quote == '\'' ? 1 : 0), rest.size()));
  return key;
}

void parse_pairs(const TextLines& in, Frame& frame) {
  std::string_view rest = without_blanks(in.line()), value;
  while (!rest.empty()) {
    const std::string_view key = take_pair(in, rest, value);
    rest = without_blanks(rest);
    if (key == "Properties") {
      frame.columns = parse_columns(in, value);
    } else if (key == "pbc" && value.find_first_of("Tt1") != value.npos) {
      in.fault("expected a molecule, got periodic boundaries");
    } else if (key == "gdb_id" || key == "id" || key == "index") {
      frame.id = in.integer_of(value, "an identifier");
      if (frame.id < 1) in.fault("expected an identifier from 1 on, got ", frame.id);
    } else if (const int which = qm9_property(key); which >= 0 && !value.empty()) {
      frame.values[static_cast<size_t>(which)] = in.real_of(value, "a number");
    } else if (value.empty() && frame.id == 0) {
      frame.id = identifier_of(key);
    }
  }
}

void parse_comment(TextLines& in, Frame& frame) {
  const std::string_view first = in.word();
  if (first != "gdb") return parse_pairs(in, frame);
  frame.archive = true;
  frame.columns = {0, 1, 5, true};
  frame.id = in.integer("an identifier");
  if (frame.id < 1) in.fault("expected an identifier from 1 on, got ", frame.id);
  for (double& v : frame.values) v = in.real("15 values");
  if (!in.word().empty()) in.fault("expected 15 values, got more");
}

void read_atom(TextLines& in, const Columns& columns, Qm9Set& out) {
  std::array<std::string_view, 3> x;
  std::string_view element;
  size_t at = 0;
  for (;; ++at) {
    const std::string_view word = in.word();
    if (word.empty()) break;
    if (at == columns.element) element = word;
    if (at >= columns.position && at < columns.position + 3) x[at - columns.position] = word;
  }
  if (at < columns.count || (columns.exactly && at > columns.count)) {
    in.fault("expected ", columns.count, " columns for an atom, got ", at);
  }
  out.z.push_back(element_of(in, element));
  for (const std::string_view word : x) out.positions.push_back(coordinate_of(in, word));
}

// Frequencies, two SMILES, two InChI: read to know that the file is whole.
void read_archive_end(TextLines& in, int64_t atoms) {
  in.expect_next("vibrational frequencies");
  int64_t frequencies = 0;
  for (std::string_view word = in.word(); !word.empty(); word = in.word(), ++frequencies) {
    in.real_of(word, "a frequency");
  }
  if (frequencies != 3 * atoms - 6 && frequencies != 3 * atoms - 5) {
    in.fault("expected ", 3 * atoms - 6, " or ", 3 * atoms - 5, " frequencies, got ", frequencies);
  }
  in.expect_next("SMILES");
  if (in.word().empty()) in.fault("expected SMILES, got an empty line");
  in.expect_next("InChI");
  if (!in.word().starts_with("InChI=")) in.fault("expected InChI");
}

std::string gunzipped(std::span<const uint8_t> packed, const std::string& name) {
  z_stream stream{};
  if (inflateInit2(&stream, MAX_WBITS + 16) != Z_OK) {
    fail(ErrorKind::resource, name, ": zlib cannot start, out of memory");
  }
  stream.next_in = const_cast<Bytef*>(packed.data());
  stream.avail_in = static_cast<uInt>(packed.size());
  const uint64_t limit =
      std::min(kInflatedLimit, std::max(kInflatedFloor, kTextRatio * packed.size()));
  std::string out;
  int status = Z_OK;
  while (status == Z_OK && out.size() <= limit) {
    const size_t had = out.size();
    out.resize(had + (size_t{1} << 16));
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + had);
    stream.avail_out = uInt{1} << 16;
    status = ::inflate(&stream, Z_NO_FLUSH);
    out.resize(out.size() - stream.avail_out);
    // Another gzip member may follow.
    if (status == Z_STREAM_END && stream.avail_in > 0) status = ::inflateReset(&stream);
  }
  const uint64_t read = packed.size() - stream.avail_in;
  inflateEnd(&stream);
  if (out.size() > limit) {
    fail(ErrorKind::data, name, ": offset ", read, ": expected at most ", limit, " bytes of text");
  }
  if (status != Z_STREAM_END) {
    fail(ErrorKind::data, name, ": offset ", read, ": the gzipped bytes are damaged or cut short");
  }
  return out;
}

}  // namespace

Qm9Set parse_molecules_xyz(std::string_view text, const std::string& name) {
  Qm9Set out;
  out.source = name;
  TextLines in(text, name);
  int64_t with_id = 0;
  while (in.next()) {
    if (without_blanks(in.line()).empty()) continue;
    Frame frame;
    const bool number = parse_int64(in.word(), frame.atoms) && in.word().empty();
    if (!number || frame.atoms < 1 || frame.atoms > kMaxAtoms) {
      in.fault("expected the number of atoms, 1 to ", kMaxAtoms, ", got '",
               TextLines::shown(in.line()), "'", out.size() == 0 ? content_note(text) : "");
    }
    if (static_cast<uint64_t>(frame.atoms) * kSmallestAtomLine > in.remaining() + 1) {
      in.fault("expected ", frame.atoms, " atoms, the file has ", in.remaining(), " bytes left");
    }
    in.expect_next("a comment line");
    parse_comment(in, frame);
    for (int64_t i = 0; i < frame.atoms; ++i) {
      in.expect_next("an atom");
      read_atom(in, frame.columns, out);
    }
    if (frame.archive) read_archive_end(in, frame.atoms);
    with_id += frame.id > 0 ? 1 : 0;
    out.finish_molecule(frame.id, frame.values);
  }
  if (out.size() == 0) fail(ErrorKind::data, name, ": line 1: expected molecules, found none");
  if (with_id != out.size()) {
    out.own_ids = false;
    for (size_t i = 0; i < out.ids.size(); ++i) out.ids[i] = static_cast<int64_t>(i) + 1;
  }
  return out;
}

Qm9Set read_molecules_xyz(const fs::path& path) {
  const std::string name = path.string();
  const std::vector<uint8_t> bytes = read_file(path, kInflatedLimit);
  if (bytes.size() >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b) {
    return parse_molecules_xyz(gunzipped(bytes, name), name);
  }
  return parse_molecules_xyz({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, name);
}

}  // namespace basin
