// metrics.jsonl: one flat JSON object per line, appended as it happens. A checkpoint notes the
// length of the file; a resumed run cuts it back to that length, so that no line is repeated or
// lost.
#pragma once
#include <cstdint>

#include "basin/core/io.h"
#include "basin/core/record.h"

namespace basin {

class MetricsFile {
 public:
  // Of a process that writes none: lines are dropped.
  MetricsFile() = default;
  // Opens for appending and cuts the file to `bytes`. data error when it is shorter than that.
  MetricsFile(const fs::path& path, uint64_t bytes);
  ~MetricsFile();
  MetricsFile(const MetricsFile&) = delete;
  MetricsFile& operator=(const MetricsFile&) = delete;

  // One write call per line. output error on failure; half a line is taken back.
  void append(const Record& event);
  void sync();  // fsync
  uint64_t bytes() const { return bytes_; }

 private:
  void cut() const;

  fs::path path_;
  int fd_ = -1;
  uint64_t bytes_ = 0;
};

}  // namespace basin
