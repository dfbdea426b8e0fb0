// A library to preload (LD_PRELOAD) into a program under test: it numbers the calls by which the
// program changes files below one folder (open, write, ftruncate, fsync, close, rename, unlink,
// mkdir, rmdir) and at the N-th kills the process or lets the call fail. A write counts twice: once
// before anything is written, once when half of it is (a torn write, or a short one whose
// continuation fails).
//   FAULTS_DIR   the folder, absolute and without symbolic links
//   FAULTS       count | kill:N | error:N:ERRNO | stays:N:ERRNO (later calls fail as well)
//   FAULTS_LOG   gets a line "call path" for every call (count) or for the N-th
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

enum class Mode { off, count, kill, error, stays };

struct Plan {
  Mode mode = Mode::off;
  long at = 0;
  int error = 0;
  std::string dir, log;
};

template <class F>
F next(const char* name) {
  return reinterpret_cast<F>(::dlsym(RTLD_NEXT, name));
}

const Plan& plan() {
  static const Plan* made = [] {
    auto* p = new Plan;
    const char* dir = std::getenv("FAULTS_DIR");
    const char* what = std::getenv("FAULTS");
    const char* log = std::getenv("FAULTS_LOG");
    if (dir == nullptr || what == nullptr || log == nullptr) return p;
    p->dir = dir;
    p->log = log;
    if (std::strcmp(what, "count") == 0) p->mode = Mode::count;
    if (std::sscanf(what, "kill:%ld", &p->at) == 1) p->mode = Mode::kill;
    if (std::sscanf(what, "error:%ld:%d", &p->at, &p->error) == 2) p->mode = Mode::error;
    if (std::sscanf(what, "stays:%ld:%d", &p->at, &p->error) == 2) p->mode = Mode::stays;
    return p;
  }();
  return *made;
}

std::string absolute(int at, const char* path) {
  if (path[0] == '/') return path;
  char folder[PATH_MAX] = {};
  if (at == AT_FDCWD) {
    if (::getcwd(folder, sizeof folder) == nullptr) return path;
  } else {
    const std::string link = "/proc/self/fd/" + std::to_string(at);
    if (::readlink(link.c_str(), folder, sizeof folder - 1) < 0) return path;
  }
  return std::string(folder) + "/" + path;
}

// Also the folder itself.
bool watched(const std::string& path) {
  const std::string& dir = plan().dir;
  if (plan().mode == Mode::off || path.compare(0, dir.size(), dir) != 0) return false;
  return path.size() == dir.size() || path[dir.size()] == '/';
}

// Of a descriptor: "" when the file is not below the folder.
std::string path_of(int fd) {
  if (plan().mode == Mode::off || fd <= STDERR_FILENO) return "";
  char target[PATH_MAX] = {};
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  if (::readlink(link.c_str(), target, sizeof target - 1) < 0) return "";
  return watched(target) ? target : "";
}

void log_call(const char* call, const std::string& path) {
  static const auto open_next = next<int (*)(const char*, int, ...)>("open");
  static const auto write_next = next<ssize_t (*)(int, const void*, size_t)>("write");
  static const auto close_next = next<int (*)(int)>("close");
  const std::string line = std::string(call) + " " + path + "\n";
  const int fd = open_next(plan().log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd < 0) return;
  if (write_next(fd, line.data(), line.size()) < 0) std::abort();
  close_next(fd);
}

[[noreturn]] void die() {
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}

// On a full disk only what takes space fails later on, on a read-only one what changes anything.
bool lasts(const char* call) {
  const bool frees = std::strncmp(call, "unlink", 6) == 0 || std::strcmp(call, "rmdir") == 0;
  const bool reads = std::strcmp(call, "open-read") == 0 || std::strcmp(call, "close") == 0;
  return !reads && !(frees && plan().error == ENOSPC);
}

enum class Verdict { pass, die, fail };

Verdict judge(const char* call, const std::string& path) {
  static std::atomic<long> calls{0};
  const long n = ++calls;
  const Plan& p = plan();
  if (p.mode == Mode::count || n == p.at) log_call(call, path);
  if (p.mode == Mode::count || n < p.at) return Verdict::pass;
  if (n == p.at) return p.mode == Mode::kill ? Verdict::die : Verdict::fail;
  return p.mode == Mode::stays && lasts(call) ? Verdict::fail : Verdict::pass;
}

// True: the call is to fail; errno is set.
bool refused(const char* call, const std::string& path) {
  if (path.empty() || !watched(path)) return false;
  const Verdict verdict = judge(call, path);
  if (verdict == Verdict::die) die();
  if (verdict == Verdict::pass) return false;
  errno = plan().error;
  return true;
}

int open_checked(const char* real, int at, const char* path, int flags, mode_t mode) {
  const bool writes = (flags & (O_WRONLY | O_RDWR | O_CREAT)) != 0;
  if (refused(writes ? "open" : "open-read", absolute(at, path))) return -1;
  const auto call = next<int (*)(int, const char*, int, ...)>(real);
  return call(at, path, flags, mode);
}

mode_t mode_argument(int flags, va_list list) {
  return (flags & O_CREAT) != 0 ? va_arg(list, mode_t) : mode_t{0};
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = mode_argument(flags, list);
  va_end(list);
  return open_checked("openat", AT_FDCWD, path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = mode_argument(flags, list);
  va_end(list);
  return open_checked("openat64", AT_FDCWD, path, flags, mode);
}

int openat(int at, const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = mode_argument(flags, list);
  va_end(list);
  return open_checked("openat", at, path, flags, mode);
}

int openat64(int at, const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = mode_argument(flags, list);
  va_end(list);
  return open_checked("openat64", at, path, flags, mode);
}

ssize_t write(int fd, const void* bytes, size_t n) {
  static const auto call = next<ssize_t (*)(int, const void*, size_t)>("write");
  static std::atomic<int> broken{-1};  // a descriptor on which half a write got through
  const std::string path = path_of(fd);
  if (path.empty()) return call(fd, bytes, n);
  if (broken.exchange(-1) == fd) {
    errno = plan().error;
    return -1;
  }
  if (refused("write", path)) return -1;
  const Verdict verdict = judge("write-half", path);
  if (verdict == Verdict::pass) return call(fd, bytes, n);
  const ssize_t done = call(fd, bytes, n / 2);
  if (verdict == Verdict::die) die();
  broken = fd;
  return done;
}

int ftruncate(int fd, off_t size) noexcept {
  static const auto call = next<int (*)(int, off_t)>("ftruncate");
  return refused("ftruncate", path_of(fd)) ? -1 : call(fd, size);
}

int fsync(int fd) {
  static const auto call = next<int (*)(int)>("fsync");
  return refused("fsync", path_of(fd)) ? -1 : call(fd);
}

// A close that fails has closed all the same.
int close(int fd) {
  static const auto call = next<int (*)(int)>("close");
  const std::string path = path_of(fd);
  const bool writes = !path.empty() && (::fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
  const bool fails = writes && refused("close", path);
  const int result = call(fd);
  if (!fails) return result;
  errno = plan().error;
  return -1;
}

int rename(const char* from, const char* to) noexcept {
  static const auto call = next<int (*)(const char*, const char*)>("rename");
  return refused("rename", absolute(AT_FDCWD, to)) ? -1 : call(from, to);
}

int renameat(int from_at, const char* from, int to_at, const char* to) noexcept {
  static const auto call = next<int (*)(int, const char*, int, const char*)>("renameat");
  return refused("rename", absolute(to_at, to)) ? -1 : call(from_at, from, to_at, to);
}

int unlink(const char* path) noexcept {
  static const auto call = next<int (*)(const char*)>("unlink");
  return refused("unlink", absolute(AT_FDCWD, path)) ? -1 : call(path);
}

int unlinkat(int at, const char* path, int flags) noexcept {
  static const auto call = next<int (*)(int, const char*, int)>("unlinkat");
  return refused("unlinkat", absolute(at, path)) ? -1 : call(at, path, flags);
}

int remove(const char* path) noexcept {
  static const auto call = next<int (*)(const char*)>("remove");
  return refused("unlink", absolute(AT_FDCWD, path)) ? -1 : call(path);
}

int rmdir(const char* path) noexcept {
  static const auto call = next<int (*)(const char*)>("rmdir");
  return refused("rmdir", absolute(AT_FDCWD, path)) ? -1 : call(path);
}

int mkdir(const char* path, mode_t mode) noexcept {
  static const auto call = next<int (*)(const char*, mode_t)>("mkdir");
  return refused("mkdir", absolute(AT_FDCWD, path)) ? -1 : call(path, mode);
}

}  // extern "C"
