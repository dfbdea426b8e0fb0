// Tests of whether two optimizers differ, for the few seeds that trainings afford.
//   Welch        two means, unequal variances (Welch 1947), degrees of freedom after Satterthwaite
//   permutation  two groups: is the split into them extreme among all splits of the same values?
//                The p-value counts the splits whose difference of means is at least as large, the
//                observed one among them, so it never rejects above its level, whatever the law
//                of the values is (Pitman 1937; Phipson and Smyth 2010 for sampled splits)
//   sign flip    pairs (one seed, two optimizers): the same over the signs of the differences
//   sign         pairs: which is larger, binomial
//   Holm         several p-values at once (Holm 1979): the family-wise error stays at the level
// All tests are two-sided. A permutation test of small groups has a floor: the smallest p that any
// data could give, 2 / C(n1 + n2, n1) of two groups, 2 / 2^n of n pairs; at four seeds 0.029 and
// 0.125. A result at the floor is as strong as the test can say.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace basin {

struct TestResult {
  double difference = 0;        // of the means, a - b
  double lower = 0, upper = 0;  // its interval
  double statistic = 0;         // t
  double df = 0;                // degrees of freedom, not necessarily whole
  double p = 1;
};

// Two values of each at least; usage error otherwise. Two groups without any spread: p is 0 where
// the means differ and 1 where they do not, the interval is the difference.
TestResult welch_test(std::span<const double> a, std::span<const double> b, double level = 0.95);
// From means, standard deviations (n - 1) and sizes, as tables print them.
TestResult welch_test_of(double mean_a, double deviation_a, int64_t n_a, double mean_b,
                         double deviation_b, int64_t n_b, double level = 0.95);

// Chance that Welch's test of n values in each group rejects at 1 - level, when the means lie
// `difference` apart and the groups have these standard deviations: the noncentral t distribution
// with Satterthwaite's degrees of freedom, both tails. Both deviations 0: 1, or 1 - level where the
// difference is 0, too. usage error: n < 2, a deviation that is negative or not finite.
double welch_power(double difference, double deviation_a, double deviation_b, int64_t n,
                   double level = 0.95);
// The smallest n in each group with at least that power, up to `most`; 0: more than that, as for a
// difference of 0. usage error: a power outside of (1 - level, 1).
int64_t welch_sample_size(double difference, double deviation_a, double deviation_b,
                          double power = 0.8, double level = 0.95, int64_t most = 1000000);

struct PermutationOptions {
  int64_t most_splits = 200000;  // counted in full; more of them are sampled
  int64_t samples = 100000;      // of a sampled test
  uint64_t seed = 0;
};
struct PermutationResult {
  double p = 1;
  double floor = 1;    // the smallest p that so many values can give
  int64_t splits = 0;  // counted or sampled
  bool exact = true;
};
// Of the difference of the means. One value of each at least.
PermutationResult permutation_test(std::span<const double> a, std::span<const double> b,
                                   const PermutationOptions& options = {});
// Of the mean of the differences; one pair at least.
PermutationResult sign_flip_test(std::span<const double> differences,
                                 const PermutationOptions& options = {});
// `wins` of `n` pairs without ties, 0 <= wins <= n: twice the smaller binomial tail, at most 1.
double sign_test(int64_t wins, int64_t n);

// Adjusted p-values in the order given, each at most 1.
std::vector<double> holm(std::span<const double> p);

}  // namespace basin
