// PLY: see ply.h. The header becomes a list of elements with their properties; the body is walked
// element by element. Fixed-size elements are skipped in one step, elements with lists entry by
// entry.
#include "basin/datasets/ply.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <optional>
#include <vector>

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

// The text of the file line by line; knows its position in bytes and in lines.
class Lines {
 public:
  Lines(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  bool next(std::string_view& line) {
    if (pos_ >= text_.size()) return false;
    const size_t end = std::min(text_.find('\n', pos_), text_.size());
    line = text_.substr(pos_, end - pos_);
    pos_ = std::min(end + 1, text_.size());
    ++number_;
    return true;
  }
  size_t offset() const { return pos_; }
  template <class... A>
  [[noreturn]] void fault(const A&... parts) const {
    fail(ErrorKind::data, name_, ": line ", number_, ": ", printable(str(parts...)));
  }

 private:
  std::string_view text_;
  const std::string& name_;
  size_t pos_ = 0;
  int64_t number_ = 0;
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

PlyHeader parse_header(Lines& lines) {
  PlyHeader header;
  std::string_view line;
  if (!lines.next(line) || words_of(line) != std::vector<std::string_view>{"ply"}) {
    lines.fault("expected the word ply on the first line");
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

// Which property is x, y, z.
std::array<size_t, 3> axes_of(const Element& vertex, const std::string& name) {
  std::array<size_t, 3> axes{};
  for (size_t axis = 0; axis < 3; ++axis) {
    const std::string wanted(1, static_cast<char>('x' + axis));
    const auto& p = vertex.properties;
    const auto found = std::find_if(p.begin(), p.end(),
                                    [&](const Property& q) { return q.name == wanted && !q.list; });
    if (found == p.end()) {
      fail(ErrorKind::data, name, ": line 1: expected a property ", wanted, " of element vertex");
    }
    axes[axis] = static_cast<size_t>(found - p.begin());
  }
  return axes;
}

template <class T>
double decode(std::span<const uint8_t> bytes, bool big) {
  std::array<uint8_t, sizeof(T)> raw;
  std::copy(bytes.begin(), bytes.end(), raw.begin());
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

// One entry; `values` gets its scalars (0 for a list).
void read_entry(ByteReader& in, const Element& e, bool big, std::vector<double>& values) {
  values.clear();
  for (const Property& p : e.properties) {
    if (!p.list) {
      values.push_back(value_of(in, p.type, big));
      continue;
    }
    const double n = value_of(in, *p.list, big);
    if (n < 0) in.fault("expected a list of at least 0 entries, got ", n);
    in.take(static_cast<uint64_t>(n) * static_cast<uint64_t>(width(p.type)), "a list");
    values.push_back(0);
  }
}

void skip_binary(ByteReader& in, const Element& e, bool big) {
  std::vector<double> values;
  const uint64_t each = least_bytes(e);
  if (each == 0) return;
  if (static_cast<uint64_t>(e.count) > in.remaining() / each) {
    in.fault("expected ", e.count, " entries of element ", printable(e.name), ", ", in.remaining(),
             " bytes are left");
  }
  if (!has_list(e)) {
    in.take(static_cast<uint64_t>(e.count) * each, "an element");
    return;
  }
  for (int64_t i = 0; i < e.count; ++i) read_entry(in, e, big, values);
}

Tensor read_binary(ByteReader in, const PlyHeader& header, size_t vertex, const std::string& name) {
  const bool big = header.format == Format::big;
  const Element& e = header.elements[vertex];
  const auto axes = axes_of(e, name);
  for (size_t i = 0; i < vertex; ++i) skip_binary(in, header.elements[i], big);
  if (static_cast<uint64_t>(e.count) > in.remaining() / least_bytes(e)) {
    in.fault("expected ", e.count, " vertices of at least ", least_bytes(e), " bytes, ",
             in.remaining(), " bytes are left");
  }
  Tensor out = Tensor::empty({e.count, 3}, DType::f32);
  auto* xyz = out.mutable_data<float>();
  std::vector<double> values;
  for (int64_t i = 0; i < e.count; ++i) {
    read_entry(in, e, big, values);
    for (size_t axis = 0; axis < 3; ++axis) {
      *xyz = static_cast<float>(values[axes[axis]]);
      if (!std::isfinite(*xyz++)) in.fault("vertex ", i, " is not finite");
    }
  }
  for (size_t i = vertex + 1; i < header.elements.size(); ++i) {
    skip_binary(in, header.elements[i], big);
  }
  if (in.remaining() > 0) in.fault(in.remaining(), " bytes follow the last element");
  return out;
}

// The next line that is not blank, as words.
std::vector<std::string_view> entry_words(Lines& lines, const Element& e, int64_t i) {
  std::string_view line;
  while (lines.next(line)) {
    auto words = words_of(line);
    if (!words.empty()) return words;
  }
  lines.fault("expected ", e.count, " entries of element ", e.name, ", the file ends after ", i);
}

Tensor read_ascii(Lines& lines, const PlyHeader& header, size_t vertex, uint64_t room,
                  const std::string& name) {
  const Element& e = header.elements[vertex];
  const auto axes = axes_of(e, name);
  if (has_list(e)) lines.fault("expected no list property among those of element vertex");
  for (size_t i = 0; i < vertex; ++i) {
    const Element& other = header.elements[i];
    if (other.properties.empty()) continue;
    for (int64_t k = 0; k < other.count; ++k) entry_words(lines, other, k);
  }
  if (static_cast<uint64_t>(e.count) > room / 6 + 1) {  // "0 0 0\n"
    lines.fault("expected ", e.count, " vertices, only ", room, " bytes follow");
  }
  Tensor out = Tensor::empty({e.count, 3}, DType::f32);
  auto* xyz = out.mutable_data<float>();
  for (int64_t i = 0; i < e.count; ++i) {
    const auto words = entry_words(lines, e, i);
    if (words.size() != e.properties.size()) {
      lines.fault("expected ", e.properties.size(), " numbers of vertex ", i, ", got ",
                  words.size());
    }
    for (const size_t axis : axes) {
      double value = 0;
      if (!parse_double(words[axis], value) || !std::isfinite(static_cast<float>(value))) {
        lines.fault("expected a finite number, got '", words[axis].substr(0, 40), "'");
      }
      *xyz++ = static_cast<float>(value);
    }
  }
  return out;
}

}  // namespace

Tensor parse_ply(std::span<const uint8_t> bytes, const std::string& name) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  Lines lines(text, name);
  const PlyHeader header = parse_header(lines);
  const auto& elements = header.elements;
  const auto found = std::find_if(elements.begin(), elements.end(),
                                  [](const Element& e) { return e.name == "vertex"; });
  if (found == elements.end()) lines.fault("expected an element vertex in the header");
  const auto vertex = static_cast<size_t>(found - elements.begin());
  if (header.format == Format::ascii) {
    return read_ascii(lines, header, vertex, bytes.size() - lines.offset(), name);
  }
  ByteReader in(bytes, name);
  in.seek(lines.offset(), "the body");
  return read_binary(in, header, vertex, name);
}

Tensor read_ply(const fs::path& path) { return parse_ply(read_file(path), path.string()); }

}  // namespace basin
