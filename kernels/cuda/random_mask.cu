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

template <class T>
void draw(uint64_t threshold, T keep, uint64_t seed, uint64_t stream, T* out, int64_t n) {
  cuda::for_items(DropoutMask::name, (n + 3) / 4, [=] __device__(int64_t block) {
    const Bits bits = philox(static_cast<uint64_t>(block), stream, seed);
    for (int k = 0; k < 4 && 4 * block + k < n; ++k) {
      out[4 * block + k] = bits.word[k] < threshold ? T(0) : keep;
    }
  });
}

}  // namespace

void DropoutMask::cuda(double p, uint64_t seed, uint64_t stream, Tensor& out) {
  const auto threshold = static_cast<uint64_t>(std::llround(p * 0x1p32));  // drop below
  dispatch_float(out.dtype(), name, [&](auto z) {
    using T = decltype(z);
    draw(threshold, static_cast<T>(1.0 / (1.0 - p)), seed, stream, cuda::out_ptr<T>(out),
         out.numel());
  });
}

}  // namespace basin
