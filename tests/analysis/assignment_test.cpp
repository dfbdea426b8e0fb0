// Linear assignment against all permutations of small matrices, with and without ties, and against
// planted solutions of larger ones.
#include "basin/analysis/assignment.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "basin/core/error.h"
#include "basin/core/random.h"
#include "basin/tests/core/errors.h"

namespace basin {
namespace {

double best_of_all(const std::vector<double>& value, int64_t n) {
  std::vector<int64_t> p(static_cast<size_t>(n));
  std::iota(p.begin(), p.end(), int64_t{0});
  double best = -INFINITY;
  do {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) {
      sum += value[static_cast<size_t>(i * n + p[static_cast<size_t>(i)])];
    }
    best = std::max(best, sum);
  } while (std::next_permutation(p.begin(), p.end()));
  return best;
}

bool is_permutation_of(const std::vector<int64_t>& p, int64_t n) {
  std::vector<int64_t> sorted = p;
  std::sort(sorted.begin(), sorted.end());
  std::vector<int64_t> all(static_cast<size_t>(n));
  std::iota(all.begin(), all.end(), int64_t{0});
  return sorted == all;
}

TEST_CASE("assignment: the best of all permutations, ties included") {
  Rng rng(5, 0);
  for (int trial = 0; trial < 600; ++trial) {
    const int64_t n = 1 + trial % 7;
    const bool ties = trial % 2 == 1;  // values of 0 to 2 alone
    std::vector<double> value(static_cast<size_t>(n * n));
    for (double& v : value) v = ties ? static_cast<double>(rng.below(3)) : rng.normal();
    const Assignment a = best_assignment(Tensor::from(value, {n, n}));
    CAPTURE(trial);
    REQUIRE(is_permutation_of(a.column, n));
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) {
      sum += value[static_cast<size_t>(i * n + a.column[static_cast<size_t>(i)])];
    }
    CHECK(a.total == sum);
    CHECK(a.total == doctest::Approx(best_of_all(value, n)).epsilon(1e-12));
  }
}

TEST_CASE("assignment: a planted permutation of 300, and all values alike") {
  constexpr int64_t n = 300;
  Rng rng(6, 0);
  std::vector<int64_t> planted(n);
  std::iota(planted.begin(), planted.end(), int64_t{0});
  rng.shuffle(std::span<int64_t>(planted));
  // value = x_i x_p(j) with all x different: largest where equal meets equal.
  std::vector<double> value(n * n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      value[static_cast<size_t>(i * n + planted[static_cast<size_t>(j)])] =
          static_cast<double>(i * j);
    }
  }
  CHECK(best_assignment(Tensor::from(value, {n, n})).column == planted);
  const Assignment flat = best_assignment(Tensor::full({n, n}, DType::f64, -2.5));
  CHECK(is_permutation_of(flat.column, n));
  CHECK(flat.total == -2.5 * n);
  CHECK(best_assignment(Tensor::zeros({0, 0}, DType::f64)).column.empty());
}

TEST_CASE("assignment: refusals") {
  CHECK(test::contains(test::error_of([] {
                         best_assignment(Tensor::zeros({2, 3}, DType::f64));
                       }).second,
                       "a square matrix f64"));
  CHECK(test::contains(test::error_of([] {
                         best_assignment(Tensor::zeros({2, 2}, DType::f32));
                       }).second,
                       "given f32"));
  Tensor bad = Tensor::zeros({2, 2}, DType::f64);
  bad.mutable_data<double>()[2] = NAN;
  const auto [kind, text] = test::error_of([&] { best_assignment(bad); });
  CHECK(kind == ErrorKind::numerical);
  CHECK(test::contains(text, "row 1 and column 0"));
}

}  // namespace
}  // namespace basin
