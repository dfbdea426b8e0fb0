// The machine's f32 peak: chains of fused multiply-adds that never leave the registers. Twelve
// independent chains hide the latency of two units with four cycles each. The variant is that of
// the kernels (kernels/isa.h); every thread runs the same loop. On AMX an f32 product is six of
// bf16 (kernels/cpu/gemm_amx.h): a sixth of what the tile registers multiply.
#include "basin/core/error.h"
#include "basin/core/parallel.h"
#include "basin/kernels/isa.h"
#include "basin/tools/bench/bench.h"
#include "basin/tools/shell/environment.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define BASIN_FMA_X86
#include <immintrin.h>
#endif

#include <algorithm>
#include <cmath>
#include <vector>

namespace basin::tools {
namespace {

constexpr int kChains = 12;

// Each variant returns a sum that depends on every chain, so that nothing is optimised away.
using Loop = float (*)(int64_t iterations);
struct Variant {
  const char* name;
  Loop loop;
  double products;  // of an iteration
};

#ifdef BASIN_FMA_X86
// NOLINTBEGIN(modernize-loop-convert): the pragma unrolls counted loops
__attribute__((target("avx512f"))) float loop_avx512(int64_t iterations) {
  __m512 acc[kChains];
  for (int c = 0; c < kChains; ++c) acc[c] = _mm512_set1_ps(static_cast<float>(c));
  const __m512 a = _mm512_set1_ps(0.999F), b = _mm512_set1_ps(0.001F);
  for (int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) acc[c] = _mm512_fmadd_ps(acc[c], a, b);
  }
  for (int c = 1; c < kChains; ++c) acc[0] = _mm512_add_ps(acc[0], acc[c]);
  return _mm512_cvtss_f32(acc[0]);
}

__attribute__((target("avx2,fma"))) float loop_avx2(int64_t iterations) {
  __m256 acc[kChains];
  for (int c = 0; c < kChains; ++c) acc[c] = _mm256_set1_ps(static_cast<float>(c));
  const __m256 a = _mm256_set1_ps(0.999F), b = _mm256_set1_ps(0.001F);
  for (int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) acc[c] = _mm256_fmadd_ps(acc[c], a, b);
  }
  for (int c = 1; c < kChains; ++c) acc[0] = _mm256_add_ps(acc[0], acc[c]);
  return _mm256_cvtss_f32(acc[0]);
}
// NOLINTEND(modernize-loop-convert)

#ifdef __linux__
__attribute__((target("amx-tile,amx-bf16"))) float loop_amx(int64_t iterations) {
  struct alignas(64) {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } config;
  alignas(64) float sums[256];
  asm volatile("" ::: "memory");
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  for (int64_t i = 0; i < iterations; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums, 64);
  _tile_release();
  asm volatile("" ::: "memory");
  return sums[0];
}
#endif
#endif

// Four lanes per chain: the width that every 64-bit machine has.
float loop_portable(int64_t iterations) {
  constexpr int kLanes = 4 * kChains;
  float acc[kLanes];
  for (int c = 0; c < kLanes; ++c) acc[c] = static_cast<float>(c);
  for (int64_t i = 0; i < iterations; ++i) {
    for (float& lane : acc) lane = lane * 0.999F + 0.001F;
  }
  float sum = 0;
  for (const float x : acc) sum += x;
  return sum;
}

Variant choose() {
#ifdef BASIN_FMA_X86
#ifdef __linux__
  if (isa_name() == "amx") return {"AMX", loop_amx, 4 * 16 * 16 * 32 / 6.0};
#endif
  if (isa_name() == "avx512") return {"AVX-512", loop_avx512, 16 * kChains};
  if (isa_name() == "avx2") return {"AVX2", loop_avx2, 8 * kChains};
#endif
  return {"portable", loop_portable, 4 * kChains};
}

}  // namespace

const char* fma_peak_name() { return choose().name; }

double measure_fma_peak() {
  constexpr int kTries = 7;
  const Variant variant = choose();
  const auto iterations = static_cast<int64_t>(8e8 / variant.products);  // some 10 ms
  const int threads = num_threads();
  std::vector<float> sink(static_cast<size_t>(threads));
  double best = 0;
  for (int t = 0; t < kTries; ++t) {
    const double start = seconds_now();
    parallel_tiles(
        threads, [&](int64_t tile) { sink[static_cast<size_t>(tile)] = variant.loop(iterations); });
    const double flops = 2 * variant.products * static_cast<double>(iterations) * threads;
    best = std::max(best, flops / (seconds_now() - start));
  }
  volatile float keep = sink[0];
  (void)keep;
  return best;
}

void run_peak(const BenchOptions& options, BenchReport& report) {
  for (const int threads : options.threads) {
    set_num_threads(threads);
    const double peak = measure_fma_peak();
    report.value("peak.t" + str(threads) + ".f32_gflops", peak * 1e-9);
    report.note("f32 multiply-add peak, " + std::string(fma_peak_name()) + ", " + str(threads) +
                (threads == 1 ? " thread: " : " threads: ") + str(std::lround(peak * 1e-9)) +
                " GFLOP/s");
  }
}

}  // namespace basin::tools
