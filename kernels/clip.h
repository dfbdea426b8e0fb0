// What clipping by the global norm needs: the squares of every gradient summed in double, in fixed
// tiles whose partial sums are added in tile order, and the scaling. On a device the factor stays
// there, so that nobody waits for it.
#pragma once
#include "basin/core/tensor.h"

namespace basin {

struct SquareSums {
  static constexpr const char* name = "square_sums";
  // sums[i] = sum of x[i]^2, 0 for an undefined x[i].   sums [number of tensors] f64
  using Run = void(const Tensors& x, Tensor& sums);
  static Run cpu, cuda;
};

struct ClipFactor {
  static constexpr const char* name = "clip_factor";
  // factor [1] f64 = max_norm / norm where norm = sqrt(sum of sums) is larger than max_norm and
  // finite, else 1
  using Run = void(const Tensor& sums, double max_norm, Tensor& factor);
  static Run cpu, cuda;
};

struct ScaleBy {
  static constexpr const char* name = "scale_by";
  // out = x * factor[0], in double
  using Run = void(const Tensor& x, const Tensor& factor, Tensor& out);
  static Run cpu, cuda;
};

}  // namespace basin
