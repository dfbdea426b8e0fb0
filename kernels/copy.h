// Copies that rearrange: strided reads (permute, broadcast) and runs along one axis (concat, slice,
// pad).
#pragma once
#include <array>

#include "basin/core/tensor.h"

namespace basin {

// out[i0, i1, ...] = x[sum of i_k * strides[k]]; a stride of 0 repeats. strides: one per axis of
// out.
struct StridedCopy {
  static constexpr const char* name = "strided_copy";
  using Run = void(const Tensor& x, const std::array<int64_t, kMaxRank>& strides, Tensor& out);
  static Run cpu, cuda;
};

// Copies `count` positions along `axis` from x (starting at from) to out (starting at to); the
// other axes are equal. Positions of out that are not covered keep their values.
struct CopyAxis {
  static constexpr const char* name = "copy_axis";
  using Run = void(const Tensor& x, int axis, int64_t from, int64_t count, Tensor& out, int64_t to);
  static Run cpu, cuda;
};

// out[...] = value.
struct Fill {
  static constexpr const char* name = "fill";
  using Run = void(double value, Tensor& out);
  static Run cpu, cuda;
};

// out [n, n]: ones on the diagonal, else zeros.
struct Identity {
  static constexpr const char* name = "identity";
  using Run = void(Tensor& out);
  static Run cpu, cuda;
};

}  // namespace basin
