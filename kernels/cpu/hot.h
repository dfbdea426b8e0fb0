// BASIN_HOT marks a loop that is compiled once per instruction set and chosen at load time, so one
// portable binary uses AVX-512 or AVX2 where the machine has them. GCC on x86-64 only; elsewhere,
// and under sanitizers (their runtime is not ready when the choice is made), the plain loop is
// used.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define BASIN_HOT __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define BASIN_HOT
#endif
