// safetensors: see safetensors.h. The header is parsed by a small strict parser of exactly the
// grammar that the format allows: an object of objects, no recursion, hence no depth to bound.
// Every range is checked against its shape, and sorted ranges must tile the tensor bytes without
// hole or overlap, so that what is accepted can be indexed safely and no byte escapes the
// description.
#include "basin/core/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <set>

#include "basin/core/content.h"
#include "basin/core/detail/json_text.h"
#include "basin/core/half.h"
#include "basin/core/printable.h"
#include "basin/core/utf8.h"

namespace basin {
namespace {

constexpr uint64_t kHeaderLimit = 100'000'000;
constexpr uint64_t kAlignment = 64;

enum class Stored : uint8_t { f32, f64, i32, i64, f16, bf16, boolean, i8, u8, i16, u16, u32, u64 };

// In the order of Stored: the name, the bytes of an element, and what it becomes in memory.
constexpr struct {
  std::string_view name;
  uint64_t width;
  DType dtype;
} kTypes[] = {{"F32", 4, DType::f32},  {"F64", 8, DType::f64}, {"I32", 4, DType::i32},
              {"I64", 8, DType::i64},  {"F16", 2, DType::f32}, {"BF16", 2, DType::f32},
              {"BOOL", 1, DType::i32}, {"I8", 1, DType::i32},  {"U8", 1, DType::i32},
              {"I16", 2, DType::i32},  {"U16", 2, DType::i32}, {"U32", 4, DType::i64},
              {"U64", 8, DType::i64}};

const auto& facts_of(Stored s) { return kTypes[static_cast<size_t>(s)]; }

struct Entry {
  std::string name;
  Stored stored = Stored::f32;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;
  uint64_t at = 0;  // offset of the entry in the file, for messages
};

class HeaderParser {
 public:
  HeaderParser(std::span<const uint8_t> text, const std::string& name) : text_(text), name_(name) {}

  void parse(std::vector<Entry>& entries, std::map<std::string, std::string>& metadata) {
    if (text_.empty() || text_[0] != '{') fault("expected '{' as the first byte of the header");
    std::set<std::string> seen;
    object([&](const std::string& key) {
      if (!seen.insert(key).second) fault("the key \"", key, "\" is there twice");
      if (key == "__metadata__") {
        parse_metadata(metadata);
      } else {
        entries.push_back(parse_entry(key));
      }
    });
    skip_space();
    if (pos_ != text_.size()) fault("expected only blanks after the header's closing '}'");
  }

 private:
  template <class... A>
  [[noreturn]] void fault(const A&... parts) const {
    fail(ErrorKind::data, name_, ": offset ", 8 + pos_, ": header: ", printable(str(parts...)));
  }

  void skip_space() {
    constexpr std::string_view kBlanks = " \t\r\n";
    while (pos_ < text_.size() && kBlanks.find(static_cast<char>(text_[pos_])) != kBlanks.npos) {
      ++pos_;
    }
  }

  bool accept(char c) {
    skip_space();
    if (pos_ >= text_.size() || text_[pos_] != static_cast<uint8_t>(c)) return false;
    ++pos_;
    return true;
  }

  void expect(char c) {
    if (!accept(c))
      fault("expected '", c, "', ", pos_ < text_.size() ? "got another byte" : "it ends");
  }

  // item() between `open` and `close`, separated by commas.
  template <class Item>
  void list(char open, char close, Item&& item) {
    expect(open);
    if (accept(close)) return;
    do {
      item();
    } while (accept(','));
    expect(close);
  }

  template <class Member>
  void object(Member&& member) {
    list('{', '}', [&] {
      const std::string key = string();
      expect(':');
      member(key);
    });
  }

  std::string string() {
    skip_space();
    std::string out;
    const std::string_view text(reinterpret_cast<const char*>(text_.data()), text_.size());
    const std::string_view wrong = read_json_string(text, pos_, out);
    if (!wrong.empty()) fault(wrong);
    return out;
  }

  int64_t integer() {
    skip_space();
    const size_t begin = pos_;
    while (pos_ < text_.size() && text_[pos_] >= '0' && text_[pos_] <= '9') ++pos_;
    const std::string_view digits(reinterpret_cast<const char*>(text_.data()) + begin,
                                  pos_ - begin);
    int64_t value = 0;
    const bool leading_zero = digits.size() > 1 && digits[0] == '0';
    if (leading_zero || !parse_int64(digits, value)) {
      pos_ = begin;
      fault("expected a whole number from 0 to 2^63 - 1");
    }
    return value;
  }

  void parse_metadata(std::map<std::string, std::string>& metadata) {
    object([&](const std::string& key) {
      const std::string value = string();
      if (!metadata.emplace(key, value).second) fault("the key \"", key, "\" is there twice");
    });
  }

  Stored stored_type() {
    const std::string t = string();
    for (size_t i = 0; i < std::size(kTypes); ++i) {
      if (t == kTypes[i].name) return static_cast<Stored>(i);
    }
    fault("expected a dtype of floats from F16 to F64, of integers from I8 to U64, or BOOL, got \"",
          t, "\"");
  }

  Entry parse_entry(const std::string& name) {
    Entry entry;
    entry.name = name;
    entry.at = 8 + pos_;
    std::set<std::string> seen;
    std::vector<int64_t> offsets;
    object([&](const std::string& key) {
      if (!seen.insert(key).second) fault("\"", name, "\" has the key \"", key, "\" twice");
      if (key == "dtype") {
        entry.stored = stored_type();
      } else if (key == "shape") {
        list('[', ']', [&] { add(entry.shape, kMaxRank, name); });
      } else if (key == "data_offsets") {
        list('[', ']', [&] { add(offsets, 2, name); });
      } else {
        fault("\"", name, "\" has the unknown key \"", key, "\"");
      }
    });
    if (seen.size() != 3 || offsets.size() != 2) {
      fault("\"", name, "\" needs dtype, shape and two data_offsets");
    }
    entry.begin = static_cast<uint64_t>(offsets[0]);
    entry.end = static_cast<uint64_t>(offsets[1]);
    return entry;
  }

  void add(std::vector<int64_t>& values, size_t limit, const std::string& name) {
    if (values.size() == limit) fault("\"", name, "\" has a list of more than ", limit, " numbers");
    values.push_back(integer());
  }

  std::span<const uint8_t> text_;
  const std::string& name_;
  size_t pos_ = 0;
};

// Range against shape, then all ranges against each other and the file.
void check_ranges(const std::vector<Entry>& entries, uint64_t data_bytes, uint64_t data_at,
                  const std::string& file) {
  std::vector<const Entry*> sorted;
  for (const Entry& e : entries) {
    const std::string where = str(file, ": offset ", e.at, ": \"", printable(e.name), "\"");
    int64_t count = 1, product = 1;  // the product without zeros bounds what Shape has to hold
    for (int64_t s : e.shape) {
      product = checked_mul(product, std::max<int64_t>(s, 1), where);
      count = s == 0 ? 0 : count * s;
    }
    checked_mul(product, 16, where);
    const uint64_t bytes = static_cast<uint64_t>(count) * facts_of(e.stored).width;
    if (e.begin > e.end || e.end > data_bytes || e.end - e.begin != bytes) {
      fail(ErrorKind::data, where, ": expected a range of ", bytes, " bytes within ", data_bytes,
           " for its shape, got [", e.begin, ", ", e.end, ")");
    }
    sorted.push_back(&e);
  }
  std::stable_sort(sorted.begin(), sorted.end(), [](const Entry* a, const Entry* b) {
    return std::pair(a->begin, a->end) < std::pair(b->begin, b->end);
  });
  uint64_t filled = 0;
  for (const Entry* e : sorted) {
    if (e->begin != filled) {
      fail(ErrorKind::data, file, ": offset ", data_at + std::min(filled, e->begin), ": \"",
           printable(e->name), "\" ",
           e->begin > filled ? "leaves a hole" : "overlaps another tensor",
           ", expected it to begin at ", filled, ", got ", e->begin);
    }
    filled = e->end;
  }
  if (filled != data_bytes) {
    fail(ErrorKind::data, file, ": offset ", data_at + filled, ": ", data_bytes - filled,
         " trailing bytes belong to no tensor");
  }
}

// Every element of little-endian From through `wider`.
template <class From, class To, class Wider>
void widen(std::span<const uint8_t> bytes, Tensor& out, Wider wider) {
  To* to = out.mutable_data<To>();
  for (size_t at = 0; at < bytes.size(); at += sizeof(From)) {
    From value{};
    std::memcpy(&value, &bytes[at], sizeof(From));
    *to++ = wider(value);
  }
}

template <class From, class To>
void widen(std::span<const uint8_t> bytes, Tensor& out) {
  widen<From, To>(bytes, out, [](From value) { return static_cast<To>(value); });
}

Tensor load(const Entry& e, std::span<const uint8_t> bytes, const std::string& file) {
  Tensor t = Tensor::empty(Shape(e.shape), facts_of(e.stored).dtype);
  if (bytes.empty()) return t;
  switch (e.stored) {
    case Stored::f16: widen<uint16_t, float>(bytes, t, half_to_float); break;
    case Stored::bf16:
      widen<uint16_t, float>(
          bytes, t, [](uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); });
      break;
    case Stored::boolean:
    case Stored::u8: widen<uint8_t, int32_t>(bytes, t); break;
    case Stored::i8: widen<int8_t, int32_t>(bytes, t); break;
    case Stored::i16: widen<int16_t, int32_t>(bytes, t); break;
    case Stored::u16: widen<uint16_t, int32_t>(bytes, t); break;
    case Stored::u32: widen<uint32_t, int64_t>(bytes, t); break;
    case Stored::u64:
      widen<uint64_t, int64_t>(bytes, t, [&](uint64_t value) {
        if (value >> 63 == 0) return static_cast<int64_t>(value);
        fail(ErrorKind::data, file, ": offset ", e.at, ": \"", printable(e.name),
             "\": expected numbers below 2^63, got ", value);
      });
      break;
    default: std::memcpy(t.mutable_raw(), bytes.data(), bytes.size());
  }
  return t;
}

// A safetensors file has a brace as its ninth byte; what has not, and can be told, is named.
void check_is_safetensors(std::span<const uint8_t> bytes, const std::string& name) {
  constexpr size_t kBrace = 8;
  if (bytes.size() <= kBrace || bytes[kBrace] == '{') return;
  const std::string_view what = describe_content(bytes);
  if (what.empty()) return;
  fail(ErrorKind::data, name, ": offset 0: expected a safetensors file, this is ", what,
       "; weights must be saved as safetensors (docs/probing.md, \"Trained elsewhere\"; "
       "examples/pytorch_weights/convert.py converts those of PyTorch)");
}

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (size_t at = 0; at < text.size(); at += utf8_length(text.substr(at))) {
    check(utf8_length(text.substr(at)) > 0, "write_safetensors: \"", printable(text),
          "\" is not UTF-8");
  }
  for (char c : text) {
    const auto u = static_cast<uint8_t>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (u < 0x20) {
      out += str("\\u00", "0123456789abcdef"[u >> 4], "0123456789abcdef"[u & 15]);
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string header_of(const SafetensorsFile& file) {
  std::string header = "{";
  const auto separate = [&] { header += header.size() > 1 ? "," : ""; };
  if (!file.metadata.empty()) {
    header += "\"__metadata__\":{";
    bool first = true;
    for (const auto& [key, value] : file.metadata) {
      header += (first ? "" : ",") + json_string(key) + ':' + json_string(value);
      first = false;
    }
    header += '}';
  }
  uint64_t offset = 0;
  std::set<std::string_view> seen{"__metadata__"};
  for (const auto& [name, t] : file.tensors) {
    check(seen.insert(name).second, "write_safetensors: the name \"", name,
          "\" is reserved or used twice");
    check(t.defined(), "write_safetensors: \"", name, "\" is undefined");
    constexpr std::string_view kNames[] = {"F32", "F64", "I32", "I64"};
    separate();
    header += json_string(name) + ":{\"dtype\":\"";
    header += kNames[static_cast<int>(t.dtype())];
    header += "\",\"shape\":[";
    for (int i = 0; i < t.rank(); ++i) header += str(i ? "," : "", t.size(i));
    header += str("],\"data_offsets\":[", offset, ",", offset + t.bytes(), "]}");
    offset += t.bytes();
  }
  header += '}';
  while ((8 + header.size()) % kAlignment != 0) header += ' ';
  return header;
}

}  // namespace

const Tensor* SafetensorsFile::find(std::string_view name) const {
  for (const auto& [key, tensor] : tensors) {
    if (key == name) return &tensor;
  }
  return nullptr;
}

SafetensorsFile parse_safetensors(std::span<const uint8_t> bytes, const std::string& name) {
  ByteReader reader(bytes, name);
  check_is_safetensors(bytes, name);
  const uint64_t length = reader.u64("the header length of a safetensors file");
  if (length > kHeaderLimit) {
    fail(ErrorKind::data, name, ": offset 0: expected a header of at most ", kHeaderLimit,
         " bytes, the length says ", length);
  }
  const auto header = reader.take(length, "the header of a safetensors file");
  std::vector<Entry> entries;
  SafetensorsFile file;
  HeaderParser(header, name).parse(entries, file.metadata);
  const uint64_t data_at = reader.offset();
  const auto data = reader.take(reader.remaining(), "tensor bytes");
  check_ranges(entries, data.size(), data_at, name);
  for (const Entry& e : entries) {
    file.tensors.emplace_back(e.name, load(e, data.subspan(e.begin, e.end - e.begin), name));
  }
  return file;
}

SafetensorsFile read_safetensors(const fs::path& path) {
  return parse_safetensors(read_file(path), path.string());
}

std::vector<uint8_t> serialize_safetensors(const SafetensorsFile& file) {
  const std::string header = header_of(file);
  check(header.size() <= kHeaderLimit, "write_safetensors: the header has ", header.size(),
        " bytes, at most ", kHeaderLimit, " are allowed");
  uint64_t total = 8 + header.size();
  for (const auto& [name, t] : file.tensors) total += t.bytes();
  std::vector<uint8_t> out;
  out.reserve(total);
  for (int i = 0; i < 8; ++i)
    out.push_back(static_cast<uint8_t>(uint64_t{header.size()} >> (8 * i)));
  out.insert(out.end(), header.begin(), header.end());
  for (const auto& [name, t] : file.tensors) {
    const Tensor here = t.to(Device::cpu);
    const auto* raw = static_cast<const uint8_t*>(here.raw());
    out.insert(out.end(), raw, raw + here.bytes());
  }
  return out;
}

void write_safetensors(const fs::path& path, const SafetensorsFile& file) {
  write_file_atomic(path, serialize_safetensors(file));
}

}  // namespace basin
