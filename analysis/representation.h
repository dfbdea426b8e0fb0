// Ranks of representations: how many directions the activations of n samples fill, per layer, with
// standard errors over the samples. X [n, C] holds one pooled activation per sample; stable and
// effective rank are those of analysis/ranks.h, of X itself (uncentred) and of X about its column
// means (centred).
//
// What the interval covers is E T_n, the mean of the measurement over draws of n samples. T_n
// itself grows with n until n is much larger than C, so compare layers and checkpoints at equal n
// only.
//
// influence (the default): the infinitesimal jackknife (Jaeckel 1972, Efron 1982), from the thin
//   SVD X = U S V^T that the value needs anyway: raising the weight of sample i changes
//   ln s_k at the rate (n U_ik^2 - 1) / 2, hence the influence of i on T is
//   I_i = sum_k dT / d ln s_k (n U_ik^2 - 1) / 2,  SE^2 = sum_i I_i^2 / (n (n - 1)).
// bootstrap: the standard deviation over resamples of the rows.
// Both intervals are value +- t SE. Percentile, basic and bias-corrected bootstrap intervals are
// not offered: resampled rows repeat, which lowers every rank (by many standard errors for the
// effective rank once C is not small beside n), so they miss E T_n; test "representation: coverage"
// measures that. Where C is beyond about n / 3 the bootstrap's standard error is too large.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "basin/analysis/estimate.h"
#include "basin/analysis/ranks.h"

namespace basin {

enum class RankInterval : uint8_t { influence, bootstrap };

struct RepresentationOptions {
  RankInterval interval = RankInterval::influence;
  double level = 0.95;
  int64_t resamples = 200;  // bootstrap only; each costs a decomposition of [n, min(n, C)]
  uint64_t seed = 0;        // bootstrap only
};

struct RepresentationSpectrum {
  Tensor singular_values;  // [ranks.limit] f64, descending
  RankNumbers ranks;       // limit: min(n, C), or min(n - 1, C) about the means
  Estimate stable;         // `samples` is n, or the number of resamples
  Estimate effective;
};

struct RepresentationRanks {
  std::string layer;
  int64_t samples = 0;   // n
  int64_t channels = 0;  // C
  RepresentationSpectrum centred;
  RepresentationSpectrum uncentred;
};

// The mean over points of an activation, in f64: [n, N, C] -> [n, C]; one that is pooled already,
// [n, C], is converted only.
Tensor mean_pooled(const Tensor& activation);

// usage error for fewer than 3 samples; numerical error naming the layer when a value is not
// finite. A layer that is zero everywhere has ranks 0 with standard error 0.   x [n, C]
RepresentationRanks representation_ranks(const std::string& layer, const Tensor& x,
                                         const RepresentationOptions& options = {});
// Several layers, in parallel.
std::vector<RepresentationRanks> representation_ranks(
    const std::vector<std::pair<std::string, Tensor>>& layers,
    const RepresentationOptions& options = {});

}  // namespace basin
