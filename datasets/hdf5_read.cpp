// HDF5 datasets from where libhdf5 says that they are: see hdf5_read.h. Each is checked as a whole
// before a byte of it is read, against the size of the file too, so that the memory and the work
// that a file can ask for are bounded by its size.
#include "basin/datasets/detail/hdf5_read.h"

#include <algorithm>
#include <set>
#include <vector>

#include "basin/datasets/detail/hdf5_decode.h"

namespace basin {
namespace {

constexpr int64_t kMaxPoints = 1 << 20;          // per cloud
constexpr uint64_t kMaxChunkBytes = 256u << 20;  // a chunk is unpacked as a whole
constexpr uint64_t kMaxRatio = 200;              // bytes in memory per byte on disk, as for .npz
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
      fault("expected f32, f64 or integers of 1 to 8 bytes");
    if (element().floating && w < 4) fault("expected floats of 4 or 8 bytes, got ", w);
    check_storage();
  }

  const std::vector<int64_t>& shape() const { return shape_; }
  const Hdf5Element& element() const { return found_.element; }

  // All elements, unpacked, in C order and in the byte order of the file.
  std::vector<uint8_t> read(std::ifstream& in) const {
    std::vector<uint8_t> out(bytes());
    if (found_.layout == Hdf5Layout::contiguous) {
      if (found_.stored != out.size()) {
        fault("expected ", out.size(), " stored bytes, got ", found_.stored);
      }
      read_at(in, found_.address, out);
      return out;
    }
    uint64_t expected = 1;
    for (size_t i = 0; i < shape_.size(); ++i) {
      const auto length = static_cast<uint64_t>(shape_[i]);
      expected *= std::min((length + found_.chunk[i] - 1) / found_.chunk[i], kMaxHdf5Chunks + 1);
    }
    // More than kMaxHdf5Chunks are counted, not listed.
    if (found_.chunks.size() != expected) {
      fault("expected ", expected, " chunks (at most ", kMaxHdf5Chunks, "), got ",
            found_.chunk_count);
    }
    // Chunks may reach beyond the array and share their bytes: bound the work, not only the result.
    if (expected * chunk_bytes_ / kMaxRatio > file_bytes_ + (1 << 20)) {
      fault("has ", expected, " chunks of ", chunk_bytes_, " bytes, a file of ", file_bytes_,
            " cannot hold them");
    }
    std::set<std::vector<uint64_t> > seen;
    for (size_t i = 0; i < found_.chunks.size(); ++i) {
      if (!seen.insert(found_.chunks[i].at).second) fault("stores a chunk twice");
      copy_chunk(in, i, out);
    }
    return out;
  }

  template <class... A>
  [[noreturn]] void fault(const A&... parts) const {
    fail(ErrorKind::data, path_, ": offset ", found_.offset, ": dataset '", name_, "': ", parts...);
  }

 private:
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
    if (c.mask != 0 || c.bytes > file_bytes_) {
      fault("chunk ", i, " has ", c.bytes, " bytes, mask ", c.mask);
    }
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
    const std::string where = str(path_, ": offset ", c.address, ": dataset '", name_, "'");
    const auto bytes = undo_filters(stored, filters_, w, chunk_bytes_, where);
    for (uint64_t a = 0; a < count[0]; ++a) {
      for (uint64_t b = 0; b < count[1]; ++b) {
        const uint64_t from = (a * chunk[1] + b) * chunk[2];
        const uint64_t to = ((first[0] + a) * dims[1] + first[1] + b) * dims[2] + first[2];
        std::copy_n(&bytes[from * w], count[2] * w, &out[to * w]);
      }
    }
  }

  // Contiguous or chunked storage with known filters, and sizes that the bytes on disk account for.
  void check_storage() {
    if (found_.layout != Hdf5Layout::chunked && found_.layout != Hdf5Layout::contiguous) {
      fault(
          "expected storage inside the file as one block or chunks, not compact, external or "
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
    chunk_bytes_ = element().width;
    if (found_.layout == Hdf5Layout::chunked) {
      if (found_.chunk.size() != shape_.size()) {
        fault("has chunks of ", found_.chunk.size(), " axes");
      }
      for (const uint64_t c : found_.chunk) {
        if (c == 0 || c > kMaxChunkBytes) fault("has a chunk of ", c);
        chunk_bytes_ *= c;
        if (chunk_bytes_ > kMaxChunkBytes) fault("has chunks of ", chunk_bytes_, " bytes and more");
      }
    }
    const uint64_t stored = found_.stored, logical = bytes();
    if (stored > file_bytes_ || logical / kMaxRatio > stored) {
      fault("expected ", logical, " bytes of elements, the ", stored, " bytes in a file of ",
            file_bytes_, " cannot hold them");
    }
  }

  uint64_t bytes() const {
    auto n = static_cast<int64_t>(element().width);
    for (int64_t s : shape_)
      n = checked_mul(n, s, str(path_, ": offset ", found_.offset, ": dataset '", name_, "'"));
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

Hdf5Clouds read_located_clouds(const fs::path& path, Hdf5Located data_at, Hdf5Located label_at,
                               int64_t max_bytes) {
  const std::string name = path.string();
  uint64_t file_bytes = 0;
  std::ifstream in = open_hdf5(path, file_bytes);
  const Dataset data(std::move(data_at), "data", name, file_bytes);
  const Dataset label(std::move(label_at), "label", name, file_bytes);

  const auto& d = data.shape();
  const bool cloud = d.size() == 3 && d[2] == 3 && d[0] > 0 && d[1] > 0 && d[1] <= kMaxPoints;
  if (!cloud) data.fault("expected shape [n, P, 3], got ", text_of(d));
  if (!data.element().floating) data.fault("expected f32 or f64 elements");
  const int64_t bytes = checked_mul(checked_mul(d[0], d[1], name), 12, name);
  if (bytes > max_bytes) data.fault("needs ", bytes, " bytes, the limit is ", max_bytes);
  const auto& l = label.shape();
  const bool fits = l[0] == d[0] && (l.size() == 1 || (l.size() == 2 && l[1] == 1));
  if (!fits) label.fault("expected shape [", d[0], "] or [", d[0], ", 1], got ", text_of(l));
  if (label.element().floating) label.fault("expected integers");

  Hdf5Clouds out{Tensor::empty({d[0], d[1], 3}, DType::f32), Tensor::empty({d[0]}, DType::i64)};
  decode_floats(data.read(in), data.element(), out.points.mutable_data<float>());
  decode_integers(label.read(in), label.element(), out.labels.mutable_data<int64_t>());
  return out;
}

}  // namespace basin
