// Means over pairs of networks, of a quantity that two networks have together (a barrier, an
// alignment). Pairs that share a network are not independent, so the error is the jackknife over
// networks: with theta_(-k) the mean without the pairs of network k,
//   SE^2 = sum over the groups  (n_g - 1) / n_g  sum_{k in g} (theta_(-k) - their mean)^2
// and the interval Student's with (smallest n_g) - 1 degrees of freedom (Arvesen 1969 for means of
// symmetric functions of pairs).
#pragma once
#include <functional>
#include <vector>

#include "basin/analysis/estimate.h"

namespace basin {

// value(i, j) with i < j: of pairs of two networks of `a` where `b` is empty, else of one of each.
// Pairs whose value is not finite are left out; `samples` counts the others. Without an interval
// (NaN) where a network is in every pair. usage error where there is no pair at all.
Estimate mean_over_pairs(const std::vector<size_t>& a, const std::vector<size_t>& b,
                         const std::function<double(size_t i, size_t j)>& value,
                         double level = 0.95);

}  // namespace basin
