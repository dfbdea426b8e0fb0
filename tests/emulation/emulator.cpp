// The scheduler. A pass steps every thread that can run, in the chosen order, until it waits or
// ends; then whole warps and whole blocks that have arrived are released. A thread that never waits
// costs a call: one fibre runs such threads one after the other.
#include "basin/tests/emulation/emulator.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <tuple>
#include <vector>

#include "basin/core/error.h"
#include "basin/core/random.h"
#include "basin/tests/emulation/counts.h"
#include "basin/tests/emulation/device_memory.h"
#include "basin/tests/emulation/fibre.h"

#if defined(BASIN_EMULATION_RACES)  // kernels under ThreadSanitizer, the emulator itself not
#include <sanitizer/tsan_interface.h>
#define EMULATION_RELEASE(p) __tsan_release(p)
#define EMULATION_ACQUIRE(p) __tsan_acquire(p)
inline constexpr bool kOneThreadPerFibre = true;  // a race is between fibres
#else
#define EMULATION_RELEASE(p) static_cast<void>(p)
#define EMULATION_ACQUIRE(p) static_cast<void>(p)
inline constexpr bool kOneThreadPerFibre = false;
#endif

namespace basin::emu {
namespace {

constexpr size_t kMaxThreads = 1024;
constexpr size_t kMaxShared = 163 << 10;  // of a block on sm_80

enum class State : uint8_t { waiting_to_start, ready, at_barrier, at_warp, done };

struct Thread {
  State state = State::waiting_to_start;
  uint3 index{0, 0, 0};
  Fibre* fibre = nullptr;
  Site site{};
  unsigned mask = 0;
  uint64_t value = 0;
  uint64_t warp_syncs = 0;
};

struct Scheduler {
  std::mutex mutex;
  Order order = Order::forward;
  uint64_t seed = 1;
  std::optional<Rng> rng;

  const char* name = "";
  Body body{};
  std::vector<Thread> threads;
  std::vector<size_t> sequence;  // the order of this pass
  size_t cursor = 0;             // in the first pass: the next thread to start
  size_t current = 0;
  std::vector<std::unique_ptr<Fibre>> fibres;
  std::vector<Fibre*> idle;
  std::vector<WarpValues> warps;
  int vote = 0;
  std::vector<char> shared;
  std::string error;
  char barrier_edge[2] = {};  // what orders memory across a barrier, for the race detector
  uint64_t barriers = 0;
  std::vector<char> warp_edge;
  char block_edge = 0, fence_edge = 0;
};

Scheduler& scheduler() {
  static auto* s = [] {
    auto* made = new Scheduler;
    made->idle.reserve(kMaxThreads);  // grows inside fibres, where an allocation would look shared
    return made;
  }();
  return *s;
}

std::string place(const uint3& v) { return str("(", v.x, ", ", v.y, ", ", v.z, ")"); }

bool same_site(const Site& a, const Site& b) {
  const char *f = a.at.file_name(), *g = b.at.file_name();
  return a.operation == b.operation && a.at.line() == b.at.line() &&
         (f == g || std::strcmp(f, g) == 0);
}

std::string spell(const Site& site) {
  const std::string path = site.at.file_name();
  return str(site.operation, " at ", path.substr(path.rfind('/') + 1), ":", site.at.line());
}

// "64 threads, the first (0, 0, 0), wait in __syncthreads() at x.cu:31; 64 threads ... have ended"
std::string who_waits_where(const Scheduler& s) {
  std::vector<std::tuple<std::string, size_t, size_t>> groups;  // place, first thread, count
  for (size_t t = 0; t < s.threads.size(); ++t) {
    const Thread& thread = s.threads[t];
    const std::string where =
        thread.state == State::done ? "ended" : "wait in " + spell(thread.site);
    const auto found = std::find_if(groups.begin(), groups.end(),
                                    [&](const auto& g) { return std::get<0>(g) == where; });
    if (found == groups.end()) {
      groups.emplace_back(where, t, 1);
    } else {
      ++std::get<2>(*found);
    }
  }
  std::string text;
  for (const auto& [where, first, count] : groups) {
    text += str(text.empty() ? "" : "; ", count, " threads, the first ",
                place(s.threads[first].index), ", ", where);
  }
  return text;
}

[[noreturn]] void fail_launch(const Scheduler& s, const std::string& what) {
  fail(ErrorKind::internal, "emulation: kernel ", s.name, ", block ", place(blockIdx), ": ", what);
}

void run_current(Scheduler& s) {
  EMULATION_ACQUIRE(&s.block_edge);
  s.body.run(s.body.kernel);
  EMULATION_RELEASE(&s.block_edge);
  s.threads[s.current].state = State::done;
}

// What a fibre does: takes threads that have not started until one has to wait, later finishes that
// one, and then is idle until it is entered for another block.
void fibre_main() {
  Scheduler& s = scheduler();
  for (;;) {
    Fibre* const self = s.threads[s.current].fibre;
    run_current(s);
    while (!kOneThreadPerFibre && s.cursor < s.sequence.size()) {
      s.current = s.sequence[s.cursor++];
      threadIdx = s.threads[s.current].index;
      s.threads[s.current].fibre = self;
      run_current(s);
    }
    s.idle.push_back(self);
    Fibre::leave();
  }
}

void step(Scheduler& s, size_t t) {
  s.current = t;
  threadIdx = s.threads[t].index;
  s.threads[t].fibre->enter();
  if (!s.error.empty()) fail_launch(s, s.error);
}

void wait_here(Scheduler& s, State state, Site site) {
  Thread& me = s.threads[s.current];
  me.state = state;
  me.site = site;
  Fibre::leave();
}

void shuffle_sequence(Scheduler& s) {
  s.sequence.resize(s.threads.size());
  std::iota(s.sequence.begin(), s.sequence.end(), size_t{0});
  if (s.order == Order::reverse) std::reverse(s.sequence.begin(), s.sequence.end());
  if (s.order == Order::random) s.rng->shuffle(std::span<size_t>(s.sequence));
}

void start_threads(Scheduler& s) {
  s.cursor = 0;
  while (s.cursor < s.sequence.size()) {
    const size_t t = s.sequence[s.cursor++];
    if (s.idle.empty()) {
      s.fibres.push_back(std::make_unique<Fibre>(fibre_main));
      s.idle.push_back(s.fibres.back().get());
    }
    s.threads[t].fibre = s.idle.back();
    s.idle.pop_back();
    step(s, t);
  }
}

// Releases the warp operations of warp w whose lanes have all arrived; true when there was one.
bool release_warp(Scheduler& s, size_t w) {
  const size_t first = w * 32, lanes = std::min<size_t>(32, s.threads.size() - first);
  bool released = false;
  for (size_t lane = 0; lane < lanes; ++lane) {
    const Thread& asks = s.threads[first + lane];
    if (asks.state != State::at_warp) continue;
    bool complete = true;
    for (size_t k = 0; k < lanes && complete; ++k) {
      if (!(asks.mask >> k & 1)) continue;
      const Thread& other = s.threads[first + k];
      complete = other.state == State::at_warp && other.mask == asks.mask &&
                 same_site(other.site, asks.site);
    }
    if (!complete) continue;
    const unsigned mask = asks.mask;
    for (size_t k = 0; k < lanes; ++k) {
      if (!(mask >> k & 1)) continue;
      s.warps[w].value[k] = s.threads[first + k].value;
      s.threads[first + k].state = State::ready;
    }
    released = true;
  }
  return released;
}

// Releases the block when every thread waits at one and the same barrier.
bool release_block(Scheduler& s) {
  const Thread& first = s.threads.front();
  if (first.state != State::at_barrier) return false;
  int count = 0;
  for (const Thread& t : s.threads) {
    if (t.state != State::at_barrier || !same_site(t.site, first.site)) return false;
    count += t.value != 0;
  }
  s.vote = count;
  ++s.barriers;
  for (Thread& t : s.threads) t.state = State::ready;
  return true;
}

void run_block(Scheduler& s) {
  for (Thread& t : s.threads) t = {.index = t.index};
  std::fill(s.shared.begin(), s.shared.end(), static_cast<char>(0xff));  // NaN until written
  shuffle_sequence(s);
  start_threads(s);
  for (;;) {
    bool released = false;
    for (size_t w = 0; w < s.warps.size(); ++w) released |= release_warp(s, w);
    released |= release_block(s);
    if (!released) break;
    shuffle_sequence(s);
    for (size_t t : s.sequence) {
      if (s.threads[t].state == State::ready) step(s, t);
    }
  }
  const auto in = [&s](State state) {
    return std::any_of(s.threads.begin(), s.threads.end(),
                       [state](const Thread& t) { return t.state == state; });
  };
  if (in(State::at_warp)) {
    fail_launch(s, "a warp operation waits for lanes that do not come: " + who_waits_where(s));
  }
  if (in(State::at_barrier)) fail_launch(s, "the barrier diverges: " + who_waits_where(s));
}

void prepare(Scheduler& s, const char* name, dim3 block, size_t shared_bytes, Body body) {
  s.name = name;
  s.body = body;
  s.error.clear();
  s.shared.assign(shared_bytes, 0);
  s.threads.assign(size_t{block.x} * block.y * block.z, {});
  size_t t = 0;
  for (unsigned z = 0; z < block.z; ++z) {
    for (unsigned y = 0; y < block.y; ++y) {
      for (unsigned x = 0; x < block.x; ++x) s.threads[t++].index = {x, y, z};
    }
  }
  s.warps.resize((s.threads.size() + 31) / 32);
  s.warp_edge.assign(s.warps.size() * 2, 0);
  s.rng.emplace(s.seed, stream_id("emulation"));
}

// Forgets fibres that a stopped launch left in the middle of a thread.
void drop_abandoned(Scheduler& s) {
  s.idle.clear();
  s.fibres.clear();
}

}  // namespace

void set_order(Order order, uint64_t seed) {
  scheduler().order = order;
  scheduler().seed = seed;
}

int64_t launches_of(const std::string& kernel) {
  const std::map<std::string, int64_t>& launches = counts_so_far().by_kernel;
  const auto it = launches.find(kernel);
  return it == launches.end() ? 0 : it->second;
}

void fence() {
  [[maybe_unused]] Scheduler& s = scheduler();
  EMULATION_RELEASE(&s.fence_edge);
  EMULATION_ACQUIRE(&s.fence_edge);
}

int block_barrier(Site site, Vote vote, int predicate) {
  Scheduler& s = scheduler();
  s.threads[s.current].value = predicate != 0;
  const uint64_t parity = s.barriers % 2;
  EMULATION_RELEASE(&s.barrier_edge[parity]);
  wait_here(s, State::at_barrier, site);
  EMULATION_ACQUIRE(&s.barrier_edge[parity]);
  switch (vote) {
    case Vote::none: return 0;
    case Vote::count: return s.vote;
    case Vote::any: return s.vote > 0;
    case Vote::all: return s.vote == static_cast<int>(s.threads.size());
  }
  return 0;
}

const WarpValues& warp_meet(Site site, unsigned mask, uint64_t value, bool orders_memory) {
  Scheduler& s = scheduler();
  const size_t t = s.current, w = t / 32;
  if (!(mask >> (t % 32) & 1)) stop("gives a mask without its own lane", lane_id(), site);
  s.threads[t].value = value;
  s.threads[t].mask = mask;
  char* edge = &s.warp_edge[2 * w + (orders_memory ? s.threads[t].warp_syncs++ % 2 : 0)];
  if (orders_memory) EMULATION_RELEASE(edge);
  wait_here(s, State::at_warp, site);
  if (orders_memory) EMULATION_ACQUIRE(edge);
  return s.warps[w];
}

int lane_id() { return static_cast<int>(scheduler().current % 32); }

void* dynamic_shared() { return scheduler().shared.data(); }

void stop(const char* what, int number, Site site) {
  Scheduler& s = scheduler();
  s.error = str("thread ", place(threadIdx), " in ", spell(site), " ", what, " ", number);
  Fibre::leave();
  std::terminate();  // a stopped thread is never entered again
}

void run_grid(const char* name, dim3 grid, dim3 block, size_t shared_bytes, Body body) {
  Scheduler& s = scheduler();
  const std::lock_guard lock(s.mutex);
  const size_t threads = size_t{block.x} * block.y * block.z;
  const size_t blocks = size_t{grid.x} * grid.y * grid.z;
  if (threads == 0 || threads > kMaxThreads || block.z > 64 || blocks == 0 || grid.x > 0x7fffffff ||
      grid.y > 65535 || grid.z > 65535 || shared_bytes > kMaxShared) {
    fail(ErrorKind::internal, "emulation: kernel ", name, ": invalid configuration, grid (", grid.x,
         ", ", grid.y, ", ", grid.z, "), block (", block.x, ", ", block.y, ", ", block.z, "), ",
         shared_bytes, " bytes of shared memory");
  }
  Counts& c = counts_so_far();
  ++c.kernels;
  ++c.by_kernel[name];
  if (blocks < static_cast<size_t>(kMultiprocessors)) ++c.few_blocks;
  if (count_only()) return;
  prepare(s, name, block, shared_bytes, body);
  gridDim = grid;
  blockDim = block;
  std::vector<size_t> sequence(blocks);
  std::iota(sequence.begin(), sequence.end(), size_t{0});
  if (s.order == Order::reverse) std::reverse(sequence.begin(), sequence.end());
  if (s.order == Order::random) s.rng->shuffle(std::span<size_t>(sequence));
  const DeviceMemoryAccess access;
  EMULATION_RELEASE(&s.block_edge);
  try {
    for (size_t b : sequence) {
      blockIdx = {static_cast<unsigned>(b % grid.x), static_cast<unsigned>(b / grid.x % grid.y),
                  static_cast<unsigned>(b / grid.x / grid.y)};
      run_block(s);
    }
  } catch (...) {
    drop_abandoned(s);
    throw;
  }
  EMULATION_ACQUIRE(&s.block_edge);
}

}  // namespace basin::emu
