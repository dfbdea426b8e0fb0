// CUDA dropout masks: the bits of core/random.h (Philox4x32-10: Salmon, Moraes, Dror, Shaw, SC
// 2011), so a mask is the same on every device. One thread draws a block of four elements.
#include "basin/kernels/random_mask.h"

#include <cmath>

#include "basin/kernels/cuda/grid.cuh"

namespace basin {
namespace {

struct Bits {
  uint32_t word[4];
};

__device__ inline Bits philox(uint64_t counter_lo, uint64_t counter_hi, uint64_t key) {
  uint32_t c0 = static_cast<uint32_t>(counter_lo), c1 = static_cast<uint32_t>(counter_lo >> 32);
  uint32_t c2 = static_cast<uint32_t>(counter_hi), c3 = static_cast<uint32_t>(counter_hi >> 32);
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c0, p1 = uint64_t{0xCD9E8D57} * c2;
    const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const uint32_t n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c0 = n0;
    c1 = static_cast<uint32_t>(p1);
    c2 = n2;
    c3 = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// One mixing round of stream_id.
__device__ inline uint64_t mix(uint64_t h, uint64_t v) {
  h ^= v + 0x9E3779B97F4A7C15 + (h << 6) + (h >> 2);
  h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9;
  h = (h ^ (h >> 27)) * 0x94D049BB133111EB;
  return h ^ (h >> 31);
}

// The stream itself, or where the step stands and the hash of the layer's name.
struct Stream {
  uint64_t value;
  const int64_t* step;
  __device__ uint64_t operator()() const {
    return step == nullptr ? value : mix(mix(value, static_cast<uint64_t>(*step)), 0);
  }
};

template <class T>
void draw(uint64_t threshold, T keep, uint64_t seed, Stream stream, T* out, int64_t n) {
  cuda::for_items(DropoutMask::name, (n + 3) / 4, [=] __device__(int64_t block) {
    const Bits bits = philox(static_cast<uint64_t>(block), stream(), seed);
    for (int k = 0; k < 4 && 4 * block + k < n; ++k) {
      out[4 * block + k] = bits.word[k] < threshold ? T(0) : keep;
    }
  });
}

void draw_mask(double p, uint64_t seed, Stream stream, Tensor& out) {
  const auto threshold = static_cast<uint64_t>(std::llround(p * 0x1p32));  // drop below
  dispatch_float(out.dtype(), DropoutMask::name, [&](auto z) {
    using T = decltype(z);
    draw(threshold, static_cast<T>(1.0 / (1.0 - p)), seed, stream, cuda::out_ptr<T>(out),
         out.numel());
  });
}

}  // namespace

void DropoutMask::cuda(double p, uint64_t seed, uint64_t stream, Tensor& out) {
  draw_mask(p, seed, {stream, nullptr}, out);
}

void StepDropoutMask::cuda(double p, uint64_t seed, std::string_view layer, const Tensor& step,
                           Tensor& out) {
  uint64_t h = 0xCBF29CE484222325;  // FNV-1a, as in stream_id
  for (const char ch : layer) h = (h ^ static_cast<uint8_t>(ch)) * 0x100000001B3;
  draw_mask(p, seed, {h, cuda::in_ptr<int64_t>(step)}, out);
}

}  // namespace basin
