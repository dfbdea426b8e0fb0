// parallel_for: cuts [0, n) into tiles of `grain` elements. The cut depends on n and grain only,
// never on the number of threads, so a body that writes each tile's own result gives the same bits
// for any thread count. Reductions: one partial per tile, summed in tile order (see
// parallel_tiles).
//   Within a body numbers below 1.2e-38 (f32) or 2.2e-308 (f64), the subnormal ones, count as zero
// on x86, whatever the caller's mode, which is restored. The tails of SiLU and its slopes make so
// many of them late in a training that the products of matrices, where each costs a detour through
// microcode, made a step take six times as long.
#pragma once
#include <cstdint>
#include <type_traits>

namespace basin {

int num_threads();
void set_num_threads(int n);  // 1..256; the default is the number of cores this process may use

// The mode of a body, for as long as it lives, in the thread that made it: for work that is done
// in a body or outside of one, whichever is faster, to the same bits. On x86; other processors
// compute with subnormal numbers at full speed.
class SubnormalsAreZero {
 public:
  SubnormalsAreZero();
  ~SubnormalsAreZero();
  SubnormalsAreZero(const SubnormalsAreZero&) = delete;
  SubnormalsAreZero& operator=(const SubnormalsAreZero&) = delete;

 private:
  unsigned before_ = 0;
};

namespace detail {
using TileFn = void (*)(void* body, int64_t tile);
// Once a tile has thrown, tiles behind it may be left out; the exception of the lowest tile that
// throws is thrown again, whatever the number of threads.
void run_tiles(int64_t tiles, TileFn fn, void* body);
}  // namespace detail

inline int64_t tile_count(int64_t n, int64_t grain) { return (n + grain - 1) / grain; }

// body(tile) for tile in [0, tiles). Nested calls run in the calling thread.
template <class Body>
void parallel_tiles(int64_t tiles, Body&& body) {
  if (tiles <= 0) return;
  auto call = [](void* b, int64_t tile) {
    (*static_cast<std::remove_reference_t<Body>*>(b))(tile);
  };
  detail::run_tiles(tiles, call, const_cast<void*>(static_cast<const void*>(&body)));
}

// body(begin, end) for the tiles of [0, n).
template <class Body>
void parallel_for(int64_t n, int64_t grain, Body&& body) {
  parallel_tiles(tile_count(n, grain), [&](int64_t tile) {
    const int64_t begin = tile * grain;
    body(begin, begin + grain < n ? begin + grain : n);
  });
}

}  // namespace basin
