// The instruction sets for which the register tiles (*_tile.inc) and the hot loops (hot.h) are
// compiled, and which one this process uses (kernels/isa.h). Found at run time, so one portable
// binary serves all; no resolver is involved, so sanitizers agree.
#pragma once

namespace basin {

enum class Isa { generic, avx2, avx512, amx };  // each has what those before it have

#if defined(__x86_64__) && defined(__GNUC__)
#define BASIN_HAS_X86_TILES 1
#define BASIN_TARGET_AVX2 __attribute__((target("avx2,fma,bmi,bmi2,lzcnt,popcnt")))
#define BASIN_TARGET_AVX512 \
  __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,fma,bmi,bmi2,lzcnt,popcnt")))
#define BASIN_TARGET_AVX512_BF16                                                 \
  __attribute__((                                                                \
      target("avx512bf16,avx512f,avx512dq,avx512bw,avx512vl,fma,bmi,bmi2,lzcnt," \
             "popcnt")))
#else
#define BASIN_HAS_X86_TILES 0
#endif
#if BASIN_HAS_X86_TILES && defined(__linux__)  // a process asks the kernel for the tile registers
#define BASIN_HAS_AMX 1
#define BASIN_TARGET_AMX                                                          \
  __attribute__((                                                                 \
      target("amx-tile,amx-bf16,avx512f,avx512dq,avx512bw,avx512vl,fma,bmi,bmi2," \
             "lzcnt,popcnt")))
#else
#define BASIN_HAS_AMX 0
#endif

Isa choose_isa();  // of BASIN_ISA, else the widest of this machine; throws what kernels/isa.h says
inline Isa chosen_isa() {
  static const Isa chosen = choose_isa();
  return chosen;
}

}  // namespace basin
