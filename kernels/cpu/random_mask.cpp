// Each Philox block serves four elements; 32 bits decide one.
#include "basin/kernels/random_mask.h"

#include <cmath>

#include "basin/core/parallel.h"
#include "basin/core/random.h"

namespace basin {

void DropoutMask::cpu(double p, uint64_t seed, uint64_t stream, Tensor& out) {
  const double keep = 1.0 / (1.0 - p);
  const auto threshold = static_cast<uint64_t>(std::llround(p * 0x1p32));  // drop below
  dispatch_float(out.dtype(), name, [&](auto z) {
    using T = decltype(z);
    T* o = out.mutable_data<T>();
    const int64_t n = out.numel();
    parallel_for((n + 3) / 4, 4096, [&](int64_t block, int64_t end) {
      for (; block < end; ++block) {
        const auto bits = philox4x32(static_cast<uint64_t>(block), stream, seed);
        for (int64_t k = 0; k < 4 && 4 * block + k < n; ++k) {
          o[4 * block + k] = bits[k] < threshold ? T(0) : static_cast<T>(keep);
        }
      }
    });
  });
}

void StepDropoutMask::cpu(double p, uint64_t seed, std::string_view layer, const Tensor& step,
                          Tensor& out) {
  DropoutMask::cpu(p, seed, stream_id(layer, static_cast<uint64_t>(*step.data<int64_t>())), out);
}

}  // namespace basin
