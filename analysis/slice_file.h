// The file of a slice: JSON lines. The first holds what was asked, as flat strings, and their
// SHA-256; every further one holds a point. Lines are appended whole, one write() each, under a
// lock; a kill in the middle tears the last line at most, and a torn last line is cut off by the
// next run. Numbers are written so that they read back to the same bits.
//   {"basin_slice":1,"sha256":"..","grid.x.count":"51",..}
//   {"point":0,"x":-1,"y":-1,"loss":2.5,"accuracy":0.25}
//   {"point":1,"x":-0.5,"y":-1,"loss":null,"failed":"why"}
// The second value is called as the field "metric" of the head says; "accuracy" without it.
#pragma once
#include <vector>

#include "basin/analysis/slices.h"

namespace basin {

// The grid as fields "grid.x.low" .. "grid.y.count", and back (data error naming the field).
SliceFields grid_fields(const SliceGrid& grid);

// A slice kept in a file. data error: damaged (naming the line), or a point with two values.
Slice read_slice(const fs::path& path);

// Parts of one question joined; the same point in several files must agree to the bit.
//   data error naming the field, or the point, that differs.
Slice merge_slices(const std::vector<fs::path>& parts);
void write_slice(const fs::path& path, const Slice& slice);  // atomic

// Appends points to the file of `slice`, which it creates, or resumes: points found there are put
// into `slice`.
class SliceFile {
 public:
  SliceFile(const fs::path& path, Slice& slice);
  ~SliceFile();
  SliceFile(const SliceFile&) = delete;
  SliceFile& operator=(const SliceFile&) = delete;
  void append(const Slice& slice, int64_t index);

 private:
  void write_line(const std::string& line);
  fs::path path_;
  int fd_ = -1;
};

}  // namespace basin
