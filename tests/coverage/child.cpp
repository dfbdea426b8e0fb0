// Part of the test programs of a coverage build only, through the linker's --wrap: there the
// processes that the HDF5 reader starts (datasets/limited_child.cpp) count as well. They leave by
// _exit and may not write a file, so their counts are written before the exit, and the limit on the
// size of files is not set. Every other limit stays. They begin at zero: what was counted before
// the fork is the parent's to write.
#include <sys/resource.h>
#include <unistd.h>

// NOLINTBEGIN(bugprone-reserved-identifier): the names are gcov's and the linker's
extern "C" {
void __gcov_dump();
void __gcov_reset();
pid_t __real_fork();
[[noreturn]] void __real__exit(int code);
int __real_setrlimit(__rlimit_resource resource, const rlimit* limits);

pid_t __wrap_fork() {
  const pid_t child = __real_fork();
  if (child == 0) __gcov_reset();
  return child;
}

[[noreturn]] void __wrap__exit(int code) {
  __gcov_dump();
  __real__exit(code);
}

int __wrap_setrlimit(__rlimit_resource resource, const rlimit* limits) {
  return resource == RLIMIT_FSIZE ? 0 : __real_setrlimit(resource, limits);
}
}
// NOLINTEND(bugprone-reserved-identifier)
