// Which permutation of its hidden units brings a network closest to another one of the same kind
// (weight matching of Ainsworth, Hayase, Srinivasa 2022, arXiv 2209.04836, "Git Re-Basin"):
//   maximise  sum over parameters <A, B permuted>,  the same as minimising ||A - B permuted||^2
// by coordinate descent over the groups of hidden units. With all other groups held, the sum is
// linear in one group's permutation,
//   sum_l <W_l^A, P_l W_l^B P_{l-1}^T> = <P_l, W_l^A P_{l-1} W_l^{B T} + W_{l+1}^{A T} P_{l+1}
//                                              W_{l+1}^B + b^A b^{B T} + ..>,
// a linear assignment (assignment.h), solved exactly; sweeps run in random order until none
// improves. A local optimum, so two starts are tried and the better one is kept: B as it is, and B
// aligned group by group in the declared order by what stands between groups that are aligned
// already (which recovers a permuted copy). Parameters count, running statistics only follow.
// A group on two axes of one tensor makes the sum quadratic: its linearisation is solved, and taken
// only where the sum grows.
#pragma once
#include "basin/nn/hidden_units.h"

namespace basin {

struct AlignmentOptions {
  uint64_t seed = 0;  // of the order of the groups
  int64_t sweeps = 100;
};

struct Alignment {
  UnitOrders orders;                         // reordered(other, hidden, orders) is aligned
  double product_before = 0, product = 0;    // <A, B> over all parameters
  double distance_before = 0, distance = 0;  // ||A - B||
  int64_t sweeps = 0;                        // of the start that was kept
  bool settled = false;                      // the last of them changed nothing
  int64_t moved = 0, units = 0;              // how many units changed places, of how many
};

// usage error where there are no hidden units, or names or shapes differ.
Alignment align_units(const ModelState& reference, const ModelState& other,
                      const std::vector<HiddenUnits>& hidden, const AlignmentOptions& options = {});

}  // namespace basin
