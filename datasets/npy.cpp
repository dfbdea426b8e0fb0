// .npy: see npy.h. The header is Python, but numpy writes only one form of it; the parser accepts a
// dict of the three known keys in any order and nothing else.
#include "basin/datasets/npy.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "basin/core/content.h"
#include "basin/core/half.h"
#include "basin/core/printable.h"
#include "basin/datasets/detail/array_bytes.h"

namespace basin {
namespace {

constexpr uint64_t kHeaderLimit = 10'000;
constexpr uint64_t kAlignment = 64;
constexpr std::string_view kMagic = "\x93NUMPY";

struct Header {
  char kind = 0;  // f, i, u, b
  int width = 0;  // bytes per element
  bool big = false;
  bool fortran = false;
  std::vector<int64_t> shape;
};

// The Python literal. `at` is the offset of its first byte in the file.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, uint64_t at, const std::string& name)
      : text_(text), at_(at), name_(name) {}

  Header parse() {
    Header header;
    bool descr = false, fortran = false, shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string_view key = string();
      expect(':');
      if (key == "descr" && !descr) {
        parse_descr(header), descr = true;
      } else if (key == "fortran_order" && !fortran) {
        header.fortran = boolean(), fortran = true;
      } else if (key == "shape" && !shape) {
        parse_shape(header), shape = true;
      } else {
        fault("expected each of descr, fortran_order, shape once, got '", key, "'");
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    if (pos_ != text_.size()) fault("expected only blanks after the dict");
    if (!descr || !fortran || !shape) fault("expected the keys descr, fortran_order and shape");
    return header;
  }

 private:
  template <class... A>
  [[noreturn]] void fault(const A&... parts) const {
    fail(ErrorKind::data, name_, ": offset ", at_ + pos_,
         ": npy header: ", printable(str(parts...)));
  }
  void skip_space() {
    while (pos_ < text_.size() && (text_[pos_] == ' ' || text_[pos_] == '\n')) ++pos_;
  }
  bool accept(char c) {
    skip_space();
    if (pos_ >= text_.size() || text_[pos_] != c) return false;
    ++pos_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fault("expected '", c, "'");
  }
  std::string_view string() {
    skip_space();
    const char quote = pos_ < text_.size() ? text_[pos_] : '\0';
    if (quote != '\'' && quote != '"') fault("expected a quoted string");
    const size_t end = text_.find(quote, pos_ + 1);
    if (end == text_.npos) fault("expected the string to end");
    const std::string_view out = text_.substr(pos_ + 1, end - pos_ - 1);
    pos_ = end + 1;
    return out;
  }
  bool boolean() {
    skip_space();
    for (const bool value : {false, true}) {
      const std::string_view word = value ? "True" : "False";
      if (text_.substr(pos_, word.size()) == word) {
        pos_ += word.size();
        return value;
      }
    }
    fault("expected True or False");
  }
  void parse_descr(Header& header) {
    skip_space();
    if (pos_ < text_.size() && text_[pos_] == '[') {
      fault("structured arrays are not supported; save one array per field");
    }
    const std::string_view d = string();
    if (d.find('O') != d.npos) {
      fault("object arrays hold pickles, which can run code, and are refused; save numbers");
    }
    const std::string_view type = d.size() > 1 ? d.substr(1) : d;
    constexpr std::string_view kTypes[] = {"f2", "f4", "f8", "i1", "i2", "i4",
                                           "i8", "u1", "u2", "u4", "u8", "b1"};
    const bool known = std::find(std::begin(kTypes), std::end(kTypes), type) != std::end(kTypes);
    const bool order =
        d.size() == 3 && (d[0] == '<' || d[0] == '>' || (d[0] == '|' && d[2] == '1'));
    if (!known || !order) {
      fault("expected one of <f2 <f4 <f8 |i1 <i2 <i4 <i8 |u1 <u2 <u4 <u8 |b1 (or > for big ",
            "endian), got '", d, "'");
    }
    header.kind = type[0];
    header.width = type[1] - '0';
    header.big = d[0] == '>';
  }
  void parse_shape(Header& header) {
    expect('(');
    while (!accept(')')) {
      skip_space();
      const size_t begin = pos_;
      while (pos_ < text_.size() && text_[pos_] >= '0' && text_[pos_] <= '9') ++pos_;
      int64_t size = 0;
      if (!parse_int64(text_.substr(begin, pos_ - begin), size)) {
        pos_ = begin;
        fault("expected a size from 0 to 2^63 - 1");
      }
      if (header.shape.size() == kMaxRank) fault("expected at most ", kMaxRank, " axes");
      header.shape.push_back(size);
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
  }

  std::string_view text_;
  uint64_t at_;
  const std::string& name_;
  size_t pos_ = 0;
};

struct Half {
  uint16_t bits;
};

template <class To, class From>
To converted(From value) {
  if constexpr (std::is_same_v<From, Half>) {
    return half_to_float(value.bits);
  } else {
    return static_cast<To>(value);
  }
}

template <class From, class To>
Tensor convert(const Header& h, std::span<const uint8_t> bytes) {
  Tensor t = Tensor::empty(Shape(h.shape), kDTypeOf<To>);
  To* out = t.mutable_data<To>();
  const int64_t n = t.numel();
  if (std::is_same_v<From, To> && !h.big && !h.fortran) {
    if (n > 0) std::memcpy(out, bytes.data(), bytes.size());
    return t;
  }
  FortranOrder order(h.shape);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t at = h.fortran ? order.next() : i;
    out[i] = converted<To>(decode_element<From>(bytes.data() + at * int64_t{sizeof(From)}, h.big));
  }
  return t;
}

// f16 becomes f32; integers become the smaller of i32 and i64 that holds all of their type, and u64
// becomes i64.
Tensor load(const Header& h, std::span<const uint8_t> bytes) {
  const bool is_unsigned = h.kind != 'i';  // or bool
  if (h.kind == 'f') {
    switch (h.width) {
      case 2: return convert<Half, float>(h, bytes);
      case 4: return convert<float, float>(h, bytes);
      default: return convert<double, double>(h, bytes);
    }
  }
  switch (h.width) {
    case 1:
      return is_unsigned ? convert<uint8_t, int32_t>(h, bytes) : convert<int8_t, int32_t>(h, bytes);
    case 2:
      return is_unsigned ? convert<uint16_t, int32_t>(h, bytes)
                         : convert<int16_t, int32_t>(h, bytes);
    case 4:
      return is_unsigned ? convert<uint32_t, int64_t>(h, bytes)
                         : convert<int32_t, int32_t>(h, bytes);
    default: return convert<int64_t, int64_t>(h, bytes);
  }
}

// The bits of a u64 of 2^63 and more are those of a negative i64.
void check_u64(const Header& h, const Tensor& read, const std::string& name, uint64_t at) {
  if (h.kind != 'u' || h.width != 8) return;
  const auto* value = read.data<int64_t>();
  const auto* end = value + read.numel();
  const auto* large = std::find_if(value, end, [](int64_t v) { return v < 0; });
  if (large == end) return;
  fail(ErrorKind::data, name, ": offset ", at, ": expected numbers below 2^63, element ",
       large - value, " is ", static_cast<uint64_t>(*large));
}

}  // namespace

Tensor parse_npy(std::span<const uint8_t> bytes, const std::string& name) {
  ByteReader reader(bytes, name);
  const auto magic = reader.take(kMagic.size(), "the signature of a .npy file");
  if (!std::equal(magic.begin(), magic.end(), kMagic.begin(),
                  [](uint8_t a, char b) { return a == static_cast<uint8_t>(b); })) {
    fail(ErrorKind::data, name, ": offset 0: expected the signature \\x93NUMPY of a .npy file",
         content_note(bytes));
  }
  const int version = reader.u8("the format version");
  reader.u8("the minor format version");
  if (version < 1 || version > 3) reader.fault("expected npy version 1, 2 or 3, got ", version);
  const uint64_t length =
      version == 1 ? reader.u16("the header length") : reader.u32("the header length");
  if (length > kHeaderLimit) {
    reader.fault("expected a header of at most ", kHeaderLimit, " bytes, its length says ", length);
  }
  const uint64_t at = reader.offset();
  const auto text = reader.take(length, "the npy header");
  const Header header =
      HeaderParser({reinterpret_cast<const char*>(text.data()), text.size()}, at, name).parse();
  const std::string where = str(name, ": offset ", at, ": npy shape");
  int64_t count = 1, product = 16;  // Shape itself keeps a factor of 16 in reserve
  for (int64_t s : header.shape) {
    product = checked_mul(product, std::max<int64_t>(s, 1), where);
    count = s == 0 ? 0 : count * s;
  }
  const uint64_t expected = static_cast<uint64_t>(count) * static_cast<uint64_t>(header.width);
  if (reader.remaining() != expected) {
    reader.fault("expected ", expected, " bytes for shape ", Shape(header.shape), ", ",
                 reader.remaining(), " are left");
  }
  const uint64_t begin = reader.offset();
  Tensor out = load(header, reader.take(expected, "the elements"));
  check_u64(header, out, name, begin);
  return out;
}

Tensor read_npy(const fs::path& path) { return parse_npy(read_file(path), path.string()); }

std::vector<uint8_t> serialize_npy(const Tensor& tensor) {
  check(tensor.defined() && tensor.device() == Device::cpu,
        "write_npy: expected a tensor on the CPU");
  constexpr std::string_view kDescr[] = {"<f4", "<f8", "<i4", "<i8"};
  std::string header = str("{'descr': '", kDescr[static_cast<int>(tensor.dtype())],
                           "', 'fortran_order': False, 'shape': (");
  for (int i = 0; i < tensor.rank(); ++i) header += str(i ? ", " : "", tensor.size(i));
  header += tensor.rank() == 1 ? ",), }" : "), }";
  constexpr size_t kFixed = 10;  // magic, version, length
  while ((kFixed + header.size() + 1) % kAlignment != 0) header += ' ';
  header += '\n';
  std::vector<uint8_t> out(kMagic.begin(), kMagic.end());
  for (const size_t byte : {size_t{1}, size_t{0}, header.size() & 255, header.size() >> 8}) {
    out.push_back(static_cast<uint8_t>(byte));
  }
  out.insert(out.end(), header.begin(), header.end());
  const auto* raw = static_cast<const uint8_t*>(tensor.raw());
  out.insert(out.end(), raw, raw + tensor.bytes());
  return out;
}

void write_npy(const fs::path& path, const Tensor& tensor) {
  write_file_atomic(path, serialize_npy(tensor));
}

}  // namespace basin
