// Initial values of parameters. A parameter is drawn from the stream of its own name, so its values
// depend on (seed, name) only: switching another layer on or off does not change them.
//   torch init:     U(-1/sqrt(fan_in), 1/sqrt(fan_in)) for weight and bias of linear maps;
//   Xavier uniform: U(-a, a), a = gain sqrt(6 / (fan_in + fan_out))  (Glorot, Bengio 2010);
//   normal:         N(0, 1) for embeddings, as PyTorch has it.
#pragma once
#include <cstdint>
#include <string_view>

#include "basin/core/tensor.h"

namespace basin {

// The constant `center`, or U(center - bound, center + bound), or N(center, deviation^2); at most
// one of bound and deviation is not 0.
struct Init {
  double center = 0;
  double bound = 0;
  double deviation = 0;
};

constexpr Init constant_init(double value) { return {value}; }
constexpr Init normal_init(double deviation = 1) { return {0, 0, deviation}; }
Init torch_init(int64_t fan_in);
Init xavier_uniform(int64_t fan_in, int64_t fan_out, double gain = 1);

Tensor draw(const Init& init, const Shape& shape, DType dtype, uint64_t seed,
            std::string_view name);

}  // namespace basin
