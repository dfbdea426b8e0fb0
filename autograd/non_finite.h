// Where a computation leaves the finite numbers: the step after the one that says that a loss or a
// gradient is NaN or infinite. The function runs once more and every op is looked at, forwards in
// the order of execution, then backwards node by node; a first sweep costs nothing of this.
//   blame:      the first op with a non-finite output; where there is none and the first output is
//               differentiable, the first node of the backward sweep after which the cotangent of
//               one of its inputs is not finite.
//   parameters: the inputs x that this op reads; where it reads none, those that the latest op
//               upstream of it reads (by creation order). Empty: none of x leads to it.
// Host and device tensors alike; the values are read on the host.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "basin/autograd/tape.h"

namespace basin {

enum class Sweep : uint8_t { forward, backward, none };
std::string_view name_of(Sweep sweep);

struct NonFiniteValue {
  int64_t element = 0;  // the first one, by flat index
  double value = 0;     // nan, inf or -inf
  int64_t count = 0;    // non-finite elements in all
};
// Empty for finite tensors, for undefined ones and for integers.
std::optional<NonFiniteValue> first_non_finite(const Tensor& t);

struct NonFinite {
  Sweep sweep = Sweep::none;  // none: all ops are finite, but one of x is not
  std::string op;
  int64_t position = 0;      // forward: of the output; backward: of the input with the cotangent
  Shape shape;               // of that tensor
  NonFiniteValue first;      // within it
  bool from_inputs = false;  // forward: an input of the op was not finite before (x or a constant)
  std::vector<int> parameters;  // positions in x, see above
  std::vector<int> bad;         // positions in x of tensors that are not finite themselves
};

// Empty where everything is finite. `f` as value_and_grad takes it; an output that is no scalar, or
// depends on none of x, is only looked at forwards. An error of f after a finding is part of it.
std::optional<NonFinite> find_non_finite(const Fn& f, const Tensors& x);

}  // namespace basin
