// How spread a spectrum is: ranks of weight matrices from their singular values s_1 >= ... >= s_p,
// p = min(m, n), by an f64 SVD of every logical matrix view of the parameters.
//   stable rank     sum_i s_i^2 / s_1^2              (Rudelson, Vershynin 2007), in [1, p]
//   effective rank  exp(-sum_i q_i ln q_i), q_i = s_i / sum_j s_j: of the singular values, not of
//                   their squares (Roy, Vetterli 2007), in [1, p]
//   nuclear rank    (sum_i s_i)^2 / sum_i s_i^2, in [1, p]
// A zero matrix has rank 0 by each of the three, a matrix of one row or one column rank 1. A matrix
// is never left out in silence: whatever has no spectrum is listed with the reason.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "basin/core/params.h"

namespace basin {

struct RankNumbers {
  double stable = 0;
  double effective = 0;
  double nuclear = 0;
  int64_t limit = 0;  // min(m, n), which none of them exceeds
  // A rank as a share of the limit, for comparing layers of different size; 0 without a limit.
  double relative(double rank) const { return limit > 0 ? rank / static_cast<double>(limit) : 0.0; }
};

// Singular values in any order, none negative (usage error); fewer than `limit` when the rest is
// zero. Computed relative to the largest, so that nothing over- or underflows.
RankNumbers rank_numbers(std::span<const double> singular_values, int64_t limit);

// Where the singular values of a random m x n matrix with independent entries of mean 0 and
// variance v lie as m, n grow (Marchenko, Pastur 1967):
//   sqrt(v) |sqrt(m) - sqrt(n)| <= s <= sqrt(v) (sqrt(m) + sqrt(n)).
// A value above the upper edge is structure that an initialisation does not have. The usual
// initialisation U(-1/sqrt(n), 1/sqrt(n)) has v = 1 / (3 n); a weight's own level is v = ||A||_F^2
// / (m n), which is what MatrixSpectrum::random_edges uses.
struct SpectrumEdges {
  double lower = 0;
  double upper = 0;
};
SpectrumEdges marchenko_pastur_edges(int64_t rows, int64_t cols, double variance);

struct MatrixSpectrum {
  std::string name;   // of the parameter, with "[b]" behind it when it holds several matrices
  int parameter = 0;  // position in the ParamList
  int block = 0;      // position in Param::view
  Role role = Role::matrix;
  int64_t rows = 0;
  int64_t cols = 0;
  Tensor singular_values = {};  // [min(rows, cols)] f64, descending
  RankNumbers ranks = {};
  SpectrumEdges random_edges = {};  // of a random matrix with this size and this Frobenius norm
};

struct SkippedParameter {
  std::string name;
  Role role = Role::matrix;
  Shape shape;
  std::string reason;
};

struct WeightSpectra {
  std::vector<MatrixSpectrum> matrices;   // in the order of the ParamList
  std::vector<SkippedParameter> skipped;  // together with `matrices` every parameter is named
};

// The spectra of `values`, one tensor per parameter of `params`: the weights themselves, or
// gradients and updates by the same views (an undefined tensor is listed as skipped). numerical
// error naming the parameter when a value is not finite.
WeightSpectra weight_spectra(const ParamList& params, const Tensors& values);
WeightSpectra weight_spectra(const ParamList& params);

}  // namespace basin
