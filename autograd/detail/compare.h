// Lists of tensors compared on the host: what the derivative checks and the tests measure with. All
// arithmetic is in double, an undefined tensor is zero, norms are Euclidean over all elements of
// the list. NaN anywhere makes an error infinite, never small.
#pragma once
#include "basin/core/random.h"
#include "basin/core/tensor.h"

namespace basin {

double inner(const Tensors& a, const Tensors& b);  // <a, b>
double norm(const Tensors& a);
double ratio(double gap, double size);  // gap / size; 0 / 0 = 0; NaN is infinite

// |a - b| / max(|a|, |b|, floor), 0 when both are exactly equal. The floor is for differences:
// where the true value is zero or tiny, their rounding is not.
double relative_error(const Tensors& a, const Tensors& b, double floor = 0);

Tensors difference(const Tensors& a, const Tensors& b, double c = 1);  // c (a - b), f64
Tensors moved(const Tensors& x, double c, const Tensors& t);  // x + c t, in the dtypes of x
Tensors random_like(Rng& rng, const Tensors& like);  // uniform in [-1, 1]; undefined for integers
void require_same_shapes(const Tensors& a, const Tensors& b);  // and dtypes; internal error

}  // namespace basin
