// One open file descriptor that only appends: whole lines, cut back to a checkpoint's length.
#include "basin/train/metrics_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace basin {
namespace {

[[noreturn]] void refuse(const fs::path& path, const char* what) {
  fail(ErrorKind::output, path.string(), ": cannot be ", what, ": ", error_text(errno));
}

}  // namespace

MetricsFile::MetricsFile(const fs::path& path, uint64_t bytes) : path_(path), bytes_(bytes) {
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd_ < 0) refuse(path, "opened");
  try {
    cut();
    // A checkpoint counts on the file: its name has to reach the disk as well.
    fsync_path(path.has_parent_path() ? path.parent_path() : fs::path("."));
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

void MetricsFile::cut() const {
  struct stat info {};
  if (::fstat(fd_, &info) != 0) refuse(path_, "examined");
  const auto size = static_cast<uint64_t>(info.st_size);
  if (size < bytes_) {
    fail(ErrorKind::data, path_.string(), ": the checkpoint counts ", bytes_,
         " bytes of metrics, the file has ", size, "; it was cut after the checkpoint");
  }
  if (::ftruncate(fd_, static_cast<off_t>(bytes_)) != 0) refuse(path_, "cut");
}

MetricsFile::~MetricsFile() {
  if (fd_ >= 0) ::close(fd_);
}

void MetricsFile::append(const Record& event) {
  if (fd_ < 0) return;
  const std::string line = event.line() + "\n";
  size_t done = 0;
  while (done < line.size()) {
    const ssize_t n = ::write(fd_, line.data() + done, line.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int error = errno;
      // Half a line does not stay. Where this fails too, the next start cuts it off.
      [[maybe_unused]] const int cut = ::ftruncate(fd_, static_cast<off_t>(bytes_));
      errno = error;
      refuse(path_, "written");
    }
    done += static_cast<size_t>(n);
  }
  bytes_ += line.size();
}

void MetricsFile::sync() {
  if (fd_ >= 0 && ::fsync(fd_) != 0) refuse(path_, "synchronised");
}

}  // namespace basin
