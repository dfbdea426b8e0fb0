// Products that lanczos() spends against ARPACK's for the same pairs and residual
// (tests/fixtures/lanczos), and the search for copies: what it finds, what it costs, what it says.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "basin/analysis/detail/orthonormal_basis.h"
#include "basin/analysis/lanczos.h"
#include "basin/core/safetensors.h"
#include "basin/tests/analysis/spectra.h"

namespace basin {
namespace {

using testing::constant;
using testing::joined;
using testing::ramp;

std::unique_ptr<SymmetricOperator> diagonal(const std::vector<double>& values) {
  return diagonal_operator(Tensor::from(values, {static_cast<int64_t>(values.size())}));
}

// Of the search, as its option allows.
void check_share(const LanczosResult& r, double share) {
  const auto main = static_cast<double>(r.products - r.copy_products);
  CHECK(static_cast<double>(r.copy_products) <= std::max(4.0, std::ceil(share * main)));
}

struct Spent {
  int64_t products, copies;
};

// The median over nine starts; every pair is the right one with the residual asked for.
Spent products_of(const Tensor& spectrum, int64_t k, double tolerance) {
  std::vector<double> exact = spectrum.to_vector<double>();
  const auto a = diagonal(exact);
  std::sort(exact.rbegin(), exact.rend());
  std::vector<int64_t> all, copies;
  for (uint64_t seed = 0; seed < 9; ++seed) {
    const LanczosResult r =
        lanczos(*a, {.top = k, .tolerance = tolerance, .relative = true, .seed = seed});
    CHECK(r.converged);
    REQUIRE(r.top.size() == static_cast<size_t>(k));
    for (size_t i = 0; i < r.top.size(); ++i) {
      const Eigenpair& p = r.top[i];
      CHECK(std::abs(p.value - exact[i]) <= tolerance * exact[i]);
      Tensor rest = a->apply(p.vector.view({1, a->size()})).view({a->size()});
      add_scaled(rest, -p.value, p.vector);
      CHECK(norm(rest) <= tolerance * exact[i]);
    }
    check_share(r, 0.25);
    CHECK(r.copies_found == 0);
    all.push_back(r.products);
    copies.push_back(r.copy_products);
  }
  std::sort(all.begin(), all.end());
  std::sort(copies.begin(), copies.end());
  return {all[4], copies[4]};
}

}  // namespace

TEST_CASE("lanczos: at most 1.3 times the products of ARPACK, search for copies included") {
  const SafetensorsFile file =
      read_safetensors(fs::path(BASIN_SOURCE_DIR) / "tests/fixtures/lanczos/lanczos.safetensors");
  for (const std::string name : {"outliers", "clustered", "bulk", "edge", "hessian"}) {
    const Tensor* spectrum = file.find(str("spectrum.", name));
    const Tensor* arpack = file.find(str("arpack.", name));
    REQUIRE(spectrum != nullptr);
    REQUIRE(arpack != nullptr);
    REQUIRE(arpack->shape() == Shape{6, 4});
    for (int64_t row = 0; row < 6; ++row) {
      const auto k = static_cast<int64_t>(arpack->at(4 * row));
      const double tolerance = arpack->at(4 * row + 1);
      CAPTURE(name);
      CAPTURE(k);
      CAPTURE(tolerance);
      const Spent ours = products_of(*spectrum, k, tolerance);
      const double usual = arpack->at(4 * row + 2), large = arpack->at(4 * row + 3);
      MESSAGE(name, " | ", k, " | ", tolerance, " | ", usual, " | ", large, " | ", ours.products,
              " | ", ours.copies);
      CHECK(static_cast<double>(ours.products) <= 1.3 * std::min(usual, large));
    }
  }
}

TEST_CASE("lanczos: copies are found within the default share") {
  struct Case {
    std::vector<double> values;
    int64_t top, bottom;
    std::vector<double> expected;  // top, descending, then bottom, ascending
  };
  const std::vector<double> bulk = ramp(3000, -1, 1);
  const std::vector<Case> cases = {
      {joined({50, 50, 40}, bulk), 2, 0, {50, 50}},
      {joined({50, 50, 50, 40}, bulk), 3, 0, {50, 50, 50}},
      {joined({50, 40, 40, 40, 30}, bulk), 4, 0, {50, 40, 40, 40}},
      {joined({50, -20, -20, -5}, bulk), 1, 2, {50, -20, -20}},
      {joined({9, 9, 8, 8, -7, -7, -6}, bulk), 4, 2, {9, 9, 8, 8, -7, -7}},
      {joined({50, 50, 40}, constant(3000, 0)), 3, 0, {50, 50, 40}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.expected.front());
    CAPTURE(c.expected.back());
    for (uint64_t seed = 0; seed < 10; ++seed) {
      const auto a = diagonal(c.values);
      const LanczosResult r =
          lanczos(*a, {.top = c.top, .bottom = c.bottom, .tolerance = 1e-6, .seed = seed});
      CHECK(r.converged);
      check_share(r, 0.25);
      std::vector<double> got;
      for (const Eigenpair& p : r.top) got.push_back(p.value);
      for (const Eigenpair& p : r.bottom) got.push_back(p.value);
      REQUIRE(got.size() == c.expected.size());
      for (size_t i = 0; i < got.size(); ++i) {
        CHECK(std::abs(got[i] - c.expected[i]) < 1e-8 * r.largest_magnitude);
      }
    }
  }
}

// A copy that the search has no time to see: the pairs are eigenpairs all the same, and the result
// says that further copies may be hidden.
TEST_CASE("lanczos: an open search is said and leaves the pairs converged") {
  const auto a = diagonal(joined({1.02, 1.02, 1.01}, ramp(3000, -1, 1)));
  LanczosOptions options{.top = 2, .tolerance = 1e-6, .copies_share = 0.01};
  const LanczosResult open = lanczos(*a, options);
  CHECK(open.converged);
  CHECK(open.note.empty());
  CHECK(open.copies == CopySearch::open);
  CHECK(open.copies_missed > 1e-4);
  CHECK(open.copy_products >= 1);
  check_share(open, 0.01);
  CHECK(open.top[1].value == doctest::Approx(1.01).epsilon(1e-8));  // hidden behind it: 1.02
  CHECK(copies_text(open) == str("search left open after ", open.copy_products,
                                 " products, missed with a probability of up to 100 %"));
  // Until it has come to its end.
  options.copies_share = std::numeric_limits<double>::infinity();
  const LanczosResult whole = lanczos(*a, options);
  CHECK(whole.converged);
  CHECK(whole.top[1].value == doctest::Approx(1.02).epsilon(1e-8));
  CHECK(whole.copies == CopySearch::not_needed);  // both wanted values are one now
  CHECK(whole.copies_found == 1);
  CHECK(copies_text(whole) == "taken in after 1 searches; none would change the values");
}

TEST_CASE("lanczos: a limit that falls into the search takes nothing from the pairs") {
  const auto a = diagonal(joined({50, 40, 30}, ramp(3000, -1, 1)));
  LanczosOptions options{.top = 3, .tolerance = 1e-6, .copies_share = 0};
  const LanczosResult plain = lanczos(*a, options);
  CHECK(plain.converged);
  CHECK(plain.copies == CopySearch::off);
  CHECK(copies_text(plain).empty());
  options.copies_share = 1;
  for (const int64_t more : {0, 1, 3}) {
    options.max_products = plain.products + more;
    const LanczosResult r = lanczos(*a, options);
    CHECK(r.converged);
    CHECK(r.note.empty());
    CHECK(r.products == options.max_products);
    CHECK(r.copy_products == more);
    CHECK(r.copies == CopySearch::open);
    for (size_t i = 0; i < 3; ++i) {  // the pairs are those from before the search
      CHECK(r.top[i].value == plain.top[i].value);
      CHECK(r.top[i].residual == plain.top[i].residual);
    }
    if (more == 0) CHECK(copies_text(r) == "search not begun");
  }
  options.max_products = 1000;
  const LanczosResult r = lanczos(*a, options);
  CHECK(r.copies == CopySearch::none);
  CHECK(r.copies_missed <= 1e-4);
  CHECK(copies_text(r) == "none found");
  // A limit before: each pair has its own verdict.
  const auto apart = diagonal(joined({50, 2, 1.2}, ramp(3000, -1, 1)));
  options.max_products = 20;
  const LanczosResult cut = lanczos(*apart, options);
  CHECK_FALSE(cut.converged);
  CHECK(cut.top[0].converged);
  CHECK_FALSE(cut.top[2].converged);
  CHECK(cut.copies == CopySearch::open);
  CHECK(cut.copy_products == 0);
}

TEST_CASE("lanczos: one pair at an end needs no search for copies") {
  const auto a = diagonal(joined({50, 50, -3, -3}, ramp(3000, -1, 1)));
  LanczosOptions options{.top = 1, .bottom = 1, .tolerance = 1e-6};
  const LanczosResult r = lanczos(*a, options);
  CHECK(r.converged);
  CHECK(r.copies == CopySearch::not_needed);
  CHECK(r.copy_products == 0);
  options.copies_share = 0;
  CHECK(r.products == lanczos(*a, options).products);
  options.copies_share = -1;
  CHECK_THROWS_AS(lanczos(*a, options), Error);
}

}  // namespace basin
