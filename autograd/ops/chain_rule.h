// The derivative of a unary op: the formula d(x, y, p) of kernels/scalar.h, in one pass of a
// kernel, or where the derivative is itself followed, as the ops that the formula consists of.
#pragma once
#include "basin/autograd/ops.h"
#include "basin/kernels/elementwise.h"

namespace basin {

// t * d(x, y, p). Of x and y, the argument and the value, what the formula does not read is
// undefined.
Tensor chain_rule(Unary kind, const Tensor& t, const Tensor& x, const Tensor& y, double p);

}  // namespace basin
