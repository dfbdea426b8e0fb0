// safetensors: see safetensors.h. The header is parsed by a small strict parser of exactly the
// grammar that the format allows: an object of objects, no recursion, hence no depth to bound.
// Every range is checked against its shape, and sorted ranges must tile the tensor bytes without
// hole or overlap, so that what is accepted can be indexed safely and no byte escapes the
// description.
#include "basin/core/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <set>

#include "basin/core/detail/json_text.h"
#include "basin/core/printable.h"
#include "basin/core/utf8.h"

namespace basin {
namespace {

constexpr uint64_t kHeaderLimit = 100'000'000;
constexpr uint64_t kAlignment = 64;

enum class Stored : uint8_t { f32, f64, i32, i64, f16, bf16 };

struct Entry {
  std::string name;
  Stored stored = Stored::f32;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;
  uint64_t at = 0;  // offset of the entry in the file, for messages
};

uint64_t width(Stored s) {
  if (s == Stored::f16 || s == Stored::bf16) return 2;
  return s == Stored::f32 || s == Stored::i32 ? 4 : 8;
}

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
    constexpr std::string_view kNames[] = {"F32", "F64", "I32", "I64", "F16", "BF16"};
    for (int i = 0; i < 6; ++i) {
      if (t == kNames[i]) return static_cast<Stored>(i);
    }
    fault("expected dtype F32, F64, I32, I64, F16 or BF16, got \"", t, "\"");
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
    const uint64_t bytes = static_cast<uint64_t>(count) * width(e.stored);
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

float half_to_float(uint16_t h) {
  const uint32_t sign = uint32_t{h & 0x8000u} << 16, exponent = h >> 10 & 31u, mantissa = h & 1023u;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | mantissa << 13);
  if (exponent == 0) {
    const float tiny = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(tiny));
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

Tensor load(const Entry& e, std::span<const uint8_t> bytes) {
  constexpr DType kTypes[] = {DType::f32, DType::f64, DType::i32,
                              DType::i64, DType::f32, DType::f32};
  Tensor t = Tensor::empty(Shape(e.shape), kTypes[static_cast<int>(e.stored)]);
  if (bytes.empty()) return t;
  if (width(e.stored) != 2) {
    std::memcpy(t.mutable_raw(), bytes.data(), bytes.size());
    return t;
  }
  auto* out = t.mutable_data<float>();
  for (size_t i = 0; i < bytes.size() / 2; ++i) {
    const auto half = static_cast<uint16_t>(bytes[2 * i] | bytes[2 * i + 1] << 8);
    out[i] =
        e.stored == Stored::f16 ? half_to_float(half) : std::bit_cast<float>(uint32_t{half} << 16);
  }
  return t;
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
    file.tensors.emplace_back(e.name, load(e, data.subspan(e.begin, e.end - e.begin)));
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
