// .mat, level 5: see mat5.h. A variable is a matrix element of four parts, flags (with the class),
// sizes, name and numbers, or a deflated element that unpacks to such a one. Every element has a
// tag of 8 bytes (type, size) and is filled up to a multiple of 8; up to 4 bytes of content lie in
// the tag itself. A deflated variable is opened up to its name when the file is, and whole when it
// is read.
#include "basin/datasets/mat5.h"

#include <zlib.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "basin/core/content.h"
#include "basin/core/printable.h"
#include "basin/datasets/detail/array_bytes.h"
#include "basin/datasets/detail/unpacked.h"

namespace basin {
namespace {

constexpr uint64_t kHeaderSize = 128, kVersionAt = 124, kTagSize = 8;
constexpr uint64_t kVariableLimit = 10'000;
constexpr uint64_t kHeadLimit = 4096;  // bytes of a variable within which its name has to end

enum MatType : uint32_t {
  kInt8 = 1,
  kUint8 = 2,
  kInt16 = 3,
  kUint16 = 4,
  kInt32 = 5,
  kUint32 = 6,
  kSingle = 7,
  kDouble = 9,
  kInt64 = 12,
  kUint64 = 13,
  kMatrix = 14,
  kCompressed = 15,
  kUtf8 = 16
};

constexpr std::string_view kMatClasses[] = {
    "of no class", "a cell array", "a struct", "an object", "text",       "a sparse matrix",
    "double",      "single",       "int8",     "uint8",     "int16",      "uint16",
    "int32",       "uint32",       "int64",    "uint64",    "a function", "an object"};
constexpr uint32_t kFirstNumeric = 6, kLastNumeric = 15, kOpaque = 17;
constexpr uint32_t kComplexFlag = 0x800;

struct MatElement {
  uint32_t type = 0;
  uint64_t offset = 0;  // of the content
  std::span<const uint8_t> content;
};

// Elements one after another.
class ElementReader {
 public:
  ElementReader(std::span<const uint8_t> bytes, const std::string& name, bool big, uint64_t start)
      : reader_(bytes, name), big_(big) {
    reader_.seek(start, "a variable");
  }

  ByteReader& bytes() { return reader_; }
  uint32_t u32(std::string_view what) {
    return decode_element<uint32_t>(reader_.take(4, what).data(), big_);
  }
  MatElement next(std::string_view what) {
    MatElement e;
    const uint32_t word = u32(what);
    const uint32_t small = word >> 16;  // the size, where the content lies in the tag
    e.type = word & (small != 0 ? 0xFFFFu : ~0u);
    if (small > 4) {
      reader_.fault("expected the tag of ", what, " with at most 4 bytes in it, got ", small);
    }
    const uint64_t size = small != 0 ? small : u32(what);
    e.offset = reader_.offset();
    e.content = reader_.take(size, what);
    const uint64_t end = small != 0 ? 4 - size : (kTagSize - size % kTagSize) % kTagSize;
    // The last element of a variable may do without what fills it up.
    if (e.type != kCompressed) reader_.take(std::min(end, reader_.remaining()), what);
    return e;
  }

 private:
  ByteReader reader_;
  bool big_;
};

// zlib's stream, piece by piece.
class Inflater {
 public:
  explicit Inflater(std::span<const uint8_t> packed) {
    if (inflateInit(&stream_) != Z_OK) {
      fail(ErrorKind::resource, "mat5: zlib cannot start, out of memory");
    }
    stream_.next_in = const_cast<Bytef*>(packed.data());
    stream_.avail_in = static_cast<uInt>(packed.size());  // an element's size has 32 bits
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // Fills `out`, or false: the stream is damaged or ends too early.
  bool fill(std::span<uint8_t> out) {
    constexpr size_t kPiece = size_t{1} << 30;
    while (!out.empty()) {
      const size_t piece = std::min(out.size(), kPiece);
      stream_.next_out = out.data();
      stream_.avail_out = static_cast<uInt>(piece);
      status_ = ::inflate(&stream_, Z_SYNC_FLUSH);
      if (stream_.avail_out != 0) return false;
      out = out.subspan(piece);
    }
    return status_ == Z_OK || status_ == Z_STREAM_END;
  }
  // Whether nothing more comes out, the checksum is right and all bytes are used.
  bool ends() {
    uint8_t beyond = 0;
    stream_.next_out = &beyond;
    stream_.avail_out = 1;
    if (status_ != Z_STREAM_END) status_ = ::inflate(&stream_, Z_FINISH);
    return status_ == Z_STREAM_END && stream_.avail_out == 1 && stream_.avail_in == 0;
  }

 private:
  z_stream stream_{};
  int status_ = Z_OK;
};

// A matrix element, wherever its bytes are.
struct OpenMatrix {
  std::vector<uint8_t> unpacked;   // of a deflated one
  std::span<const uint8_t> bytes;  // the file up to the element's end, or what is unpacked
  uint64_t start = 0;              // of the element's content, behind its tag
  std::string label;               // for messages: the file, and where a deflated one lies
};

// The variable whose element is `e` of the file; of a deflated one no more than `limit` bytes.
OpenMatrix open_matrix(const MatElement& e, std::span<const uint8_t> file_bytes,
                       const std::string& file, bool big, uint64_t limit) {
  OpenMatrix m;
  if (e.type == kMatrix) {
    m.bytes = file_bytes.first(e.offset + e.content.size());
    m.start = e.offset;
    m.label = file;
    return m;
  }
  const auto fault = [&](const auto&... parts) {
    fail(ErrorKind::data, file, ": offset ", e.offset, ": ", parts...);
  };
  if (e.type != kCompressed) {
    fault("expected a variable (type 14, or 15 where deflated), got type ", e.type);
  }
  Inflater inflater(e.content);
  m.unpacked.resize(kTagSize);
  if (!inflater.fill(m.unpacked)) fault("the compressed bytes of a variable are damaged");
  const auto type = decode_element<uint32_t>(m.unpacked.data(), big);
  const uint64_t size = decode_element<uint32_t>(m.unpacked.data() + 4, big);
  if (type != kMatrix) fault("expected a variable (type 14) in the compressed bytes, got ", type);
  if (!can_hold(e.content.size(), size + kTagSize)) {
    fault("expected a compression ratio of at most ", kDeflateRatio, ", ", e.content.size(),
          " bytes claim to hold ", size + kTagSize);
  }
  m.label = str(file, "(variable at offset ", e.offset, ", unpacked)");
  const bool whole = size <= limit;
  m.unpacked.resize(kTagSize + std::min(size, limit));
  if (!inflater.fill(std::span(m.unpacked).subspan(kTagSize)) || (whole && !inflater.ends())) {
    fault("the compressed bytes of a variable are damaged or do not inflate to ", size + kTagSize,
          " bytes");
  }
  m.bytes = m.unpacked;
  m.start = kTagSize;
  return m;
}

struct MatHead {
  uint32_t flags = 0;
  MatElement sizes;  // empty for opaque objects, which have none
  std::string name;
  uint32_t array_class() const { return flags & 0xFF; }
};

MatHead read_head(ElementReader& reader, bool big) {
  MatHead head;
  const MatElement flags = reader.next("the array flags");
  if (flags.type != kUint32 || flags.content.size() != 8) {
    reader.bytes().fault("expected array flags of 8 bytes (type 6), got type ", flags.type, " of ",
                         flags.content.size(), " bytes");
  }
  head.flags = decode_element<uint32_t>(flags.content.data(), big);
  if (head.array_class() == 0 || head.array_class() >= std::size(kMatClasses)) {
    reader.bytes().fault("expected an array class from 1 to ", std::size(kMatClasses) - 1, ", got ",
                         head.array_class());
  }
  if (head.array_class() != kOpaque) head.sizes = reader.next("the array sizes");
  const MatElement name = reader.next("the array name");
  if (name.type != kInt8 && name.type != kUint8 && name.type != kUtf8) {
    reader.bytes().fault("expected a name (type 1), got type ", name.type);
  }
  head.name.assign(name.content.begin(), name.content.end());
  if (printable(head.name) != head.name) {
    reader.bytes().fault("expected a name of printable characters, got '", printable(head.name),
                         "'");
  }
  return head;
}

std::vector<int64_t> array_shape(const MatHead& head, const std::string& label, bool big) {
  const std::string where = str(label, ": offset ", head.sizes.offset);
  const size_t axes = head.sizes.content.size() / 4;
  if (head.sizes.type != kInt32 || head.sizes.content.size() % 4 != 0 || axes < 2 ||
      axes > kMaxRank) {
    fail(ErrorKind::data, where, ": expected 2 to ", kMaxRank, " sizes of 4 bytes (type 5), got ",
         head.sizes.content.size(), " bytes of type ", head.sizes.type);
  }
  std::vector<int64_t> shape;
  int64_t product = 16;  // Shape itself keeps a factor of 16 in reserve
  for (size_t i = 0; i < axes; ++i) {
    shape.push_back(decode_element<int32_t>(head.sizes.content.data() + 4 * i, big));
    if (shape.back() < 0) {
      fail(ErrorKind::data, where, ": expected sizes from 0 on, got ", shape.back());
    }
    product = checked_mul(product, std::max<int64_t>(shape.back(), 1), where);
  }
  return shape;
}

// The first element that f64 does not hold exactly, or -1.
template <class T>
int64_t convert_elements(const uint8_t* from, bool big, const std::vector<int64_t>& shape,
                         Tensor& out) {
  double* to = out.mutable_data<double>();
  FortranOrder order(shape);
  for (int64_t i = 0; i < out.numel(); ++i) {
    const T value = decode_element<T>(from + order.next() * int64_t{sizeof(T)}, big);
    to[i] = static_cast<double>(value);
    if constexpr (std::is_integral_v<T> && sizeof(T) == 8) {
      constexpr T kExact = T{1} << 53;
      if (value > kExact || (std::is_signed_v<T> && value < T{0} - kExact)) return i;
    }
  }
  return -1;
}

struct NumberType {
  uint32_t type;
  size_t width;
  int64_t (*convert)(const uint8_t*, bool, const std::vector<int64_t>&, Tensor&);
};
constexpr NumberType kNumberTypes[] = {
    {kInt8, 1, convert_elements<int8_t>},   {kUint8, 1, convert_elements<uint8_t>},
    {kInt16, 2, convert_elements<int16_t>}, {kUint16, 2, convert_elements<uint16_t>},
    {kInt32, 4, convert_elements<int32_t>}, {kUint32, 4, convert_elements<uint32_t>},
    {kSingle, 4, convert_elements<float>},  {kDouble, 8, convert_elements<double>},
    {kInt64, 8, convert_elements<int64_t>}, {kUint64, 8, convert_elements<uint64_t>}};

Tensor read_numbers(ElementReader& reader, const MatHead& head, const std::string& label,
                    bool big) {
  const std::vector<int64_t> shape = array_shape(head, label, big);
  const MatElement numbers = reader.next("the numbers");
  const auto type = std::find_if(std::begin(kNumberTypes), std::end(kNumberTypes),
                                 [&](const NumberType& n) { return n.type == numbers.type; });
  const auto fault = [&](const auto&... parts) {
    fail(ErrorKind::data, label, ": offset ", numbers.offset, ": ", parts...);
  };
  if (type == std::end(kNumberTypes)) fault("expected numbers, got type ", numbers.type);
  Shape sizes(shape);
  const uint64_t expected = static_cast<uint64_t>(sizes.numel()) * type->width;
  if (numbers.content.size() != expected) {
    fault("expected ", expected, " bytes for sizes ", sizes, ", got ", numbers.content.size());
  }
  if (reader.bytes().remaining() != 0) {
    reader.bytes().fault("expected the variable to end, ", reader.bytes().remaining(),
                         " bytes are left");
  }
  Tensor out = Tensor::empty(sizes, DType::f64);
  const int64_t inexact = type->convert(numbers.content.data(), big, shape, out);
  if (inexact >= 0) {
    fault("expected whole numbers up to 2^53, which f64 holds exactly; element ", inexact,
          " is about ", out.at(inexact));
  }
  return out;
}

// Whether the byte order of the file is big; a data error unless it is of level 5.
bool read_file_header(std::span<const uint8_t> bytes, const std::string& name) {
  ByteReader reader(bytes, name);
  const auto start = reader.take(4, "the header of a .mat file");
  if (std::find(start.begin(), start.end(), 0) != start.end()) {
    fail(ErrorKind::data, name, ": offset 0: expected a text header, got a zero byte, as files of ",
         "level 4 begin; save it again with save(name, '-v7')", content_note(bytes));
  }
  reader.seek(kVersionAt, "the version of a .mat file");
  const auto mark = reader.take(4, "the version of a .mat file");
  const bool big = mark[2] == 'M' && mark[3] == 'I';
  if (!big && !(mark[2] == 'I' && mark[3] == 'M')) {
    fail(ErrorKind::data, name, ": offset ", kVersionAt + 2,
         ": expected the byte order IM or MI of a .mat file", content_note(bytes));
  }
  const auto version = decode_element<uint16_t>(mark.data(), big);
  if (version == 0x0200) {
    fail(ErrorKind::data, name, ": offset ", kVersionAt, ": expected a .mat file of level 5, this ",
         "is version 7.3, which is HDF5; save it again with save(name, '-v7')");
  }
  if (version != 0x0100) {
    fail(ErrorKind::data, name, ": offset ", kVersionAt, ": expected version 256, got ", version);
  }
  return big;
}

}  // namespace

Mat5File::Mat5File(const fs::path& path) : Mat5File(read_file(path), path.string()) {}

Mat5File::Mat5File(std::vector<uint8_t> bytes, std::string name)
    : bytes_(std::move(bytes)), name_(std::move(name)), big_(read_file_header(bytes_, name_)) {
  ElementReader reader(bytes_, name_, big_, kHeaderSize);
  std::set<std::string> seen;
  while (reader.bytes().remaining() > 0) {
    const uint64_t offset = reader.bytes().offset();
    const OpenMatrix matrix =
        open_matrix(reader.next("a variable"), bytes_, name_, big_, kHeadLimit);
    ElementReader parts(matrix.bytes, matrix.label, big_, matrix.start);
    MatHead head = read_head(parts, big_);
    if (head.name.empty()) continue;
    if (!seen.insert(head.name).second) {
      reader.bytes().fault("variable '", head.name, "' is there twice");
    }
    if (seen.size() > kVariableLimit) {
      reader.bytes().fault("expected at most ", kVariableLimit, " variables");
    }
    variables_.push_back({std::move(head.name), offset});
  }
}

std::vector<std::string> Mat5File::names() const {
  std::vector<std::string> out;
  for (const Variable& v : variables_) out.push_back(v.name);
  return out;
}

bool Mat5File::contains(std::string_view name) const {
  return std::any_of(variables_.begin(), variables_.end(),
                     [&](const Variable& v) { return v.name == name; });
}

Tensor Mat5File::read(std::string_view name) const {
  const auto found = std::find_if(variables_.begin(), variables_.end(),
                                  [&](const Variable& v) { return v.name == name; });
  if (found == variables_.end()) {
    std::string known;
    for (const Variable& v : variables_) known += (known.empty() ? "" : ", ") + v.name;
    fail(ErrorKind::data, name_, ": expected a variable '", printable(name), "', it has ",
         printable(known));
  }
  ElementReader reader(bytes_, name_, big_, found->offset);
  const OpenMatrix matrix =
      open_matrix(reader.next("the variable"), bytes_, name_, big_, ~uint64_t{0});
  ElementReader parts(matrix.bytes, matrix.label, big_, matrix.start);
  const MatHead head = read_head(parts, big_);
  const uint32_t kind = head.array_class();
  const bool numeric = kind >= kFirstNumeric && kind <= kLastNumeric;
  if (!numeric || (head.flags & kComplexFlag) != 0) {
    parts.bytes().fault("variable '", name, "' is ", numeric ? "complex" : kMatClasses[kind],
                        "; expected a full array of real numbers",
                        numeric ? ", save real(x) and imag(x) as two" : "");
  }
  return read_numbers(parts, head, matrix.label, big_);
}

}  // namespace basin
