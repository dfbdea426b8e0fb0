// Where the Newton-Schulz iteration may run on the p x p Gram matrix G = X X^T alone. All factors
// P_k = a + b G_k + c G_k^2 of a stage are polynomials in G and commute, so that
//   G_(k+1) = (P_k G_k) P_k,   Q = P_(e-1) .. P_j,   X_e = Q X_j
// need p x p products, symmetric but for Q, and one product by X. A stage of m steps takes 2 p^2 q
// for X_e, p^2 q for G and (5 m - 4) p^3, against m (3 p^2 q + p^3) of steps one by one, which are
// stages of length 1. (Q commutes only up to rounding: half of it mirrored is another matrix, and
// the result was found up to twenty times less accurate.)
//
// The price is accuracy: an error of G is relative to its largest eigenvalue L, and the factors
// that follow amplify it for the small ones, where a product by X would have started afresh. To
// first order the result is off between the vectors of two singular values t and t' of X, in units
// of rounding, by
//   sum over stages  |F_e[t_e, t'_e]| (sum_k |Q_k[t_k^2, t'_k^2]| t'_k L_k + max Q sqrt(L_j)),
// f[x, y] the divided difference, t_k the scalar map's, Q_k the product of the factors from k to e
// and F_e the map of the steps after e (Higham, Functions of Matrices, ch. 3).
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "basin/kernels/newton_schulz.h"

namespace basin {

// Ends of the stages, ascending, the last one steps.size(): as few stages as keep the largest such
// error below kGramError times that of single steps. largest: L before the first step, or a bound
// of it.
inline constexpr double kGramError = 1.5;
std::vector<size_t> gram_stages(std::span<const OddQuintic> steps, double largest);

}  // namespace basin
