// A library to preload (LD_PRELOAD) into a program under test: it numbers the allocations that the
// program makes between the start and the end of main, and lets the N-th fail.
//   ALLOC_KIND   new: operator new, wherever it is called from; storage: what the program itself
//                (not a library) maps, the memory of tensors
//   ALLOC_FAULT  paths | fail:N | stays:N (all later ones fail as well)
//   ALLOC_LOG    gets the number of allocations at the end, after (paths) a line "N" for each
//                allocation whose chain of callers was not seen before
// malloc and what other libraries map for themselves is not touched: OpenBLAS, zlib and the C
// library have their own answers.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <unwind.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>

namespace {

enum class Mode { off, paths, fail, stays };

struct Plan {
  Mode mode = Mode::off;
  long at = 0;
  bool storage = false;
  const char* log = nullptr;
};

constexpr int kCallers = 12;  // what makes a path
Plan plan;
std::atomic<bool> armed{false};
std::atomic<long> calls{0};

// The chain of callers as one number. No memory is asked for.
uint64_t path_number() {
  struct Walk {
    uint64_t hash = 14695981039346656037u;
    int depth = 0;
  } walk;
  const auto step = [](_Unwind_Context* context, void* data) {
    auto* w = static_cast<Walk*>(data);
    w->hash = (w->hash ^ _Unwind_GetIP(context)) * 1099511628211u;
    return ++w->depth < kCallers ? _URC_NO_REASON : _URC_END_OF_STACK;
  };
  _Unwind_Backtrace(step, &walk);
  return walk.hash;
}

// An open table of the paths seen.
bool is_new_path(uint64_t number) {
  static std::array<uint64_t, 1 << 18> seen{};
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  if (number == 0) number = 1;
  for (size_t i = number % seen.size();; i = (i + 1) % seen.size()) {
    if (seen[i] == number) return false;
    if (seen[i] != 0) continue;
    seen[i] = number;
    return true;
  }
}

void log_number(long n) {
  char line[32];
  const int length = std::snprintf(line, sizeof line, "%ld\n", n);
  static const int fd = ::open(plan.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd < 0 || ::write(fd, line, static_cast<size_t>(length)) != length) std::abort();
}

thread_local bool inside = false;

bool refused() {
  if (!armed.load(std::memory_order_relaxed) || inside) return false;
  const long n = ++calls;
  if (plan.mode == Mode::paths) {
    inside = true;
    if (is_new_path(path_number())) log_number(n);
    inside = false;
    return false;
  }
  return plan.mode == Mode::stays ? n >= plan.at : n == plan.at;
}

// Basin is linked into its programs; a library has a name with .so in it.
bool from_the_program(const void* caller) {
  Dl_info here{};
  return ::dladdr(caller, &here) != 0 && std::strstr(here.dli_fname, ".so") == nullptr;
}

using Main = int (*)(int, char**, char**);
Main real_main = nullptr;

int watched_main(int argc, char** argv, char** envp) {
  const char* kind = std::getenv("ALLOC_KIND");
  const char* fault = std::getenv("ALLOC_FAULT");
  plan.log = std::getenv("ALLOC_LOG");
  plan.storage = kind != nullptr && std::strcmp(kind, "storage") == 0;
  if (fault != nullptr && std::strcmp(fault, "paths") == 0) plan.mode = Mode::paths;
  if (fault != nullptr && std::sscanf(fault, "fail:%ld", &plan.at) == 1) plan.mode = Mode::fail;
  if (fault != nullptr && std::sscanf(fault, "stays:%ld", &plan.at) == 1) plan.mode = Mode::stays;
  armed = plan.mode != Mode::off;
  const int code = real_main(argc, argv, envp);
  armed = false;
  if (plan.mode != Mode::off) log_number(calls);
  return code;
}

}  // namespace

void* operator new(std::size_t bytes) {
  void* p = !plan.storage && refused() ? nullptr : std::malloc(bytes > 0 ? bytes : 1);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

void* operator new(std::size_t bytes, std::align_val_t align) {
  const auto step = static_cast<std::size_t>(align);
  const std::size_t whole = (bytes + step - 1) / step * step;
  void* p =
      !plan.storage && refused() ? nullptr : std::aligned_alloc(step, whole > 0 ? whole : step);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

extern "C" {

void* mmap(void* address, size_t bytes, int protection, int flags, int fd, off_t offset) noexcept {
  static const auto call =
      reinterpret_cast<void* (*)(void*, size_t, int, int, int, off_t)>(::dlsym(RTLD_NEXT, "mmap"));
  if (plan.storage && (flags & MAP_ANONYMOUS) != 0 &&
      from_the_program(__builtin_return_address(0)) && refused()) {
    return MAP_FAILED;
  }
  return call(address, bytes, protection, flags, fd, offset);
}

int __libc_start_main(Main main, int argc, char** argv, void (*init)(), void (*fini)(),
                      void (*rtld_fini)(), void* stack_end) {
  using Start = int (*)(Main, int, char**, void (*)(), void (*)(), void (*)(), void*);
  static const auto call = reinterpret_cast<Start>(::dlsym(RTLD_NEXT, "__libc_start_main"));
  real_main = main;
  return call(watched_main, argc, argv, init, fini, rtld_fini, stack_end);
}

}  // extern "C"
