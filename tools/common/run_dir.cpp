// The run directory: see run_dir.h.
#include "basin/tools/common/run_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "basin/tools/common/environment.h"

namespace basin::tools {
namespace {

constexpr const char* kRecord = "run.json";
constexpr const char* kLock = ".lock";

// A run that was killed before its first record leaves only the lock.
bool holds_nothing(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename() != kLock) return false;
  }
  return true;
}

}  // namespace

RunDir::RunDir(fs::path path) : path_(std::move(path)) {}

RunDir::RunDir(RunDir&& other) noexcept
    : path_(std::move(other.path_)),
      lock_(std::exchange(other.lock_, -1)),
      record_(std::move(other.record_)),
      started_(other.started_) {}

RunDir::~RunDir() {
  if (lock_ >= 0) ::close(lock_);
}

void RunDir::lock() {
  const fs::path file = path_ / kLock;
  lock_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock_ < 0) {
    fail(ErrorKind::output, file.string(), ": cannot be created: ", std::strerror(errno));
  }
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    fail(ErrorKind::output, path_.string(), ": another process is writing to this run");
  }
}

void RunDir::refuse_used(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return;
  if (fs::is_directory(path, error) && holds_nothing(path)) return;
  fail(ErrorKind::output, path.string(), ": exists",
       is_run(path) ? "; continue it with --resume, or choose another --out"
                    : " and is no run of ours; choose another --out");
}

RunDir RunDir::create(const fs::path& path) {
  refuse_used(path);
  std::error_code error;
  fs::create_directories(path, error);
  if (error) fail(ErrorKind::output, path.string(), ": cannot be created: ", error.message());
  RunDir dir(path);
  dir.lock();
  return dir;
}

RunDir RunDir::open(const fs::path& path) {
  if (!is_run(path)) {
    fail(ErrorKind::usage, "--resume: ", path.string(), " is no run directory, it has no ",
         kRecord);
  }
  RunDir dir(path);
  dir.lock();
  return dir;
}

bool RunDir::is_run(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path / kRecord, error);
}

void RunDir::write_config(const std::string& toml) const { write_file_atomic(config_file(), toml); }

void RunDir::begin(const JsonObject& facts) {
  record_ = facts;
  record_.append(environment_record());
  record_.add("start", utc_now());
  started_ = seconds_now();
  write_record(JsonObject().add("exit_reason", "running"));
}

void RunDir::finish(const std::string& exit_reason, int exit_code) {
  write_record(JsonObject()
                   .add("end", utc_now())
                   .add("seconds", seconds_now() - started_)
                   .add("exit_reason", exit_reason)
                   .add("exit_code", exit_code));
}

void RunDir::write_record(const JsonObject& end) const {
  JsonObject all = record_;
  all.append(end);
  write_file_atomic(path_ / kRecord, all.pretty());
}

fs::path first_free(const fs::path& base) {
  std::error_code error;
  if (!fs::exists(base, error)) return base;
  for (int i = 2;; ++i) {
    fs::path next = base;
    next += str("-", i);
    if (!fs::exists(next, error)) return next;
  }
}

}  // namespace basin::tools
