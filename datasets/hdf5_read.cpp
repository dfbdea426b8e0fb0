// HDF5 datasets from where libhdf5 says that they are: see hdf5_read.h. Each is checked as a whole
// before a byte of it is read, against the size of the file too, so that the memory and the work
// that a file can ask for are bounded by its size.
#include "basin/datasets/detail/hdf5_read.h"

#include <algorithm>
#include <set>
#include <vector>

#include "basin/datasets/detail/hdf5_decode.h"
#include "basin/datasets/detail/labels.h"
#include "basin/datasets/detail/unpacked.h"

namespace basin {
namespace {

constexpr int64_t kMaxPoints = 1 << 20;                          // per cloud
constexpr uint64_t kMaxChunkBytes = 256u << 20;                  // a chunk is unpacked as a whole
constexpr uint64_t kDeflate = 1, kShuffle = 2, kFletcher32 = 3;  // HDF5's numbers of its filters

// One dataset of the root group, checked before a byte of it is read.
class Dataset {
 public:
  Dataset(Hdf5Located found, const char* name, const std::string& path, uint64_t file_bytes)
      : found_(std::move(found)), name_(name), path_(path), file_bytes_(file_bytes) {
    const auto& dims = found_.shape;
    if (dims.empty() || dims.size() > 3 || dims.size() != found_.rank) {
      fault("expected 1 to 3 axes, got ", found_.rank);
    }
    for (size_t i = 0; i < dims.size(); ++i) {
      if (dims[i] > (uint64_t{1} << 48)) fault("axis ", i, " is too long, ", dims[i]);
      shape_.push_back(static_cast<int64_t>(dims[i]));
    }
    const size_t w = element().width;
    if (w != 1 && w != 2 && w != 4 && w != 8)
      fault("expected f16, f32, f64 or integers of 1 to 8 bytes");
    if (element().floating && w < 2) fault("expected floats of 2, 4 or 8 bytes, got ", w);
    check_storage();
  }

  const std::vector<int64_t>& shape() const { return shape_; }
  const Hdf5Element& element() const { return found_.element; }

  std::string where() const {
    return str(path_, ": offset ", found_.offset, ": dataset '", name_, "'");
  }

  // What lies in memory: f64 as it is, f16 as f32.
  DType float_type() const { return element().width == 8 ? DType::f64 : DType::f32; }
  void check_floats(int64_t max_bytes) const {
    if (!element().floating) fault("expected f16, f32 or f64 elements");
    auto n = static_cast<int64_t>(size_of(float_type()));
    for (const int64_t s : shape_) n = checked_mul(n, s, where());
    if (n > max_bytes) fault("needs ", n, " bytes, the limit is ", max_bytes);
  }
  Tensor floats(std::ifstream& in) const {
    Tensor out = Tensor::empty(Shape(shape_), float_type());
    dispatch_float(out.dtype(), "read_hdf5_clouds", [&](auto zero) {
      decode_floats(read(in), element(), out.mutable_data<decltype(zero)>());
    });
    return out;
  }
  Tensor labels(std::ifstream& in) const {
    if (element().floating) return whole_labels(floats(in), where());
    Tensor out = Tensor::empty({shape_[0]}, DType::i64);
    const auto n = decode_integers(read(in), element(), out.mutable_data<int64_t>());
    if (n < static_cast<size_t>(shape_[0])) fault("row ", n, " is a label of 2^63 or more");
    return out;
  }

  template <class... A>
  [[noreturn]] void fault(const A&... parts) const {
    fail(ErrorKind::data, where(), ": ", parts...);
  }

 private:
  // All elements, unpacked, in C order and in the byte order of the file.
  std::vector<uint8_t> read(std::ifstream& in) const {
    const uint64_t size = bytes();
    const bool compact = found_.layout == Hdf5Layout::compact;
    const uint64_t stored = compact ? found_.compact.size() : found_.stored;
    if (found_.layout != Hdf5Layout::chunked && stored != size) {
      fault("expected ", size, " stored bytes, got ", stored);
    }
    if (compact) return found_.compact;
    std::vector<uint8_t> out(size);
    if (found_.layout == Hdf5Layout::contiguous) {
      read_at(in, found_.address, out);
      return out;
    }
    std::set<std::vector<uint64_t> > seen;
    for (size_t i = 0; i < found_.chunks.size(); ++i) {
      if (!seen.insert(found_.chunks[i].at).second) fault("stores a chunk twice");
      copy_chunk(in, i, out);
    }
    return out;
  }

  void read_at(std::ifstream& in, uint64_t address, std::span<uint8_t> out) const {
    if (address > file_bytes_ - out.size()) {  // `out` is never longer than the file
      fault("expected ", out.size(), " bytes at ", address, " of ", file_bytes_);
    }
    in.clear();
    in.seekg(static_cast<std::streamoff>(address));
    in.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(out.size()));
    if (!in) fault("cannot be read at ", address);
  }

  // Unpacks chunk `i` into its place in `out`.
  void copy_chunk(std::ifstream& in, size_t i, std::vector<uint8_t>& out) const {
    const Hdf5Chunk& c = found_.chunks[i];
    if (c.at.size() != shape_.size()) fault("chunk ", i, " has ", c.at.size(), " axes");
    const size_t w = element().width, pad = 3 - shape_.size();
    uint64_t count[3] = {1, 1, 1}, first[3] = {0, 0, 0}, dims[3] = {1, 1, 1}, chunk[3] = {1, 1, 1};
    for (size_t axis = 0; axis < shape_.size(); ++axis) {
      const auto length = static_cast<uint64_t>(shape_[axis]);
      const uint64_t at = c.at[axis], size = found_.chunk[axis];
      if (at >= length || at % size != 0) fault("chunk ", i, " is misplaced");
      first[pad + axis] = at, dims[pad + axis] = length, chunk[pad + axis] = size;
      count[pad + axis] = std::min<uint64_t>(size, length - at);
    }
    std::vector<uint8_t> stored(c.bytes);
    read_at(in, c.address, stored);
    const std::string at_chunk = str(path_, ": offset ", c.address, ": dataset '", name_, "'");
    const auto bytes = undo_filters(stored, filters_, w, chunk_bytes_, at_chunk);
    for (uint64_t a = 0; a < count[0]; ++a) {
      for (uint64_t b = 0; b < count[1]; ++b) {
        const uint64_t from = (a * chunk[1] + b) * chunk[2];
        const uint64_t to = ((first[0] + a) * dims[1] + first[1] + b) * dims[2] + first[2];
        std::copy_n(&bytes[from * w], count[2] * w, &out[to * w]);
      }
    }
  }

  // Storage of a known form with known filters, and sizes that the bytes on disk account for.
  void check_storage() {
    if (found_.layout == Hdf5Layout::other) {
      fault(
          "expected storage inside the file as one block, chunks or compact, not external or "
          "virtual");
    }
    for (const uint64_t f : found_.filters) {
      if (f != kDeflate && f != kShuffle && f != kFletcher32) {
        fault("expected gzip, shuffle or checksum filters, got filter ", f);
      }
      filters_.push_back(f == kDeflate   ? Hdf5Filter::deflate
                         : f == kShuffle ? Hdf5Filter::shuffle
                                         : Hdf5Filter::fletcher32);
    }
    if (found_.layout == Hdf5Layout::chunked) check_chunk_size();
    const uint64_t stored = found_.stored, logical = bytes();
    if (stored > file_bytes_ || !can_hold(stored, logical)) {
      fault("expected ", logical, " bytes of elements, the ", stored, " bytes in a file of ",
            file_bytes_, " cannot hold them");
    }
    if (found_.layout == Hdf5Layout::chunked) check_chunks();
  }

  void check_chunk_size() {
    if (found_.chunk.size() != shape_.size()) fault("has chunks of ", found_.chunk.size(), " axes");
    chunk_bytes_ = element().width;
    for (const uint64_t c : found_.chunk) {
      if (c == 0 || c > kMaxChunkBytes) fault("has a chunk of ", c);
      chunk_bytes_ *= c;
      if (chunk_bytes_ > kMaxChunkBytes) fault("has chunks of ", chunk_bytes_, " bytes and more");
    }
  }

  // As many chunks as the array has, no larger than their bytes can hold. Chunks may reach beyond
  // the array and could share their bytes: this bounds the work, not only the result.
  void check_chunks() const {
    uint64_t expected = 1, packed = 0;
    for (size_t i = 0; i < shape_.size(); ++i) {
      const auto length = static_cast<uint64_t>(shape_[i]);
      expected *= std::min((length + found_.chunk[i] - 1) / found_.chunk[i], kMaxHdf5Chunks + 1);
    }
    // More than kMaxHdf5Chunks are counted, not listed.
    if (found_.chunks.size() != expected) {
      fault("expected ", expected, " chunks (at most ", kMaxHdf5Chunks, "), got ",
            found_.chunk_count);
    }
    for (size_t i = 0; i < found_.chunks.size(); ++i) {
      const Hdf5Chunk& c = found_.chunks[i];
      if (c.mask != 0 || c.bytes > file_bytes_ - packed) {
        fault("chunk ", i, " has ", c.bytes, " bytes, mask ", c.mask);
      }
      if (!can_hold(c.bytes, chunk_bytes_)) {
        fault("chunk ", i, " has ", c.bytes, " bytes, which cannot hold ", chunk_bytes_);
      }
      packed += c.bytes;
    }
  }

  uint64_t bytes() const {
    auto n = static_cast<int64_t>(element().width);
    for (int64_t s : shape_) n = checked_mul(n, s, where());
    return static_cast<uint64_t>(n);
  }

  Hdf5Located found_;
  std::string name_;
  const std::string& path_;
  uint64_t file_bytes_ = 0, chunk_bytes_ = 0;
  std::vector<int64_t> shape_;
  std::vector<Hdf5Filter> filters_;
};

std::string text_of(const std::vector<int64_t>& shape) { return Shape(shape).to_string(); }

}  // namespace

std::ifstream open_hdf5(const fs::path& path, uint64_t& size) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  in.imbue(std::locale::classic());  // no conversion of a host program's between file and buffer
  if (!in) fail(ErrorKind::data, path.string(), ": cannot be opened");
  size = static_cast<uint64_t>(in.tellg());
  in.seekg(0);
  return in;
}

Hdf5Clouds read_located_clouds(const fs::path& path, LocatedClouds located, int64_t max_bytes) {
  const std::string name = path.string();
  uint64_t file_bytes = 0;
  std::ifstream in = open_hdf5(path, file_bytes);
  const Dataset data(std::move(located.data), "data", name, file_bytes);
  const Dataset label(std::move(located.label), "label", name, file_bytes);

  const auto& d = data.shape();
  const bool cloud = d.size() == 3 && d[2] == 3 && d[0] > 0 && d[1] > 0 && d[1] <= kMaxPoints;
  if (!cloud) data.fault("expected shape [n, P, 3], got ", text_of(d));
  data.check_floats(max_bytes);
  const auto& l = label.shape();
  const bool fits = l[0] == d[0] && (l.size() == 1 || (l.size() == 2 && l[1] == 1));
  if (!fits) label.fault("expected shape [", d[0], "] or [", d[0], ", 1], got ", text_of(l));

  Hdf5Clouds out;
  out.points = data.floats(in);
  out.labels = label.labels(in);
  if (!located.normal) return out;
  const Dataset normal(std::move(*located.normal), "normal", name, file_bytes);
  if (normal.shape() != d) {
    normal.fault("expected the shape of the points, ", text_of(d), ", got ",
                 text_of(normal.shape()));
  }
  normal.check_floats(max_bytes);
  out.normals = normal.floats(in);
  return out;
}

}  // namespace basin
