// Instantiates the edge loops per instruction set and slice width, and picks among them.
#include "basin/kernels/cpu/edge_conv_tiles.h"

#include <cstring>
#include <type_traits>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/isa.h"

namespace basin {
namespace {

// An index as wide as the value, so that both move through the same vector lanes.
template <class T>
using Wide = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;

#define BASIN_ISA baseline
#define BASIN_ISA_TARGET
#define BASIN_ISA_BYTES 16
#include "basin/kernels/cpu/edge_conv_tile.inc"

#if BASIN_HAS_X86_TILES
#define BASIN_ISA avx2
#define BASIN_ISA_TARGET BASIN_TARGET_AVX2
#define BASIN_ISA_BYTES 32
#include "basin/kernels/cpu/edge_conv_tile.inc"

#define BASIN_ISA avx512
#define BASIN_ISA_TARGET BASIN_TARGET_AVX512
#define BASIN_ISA_BYTES 64
#include "basin/kernels/cpu/edge_conv_tile.inc"
#endif

constexpr int64_t kSliceBytes = 512 * 1024;  // of a packed slice: half of a usual L2
constexpr int64_t kTasks = 8;                // a few for every thread of a small machine

// The widest slice that stays in L2, is not mostly padding and leaves enough tasks.
template <class T>
bool fits(const EdgeLoops<T>& loops, int64_t batch, int64_t points, int64_t channels) {
  return loops.width / 2 < channels &&
         points * loops.width * static_cast<int64_t>(sizeof(T)) <= kSliceBytes &&
         batch * tile_count(channels, loops.width) >= kTasks;
}

}  // namespace

template <class T>
const EdgeLoops<T>& edge_loops(int64_t batch, int64_t points, int64_t channels) {
#if BASIN_HAS_X86_TILES
  if (chosen_isa() >= Isa::avx512) {
    const auto& four = avx512::Loops<T, 4>::kTable;
    const auto& two = avx512::Loops<T, 2>::kTable;
    if (fits(four, batch, points, channels)) return four;
    return fits(two, batch, points, channels) ? two : avx512::Loops<T, 1>::kTable;
  }
  if (chosen_isa() == Isa::avx2) {
    const auto& two = avx2::Loops<T, 2>::kTable;
    return fits(two, batch, points, channels) ? two : avx2::Loops<T, 1>::kTable;
  }
#endif
  return baseline::Loops<T, 2>::kTable;
}

template const EdgeLoops<float>& edge_loops(int64_t, int64_t, int64_t);
template const EdgeLoops<double>& edge_loops(int64_t, int64_t, int64_t);

}  // namespace basin
