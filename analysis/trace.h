// The trace of an operator from products with random vectors, with an interval that holds its
// level. What A's spectrum asks for differs, so there are three estimators of one cost, products:
//   Hutchinson (1990)   mean of z^T A z; the error falls as products^-1/2 whatever the spectrum
//   Hutch++ (Meyer, Musco, Musco, Woodruff 2021)   tr(Q^T A Q) exactly for Q = orth(A S), and
//                       Hutchinson for what is left outside Q; products^-1 for decaying spectra
//   XTrace (Epperly, Tropp, Webber 2024)   every probe in turn outside the basis of all others
// All are unbiased. Probes are pure functions of (seed, probe), the same for any number of lanes
// and of threads. Error bars:
//   Hutchinson and Hutch++ average samples that are independent (for Hutch++ given Q), z^T A z is
//   skewed where few eigenvalues dominate, and Hall's transformation of the t interval takes that
//   out (skewed_mean_estimate).
//   XTrace's estimates t_i share their bases and are correlated: sd / sqrt(m) with a t factor
//   covers 83-88 % instead of 95 (six spectra, 60 products; trace_coverage_slow_test.cpp). With
//   t_i\j, probe i outside the basis of all but i and j, E[(t_i - t_i\j)(t_j - t_j\i)] = Cov(t_i,
//   t_j) exactly, because each t has the trace as its mean whatever its basis. So
//     V = var(t) / m + mean over i < j of (t_i - t_i\j)(t_j - t_j\i)
//   is an unbiased variance, with no further product (a negative mean then counts as zero). Its
//   degrees of freedom are Satterthwaite's, 2 V^2 / Var(V), from the probes' own contributions to
//   V, and at most those of normal samples.
// To a precision: with relative > 0 a pilot (16, 24, 36.. samples; XTrace 8, 12, 18.. probes) says
// how many fresh probes should reach a half width of relative |value|, with a margin of a half.
// A rule that stops when its own interval is narrow prefers samples that happen to look narrow, and
// covers too little; so the pilot's samples leave the average (for XTrace they stay in the basis),
// and given their number the fresh ones are as in any fixed sample. The price is the pilot, a
// quarter of the probes or more, and that the precision may be missed a little: `reached`.
#pragma once
#include <string>
#include <vector>

#include "basin/analysis/estimate.h"
#include "basin/analysis/operator.h"

namespace basin {

struct TraceOptions {
  int64_t products = 100;  // with the operator, at most
  double relative = 0;     // > 0: aim at this half width relative to |value|
  double level = 0.95;
  uint64_t seed = 0;
  int64_t lanes = 8;  // vectors per apply(): memory against recordings; never changes the probes
  int64_t basis = 0;  // Hutch++: vectors of Q; 0: a third of the products, a sixth if relative > 0
};

struct TraceResult {
  Estimate estimate;
  std::vector<double> samples;  // one per probe behind the value, their mean; empty when exact
  int64_t products = 0;         // spent
  bool reached = true;          // the interval is as narrow as asked; true with relative = 0
};

// usage error for no products (Hutch++ and XTrace: fewer than 6), lanes < 1, level outside (0, 1);
// numerical error naming the probe when a product is not finite. Memory beside the operator's own:
// 2 lanes vectors of n numbers, and for Hutch++ and XTrace the basis, a third and a half of the
// products. Where the basis spans the range of A or the whole space the value is exact.
TraceResult hutchinson_trace(const SymmetricOperator& a, const TraceOptions& options = {});
TraceResult hutch_plus_plus_trace(const SymmetricOperator& a, const TraceOptions& options = {});
TraceResult xtrace(const SymmetricOperator& a, const TraceOptions& options = {});

// Traces of diagonal blocks from the probes of hutchinson_trace, at no further product: the sample
// of block B is z_B^T (A z)_B. Unbiased; its variance is that of z_B^T A_BB z_B, twice the squared
// entries of A_BB off the diagonal, plus |A_BC|_F^2 for the coupling to all other coordinates C.
struct BlockTraces {
  TraceResult total;                         // of all blocks together
  std::vector<std::vector<double>> samples;  // [blocks][probes]
  std::vector<Estimate> blocks;
  // Several blocks as one (the layers of an optimizer group): samples add up probe by probe, so the
  // correlation between blocks is in the interval.
  Estimate group(const std::vector<int>& members) const;
};

// Block b is [offsets[b], offsets[b + 1]); offsets ascend from 0 to n. With relative > 0 the
// precision is that of the total.
BlockTraces block_traces(const SymmetricOperator& a, const std::vector<int64_t>& offsets,
                         const TraceOptions& options = {});

// The plain protocol of published studies (PyHessian): probes one by one until the running mean
// moves by less than `tolerance` relative to its last value, at most `probes`. Two means that agree
// are no error bound, so the estimate carries no standard error and no interval (NaN); for
// comparison with printed tables only.
struct PaperTraceOptions {
  int64_t probes = 100;
  double tolerance = 1e-3;
  uint64_t seed = 0;
};
struct PaperTrace {
  Estimate estimate;
  std::vector<double> running;  // mean after each probe
  bool converged = false;       // the rule stopped it, not the number of probes
};
PaperTrace paper_protocol_trace(const SymmetricOperator& a, const PaperTraceOptions& options = {});

// Rows of independent signs, +1 or -1: probes first, first + 1 .. of a seed.   [count, n] f64
Tensor rademacher_probes(int64_t n, int64_t first, int64_t count, uint64_t seed);

}  // namespace basin
