// Stands before the calls of the C library by its own names, and lets a Fault strike them.
#include "basin/tests/core/faults.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>

namespace basin::test {
namespace {

Fault* current = nullptr;

long passed(Call call, long result) { return Fault::strikes(call) ? -1 : result; }

}  // namespace

Fault::Fault(Call call, int error, int skip, size_t at_most)
    : call_(call), error_(error), skip_(skip), at_most_(at_most) {
  current = this;
}

Fault::~Fault() { current = nullptr; }

bool Fault::strikes(Call call) {
  Fault* const f = current;
  if (f == nullptr || f->call_ != call || f->error_ == 0 || f->struck_) return false;
  if (f->skip_-- > 0) return false;
  f->struck_ = true;
  errno = f->error_;
  return true;
}

size_t Fault::room(Call call, size_t bytes) {
  return current != nullptr && current->call_ == call ? std::min(bytes, current->at_most_) : bytes;
}

}  // namespace basin::test

using basin::test::Call;
using basin::test::Fault;

extern "C" {
int open(const char* path, int flags, ...) {
  if (Fault::strikes(Call::open)) return -1;
  va_list more;
  va_start(more, flags);
  const unsigned mode = (flags & O_CREAT) != 0 ? va_arg(more, unsigned) : 0;
  va_end(more);
  return static_cast<int>(::syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}
ssize_t read(int fd, void* to, size_t n) {
  if (Fault::strikes(Call::read)) return -1;
  return ::syscall(SYS_read, fd, to, Fault::room(Call::read, n));
}
ssize_t write(int fd, const void* from, size_t n) {
  if (Fault::strikes(Call::write)) return -1;
  return ::syscall(SYS_write, fd, from, Fault::room(Call::write, n));
}
int ftruncate(int fd, off_t size) noexcept {
  if (Fault::strikes(Call::ftruncate)) return -1;
  return static_cast<int>(::syscall(SYS_ftruncate, fd, size));
}
int fsync(int fd) {
  if (Fault::strikes(Call::fsync)) return -1;
  return static_cast<int>(::syscall(SYS_fsync, fd));
}
int close(int fd) {  // as Linux does: an error is told, the descriptor is gone
  return static_cast<int>(basin::test::passed(Call::close, ::syscall(SYS_close, fd)));
}
int fstat(int fd, struct stat* info) noexcept {
  if (Fault::strikes(Call::fstat)) return -1;
  return ::fstatat(fd, "", info, AT_EMPTY_PATH);
}
int flock(int fd, int operation) noexcept {
  if (Fault::strikes(Call::flock)) return -1;
  return static_cast<int>(::syscall(SYS_flock, fd, operation));
}
int rename(const char* from, const char* to) noexcept {
  if (Fault::strikes(Call::rename)) return -1;
  return ::renameat(AT_FDCWD, from, AT_FDCWD, to);
}
int mkdir(const char* path, mode_t mode) noexcept {
  if (Fault::strikes(Call::mkdir)) return -1;
  return ::mkdirat(AT_FDCWD, path, mode);
}
int unlinkat(int folder, const char* path, int flags) noexcept {
  if (Fault::strikes(Call::remove)) return -1;
  return static_cast<int>(::syscall(SYS_unlinkat, folder, path, flags));
}
int unlink(const char* path) noexcept { return ::unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char* path) noexcept { return ::unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char* path) noexcept {
  const int removed = ::unlink(path);
  return removed != 0 && errno == EISDIR ? ::rmdir(path) : removed;
}
dirent* readdir(DIR* folder) {
  if (Fault::strikes(Call::list)) return nullptr;
  return reinterpret_cast<dirent* (*)(DIR*)>(::dlsym(RTLD_NEXT, "readdir"))(folder);
}
int pipe2(int ends[2], int flags) noexcept {
  if (Fault::strikes(Call::pipe)) return -1;
  return static_cast<int>(::syscall(SYS_pipe2, ends, flags));
}
pid_t fork() noexcept {  // the library's own also readies its memory for the new process
  if (Fault::strikes(Call::fork)) return -1;
  return reinterpret_cast<pid_t (*)()>(::dlsym(RTLD_NEXT, "fork"))();
}
int poll(pollfd* set, nfds_t n, int milliseconds) {
  if (Fault::strikes(Call::poll)) return -1;
  timespec wait{milliseconds / 1000, milliseconds % 1000 * 1'000'000L};
  return ::ppoll(set, n, milliseconds < 0 ? nullptr : &wait, nullptr);
}
pid_t waitpid(pid_t child, int* status, int options) {
  if (Fault::strikes(Call::wait)) return -1;
  return static_cast<pid_t>(::syscall(SYS_wait4, child, status, options, nullptr));
}
}
