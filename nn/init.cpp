// Initial values: one stream of random numbers per parameter name, drawn in double.
#include "basin/nn/init.h"

#include <cmath>

#include "basin/core/random.h"

namespace basin {

Init torch_init(int64_t fan_in) {
  check(fan_in > 0, "torch_init: fan-in must be positive, got ", fan_in);
  return {0, 1 / std::sqrt(static_cast<double>(fan_in))};
}

Init xavier_uniform(int64_t fan_in, int64_t fan_out, double gain) {
  check(fan_in > 0 && fan_out > 0, "xavier_uniform: fan-in and fan-out must be positive, got ",
        fan_in, " and ", fan_out);
  return {0, gain * std::sqrt(6.0 / static_cast<double>(fan_in + fan_out))};
}

Tensor draw(const Init& init, const Shape& shape, DType dtype, uint64_t seed,
            std::string_view name) {
  Tensor out = Tensor::full(shape, dtype, init.center);
  if (init.bound == 0 && init.deviation == 0) return out;
  Rng rng(seed, stream_id(name));
  dispatch_float(dtype, "draw", [&](auto zero) {
    using T = decltype(zero);
    T* values = out.mutable_data<T>();
    for (int64_t i = 0, n = out.numel(); i < n; ++i) {
      values[i] = static_cast<T>(
          init.deviation != 0 ? init.center + init.deviation * rng.normal()
                              : rng.uniform(init.center - init.bound, init.center + init.bound));
    }
  });
  return out;
}

}  // namespace basin
