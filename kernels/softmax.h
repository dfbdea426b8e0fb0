// Softmax over rows, its logarithm, and cross-entropy, with first- and second-order derivatives.
// x [.., n] is any number of rows of n >= 1. With p = softmax(x), y = log p, c the cotangent, t the
// tangent of x; a dot behind a name marks the tangent of what it names, p.t is the inner product:
//   log_softmax:    dx = c - p sum c,  y. = t - p.t,  dx. = c. - p ((t - p.t) sum c + sum c.)
//   softmax:        dx = p (c - p.c),  p. = p (t - p.t),  dx. by the product rule
//   cross_entropy:  of rows with targets q (smoothing spread over the other classes), mean over B:
//                   L = -1/B sum q y,  dx = ct/B (p - q),  L. = 1/B sum (p - q) t,
//                   dx. = ct./B (p - q) + ct/B p (t - p.t)
// The largest element is taken off first. A row is summed in f64 in a fixed order.
#pragma once
#include "basin/core/tensor.h"

namespace basin {

// log: of the softmax.
struct Softmax {
  static constexpr const char* name = "softmax";
  using Run = void(bool log, const Tensor& x, Tensor& out);  // both [.., n]
  static Run cpu, cuda;
};
// out: what Softmax gave; dx [.., n]
struct SoftmaxVjp {
  static constexpr const char* name = "softmax_vjp";
  using Run = void(bool log, const Tensor& out, const Tensor& ct, Tensor& dx);
  static Run cpu, cuda;
};
struct SoftmaxJvp {
  static constexpr const char* name = "softmax_jvp";
  using Run = void(bool log, const Tensor& out, const Tensor& t, Tensor& out_t);
  static Run cpu, cuda;
};
// t and ct_t may be undefined: zero.
struct SoftmaxVjpJvp {
  static constexpr const char* name = "softmax_vjp_jvp";
  using Run = void(bool log, const Tensor& out, const Tensor& ct, const Tensor& t,
                   const Tensor& ct_t, Tensor& dx_t);
  static Run cpu, cuda;
};

// x [B, C], labels [B] i64 in 0..C-1, B >= 1; y [B, C] <- log-softmax, loss [].
struct CrossEntropy {
  static constexpr const char* name = "cross_entropy";
  using Run = void(const Tensor& x, const Tensor& labels, double smoothing, Tensor& y,
                   Tensor& loss);
  static Run cpu, cuda;
};
// ct []; dx [B, C]
struct CrossEntropyVjp {
  static constexpr const char* name = "cross_entropy_vjp";
  using Run = void(const Tensor& y, const Tensor& labels, double smoothing, const Tensor& ct,
                   Tensor& dx);
  static Run cpu, cuda;
};
struct CrossEntropyJvp {
  static constexpr const char* name = "cross_entropy_jvp";
  using Run = void(const Tensor& y, const Tensor& labels, double smoothing, const Tensor& t,
                   Tensor& loss_t);
  static Run cpu, cuda;
};
// t and ct_t may be undefined: zero.
struct CrossEntropyVjpJvp {
  static constexpr const char* name = "cross_entropy_vjp_jvp";
  using Run = void(const Tensor& y, const Tensor& labels, double smoothing, const Tensor& ct,
                   const Tensor& t, const Tensor& ct_t, Tensor& dx_t);
  static Run cpu, cuda;
};

}  // namespace basin
