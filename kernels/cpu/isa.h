// The instruction sets for which the register tiles (*_tile.inc) are compiled, and which one this
// machine has. Found at run time, so one portable binary serves all; no resolver is involved, so
// sanitizers agree.
#pragma once

namespace basin {

enum class Isa { baseline, avx2, avx512 };

#if defined(__x86_64__) && defined(__GNUC__)
#define BASIN_HAS_X86_TILES 1
#define BASIN_TARGET_AVX2 __attribute__((target("avx2,fma")))
#define BASIN_TARGET_AVX512 __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,fma")))

inline Isa machine_isa() {
  static const Isa found = [] {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
      return Isa::avx512;
    }
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return avx2 ? Isa::avx2 : Isa::baseline;
  }();
  return found;
}
#else
#define BASIN_HAS_X86_TILES 0
inline Isa machine_isa() { return Isa::baseline; }
#endif

}  // namespace basin
