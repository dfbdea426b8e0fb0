// HDF5 point clouds: see hdf5.h. Superblock layouts from the HDF5 file format specification 3.0:
// versions 0 and 1 keep the end-of-file address behind the B-tree constants, versions 2 and 3 at a
// fixed place.
// libhdf5 only tells where the bytes are; they are read, unpacked and converted here
// (hdf5_decode.h). It is not thread-safe as usually built and prints by itself; one lock and one
// guard see to both.
#include "basin/datasets/hdf5.h"

#include <algorithm>
#include <array>
#include <fstream>

#ifdef BASIN_HAS_HDF5
#define H5_USE_110_API 1  // later libraries then offer the calls of 1.10 under their plain names
#include <hdf5.h>

#include <exception>
#include <mutex>
#include <set>
#include <vector>

#include "basin/datasets/hdf5_decode.h"
#endif

namespace basin {
namespace {

constexpr std::array<uint8_t, 8> kSignature{0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
constexpr size_t kHeadBytes = 96;  // more than the longest superblock needs

std::vector<uint8_t> head_of(const fs::path& path, uint64_t& size) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) {
    fail(ErrorKind::data, path.string(), ": expected an HDF5 file, there is no regular file");
  }
  size = fs::file_size(path, error);
  std::ifstream in(path, std::ios::binary);
  if (error || !in) fail(ErrorKind::data, path.string(), ": cannot be opened");
  std::vector<uint8_t> head(std::min<uint64_t>(size, kHeadBytes));
  in.read(reinterpret_cast<char*>(head.data()), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<size_t>(in.gcount()));
  return head;
}

// Reads an address of `width` bytes.
uint64_t address(ByteReader& in, int width) {
  return width == 8 ? in.u64("an address") : in.u32("an address");
}

}  // namespace

void check_hdf5_frame(const fs::path& path) {
  uint64_t size = 0;
  const std::vector<uint8_t> head = head_of(path, size);
  ByteReader in(head, path.string());
  if (head.size() < kSignature.size() ||
      !std::equal(kSignature.begin(), kSignature.end(), head.begin())) {
    in.fault("expected HDF5 signature \\x89HDF\\r\\n\\x1a\\n, the file (", size,
             " bytes) begins otherwise");
  }
  in.take(kSignature.size(), "the signature");
  const int version = in.u8("the superblock version");
  if (version > 3) in.fault("expected HDF5 superblock version 0 to 3, got ", version);
  const bool old = version < 2;
  if (old) in.take(4, "format versions");
  const int width = in.u8("the size of offsets");
  if (width != 4 && width != 8) in.fault("expected HDF5 offsets of 4 or 8 bytes, got ", width);
  in.take(old ? (version == 0 ? 10 : 14) : 2, "superblock constants");
  const uint64_t base = address(in, width);
  address(in, width);  // free space (old) or superblock extension
  const uint64_t end = address(in, width);
  if (base != 0) in.fault("expected HDF5 base address 0, got ", base);
  if (end > size) {
    fail(ErrorKind::data, path.string(), ": offset ", size, ": the file ends at byte ", size,
         ", the superblock says ", end, "; it is cut short");
  }
}

#ifndef BASIN_HAS_HDF5

bool hdf5_available() { return false; }

Hdf5Clouds read_hdf5_clouds(const fs::path& path, int64_t) {
  check_hdf5_frame(path);
  fail(ErrorKind::resource, path.string(),
       ": this build of Basin has no HDF5 support; install libhdf5-dev and configure again");
}

#else

bool hdf5_available() { return true; }

namespace {

constexpr int64_t kMaxPoints = 1 << 20;          // per cloud
constexpr uint64_t kMaxChunkBytes = 256u << 20;  // libhdf5 allocates a whole chunk at a time
constexpr uint64_t kMaxChunks = 20'000;          // the library walks its index once per chunk
constexpr uint64_t kMaxRatio = 200;              // bytes in memory per byte on disk, as for .npz

std::mutex& library_lock() {
  static std::mutex lock;
  return lock;
}

// libhdf5 prints its error stack unless told otherwise. The program's own setting comes back at the
// end, but not after a failure: the library may then have lost track of parts of the damaged file
// and would complain about that when the program ends.
class Silence {
 public:
  Silence() : failures_(std::uncaught_exceptions()) {
    H5Eget_auto2(H5E_DEFAULT, &printer_, &data_);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }
  ~Silence() {
    if (std::uncaught_exceptions() == failures_) H5Eset_auto2(H5E_DEFAULT, printer_, data_);
  }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;

 private:
  int failures_;
  H5E_auto2_t printer_ = nullptr;
  void* data_ = nullptr;
};

class Handle {
 public:
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  hid_t get() const { return id_; }
  bool ok() const { return id_ >= 0; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

// The innermost message of libhdf5's error stack.
std::string library_reason() {
  std::string text = "no reason given";
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned n, const H5E_error2_t* error, void* out) {
        auto& first = *static_cast<std::string*>(out);
        if (n == 0 && error->desc && *error->desc) first = error->desc;
        return herr_t{0};
      },
      &text);
  return text;
}

// One dataset of the root group, checked before a byte of it is read.
class Dataset {
 public:
  Dataset(hid_t file, const char* name, const std::string& path, uint64_t file_bytes)
      : name_(name), path_(path), id_(open(file, name), H5Dclose) {
    if (!id_.ok()) fault("expected a dataset: ", library_reason());
    H5O_info_t info;
    if (H5Oget_info(id_.get(), &info) >= 0) offset_ = info.addr;
    const Handle space(H5Dget_space(id_.get()), H5Sclose);
    hsize_t dims[H5S_MAX_RANK];
    const int rank = space.ok() ? H5Sget_simple_extent_ndims(space.get()) : -1;
    if (rank < 1 || rank > 3) fault("expected 1 to 3 axes, got ", rank);
    H5Sget_simple_extent_dims(space.get(), dims, nullptr);
    for (int i = 0; i < rank; ++i) {
      if (dims[i] > (hsize_t{1} << 48)) fault("axis ", i, " is too long, ", dims[i]);
      shape_.push_back(static_cast<int64_t>(dims[i]));
    }
    element_ = element_of(Handle(H5Dget_type(id_.get()), H5Tclose).get());
    check_storage(file_bytes);
  }

  const std::vector<int64_t>& shape() const { return shape_; }
  const Hdf5Element& element() const { return element_; }

  // All elements, unpacked, in C order and in the byte order of the file.
  std::vector<uint8_t> read(std::ifstream& in) const {
    std::vector<uint8_t> out(bytes());
    if (chunk_.empty()) {
      if (stored_ != out.size()) fault("expected ", out.size(), " stored bytes, got ", stored_);
      read_at(in, H5Dget_offset(id_.get()), out);
      return out;
    }
    uint64_t expected = 1;
    for (size_t i = 0; i < shape_.size(); ++i) {
      expected *= (static_cast<uint64_t>(shape_[i]) + chunk_[i] - 1) / chunk_[i];
    }
    const Handle space(H5Dget_space(id_.get()), H5Sclose);
    hsize_t count = 0;
    H5Dget_num_chunks(id_.get(), space.get(), &count);
    if (count != expected || count > kMaxChunks) {
      fault("expected ", expected, " chunks (at most ", kMaxChunks, "), got ", count);
    }
    std::set<std::vector<hsize_t> > seen;
    for (hsize_t i = 0; i < count; ++i) {
      if (!seen.insert(copy_chunk(in, space.get(), i, out)).second) fault("stores a chunk twice");
    }
    return out;
  }

  template <class... A>
  [[noreturn]] void fault(const A&... parts) const {
    fail(ErrorKind::data, path_, ": offset ", offset_, ": dataset '", name_, "': ", parts...);
  }

 private:
  // A soft or external link could lead out of the file.
  hid_t open(hid_t file, const char* name) const {
    H5L_info_t link;
    if (H5Lget_info(file, name, &link, H5P_DEFAULT) < 0) return -1;
    if (link.type != H5L_TYPE_HARD) fault("expected a plain dataset, it is a link");
    return H5Dopen2(file, name, H5P_DEFAULT);
  }

  // One of the plain little or big endian types.
  Hdf5Element element_of(hid_t type) const {
    const struct {
      hid_t id;
      Hdf5Element element;
    } known[] = {
        {H5T_IEEE_F32LE, {true, true, false, 4}},  {H5T_IEEE_F32BE, {true, true, true, 4}},
        {H5T_IEEE_F64LE, {true, true, false, 8}},  {H5T_IEEE_F64BE, {true, true, true, 8}},
        {H5T_STD_I8LE, {false, true, false, 1}},   {H5T_STD_I8BE, {false, true, true, 1}},
        {H5T_STD_I16LE, {false, true, false, 2}},  {H5T_STD_I16BE, {false, true, true, 2}},
        {H5T_STD_I32LE, {false, true, false, 4}},  {H5T_STD_I32BE, {false, true, true, 4}},
        {H5T_STD_I64LE, {false, true, false, 8}},  {H5T_STD_I64BE, {false, true, true, 8}},
        {H5T_STD_U8LE, {false, false, false, 1}},  {H5T_STD_U8BE, {false, false, true, 1}},
        {H5T_STD_U16LE, {false, false, false, 2}}, {H5T_STD_U16BE, {false, false, true, 2}},
        {H5T_STD_U32LE, {false, false, false, 4}}, {H5T_STD_U32BE, {false, false, true, 4}},
        {H5T_STD_U64LE, {false, false, false, 8}}, {H5T_STD_U64BE, {false, false, true, 8}},
    };
    for (const auto& k : known) {
      if (H5Tequal(type, k.id) > 0) return k.element;
    }
    fault("expected f32, f64 or integers of 1 to 8 bytes");
  }

  void read_at(std::ifstream& in, haddr_t address, std::span<uint8_t> out) const {
    if (address == HADDR_UNDEF || out.size() > file_bytes_ || address > file_bytes_ - out.size()) {
      fault("expected ", out.size(), " bytes at ", address, " of ", file_bytes_);
    }
    in.clear();
    in.seekg(static_cast<std::streamoff>(address));
    in.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(out.size()));
    if (!in) fault("cannot be read at ", address);
  }

  // Unpacks chunk `i` into its place in `out` and returns its position.
  std::vector<hsize_t> copy_chunk(std::ifstream& in, hid_t space, hsize_t i,
                                  std::vector<uint8_t>& out) const {
    std::vector<hsize_t> at(H5S_MAX_RANK + 1);  // the library may write one axis more than it says
    unsigned mask = 0;
    haddr_t address = HADDR_UNDEF;
    hsize_t size = 0;
    if (H5Dget_chunk_info(id_.get(), space, i, at.data(), &mask, &address, &size) < 0) {
      fault("chunk ", i, " cannot be found: ", library_reason());
    }
    at.resize(shape_.size());
    if (mask != 0 || size > file_bytes_) fault("chunk ", i, " has ", size, " bytes, mask ", mask);
    const size_t w = element_.width, pad = 3 - shape_.size();
    size_t chunk_bytes = w;
    uint64_t count[3] = {1, 1, 1}, first[3] = {0, 0, 0}, dims[3] = {1, 1, 1}, chunk[3] = {1, 1, 1};
    for (size_t axis = 0; axis < shape_.size(); ++axis) {
      const auto length = static_cast<uint64_t>(shape_[axis]);
      if (at[axis] >= length || at[axis] % chunk_[axis] != 0) fault("chunk ", i, " is misplaced");
      chunk_bytes *= chunk_[axis];
      first[pad + axis] = at[axis], dims[pad + axis] = length, chunk[pad + axis] = chunk_[axis];
      count[pad + axis] = std::min<uint64_t>(chunk_[axis], length - at[axis]);
    }
    std::vector<uint8_t> stored(size);
    read_at(in, address, stored);
    const std::string where = str(path_, ": offset ", address, ": dataset '", name_, "'");
    const auto bytes = undo_filters(stored, filters_, w, chunk_bytes, where);
    for (uint64_t a = 0; a < count[0]; ++a) {
      for (uint64_t b = 0; b < count[1]; ++b) {
        const uint64_t from = (a * chunk[1] + b) * chunk[2];
        const uint64_t to = ((first[0] + a) * dims[1] + first[1] + b) * dims[2] + first[2];
        std::copy_n(&bytes[from * w], count[2] * w, &out[to * w]);
      }
    }
    return at;
  }

  // Contiguous or chunked storage with known filters, and sizes that the bytes on disk account for.
  void check_storage(uint64_t file_bytes) {
    file_bytes_ = file_bytes;
    const Handle plist(H5Dget_create_plist(id_.get()), H5Pclose);
    if (!plist.ok()) fault("has no storage description: ", library_reason());
    const H5D_layout_t layout = H5Pget_layout(plist.get());
    if (H5Pget_external_count(plist.get()) != 0 ||
        (layout != H5D_CHUNKED && layout != H5D_CONTIGUOUS)) {
      fault(
          "expected storage inside the file as one block or chunks, not compact, external or "
          "virtual");
    }
    const int filters = H5Pget_nfilters(plist.get());
    for (int i = 0; i < filters; ++i) {
      unsigned flags = 0, config = 0;
      size_t values = 0;
      const H5Z_filter_t f = H5Pget_filter2(plist.get(), static_cast<unsigned>(i), &flags, &values,
                                            nullptr, 0, nullptr, &config);
      if (f != H5Z_FILTER_DEFLATE && f != H5Z_FILTER_SHUFFLE && f != H5Z_FILTER_FLETCHER32) {
        fault("expected gzip, shuffle or checksum filters, got filter ", f);
      }
      filters_.push_back(f == H5Z_FILTER_DEFLATE   ? Hdf5Filter::deflate
                         : f == H5Z_FILTER_SHUFFLE ? Hdf5Filter::shuffle
                                                   : Hdf5Filter::fletcher32);
    }
    uint64_t chunk_bytes = element_.width;
    if (layout == H5D_CHUNKED) {
      hsize_t chunk[H5S_MAX_RANK];
      const int rank = H5Pget_chunk(plist.get(), H5S_MAX_RANK, chunk);
      if (rank != static_cast<int>(shape_.size())) fault("has chunks of ", rank, " axes");
      chunk_.assign(chunk, chunk + rank);
      for (int i = 0; i < rank; ++i) {
        if (chunk[i] == 0 || chunk[i] > kMaxChunkBytes) fault("has a chunk of ", chunk[i]);
        chunk_bytes *= chunk[i];
        if (chunk_bytes > kMaxChunkBytes) fault("has chunks of ", chunk_bytes, " bytes and more");
      }
    }
    stored_ = H5Dget_storage_size(id_.get());
    const uint64_t stored = stored_, logical = bytes();
    if (stored > file_bytes || logical / kMaxRatio > stored) {
      fault("expected ", logical, " bytes of elements, the ", stored, " bytes in a file of ",
            file_bytes, " cannot hold them");
    }
  }

  uint64_t bytes() const {
    int64_t n = static_cast<int64_t>(element_.width);
    for (int64_t s : shape_)
      n = checked_mul(n, s, str(path_, ": offset ", offset_, ": dataset '", name_, "'"));
    return static_cast<uint64_t>(n);
  }

  std::string name_;
  const std::string& path_;
  uint64_t offset_ = 0;
  Handle id_;
  std::vector<int64_t> shape_;
  std::vector<hsize_t> chunk_;  // empty: one contiguous block
  std::vector<Hdf5Filter> filters_;
  Hdf5Element element_;
  uint64_t file_bytes_ = 0, stored_ = 0;
};

std::string text_of(const std::vector<int64_t>& shape) { return Shape(shape).to_string(); }

}  // namespace

Hdf5Clouds read_hdf5_clouds(const fs::path& path, int64_t max_bytes) {
  check_hdf5_frame(path);
  const std::lock_guard lock(library_lock());
  const Silence silence;
  const std::string name = path.string();
  // Strong closing: what a failed call left open inside goes with the file.
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG);
#if H5_VERSION_GE(1, 12, 1) || (H5_VERSION_GE(1, 10, 7) && !H5_VERSION_GE(1, 12, 0))
  H5Pset_file_locking(access.get(), false, true);  // network file systems often have no locks
#endif
  const Handle file(H5Fopen(name.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose);
  if (!file.ok()) {
    fail(ErrorKind::data, name, ": offset 0: libhdf5 cannot open it: ", library_reason());
  }
  const uint64_t file_bytes = fs::file_size(path);
  const Dataset data(file.get(), "data", name, file_bytes);
  const Dataset label(file.get(), "label", name, file_bytes);

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
  std::ifstream in(path, std::ios::binary);
  decode_floats(data.read(in), data.element(), out.points.mutable_data<float>());
  decode_integers(label.read(in), label.element(), out.labels.mutable_data<int64_t>());
  return out;
}

#endif

}  // namespace basin
