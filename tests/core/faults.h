// System calls that fail in the process of a test: faults.cpp stands before the calls of the C
// library by which files are read, written, synchronised and renamed and processes started, and
// passes them on unless a Fault lives (remove: unlink, unlinkat, rmdir and remove; list: readdir;
// pipe: pipe2; wait: waitpid). One at a time, and not while other threads touch files. A process
// that is started while a Fault lives has it too.
#pragma once
#include <cstddef>

namespace basin::test {

enum class Call {
  open,
  fstat,
  read,
  write,
  ftruncate,
  fsync,
  close,
  flock,
  rename,
  mkdir,
  remove,
  list,
  pipe,
  fork,
  poll,
  wait
};

// While it lives, the call of this kind after the first `skip` ones fails once with `error` (none
// with 0), and a read or write moves at most `at_most` bytes.
class Fault {
 public:
  static constexpr size_t kAll = ~size_t{0};
  Fault(Call call, int error, int skip = 0, size_t at_most = kAll);
  ~Fault();
  Fault(const Fault&) = delete;
  Fault& operator=(const Fault&) = delete;
  bool struck() const { return struck_; }

  static bool strikes(Call call);  // sets errno
  static size_t room(Call call, size_t bytes);

 private:
  Call call_;
  int error_, skip_;
  size_t at_most_;
  bool struck_ = false;
};

}  // namespace basin::test
