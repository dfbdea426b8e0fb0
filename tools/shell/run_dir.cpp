// Creating, locking and recording the directory of a run.
#include "basin/tools/shell/run_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "basin/core/listing.h"
#include "basin/tools/shell/environment.h"

namespace basin::tools {
namespace {

constexpr const char* kRecord = "run.json";
constexpr const char* kLock = ".lock";

// Everything in the folder itself that is replaced atomically.
constexpr std::array<std::string_view, 4> kFiles = {"config.toml", kRecord, "metrics.jsonl",
                                                    "result.json"};
constexpr std::string_view kTemporary = ".tmp-";
constexpr uint64_t kMaxRecordBytes = uint64_t{1} << 20;

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> out = list_folder(folder, error);
  if (error) fail(ErrorKind::output, folder.string(), ": cannot be listed: ", error_text(error));
  return out;
}

// run.json.tmp-123: what a kill within write_file_atomic leaves.
bool is_leftover(const fs::path& file) {
  const std::string name = file.filename().string();
  const size_t at = name.rfind(kTemporary);
  int64_t process = 0;
  return at != name.npos && parse_int64(name.substr(at + kTemporary.size()), process) &&
         std::find(kFiles.begin(), kFiles.end(), name.substr(0, at)) != kFiles.end();
}

// A bundle (step_failure.h) that was being written or replaced.
bool is_half_bundle(const fs::path& folder) {
  const std::string name = folder.filename().string();
  return name.starts_with(kTemporary) && name.find("failure-step-") != name.npos;
}

// What a run leaves that was killed before its first record: the lock comes first, then files of
// our names. Without the lock these files are somebody else's. What a file manager left is
// nobody's.
bool is_unfinished_start(const fs::path& folder) {
  std::vector<fs::path> entries = entries_of(folder);
  std::erase_if(entries, [](const fs::path& p) { return is_litter(p) && p.filename() != kLock; });
  bool locked = false;
  for (const fs::path& entry : entries) {
    const fs::path name = entry.filename();
    locked = locked || name == kLock;
    const bool ours = name == kLock || name == "config.toml" || name == "metrics.jsonl" ||
                      name == "ckpt";  // of a run that extends another
    if (!ours && !is_leftover(entry)) return false;
  }
  return locked || entries.empty();
}

}  // namespace

RunDir::RunDir(fs::path path) : path_(std::move(path)) {}

RunDir::RunDir(RunDir&& other) noexcept
    : path_(std::move(other.path_)),
      lock_(std::exchange(other.lock_, -1)),
      created_(other.created_),
      made_folder_(other.made_folder_),
      record_(std::move(other.record_)),
      started_(other.started_) {}

RunDir::~RunDir() {
  if (lock_ >= 0) ::close(lock_);
}

void RunDir::lock() {
  const fs::path file = path_ / kLock;
  lock_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock_ < 0) {
    fail(ErrorKind::output, file.string(), ": cannot be created: ", error_text(errno));
  }
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) {
      fail(ErrorKind::output, file.string(), ": cannot be locked: ", error_text(errno));
    }
    fail(ErrorKind::output, path_.string(), ": another process is writing to this run");
  }
  remove_leftovers();
}

// Only under the lock: another process may be writing such a file right now.
void RunDir::remove_leftovers() const {
  for (const fs::path& entry : entries_of(path_)) {
    std::error_code error;
    if (is_leftover(entry) || is_half_bundle(entry)) remove_tree(entry, error);
    if (error) {
      fail(ErrorKind::output, entry.string(), ": cannot be removed: ", error_text(error));
    }
  }
}

void RunDir::refuse_used(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return;
  if (fs::is_directory(path, error) && is_unfinished_start(path)) return;
  fail(ErrorKind::output, path.string(), ": exists",
       is_run(path) ? "; continue it with --resume, or choose another --out"
                    : " and is no run of ours; choose another --out");
}

RunDir RunDir::create(const fs::path& path) {
  refuse_used(path);
  std::error_code error;
  const bool made = fs::create_directories(path, error);
  if (error) fail(ErrorKind::output, path.string(), ": cannot be created: ", error_text(error));
  if (made) fsync_path(path.has_parent_path() ? path.parent_path() : fs::path("."));
  RunDir dir(path);
  dir.created_ = true;
  dir.made_folder_ = made;
  dir.lock();
  return dir;
}

RunDir RunDir::open(const fs::path& path) {
  if (!is_run(path)) {
    fail(ErrorKind::usage, "--resume: ", path.string(), " is no run directory, ", lack_of(path));
  }
  RunDir dir(path);
  dir.lock();
  return dir;
}

bool RunDir::is_run(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path / kRecord, error)) return false;
  const std::string text = read_text_file(path / kRecord, kMaxRecordBytes);
  try {
    return parse_record(text, kRecord).has("exit_reason");
  } catch (const Error&) {
    return false;  // somebody else's: ours is replaced atomically, it is never half there
  }
}

std::string RunDir::lack_of(const fs::path& path) {
  std::error_code error;
  const uintmax_t bytes = fs::file_size(path / kRecord, error);
  if (error) return str("it has no ", kRecord);
  return str("its ", kRecord, bytes == 0 ? " is empty" : " is not the record of a run");
}

void RunDir::write_config(const std::string& toml) const { write_file_atomic(config_file(), toml); }

void RunDir::begin(const Record& facts) {
  record_ = facts;
  record_.append(environment_record());
  record_.add("start", utc_now());
  started_ = seconds_now();
  write_record(Record().add("exit_reason", "running"));
}

void RunDir::finish(const std::string& exit_reason, int exit_code) {
  write_record(Record()
                   .add("end", utc_now())
                   .add("seconds", seconds_now() - started_)
                   .add("exit_reason", exit_reason)
                   .add("exit_code", exit_code));
}

void RunDir::finish_failed(const std::string& sentence, int exit_code) noexcept {
  try {
    finish("error: " + sentence, exit_code);
  } catch (const std::exception&) {  // the record goes on saying "running"
  }
}

bool RunDir::withdraw() noexcept {
  try {
    std::error_code error;
    if (!created_ || (fs::exists(metrics_file()) && fs::file_size(metrics_file()) > 0)) {
      return false;
    }
    const std::array<fs::path, 4> ours = {path_ / kRecord, config_file(), metrics_file(),
                                          path_ / kLock};
    for (const fs::path& entry : entries_of(path_)) {
      if (std::find(ours.begin(), ours.end(), entry) == ours.end()) return false;
    }
    for (const fs::path& file : ours) {  // the lock last: without it the rest is nobody's
      fs::remove(file, error);
      if (error) return false;
    }
    return !made_folder_ || (fs::remove(path_, error) && !error);
  } catch (const std::exception&) {
    return false;
  }
}

void RunDir::write_record(const Record& end) const {
  Record all = record_;
  all.append(end);
  write_file_atomic(path_ / kRecord, all.pretty());
}

fs::path part_folder(const fs::path& dir, const char* name) {
  fs::path folder = dir / name;
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    fail(ErrorKind::output, folder.string(), ": cannot be created: ", error_text(error));
  }
  return folder;
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
