// A small persistent pool. Threads claim tiles from an atomic counter; which thread runs a tile
// does not matter because tiles own their results. The caller works too; idle workers spin briefly,
// then sleep.
#include "basin/core/parallel.h"

#include <sched.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "basin/core/error.h"
#include "basin/core/host_recording.h"

namespace basin {
namespace {

thread_local bool inside_tile = false;

struct Job {
  detail::TileFn fn = nullptr;
  void* body = nullptr;
  int64_t tiles = 0;
  std::atomic<int64_t> next{0};
  std::atomic<int64_t> done{0};
  std::mutex error_mutex;
  std::exception_ptr error;
  std::atomic<int64_t> failed{std::numeric_limits<int64_t>::max()};  // the lowest tile that threw

  void work() {
    const SubnormalsAreZero mode;
    inside_tile = true;
    for (int64_t t = next.fetch_add(1); t < tiles; t = next.fetch_add(1)) {
      try {
        if (t < failed.load(std::memory_order_relaxed)) fn(body, t);
      } catch (...) {
        std::lock_guard lock(error_mutex);
        if (t < failed) {
          failed = t;
          error = std::current_exception();
        }
      }
      done.fetch_add(1, std::memory_order_release);
    }
    inside_tile = false;
  }
};

class Pool {
 public:
  ~Pool() { stop(); }

  int threads() const { return count_.load(std::memory_order_relaxed); }

  void resize(int n) {
    std::lock_guard lock(size_mutex_);
    if (n == count_) return;
    stop();
    count_ = n;
  }

  void run(int64_t tiles, detail::TileFn fn, void* body) {
    std::lock_guard lock(size_mutex_);
    start();
    auto job = std::make_shared<Job>();
    job->fn = fn;
    job->body = body;
    job->tiles = tiles;
    {
      std::lock_guard wake(mutex_);
      job_ = job;
      ++generation_;
    }
    wake_.notify_all();
    job->work();
    while (job->done.load(std::memory_order_acquire) < tiles) std::this_thread::yield();
    if (job->error) std::rethrow_exception(job->error);
  }

 private:
  void start() {
    if (static_cast<int>(workers_.size()) == count_ - 1) return;
    stop_ = false;
    try {
      workers_.reserve(static_cast<size_t>(count_ - 1));
      while (static_cast<int>(workers_.size()) < count_ - 1)
        workers_.emplace_back([this] { loop(); });
    } catch (const std::system_error& e) {
      fail(ErrorKind::resource, "threads: the system starts ", workers_.size() + 1, " of ",
           count_.load(), ": ", e.what(), "; try a smaller --threads");
    }
  }

  void stop() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
      ++generation_;
    }
    wake_.notify_all();
    for (auto& w : workers_) w.join();
    workers_.clear();
  }

  void loop() {
    uint64_t seen = 0;
    for (;;) {
      for (int spin = 0; spin < 2000 && generation_.load(std::memory_order_acquire) == seen;
           ++spin) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
      }
      std::shared_ptr<Job> job;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return generation_ != seen; });
        seen = generation_;
        if (stop_) return;
        job = job_;
      }
      if (job) job->work();
    }
  }

  static int usable_cores() {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  }

  std::mutex size_mutex_;  // one parallel region at a time
  std::atomic<int> count_{usable_cores()};
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<uint64_t> generation_{0};
  bool stop_ = false;
  std::shared_ptr<Job> job_;
};

Pool& pool() {
  static Pool p;
  return p;
}

}  // namespace

#if defined(__SSE__)
SubnormalsAreZero::SubnormalsAreZero() : before_(_mm_getcsr()) {
  _mm_setcsr(before_ | 0x8040u);  // flush to zero, denormals are zero
}
SubnormalsAreZero::~SubnormalsAreZero() { _mm_setcsr(before_); }
#else
SubnormalsAreZero::SubnormalsAreZero() = default;
SubnormalsAreZero::~SubnormalsAreZero() { (void)before_; }
#endif

int num_threads() { return pool().threads(); }

void set_num_threads(int n) {
  check(n >= 1 && n <= 256, "threads: expected 1 to 256, got ", n);
  check(!inside_tile, "threads: cannot be changed inside a parallel region");
  pool().resize(n);
}

namespace detail {

void run_tiles(int64_t tiles, TileFn fn, void* body) {
  // What other threads do is not seen; kernels, which may use them, are recorded whole.
  if (HostRecording* const recording = HostRecording::current()) {
    recording->refuse("the host works in threads of its own");
  }
  if (inside_tile) {
    for (int64_t t = 0; t < tiles; ++t) fn(body, t);
    return;
  }
  if (tiles == 1 || pool().threads() == 1) {
    const SubnormalsAreZero mode;
    inside_tile = true;
    try {
      for (int64_t t = 0; t < tiles; ++t) fn(body, t);
    } catch (...) {
      inside_tile = false;
      throw;
    }
    inside_tile = false;
    return;
  }
  pool().run(tiles, fn, body);
}

}  // namespace detail
}  // namespace basin
