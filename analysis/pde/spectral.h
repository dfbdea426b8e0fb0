// Reference solutions of the periodic Burgers equation u_t + u u_x = nu u_xx on [0, 1): Fourier
// pseudo-spectral in space, products freed of aliases by the 2/3 rule (Orszag 1971), ETDRK4 in time
// (Cox, Matthews 2002): diffusion is exact, the rest of order 4. The coefficients of the method are
// means over a circle around each argument, which keeps their digits where the closed forms cancel
// (Kassam, Trefethen 2005). The discrete Fourier transform is an own one of radix 2: it is short,
// and a result does not depend on which library a build found. Exact heat solutions and shifts:
// periodic_fields.h.
#pragma once
#include <cstdint>

#include "basin/core/tensor.h"

namespace basin {

struct BurgersFlow {
  double nu = 0.01;
  double duration = 1;         // the outputs are at duration * j / (outputs - 1)
  int64_t outputs = 101;       // the first is the time 0; at least 2
  double largest_step = 1e-4;  // steps are equal and divide the time between outputs
};

// initial [count, n] (f64) at i / n, n a power of two from 8 to 65536; points [m], anywhere. u at
// the output times and points, by the trigonometric interpolant: [count, outputs, m]. Wave numbers
// beyond n / 3 of the initial values are dropped. numerical error naming the function and the time
// when a solution is no longer finite: the step is too long.
Tensor burgers_flow(const Tensor& initial, const Tensor& points, const BurgersFlow& options = {});

}  // namespace basin
