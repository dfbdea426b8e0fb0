// Gradient clipping before the optimizer. The input is never written: a clipped result is a copy,
// an unclipped one shares storage. Muon is invariant to the scale of a gradient, so clip raw
// gradients (here) or not at all, never the orthogonalised update.
#pragma once
#include "basin/core/tensor.h"

namespace basin {

struct ClipResult {
  Tensors grads;
  double norm = 0;  // global l2 norm before clipping, accumulated in f64
  bool clipped = false;
};

// Undefined gradients count as zero. Same bits for any number of threads.
double global_norm(const Tensors& grads);
// Scales all gradients by max_norm / norm when norm > max_norm. numerical error on a non-finite
// norm.
ClipResult clip_global_norm(const Tensors& grads, double max_norm);
// The same for a program that must not wait for a device: square_sums [grads] f64 as kernels/clip.h
// makes them; always copies. A norm that is not finite clips nothing.
Tensors clip_by_sums(const Tensors& grads, const Tensor& square_sums, double max_norm);
// Clamps every element to [-limit, limit], where it lies; NaN stays NaN.
ClipResult clip_value(const Tensors& grads, double limit);

}  // namespace basin
