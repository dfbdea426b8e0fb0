// hot([&] { loop(...); }) runs a plain loop compiled for the instruction set that was chosen, so
// one portable binary uses AVX-512 or AVX2 where the machine has them. The loop is marked
// BASIN_HOT: it is inlined into one copy of the call for each instruction set, and vectorised
// there. Chosen when it is called and not by a resolver at load time: those run before the
// environment and the sanitizers are there, and Clang has them for no template.
#pragma once
#include "basin/kernels/cpu/isa.h"

#if defined(__GNUC__)
#define BASIN_HOT [[gnu::always_inline]] inline
#else
#define BASIN_HOT inline
#endif

// Before a loop whose turns do not depend on each other, though the compiler cannot see it.
#if defined(__clang__)
#define BASIN_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define BASIN_INDEPENDENT _Pragma("GCC ivdep")
#else
#define BASIN_INDEPENDENT
#endif

namespace basin {

// Nothing that the caller knows of the arguments reaches the copies: a constant could turn a loop
// into one with branches, and its bits into others.
#if defined(__clang__) || !defined(__GNUC__)
#define BASIN_HOT_COPY [[gnu::flatten, gnu::noinline]]
#else
#define BASIN_HOT_COPY [[gnu::flatten, gnu::noipa]]
#endif

#if BASIN_HAS_X86_TILES
template <class Loop>
BASIN_HOT_COPY BASIN_TARGET_AVX512 auto hot_avx512(const Loop& loop) {
  return loop();
}
template <class Loop>
BASIN_HOT_COPY BASIN_TARGET_AVX2 auto hot_avx2(const Loop& loop) {
  return loop();
}
#endif
template <class Loop>
BASIN_HOT_COPY auto hot_generic(const Loop& loop) {
  return loop();
}

template <class Loop>
inline auto hot(const Loop& loop) {
#if BASIN_HAS_X86_TILES
  if (chosen_isa() >= Isa::avx512) return hot_avx512(loop);
  if (chosen_isa() == Isa::avx2) return hot_avx2(loop);
#endif
  return hot_generic(loop);
}

}  // namespace basin
