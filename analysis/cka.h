// Centred kernel alignment with linear kernels: how alike two representations of the same n samples
// are, whatever their widths, rotations and scales (Kornblith et al. 2019).
//   cka = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)),  K = X X^T, L = Y Y^T.
// debiased: with the unbiased estimator of HSIC (Song et al. 2012, as Nguyen et al. 2021 use it);
// about 0 for unrelated representations, and may fall below 0. The biased estimator grows with
// channels / samples: unrelated Gaussians of 32 channels on 32 samples read about one half.
// With centred X, Y and a_i = |x_i|^2, b_i = |y_i|^2 the unbiased estimator needs no n x n matrix:
//   n (n - 3) HSIC = ||X^T Y||_F^2 - n / (n - 2) sum_i a_i b_i
//                    + (sum_i a_i) (sum_i b_i) / ((n - 1) (n - 2)).
#pragma once
#include "basin/analysis/estimate.h"
#include "basin/core/tensor.h"

namespace basin {

// NaN where the alignment is undefined: a representation that is the same for all samples (a dead
// layer), or one whose unbiased HSIC with itself is not positive. usage error for fewer than 4
// samples or different sample counts, numerical error for values that are not finite.
//   x [n, C1], y [n, C2], f32 or f64; sums in f64
double debiased_linear_cka(const Tensor& x, const Tensor& y);
double biased_linear_cka(const Tensor& x, const Tensor& y);

// The debiased alignment with a standard error over the samples by the delete-a-group jackknife of
// `groups` groups (sample i in group i mod groups; no more groups than samples) and Student's
// interval with groups - 1 degrees of freedom, clipped above at 1. Costs n^2 (C1 + C2) operations,
// once for all groups. method "group jackknife".
Estimate estimate_linear_cka(const Tensor& x, const Tensor& y, int64_t groups = 20,
                             double level = 0.95);

// All pairs of layers of two networks on the same samples.   x: L1 of [n, .], y: L2 of [n, .]
Tensor debiased_cka_matrix(const Tensors& x, const Tensors& y);  // [L1, L2] f64

}  // namespace basin
