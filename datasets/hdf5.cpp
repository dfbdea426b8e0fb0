// HDF5 point clouds: see hdf5.h. Superblock layouts from the HDF5 file format specification 3.0:
// versions 0 and 1 keep the end-of-file address behind the B-tree constants, versions 2 and 3 at a
// fixed place.
// libhdf5 only tells where the bytes are, from a process of its own (hdf5_locate.h); its answer is
// checked and the bytes are read, unpacked and converted by hdf5_read.h.
#include "basin/datasets/hdf5.h"

#include <algorithm>
#include <array>
#include <vector>

#include "basin/core/content.h"
#include "basin/datasets/detail/hdf5_read.h"

namespace basin {
namespace {

constexpr std::array<uint8_t, 8> kSignature{0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
constexpr size_t kHeadBytes = kContentBytes;  // more than the longest superblock needs

std::vector<uint8_t> head_of(const fs::path& path, uint64_t& size) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) {
    fail(ErrorKind::data, path.string(), ": expected an HDF5 file, there is no regular file");
  }
  std::ifstream in = open_hdf5(path, size);
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
             " bytes) begins otherwise", content_note(head));
  }
  in.take(kSignature.size(), "the signature");
  const int version = in.u8("the superblock version");
  if (version > 3) {
    in.fault("expected HDF5 superblock version 0 to 3, got ", version,
             ", of a newer HDF5 format; save the file for older readers (h5py: libver='earliest')");
  }
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

Hdf5Clouds read_hdf5_clouds(const fs::path& path, const Hdf5Options&) {
  check_hdf5_frame(path);
  fail(ErrorKind::resource, path.string(),
       ": this build of Basin has no HDF5 support; install libhdf5-dev and configure again");
}

#else

bool hdf5_available() { return true; }

Hdf5Clouds read_hdf5_clouds(const fs::path& path, const Hdf5Options& options) {
  check_hdf5_frame(path);
  std::vector<std::string> names{"data", "label"};
  if (options.normals) names.push_back("normal");
  std::vector<std::optional<Hdf5Located> > found = locate_hdf5(path, names);
  for (size_t i = 0; i < 2; ++i) {
    if (!found[i]) {
      fail(ErrorKind::data, path.string(), ": offset 0: expected a dataset '", names[i],
           "' in the root group, there is none");
    }
  }
  return read_located_clouds(path,
                             {std::move(*found[0]), std::move(*found[1]),
                              options.normals ? std::move(found[2]) : std::nullopt},
                             options.max_bytes);
}

#endif

}  // namespace basin
