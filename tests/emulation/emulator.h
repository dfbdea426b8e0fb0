// The CUDA execution model on the CPU: runs a kernel written as ordinary C++ over a grid. The
// threads of a block are stepped in a chosen order from barrier to barrier; a warp operation waits
// for the lanes its mask names. What cannot happen on a device (a barrier that not all threads of
// the block reach, a warp operation whose lanes never meet) stops the launch with one sentence.
// Blocks run one after the other, so a static variable is the shared memory of a block.
#pragma once
#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned vx = 1, unsigned vy = 1, unsigned vz = 1) : x(vx), y(vy), z(vz) {}
};
struct uint3 {
  unsigned x, y, z;
};

namespace basin::emu {

// The order in which the threads of a block and the blocks of a grid are stepped. A kernel without
// races gives the same bits in each.
enum class Order { forward, reverse, random };
void set_order(Order order, uint64_t seed = 1);

// Launches so far of the kernels of that name; for tests that ask what ran.
int64_t launches_of(const std::string& kernel);

bool count_only();  // counts.h

// Where in the source a thread waits.
struct Site {
  const char* operation;
  std::source_location at;
};

// --- for the device functions ---
enum class Vote { none, count, any, all };
int block_barrier(Site site, Vote vote, int predicate);
struct WarpValues {
  uint64_t value[32];
};
// Waits until all lanes of `mask` have arrived here; the values that they brought. Only __syncwarp
// orders memory.
const WarpValues& warp_meet(Site site, unsigned mask, uint64_t value, bool orders_memory = false);
void fence();  // orders the memory of this thread and of those that came here before
int lane_id();
// Ends the launch: "<what> <number> <where>".
[[noreturn]] void stop(const char* what, int number, Site site);
void* dynamic_shared();

// --- for the launch ---
struct Body {
  void (*run)(const void* kernel);  // one thread
  const void* kernel;
};
void run_grid(const char* name, dim3 grid, dim3 block, size_t shared_bytes, Body body);

template <class F>
void launch(const char* name, dim3 grid, dim3 block, size_t shared_bytes, const F& thread) {
  run_grid(name, grid, block, shared_bytes,
           {[](const void* f) { (*static_cast<const F*>(f))(); }, &thread});
}

}  // namespace basin::emu

// The built-in variables; the scheduler sets them before it steps a thread.
inline uint3 threadIdx{0, 0, 0}, blockIdx{0, 0, 0};
inline dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;
