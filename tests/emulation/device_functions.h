// What a kernel sees: qualifiers, vector types, barriers, warp operations, atomics, bit casts. The
// rules of the execution model are in emulator.h.
//   __shared__        a static variable; the elements keep what the last block left in them
//   dynamic shared    cuda::dynamic_shared<T>() of kernels/cuda/grid.cuh, all bits 1 at the start
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <type_traits>

#include "basin/tests/emulation/emulator.h"

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __constant__ static const
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

// --- vector types ---
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct float3 {
  float x, y, z;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float3 make_float3(float x, float y, float z) { return {x, y, z}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }

// --- barriers and fences ---
using EmulationPlace = std::source_location;
#define EMULATION_HERE EmulationPlace at = EmulationPlace::current()

inline void __syncthreads(EMULATION_HERE) {
  basin::emu::block_barrier({"__syncthreads()", at}, basin::emu::Vote::none, 0);
}
inline int __syncthreads_count(int predicate, EMULATION_HERE) {
  return basin::emu::block_barrier({"__syncthreads_count()", at}, basin::emu::Vote::count,
                                   predicate);
}
inline int __syncthreads_and(int predicate, EMULATION_HERE) {
  return basin::emu::block_barrier({"__syncthreads_and()", at}, basin::emu::Vote::all, predicate);
}
inline int __syncthreads_or(int predicate, EMULATION_HERE) {
  return basin::emu::block_barrier({"__syncthreads_or()", at}, basin::emu::Vote::any, predicate);
}
inline void __syncwarp(unsigned mask = 0xffffffffu, EMULATION_HERE) {
  basin::emu::warp_meet({"__syncwarp()", at}, mask, 0, true);
}
inline void __threadfence() { basin::emu::fence(); }
inline void __threadfence_block() {}

// --- warp operations ---
namespace basin::emu {

template <class T>
uint64_t to_bits(T v) {
  static_assert(std::is_trivially_copyable_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  uint64_t bits = 0;
  std::memcpy(&bits, &v, sizeof v);
  return bits;
}

// The value that lane `from` brought, or the own one when `from` is outside the lanes shared.
template <class T>
T shuffle(const char* operation, std::source_location at, unsigned mask, T v, int from,
          bool outside) {
  const WarpValues& all = warp_meet({operation, at}, mask, to_bits(v));
  if (outside) return v;
  if (!(mask >> from & 1)) stop("reads from outside its mask, lane", from, {operation, at});
  T out;
  std::memcpy(&out, &all.value[from], sizeof out);
  return out;
}

inline unsigned ballot(const char* operation, std::source_location at, unsigned mask,
                       int predicate) {
  const WarpValues& all = warp_meet({operation, at}, mask, predicate != 0);
  unsigned bits = 0;
  for (unsigned k = 0; k < 32; ++k) {
    if (mask >> k & 1 && all.value[k] != 0) bits |= 1u << k;
  }
  return bits;
}

template <class T, class Join>
T reduce(const char* operation, std::source_location at, unsigned mask, T v, const Join& join) {
  const WarpValues& all = warp_meet({operation, at}, mask, to_bits(v));
  bool first = true;
  T out{};
  for (unsigned k = 0; k < 32; ++k) {
    if (!(mask >> k & 1)) continue;
    T one;
    std::memcpy(&one, &all.value[k], sizeof one);
    out = first ? one : join(out, one);
    first = false;
  }
  return out;
}

}  // namespace basin::emu

template <class T>
T __shfl_sync(unsigned mask, T v, int lane, int width = 32, EMULATION_HERE) {
  const int me = basin::emu::lane_id();
  return basin::emu::shuffle("__shfl_sync()", at, mask, v, me / width * width + lane % width,
                             false);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int lane_mask, int width = 32, EMULATION_HERE) {
  const int me = basin::emu::lane_id(), from = me ^ lane_mask;
  return basin::emu::shuffle("__shfl_xor_sync()", at, mask, v, from,
                             from >= (me / width + 1) * width);
}
template <class T>
T __shfl_down_sync(unsigned mask, T v, unsigned delta, int width = 32, EMULATION_HERE) {
  const int me = basin::emu::lane_id(), from = me + static_cast<int>(delta);
  return basin::emu::shuffle("__shfl_down_sync()", at, mask, v, from,
                             from >= (me / width + 1) * width);
}
template <class T>
T __shfl_up_sync(unsigned mask, T v, unsigned delta, int width = 32, EMULATION_HERE) {
  const int me = basin::emu::lane_id(), from = me - static_cast<int>(delta);
  return basin::emu::shuffle("__shfl_up_sync()", at, mask, v, from, from < me / width * width);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, EMULATION_HERE) {
  return basin::emu::ballot("__ballot_sync()", at, mask, predicate);
}
inline int __any_sync(unsigned mask, int predicate, EMULATION_HERE) {
  return basin::emu::ballot("__any_sync()", at, mask, predicate) != 0;
}
// All lanes of the mask that exist: a lane beyond the end of the block counts as agreeing.
inline int __all_sync(unsigned mask, int predicate, EMULATION_HERE) {
  return basin::emu::ballot("__all_sync()", at, mask, predicate == 0) == 0;
}
template <class T>
T __reduce_add_sync(unsigned mask, T v, EMULATION_HERE) {
  return basin::emu::reduce("__reduce_add_sync()", at, mask, v, [](T a, T b) { return a + b; });
}
template <class T>
T __reduce_min_sync(unsigned mask, T v, EMULATION_HERE) {
  return basin::emu::reduce("__reduce_min_sync()", at, mask, v,
                            [](T a, T b) { return a < b ? a : b; });
}
template <class T>
T __reduce_max_sync(unsigned mask, T v, EMULATION_HERE) {
  return basin::emu::reduce("__reduce_max_sync()", at, mask, v,
                            [](T a, T b) { return a > b ? a : b; });
}

// --- atomics: the value before ---
namespace basin::emu {
template <class T, class Join>
T atomic_update(T* p, const Join& join) {
  T old, now;
  __atomic_load(p, &old, __ATOMIC_RELAXED);
  do {
    now = join(old);
  } while (!__atomic_compare_exchange(p, &old, &now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return old;
}
template <class T>
using Same = std::type_identity_t<T>;
}  // namespace basin::emu

template <class T>
T atomicAdd(T* p, basin::emu::Same<T> v) {
  return basin::emu::atomic_update(p, [v](T old) { return static_cast<T>(old + v); });
}
template <class T>
T atomicSub(T* p, basin::emu::Same<T> v) {
  return basin::emu::atomic_update(p, [v](T old) { return static_cast<T>(old - v); });
}
template <class T>
T atomicMin(T* p, basin::emu::Same<T> v) {
  return basin::emu::atomic_update(p, [v](T old) { return v < old ? v : old; });
}
template <class T>
T atomicMax(T* p, basin::emu::Same<T> v) {
  return basin::emu::atomic_update(p, [v](T old) { return v > old ? v : old; });
}
template <class T>
T atomicOr(T* p, basin::emu::Same<T> v) {
  return basin::emu::atomic_update(p, [v](T old) { return old | v; });
}
template <class T>
T atomicAnd(T* p, basin::emu::Same<T> v) {
  return basin::emu::atomic_update(p, [v](T old) { return old & v; });
}
template <class T>
T atomicExch(T* p, basin::emu::Same<T> v) {
  return basin::emu::atomic_update(p, [v](T) { return v; });
}
template <class T>
T atomicCAS(T* p, basin::emu::Same<T> expected, basin::emu::Same<T> v) {
  return basin::emu::atomic_update(p, [=](T old) { return old == expected ? v : old; });
}

// --- bits and arithmetic ---
inline int __popc(unsigned v) { return std::popcount(v); }
inline int __popcll(unsigned long long v) { return std::popcount(v); }
inline int __clz(int v) { return std::countl_zero(static_cast<unsigned>(v)); }
inline int __clzll(long long v) { return std::countl_zero(static_cast<unsigned long long>(v)); }
inline int __ffs(int v) { return v == 0 ? 0 : std::countr_zero(static_cast<unsigned>(v)) + 1; }
inline int __ffsll(long long v) {
  return v == 0 ? 0 : std::countr_zero(static_cast<unsigned long long>(v)) + 1;
}
inline int __float_as_int(float v) { return std::bit_cast<int>(v); }
inline unsigned __float_as_uint(float v) { return std::bit_cast<unsigned>(v); }
inline float __int_as_float(int v) { return std::bit_cast<float>(v); }
inline float __uint_as_float(unsigned v) { return std::bit_cast<float>(v); }
inline long long __double_as_longlong(double v) { return std::bit_cast<long long>(v); }
inline double __longlong_as_double(long long v) { return std::bit_cast<double>(v); }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32);
}
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
// Rounded on its own, also where products and sums are fused (BASIN_EMULATED_FMA).
template <class T>
T rounded_alone(T v) {
#if defined(__FMA__)
  asm("" : "+x"(v));
#endif
  return v;
}
inline float __fadd_rn(float a, float b) { return rounded_alone(a + b); }
inline float __fmul_rn(float a, float b) { return rounded_alone(a * b); }
inline double __dadd_rn(double a, double b) { return rounded_alone(a + b); }
inline double __dmul_rn(double a, double b) { return rounded_alone(a * b); }
inline float rsqrtf(float v) { return 1.0f / std::sqrt(v); }
inline double rsqrt(double v) { return 1.0 / std::sqrt(v); }
template <class T>
T __ldg(const T* p) {
  return *p;
}
