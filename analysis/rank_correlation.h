// Spearman's rank correlation: Pearson's of the ranks, ties sharing their mean rank. The interval
// is that of Fisher's z with the variance of Bonett and Wright (2000, Sample size requirements for
// estimating Pearson, Kendall and Spearman correlations), which holds better than Fisher's own for
// ranks of few values:
//   tanh(atanh r -+ z_{level} sqrt((1 + r^2 / 2) / (n - 3)))
#pragma once
#include <span>

#include "basin/analysis/estimate.h"

namespace basin {

// Of the pairs whose two values are finite; NaN where fewer than 3 are left or one side is
// constant, without an interval below 4 or at r = +-1. usage error for lengths that differ.
Estimate rank_correlation(std::span<const double> x, std::span<const double> y,
                          double level = 0.95);

}  // namespace basin
