// The calls of libhdf5: see hdf5_locate.h. They happen in the child only; the answer is a list of
// 64-bit numbers, each list of numbers behind its length.
#include "basin/datasets/detail/hdf5_locate.h"

#ifdef BASIN_HAS_HDF5
#define H5_USE_110_API 1  // later libraries then offer the calls of 1.10 under their plain names
#include <hdf5.h>

#include <algorithm>
#include <cstring>

#include "basin/datasets/detail/limited_child.h"
#endif

namespace basin {
namespace {

constexpr uint64_t kMaxFilters = 32;

std::vector<uint64_t> take_list(ByteReader& in) {
  const uint64_t n = in.u64("a length");
  if (n > kMaxFilters) in.fault("expected a short list, got ", n);
  std::vector<uint64_t> out;
  for (uint64_t i = 0; i < n; ++i) out.push_back(in.u64("a number"));
  return out;
}

// Bytes behind their number, filled up to whole numbers.
std::vector<uint8_t> take_bytes(ByteReader& in) {
  const uint64_t n = in.u64("a length");
  if (n > kMaxHdf5Compact) in.fault("expected at most ", kMaxHdf5Compact, " bytes, got ", n);
  const auto bytes = in.take((n + 7) / 8 * 8, "elements");
  return {bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(n)};
}

}  // namespace

std::optional<Hdf5Located> take_located(ByteReader& in) {
  if (in.u64("a flag") == 0) return std::nullopt;
  Hdf5Located d;
  d.offset = in.u64("an offset");
  d.rank = in.u64("a rank");
  d.shape = take_list(in);
  d.element.floating = in.u64("a flag") != 0;
  d.element.is_signed = in.u64("a flag") != 0;
  d.element.big = in.u64("a flag") != 0;
  d.element.width = in.u64("a width");
  d.layout = static_cast<Hdf5Layout>(in.u64("a layout") & 3);
  d.filters = take_list(in);
  d.chunk = take_list(in);
  d.stored = in.u64("a size");
  d.address = in.u64("an address");
  d.chunk_count = in.u64("a count");
  const uint64_t listed = in.u64("a count");
  if (listed > kMaxHdf5Chunks) in.fault("expected fewer chunks than ", listed);
  for (uint64_t i = 0; i < listed; ++i) {
    Hdf5Chunk c;
    c.at = take_list(in);
    c.mask = in.u64("a mask"), c.address = in.u64("an address"), c.bytes = in.u64("a size");
    d.chunks.push_back(std::move(c));
  }
  d.compact = take_bytes(in);
  return d;
}

#ifdef BASIN_HAS_HDF5

namespace {

constexpr uint64_t kMaxRank = 3;

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
        const bool told = n == 0 && error->desc != nullptr;
        if (told) *static_cast<std::string*>(out) = error->desc;
        return herr_t{0};
      },
      &text);
  return text;
}

// The library's reason, and what to do when it meets a version that it does not know.
std::string reason_with_advice() {
  std::string reason = library_reason();
  if (reason.find("version") != reason.npos) {
    reason +=
        str("; is it of a newer HDF5 format than libhdf5 ", H5_VERS_MAJOR, ".", H5_VERS_MINOR, ".",
            H5_VERS_RELEASE, " reads? Save it for older readers (h5py: libver='earliest')");
  }
  return reason;
}

// IEEE 754 half precision, of which the library has no name before 1.14.4.
bool is_half(hid_t type) {
  size_t sign = 0, exponent = 0, exponent_bits = 0, fraction = 0, fraction_bits = 0;
  return H5Tget_class(type) == H5T_FLOAT && H5Tget_size(type) == 2 &&
         H5Tget_precision(type) == 16 && H5Tget_offset(type) == 0 && H5Tget_ebias(type) == 15 &&
         H5Tget_norm(type) == H5T_NORM_IMPLIED &&
         H5Tget_fields(type, &sign, &exponent, &exponent_bits, &fraction, &fraction_bits) >= 0 &&
         sign == 15 && exponent == 10 && exponent_bits == 5 && fraction == 0 && fraction_bits == 10;
}

// One of the plain little or big endian types; width 0 for any other.
Hdf5Element element_of(hid_t type) {
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
  const H5T_order_t order = H5Tget_order(type);
  const bool plain = order == H5T_ORDER_LE || order == H5T_ORDER_BE;
  if (plain && is_half(type)) return {true, true, order == H5T_ORDER_BE, 2};
  return {};
}

// In the child: facts of one dataset as numbers.
class Facts {
 public:
  Facts(hid_t file, const std::string& name, const std::string& path)
      : name_(name), path_(path), id_(open(file), H5Dclose) {
    if (!id_.ok()) fault("expected a dataset: ", reason_with_advice());
    H5O_info_t info{};
    H5Oget_info(id_.get(), &info);
    offset_ = info.addr;
    add(1);  // it is there
    add_shape();
    add_storage();
    add_chunks();
    add_compact();
  }

  const std::vector<uint64_t>& numbers() const { return numbers_; }

 private:
  template <class... A>
  [[noreturn]] void fault(const A&... parts) const {
    fail(ErrorKind::data, path_, ": offset ", offset_, ": dataset '", name_, "': ", parts...);
  }

  // A soft or external link could lead out of the file.
  hid_t open(hid_t file) const {
    H5L_info_t link;
    if (H5Lget_info(file, name_.c_str(), &link, H5P_DEFAULT) < 0) return -1;
    if (link.type != H5L_TYPE_HARD) fault("expected a plain dataset, it is a link");
    return H5Dopen2(file, name_.c_str(), H5P_DEFAULT);
  }

  // Axes of which the sizes are told: none when there are more than kMaxRank, or on an error (-1).
  static uint64_t listed(int axes) {
    const auto n = static_cast<uint64_t>(axes);
    return n <= kMaxRank ? n : 0;
  }

  void add(uint64_t number) { numbers_.push_back(number); }
  void add(const hsize_t* values, uint64_t n) {
    add(n);
    numbers_.insert(numbers_.end(), values, values + n);
  }

  void add_shape() {
    const Handle space(H5Dget_space(id_.get()), H5Sclose);
    hsize_t dims[H5S_MAX_RANK] = {};
    const int rank = H5Sget_simple_extent_dims(space.get(), dims, nullptr);
    rank_ = listed(rank);
    add(offset_), add(static_cast<uint64_t>(std::max(rank, 0))), add(dims, rank_);
    element_ = element_of(Handle(H5Dget_type(id_.get()), H5Tclose).get());
    add(element_.floating), add(element_.is_signed), add(element_.big), add(element_.width);
  }

  void add_storage() {
    const Handle plist(H5Dget_create_plist(id_.get()), H5Pclose);
    const H5D_layout_t layout = H5Pget_layout(plist.get());
    const bool inside = H5Pget_external_count(plist.get()) == 0;
    chunked_ = inside && layout == H5D_CHUNKED;
    compact_ = inside && layout == H5D_COMPACT;
    const bool block = inside && layout == H5D_CONTIGUOUS;
    add(static_cast<uint64_t>(block      ? Hdf5Layout::contiguous
                              : chunked_ ? Hdf5Layout::chunked
                              : compact_ ? Hdf5Layout::compact
                                         : Hdf5Layout::other));
    std::vector<hsize_t> filters;
    const int count = H5Pget_nfilters(plist.get());
    for (int i = 0; i < count; ++i) {  // the library knows no more than kMaxFilters
      unsigned flags = 0, config = 0;
      size_t values = 0;
      filters.push_back(static_cast<hsize_t>(H5Pget_filter2(
          plist.get(), static_cast<unsigned>(i), &flags, &values, nullptr, 0, nullptr, &config)));
    }
    add(filters.data(), filters.size());
    hsize_t chunk[H5S_MAX_RANK] = {};
    add(chunk, chunked_ ? listed(H5Pget_chunk(plist.get(), H5S_MAX_RANK, chunk)) : 0);
    add(H5Dget_storage_size(id_.get()));
    add(block ? H5Dget_offset(id_.get()) : HADDR_UNDEF);
  }

  void add_chunks() {
    const Handle space(H5Dget_space(id_.get()), H5Sclose);
    hsize_t count = 0;
    if (chunked_) H5Dget_num_chunks(id_.get(), space.get(), &count);
    add(count);
    const hsize_t told = rank_ > 0 && count <= kMaxHdf5Chunks ? count : 0;
    add(told);
    for (hsize_t i = 0; i < told; ++i) {
      hsize_t at[H5S_MAX_RANK + 1] = {};  // the library may write one axis more than it says
      unsigned mask = 0;
      haddr_t address = HADDR_UNDEF;
      hsize_t bytes = 0;
      // What cannot be found keeps no bytes, which is no chunk.
      H5Dget_chunk_info(id_.get(), space.get(), i, at, &mask, &address, &bytes);
      add(at, rank_), add(mask), add(address), add(bytes);
    }
  }

  // The elements of a compact dataset, as they are in the file. They have no address to tell.
  void add_compact() {
    const Handle type(H5Dget_type(id_.get()), H5Tclose), space(H5Dget_space(id_.get()), H5Sclose);
    const hssize_t elements = H5Sget_simple_extent_npoints(space.get());
    const bool small = elements > 0 && static_cast<uint64_t>(elements) <= kMaxHdf5Compact;
    const uint64_t n = compact_ && small ? static_cast<uint64_t>(elements) * element_.width : 0;
    if (n == 0 || n > kMaxHdf5Compact || n != H5Dget_storage_size(id_.get())) return add(0);
    std::vector<uint64_t> words((n + 7) / 8);
    if (H5Dread(id_.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, words.data()) < 0) {
      fault("cannot be read: ", reason_with_advice());
    }
    add(n);
    numbers_.insert(numbers_.end(), words.begin(), words.end());
  }

  const std::string &name_, &path_;
  uint64_t offset_ = 0, rank_ = 0;  // the rank is 0 beyond kMaxRank
  Handle id_;
  Hdf5Element element_;
  bool chunked_ = false, compact_ = false;
  std::vector<uint64_t> numbers_;
};

// In the child.
std::vector<uint8_t> facts_of(const std::string& path, const std::vector<std::string>& names) {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
#if H5_VERSION_GE(1, 12, 1) || (H5_VERSION_GE(1, 10, 7) && !H5_VERSION_GE(1, 12, 0))
  H5Pset_file_locking(access.get(), false, true);  // network file systems often have no locks
#endif
  const Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose);
  if (!file.ok()) {
    fail(ErrorKind::data, path, ": offset 0: libhdf5 cannot open it: ", reason_with_advice());
  }
  std::vector<uint64_t> all;
  for (const std::string& name : names) {
    if (H5Lexists(file.get(), name.c_str(), H5P_DEFAULT) == 0) {
      all.push_back(0);
      continue;
    }
    const Facts facts(file.get(), name, path);
    all.insert(all.end(), facts.numbers().begin(), facts.numbers().end());
  }
  std::vector<uint8_t> bytes(all.size() * sizeof(uint64_t));
  std::memcpy(bytes.data(), all.data(), bytes.size());
  return bytes;
}

}  // namespace

std::vector<std::optional<Hdf5Located>> locate_hdf5(const fs::path& path,
                                                    const std::vector<std::string>& names) {
  const std::string name = path.string();
  const std::vector<uint8_t> answer =
      run_in_child(str(name, ": offset 0"), "libhdf5", {}, [&] { return facts_of(name, names); });
  ByteReader in(answer, str(name, ": offset 0: libhdf5's answer"));
  std::vector<std::optional<Hdf5Located>> out;
  for (size_t i = 0; i < names.size(); ++i) out.push_back(take_located(in));
  return out;
}

#endif

}  // namespace basin
