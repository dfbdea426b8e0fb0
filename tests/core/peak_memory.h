// By how much the memory of this process grew at most since a PeakMemory was made: the resident set
// as the kernel counts it. Under a sanitizer, which shadows all memory and keeps what was freed, it
// is the live bytes of the heap, counted by the sanitizer's own hooks (their declarations, which
// GCC has no header for, are those of its documented interface).
#pragma once
#include <sys/resource.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
extern "C" {
size_t __sanitizer_get_current_allocated_bytes();
size_t __sanitizer_get_allocated_size(const volatile void* memory);
int __sanitizer_install_malloc_and_free_hooks(void (*allocated)(const volatile void*, size_t),
                                              void (*freed)(const volatile void*));
}
#endif

namespace basin::test {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

struct LiveBytes {
  std::atomic<int64_t> now{0}, peak{0};
};
inline LiveBytes& live_bytes() {
  static LiveBytes bytes;
  return bytes;
}

class PeakMemory {
 public:
  PeakMemory() {
    [[maybe_unused]] static const int installed = [] {
      live_bytes().now = static_cast<int64_t>(__sanitizer_get_current_allocated_bytes());
      return __sanitizer_install_malloc_and_free_hooks(
          [](const volatile void*, size_t size) {
            const int64_t size_now = live_bytes().now += static_cast<int64_t>(size);
            int64_t peak = live_bytes().peak;
            while (size_now > peak && !live_bytes().peak.compare_exchange_weak(peak, size_now)) {
            }
          },
          [](const volatile void* memory) {
            live_bytes().now -= static_cast<int64_t>(__sanitizer_get_allocated_size(memory));
          });
    }();
    begin_ = live_bytes().now;
    live_bytes().peak = begin_;
  }
  int64_t growth() const { return live_bytes().peak - begin_; }

 private:
  int64_t begin_ = 0;
};

#else

class PeakMemory {
 public:
  PeakMemory() : begin_(largest_resident()) {}
  int64_t growth() const { return largest_resident() - begin_; }

 private:
  static int64_t largest_resident() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return int64_t{usage.ru_maxrss} * 1024;
  }
  int64_t begin_;
};

#endif

}  // namespace basin::test
