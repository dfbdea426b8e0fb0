// PLY: see ply.h. The header becomes a list of elements with their properties; the body is walked
// element by element, by one loop for all encodings: what differs is how an entry is read or passed
// over. In a binary body fixed-size elements are skipped in one step, elements with lists entry by
// entry; in an ascii one each entry is a line.
#include "basin/datasets/ply.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <vector>

#include "basin/core/content.h"
#include "basin/core/lines.h"
#include "basin/core/printable.h"

namespace basin {
namespace {

constexpr size_t kMaxElements = 64, kMaxProperties = 1024, kMaxHeader = 1 << 20;

enum class Format : uint8_t { ascii, little, big };
enum class Type : uint8_t { i8, u8, i16, u16, i32, u32, f32, f64 };

struct Property {
  std::string name;
  Type type = Type::f32;
  std::optional<Type> list;  // type of the count when it is a list
};

struct Element {
  std::string name;
  int64_t count = 0;
  std::vector<Property> properties;
};

int width(Type t) {
  constexpr int kWidths[] = {1, 1, 2, 2, 4, 4, 4, 8};
  return kWidths[static_cast<int>(t)];
}

std::optional<Type> type_of(std::string_view word) {
  constexpr std::string_view kNames[][2] = {
      {"char", "int8"}, {"uchar", "uint8"}, {"short", "int16"},   {"ushort", "uint16"},
      {"int", "int32"}, {"uint", "uint32"}, {"float", "float32"}, {"double", "float64"}};
  for (int i = 0; i < 8; ++i) {
    if (word == kNames[i][0] || word == kNames[i][1]) return static_cast<Type>(i);
  }
  return std::nullopt;
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> out;
  constexpr std::string_view kBlanks = " \t\r";
  for (size_t i = line.find_first_not_of(kBlanks); i != line.npos;) {
    const size_t end = std::min(line.find_first_of(kBlanks, i), line.size());
    out.push_back(line.substr(i, end - i));
    i = line.find_first_not_of(kBlanks, end);
  }
  return out;
}

// The text of the file line by line.
class Lines : public LineReader {
 public:
  Lines(std::string_view text, const std::string& name) : LineReader(text), name_(name) {}

  template <class... A>
  [[noreturn]] void fault(const A&... parts) const {
    fail(ErrorKind::data, name_, ": line ", number(), ": ", printable(str(parts...)));
  }

 private:
  const std::string& name_;
};

struct PlyHeader {
  Format format = Format::ascii;
  std::vector<Element> elements;
};

Format format_of(const Lines& lines, const std::vector<std::string_view>& words) {
  const std::string_view f = words.size() == 3 && words[2] == "1.0" ? words[1] : "";
  if (f == "ascii") return Format::ascii;
  if (f == "binary_little_endian") return Format::little;
  if (f != "binary_big_endian") {
    lines.fault("expected format ascii, binary_little_endian or binary_big_endian, version 1.0");
  }
  return Format::big;
}

Property property_of(const Lines& lines, const std::vector<std::string_view>& words) {
  const bool list = words.size() == 5 && words[1] == "list";
  const auto type = words.size() == 3 ? type_of(words[1]) : list ? type_of(words[3]) : std::nullopt;
  const auto count = list ? type_of(words[2]) : std::nullopt;
  const bool whole = !list || (count && *count < Type::f32);
  if (!type || !whole)
    lines.fault("expected 'property TYPE NAME' or 'property list TYPE TYPE NAME'");
  return {std::string(words.back()), *type, count};
}

PlyHeader parse_header(Lines& lines, std::string_view text) {
  PlyHeader header;
  std::string_view line;
  if (!lines.next(line) || words_of(line) != std::vector<std::string_view>{"ply"}) {
    lines.fault("expected the word ply on the first line", content_note(text));
  }
  bool format = false;
  while (lines.next(line)) {
    if (lines.offset() > kMaxHeader)
      lines.fault("the header is longer than ", kMaxHeader, " bytes");
    const auto words = words_of(line);
    if (words.empty() || words[0] == "comment" || words[0] == "obj_info") continue;
    if (words[0] == "end_header") {
      if (!format) lines.fault("expected a format line in the header");
      return header;
    }
    if (words[0] == "format" && !format) {
      header.format = format_of(lines, words), format = true;
    } else if (words[0] == "element") {
      Element e;
      if (words.size() != 3 || !parse_int64(words[2], e.count) || e.count < 0 ||
          header.elements.size() == kMaxElements) {
        lines.fault("expected 'element NAME COUNT' with a count of at least 0");
      }
      e.name = std::string(words[1]);
      header.elements.push_back(std::move(e));
    } else if (words[0] == "property" && !header.elements.empty()) {
      auto& properties = header.elements.back().properties;
      if (properties.size() == kMaxProperties) lines.fault("too many properties");
      properties.push_back(property_of(lines, words));
    } else {
      lines.fault("unexpected '", words[0].substr(0, 40), "' in the header");
    }
  }
  lines.fault("expected end_header, the file ends");
}

// Which properties are the coordinates and, where all three are there, the normal.
struct Columns {
  std::vector<size_t> at;  // 3 or 6 places among the properties
  DType dtype = DType::f64;
};

std::optional<size_t> scalar_named(const Element& e, std::string_view name) {
  const auto& p = e.properties;
  const auto found = std::find_if(p.begin(), p.end(),
                                  [&](const Property& q) { return q.name == name && !q.list; });
  if (found == p.end()) return std::nullopt;
  return static_cast<size_t>(found - p.begin());
}

Columns columns_of(const Element& vertex, Format format, const std::string& name) {
  Columns columns;
  for (const std::string_view axis : {"x", "y", "z"}) {
    const auto at = scalar_named(vertex, axis);
    if (!at) {
      fail(ErrorKind::data, name, ": line 1: expected a property ", axis, " of element vertex");
    }
    columns.at.push_back(*at);
  }
  const auto nx = scalar_named(vertex, "nx"), ny = scalar_named(vertex, "ny"),
             nz = scalar_named(vertex, "nz");
  if (nx && ny && nz) columns.at.insert(columns.at.end(), {*nx, *ny, *nz});
  const bool narrow = std::all_of(columns.at.begin(), columns.at.end(), [&](size_t at) {
    const Type type = vertex.properties[at].type;
    return type < Type::i32 || type == Type::f32;
  });
  if (narrow && format != Format::ascii) columns.dtype = DType::f32;
  return columns;
}

template <class T>
double decode(std::span<const uint8_t> bytes, bool big) {
  std::array<uint8_t, sizeof(T)> raw;
  std::memcpy(raw.data(), bytes.data(), raw.size());
  if (big) std::reverse(raw.begin(), raw.end());
  return static_cast<double>(std::bit_cast<T>(raw));
}

double value_of(ByteReader& in, Type type, bool big) {
  const auto bytes = in.take(static_cast<uint64_t>(width(type)), "a property");
  switch (type) {
    case Type::i8: return decode<int8_t>(bytes, big);
    case Type::u8: return decode<uint8_t>(bytes, big);
    case Type::i16: return decode<int16_t>(bytes, big);
    case Type::u16: return decode<uint16_t>(bytes, big);
    case Type::i32: return decode<int32_t>(bytes, big);
    case Type::u32: return decode<uint32_t>(bytes, big);
    case Type::f32: return decode<float>(bytes, big);
    case Type::f64: return decode<double>(bytes, big);
  }
  return 0;
}

// Bytes that one entry takes at the least (a list may be empty).
uint64_t least_bytes(const Element& e) {
  uint64_t total = 0;
  for (const Property& p : e.properties)
    total += static_cast<uint64_t>(width(p.list.value_or(p.type)));
  return total;
}

bool has_list(const Element& e) {
  return std::any_of(e.properties.begin(), e.properties.end(),
                     [](const Property& p) { return p.list.has_value(); });
}

class BinaryBody {
 public:
  BinaryBody(std::span<const uint8_t> bytes, const std::string& name, size_t begin, Format format)
      : in_(bytes, name), big_(format == Format::big) {
    in_.seek(begin, "the body");
  }

  void skip(const Element& e) {
    const uint64_t each = least_bytes(e);
    if (each == 0) return;
    check_room(e);
    if (!has_list(e)) {
      in_.take(static_cast<uint64_t>(e.count) * each, "an element");
      return;
    }
    for (int64_t i = 0; i < e.count; ++i) read_entry(e);
  }

  void check_room(const Element& e) const {
    const uint64_t each = least_bytes(e);
    if (static_cast<uint64_t>(e.count) > in_.remaining() / each) {
      in_.fault("expected ", e.count, " entries of element ", printable(e.name), " of at least ",
                each, " bytes, ", in_.remaining(), " bytes are left");
    }
  }

  // The columns of the next entry.
  void read(const Element& e, int64_t, const Columns& columns, double* out) {
    read_entry(e);
    for (const size_t at : columns.at) *out++ = values_[at];
  }

  template <class... A>
  [[noreturn]] void fault(const A&... parts) const {
    in_.fault(parts...);
  }

 private:
  // One entry; values_ gets its scalars (0 for a list).
  void read_entry(const Element& e) {
    values_.clear();
    for (const Property& p : e.properties) {
      if (!p.list) {
        values_.push_back(value_of(in_, p.type, big_));
        continue;
      }
      const double n = value_of(in_, *p.list, big_);
      if (n < 0) in_.fault("expected a list of at least 0 entries, got ", n);
      in_.take(static_cast<uint64_t>(n) * static_cast<uint64_t>(width(p.type)), "a list");
      values_.push_back(0);
    }
  }

  ByteReader in_;
  bool big_;
  std::vector<double> values_;
};

class AsciiBody {
 public:
  AsciiBody(const Lines& lines, size_t bytes) : lines_(lines), bytes_(bytes) {}

  void skip(const Element& e) {
    if (e.properties.empty()) return;
    for (int64_t i = 0; i < e.count; ++i) next_words(e, i);
  }

  void check_room(const Element& e) const {
    const uint64_t room = bytes_ - lines_.offset();
    if (static_cast<uint64_t>(e.count) > room / 6 + 1) {  // "0 0 0\n"
      fault("expected ", e.count, " vertices, only ", room, " bytes follow");
    }
  }

  void read(const Element& e, int64_t i, const Columns& columns, double* out) {
    find_scalars(e, i, next_words(e, i));
    for (size_t k = 0; k < columns.at.size(); ++k) {
      const std::string_view word = scalars_[columns.at[k]];
      if (parse_double(word, out[k]) && (k >= 3 || std::isfinite(out[k]))) continue;
      if (k < 3) fault("expected a finite number, got '", word.substr(0, 40), "'");
      out[k] = std::numeric_limits<double>::quiet_NaN();  // as some write it, "-1.#IND"
    }
  }

  template <class... A>
  [[noreturn]] void fault(const A&... parts) const {
    lines_.fault(parts...);
  }

 private:
  // The next line that is not blank, as words.
  std::vector<std::string_view> next_words(const Element& e, int64_t i) {
    std::string_view line;
    while (lines_.next(line)) {
      auto words = words_of(line);
      if (!words.empty()) return words;
    }
    fault("expected ", e.count, " entries of element ", e.name, ", the file ends after ", i);
  }

  // scalars_ gets the word of each property, none for a list.
  void find_scalars(const Element& e, int64_t i, const std::vector<std::string_view>& words) {
    scalars_.clear();
    size_t used = 0;
    for (const Property& p : e.properties) {
      scalars_.push_back(p.list || used >= words.size() ? std::string_view() : words[used]);
      if (int64_t n = 0; p.list && used < words.size()) {
        if (!parse_int64(words[used], n) || n < 0) {
          fault("expected the length of a list, got '", words[used].substr(0, 40), "'");
        }
        used += static_cast<size_t>(std::min<int64_t>(n, static_cast<int64_t>(words.size())));
      }
      ++used;
    }
    if (used != words.size()) {
      fault("expected ", used, " numbers of ", e.name, " ", i, ", got ", words.size());
    }
  }

  Lines lines_;
  size_t bytes_;
  std::vector<std::string_view> scalars_;
};

template <class Body>
PlyCloud read_body(Body body, const PlyHeader& header, size_t vertex, const std::string& name) {
  const Element& e = header.elements[vertex];
  const Columns columns = columns_of(e, header.format, name);
  for (size_t i = 0; i < vertex; ++i) body.skip(header.elements[i]);
  body.check_room(e);
  PlyCloud cloud;
  cloud.points = Tensor::empty({e.count, 3}, columns.dtype);
  const bool normals = columns.at.size() == 6;
  if (normals) cloud.normals = Tensor::empty({e.count, 3}, columns.dtype);
  dispatch_float(columns.dtype, "parse_ply", [&](auto zero) {
    using T = decltype(zero);
    T* xyz = cloud.points.mutable_data<T>();
    T* normal = normals ? cloud.normals.mutable_data<T>() : nullptr;
    for (int64_t i = 0; i < e.count; ++i) {
      double values[6];
      body.read(e, i, columns, values);
      for (int axis = 0; axis < 3; ++axis) {
        if (!std::isfinite(values[axis])) body.fault("vertex ", i, " is not finite");
        *xyz++ = static_cast<T>(values[axis]);
        if (normals) *normal++ = static_cast<T>(values[3 + axis]);
      }
    }
  });
  for (size_t i = vertex + 1; i < header.elements.size(); ++i) body.skip(header.elements[i]);
  return cloud;
}

// Where a binary body begins: `end` is behind end_header and its line end. When every line of the
// header ends in a lone carriage return, a line feed there belongs to the body.
size_t body_offset(std::string_view text, size_t end) {
  const bool returns = end >= 2 && text.substr(end - 2, 2) == "\r\n" && text.find('\n') == end - 1;
  return returns ? end - 1 : end;
}

}  // namespace

PlyCloud parse_ply(std::span<const uint8_t> bytes, const std::string& name) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  Lines lines(text, name);
  const PlyHeader header = parse_header(lines, text);
  const auto& elements = header.elements;
  const auto found = std::find_if(elements.begin(), elements.end(),
                                  [](const Element& e) { return e.name == "vertex"; });
  if (found == elements.end()) lines.fault("expected an element vertex in the header");
  const auto vertex = static_cast<size_t>(found - elements.begin());
  if (header.format == Format::ascii) {
    return read_body(AsciiBody(lines, bytes.size()), header, vertex, name);
  }
  const size_t begin = body_offset(text, lines.offset());
  return read_body(BinaryBody(bytes, name, begin, header.format), header, vertex, name);
}

PlyCloud read_ply(const fs::path& path) { return parse_ply(read_file(path), path.string()); }

}  // namespace basin
