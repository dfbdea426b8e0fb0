// Symmetric Lanczos with full re-orthogonalisation, done twice (Parlett 1998), so that no ghosts
// appear; thick restarts where the basis is bounded (Wu and Simon 2000).
//   A V_m = V_m T_m + r e_m^T,   T_m s = theta s  =>  |A V_m s - theta V_m s| = |r| |s_m|
// Every pair carries that residual, widened by what the products lack in symmetry (rounding of f32
// networks), so that a converged pair is one: some eigenvalue lies within `residual` of `value`.
// An invariant subspace is left with a fresh random direction orthogonal to it.
//
// One Krylov space holds a single vector of each eigenspace, so further copies of a repeated
// eigenvalue stay hidden from it. Once the pairs have converged, a random direction orthogonal to
// all of the space looks for copies in a chain of its own, for at most `copies_share` of the
// products so far (or four products). What it finds is converged as well; when it finds nothing,
// the pairs are those from before it, and `copies` says whether the search came to its end.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "basin/analysis/operator.h"

namespace basin {

struct Eigenpair {
  double value = 0;
  double residual = 0;     // |A x - value x|, |x| = 1
  bool converged = false;  // residual <= tolerance * largest |value| (relative: * |value|)
  Tensor vector;           // [n] f64, of length 1; orthogonal to the vectors of the other pairs
};

struct LanczosOptions {
  int64_t top = 1;          // so many of the largest eigenvalues
  int64_t bottom = 0;       // and of the smallest
  double tolerance = 1e-4;  // of the residual, relative to the largest |eigenvalue|
  // To the pair's own |value| instead. Where one eigenvalue dwarfs the others it is needed: a
  // random vector nearly lies in the null space of a large operator of low rank, so that its Ritz
  // value, about 0, has a residual small against the largest |eigenvalue| and passes for the
  // extreme one.
  bool relative = false;
  int64_t max_products = 1000;
  int64_t max_basis = 0;   // vectors kept, 8 n bytes each; 0: 3 (top + bottom) + 40, at most n
  bool stop_early = true;  // false: fill the basis once, whatever has converged before
  // Products of the search for copies over those before it, rounded up, and no fewer than four; 0:
  // no search; infinity: to its end, within max_products. Of one pair per end there is nothing to
  // search for: copies of the innermost wanted eigenvalue change no wanted value.
  double copies_share = 0.25;
  bool verify = false;  // measure each residual with one more product instead of bounding it
  uint64_t seed = 0;
};

// How the search for copies ended. none: a copy that would change the wanted values has been missed
// with a probability below 1e-4; open: with at most LanczosResult::copies_missed.
enum class CopySearch : uint8_t { off, not_needed, none, open };

struct LanczosResult {
  std::vector<Eigenpair> top;     // descending
  std::vector<Eigenpair> bottom;  // ascending; no pair stands in both lists unless top + bottom > n
  double largest_magnitude = 0;   // max |Ritz value|, an estimate of |A| from below
  int64_t products = 0;
  int64_t restarts = 0;    // thick restarts
  bool converged = false;  // every pair is; the search for copies has no say in it
  std::string note;        // what was clipped or cut short; empty: nothing

  CopySearch copies = CopySearch::off;
  int64_t copy_products = 0;  // of `products`, those of the last search, if it found nothing
  int64_t copies_found = 0;   // searches that changed the wanted pairs
  double copies_missed = 1;   // probability bound, see CopySearch
};

// "none found", "search left open after 9 products, missed with a probability of up to 2 %" and so
// on; empty where no search was asked for.
std::string copies_text(const LanczosResult& result);

// usage error for counts < 1 in sum, a basis that cannot hold the wanted pairs, tolerance or
// copies_share < 0; numerical error when a product is not finite. More pairs than n are clipped to
// n, said in `note`.
LanczosResult lanczos(const SymmetricOperator& a, const LanczosOptions& options = {});

// Gauss quadrature of the spectral measure of a start vector u, |u| = 1 after scaling:
//   u^T f(A) u = sum_j weights_j f(nodes_j), exact for polynomials of degree < 2m  (Golub and
//   Welsch 1969; Golub and Meurant 2010)
struct LanczosQuadrature {
  Tensor nodes;            // [m] f64, ascending: eigenvalues of the tridiagonal matrix
  Tensor weights;          // [m], squared first components of its eigenvectors, sum 1
  Tensor alpha;            // [m], diagonal
  Tensor beta;             // [m - 1], beside the diagonal
  double start_norm = 0;   // |start|
  bool invariant = false;  // the Krylov space closed: the rule is exact for every f
};

// steps >= 1, m = min(steps, n) or less when the Krylov space closes. usage error for a start that
// is zero; numerical error when a product is not finite.   start [n] f64
LanczosQuadrature lanczos_quadrature(const SymmetricOperator& a, const Tensor& start,
                                     int64_t steps);
// Several starts in lockstep, one apply() per step. Each keeps its own basis of `steps` vectors;
// the rules are those of the starts one by one.   starts [p, n] f64
std::vector<LanczosQuadrature> lanczos_quadratures(const SymmetricOperator& a, const Tensor& starts,
                                                   int64_t steps);

}  // namespace basin
