// Lanczos quadrature against what is known: moments of each probe to 1e-8 (asserted at 1e-10),
// integral one, the trace inside its interval, Wasserstein distances to twenty spectra with
// clusters, multiplicities, zeros and negative parts, more steps than n.
#include "basin/analysis/spectral_density.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "basin/analysis/statistics.h"
#include "basin/analysis/trace.h"
#include "basin/core/error.h"
#include "basin/core/parallel.h"
#include "known_spectra.h"

using namespace basin;
using namespace basin::known;

namespace {

struct Known {
  std::string name;
  std::vector<double> eigenvalues;
};

// Twenty spectra: five shapes at four sizes or scales.
std::vector<Known> known_spectra() {
  std::vector<Known> out;
  for (const int64_t n : {20, 64, 120, 200}) {
    const std::string size = " n=" + std::to_string(n);
    out.push_back({"flat" + size, even(n, -1, 3)});
    out.push_back({"clustered" + size, clustered(n)});
    out.push_back({"outliers" + size, outliers(n)});
    out.push_back({"1/i^2" + size, power_law(n, 2)});
    std::vector<double> zeros(static_cast<size_t>(n), 0.0);
    for (int64_t i = 0; i < n / 4; ++i) zeros[static_cast<size_t>(i)] = i % 2 == 0 ? 2 : -0.5;
    out.push_back({"zeros" + size, zeros});
  }
  return out;
}

double area(const DensityCurve& c) {
  return std::accumulate(c.density.begin(), c.density.end(), 0.0) * (c.x[1] - c.x[0]);
}

}  // namespace

TEST_CASE("spectral density: each probe's rule has the moments z^T A^k z, k < 2m, to 1e-10") {
  for (const Known& spectrum :
       {Known{"indefinite", even(80, -1, 2)}, Known{"outliers", outliers(80)},
        Known{"clustered", clustered(80)}, Known{"1/i", power_law(80, 1)}}) {
    const auto a = operator_of(spectrum.eigenvalues);
    for (const int64_t m : {1, 2, 5, 12}) {
      const SpectralQuadrature q = spectral_quadrature(*a, {.probes = 3, .steps = m, .seed = 8});
      REQUIRE(q.rules.size() == 3);
      for (int64_t p = 0; p < 3; ++p) {
        const SpectralRule& rule = q.rules[static_cast<size_t>(p)];
        Tensor v = rademacher_probes(80, p, 1, 8);
        const Tensor z = v.clone();
        for (int64_t k = 0; k < 2 * m; ++k) {
          double moment = 0, size = 0, quadrature = 0;
          for (int64_t i = 0; i < 80; ++i) moment += z.at(i) * v.at(i) / 80;
          for (size_t j = 0; j < rule.nodes.size(); ++j) {
            const double term = rule.weights[j] * std::pow(rule.nodes[j], k);
            quadrature += term;
            size += std::abs(term);
          }
          INFO(spectrum.name, ", m = ", m, ", moment ", k);
          CHECK(std::abs(moment - quadrature) <= 1e-10 * size);
          v = a->apply(v);
        }
      }
    }
  }
}

TEST_CASE("spectral density: distances to twenty known spectra, trace inside its interval") {
  int inside = 0;
  for (const Known& spectrum : known_spectra()) {
    const auto n = static_cast<int64_t>(spectrum.eigenvalues.size());
    const auto a = operator_of(spectrum.eigenvalues, static_cast<uint64_t>(n));
    const SpectralQuadrature q = spectral_quadrature(*a, {.probes = 20, .steps = 30, .seed = 3});
    const auto [least, most] =
        std::minmax_element(spectrum.eigenvalues.begin(), spectrum.eigenvalues.end());
    const double range = *most - *least;
    const double distance = wasserstein_distance(q, spectrum.eigenvalues) / range;
    const Estimate trace = spectral_trace(q);
    const double truth = sum_of(spectrum.eigenvalues);
    inside += trace.interval.contains(truth);
    std::printf("%-16s steps %2zu  W1 / range %.4f  trace %.3f [%.3f, %.3f], true %.3f\n",
                spectrum.name.c_str(), q.rules[0].nodes.size(), distance, trace.value,
                trace.interval.low, trace.interval.high, truth);
    CHECK_MESSAGE(distance < 0.06, spectrum.name);
    CHECK(q.smallest() >= *least - 1e-10 * range);
    CHECK(q.largest() <= *most + 1e-10 * range);
    for (const SpectralRule& rule : q.rules) {
      CHECK(std::abs(std::accumulate(rule.weights.begin(), rule.weights.end(), 0.0) - 1) < 1e-12);
      CHECK(std::is_sorted(rule.nodes.begin(), rule.nodes.end()));
      CHECK(static_cast<int64_t>(rule.nodes.size()) <= n);
    }
    const Bandwidths widths = default_bandwidths(q);
    for (const double width : {widths.published, widths.relative}) {
      const DensityCurve c = spectral_density(q, width);
      CHECK(std::abs(area(c) - 1) < 1e-6);
      CHECK(c.bandwidth == width);
      for (size_t i = 0; i < c.x.size(); ++i) {
        CHECK_FALSE(c.density[i] < 0);
        CHECK_FALSE(c.low[i] > c.density[i] + 1e-12);
        CHECK_FALSE(c.high[i] < c.density[i] - 1e-12);
      }
    }
  }
  CHECK(inside >= 17);  // of 20 at 95 %: fewer has a chance of 1.6 %
}

TEST_CASE("spectral density: few distinct eigenvalues are found exactly, with more steps than n") {
  const auto a = operator_of(clustered(30));
  const SpectralQuadrature q = spectral_quadrature(*a, {.probes = 6, .steps = 500});
  for (const SpectralRule& rule : q.rules) {
    REQUIRE(rule.nodes.size() == 3);
    CHECK(std::abs(rule.nodes[0] + 0.4) < 1e-12);
    CHECK(std::abs(rule.nodes[1] - 1) < 1e-12);
    CHECK(std::abs(rule.nodes[2] - 3) < 1e-12);
  }
  const Estimate negative = negative_share(q);
  CHECK(negative.interval.contains(1.0 / 3));
  const auto shares = cumulative_share(q, {-1, 0, 2, 4});
  CHECK(shares[0].value == 0);
  CHECK(shares[1].value == negative.value);
  CHECK(shares[2].interval.contains(2.0 / 3));
  CHECK(shares[3].value == doctest::Approx(1).epsilon(1e-12));
  CHECK(shares[2].interval.low >= 0);
  CHECK(shares[2].interval.high <= 1);
  const SpectralQuadrature single = spectral_quadrature(*a, {.probes = 1, .steps = 5});
  CHECK(std::isnan(negative_share(single).interval.low));  // one probe tells no spread
  CHECK(std::isnan(spectral_density(single, 0.1).low.front()));
  const auto zero = operator_of(std::vector<double>(7, 0.0));
  const SpectralQuadrature none = spectral_quadrature(*zero, {.probes = 2, .steps = 9});
  CHECK(none.largest() == 0);
  CHECK(std::abs(area(spectral_density(none, default_bandwidths(none).relative)) - 1) < 1e-6);
  const auto scalar = operator_of({-2.5});
  CHECK(spectral_trace(spectral_quadrature(*scalar)).value == doctest::Approx(-2.5).epsilon(1e-14));
}

TEST_CASE("spectral density: the negative share's interval covers the truth, 1,000 seeds") {
  // A gap around zero, so that the rule resolves the share and only the probes are random.
  std::vector<double> x = even(30, -2, -0.5);
  const std::vector<double> positive = even(50, 0.5, 4);
  x.insert(x.end(), positive.begin(), positive.end());
  const auto a = operator_of(x);
  int share = 0, trace = 0;
  for (uint64_t seed = 1; seed <= 1000; ++seed) {
    const SpectralQuadrature q =
        spectral_quadrature(*a, {.probes = 12, .steps = 16, .seed = seed, .lanes = 12});
    share += negative_share(q).interval.contains(30.0 / 80);
    trace += spectral_trace(q).interval.contains(sum_of(x));
  }
  MESSAGE("coverage over 1,000 seeds, 12 probes of 16 steps: negative share ", share / 10.0,
          " %, trace ", trace / 10.0, " %");
  CHECK(share > 925);  // 3.5 binomial standard errors of 0.69 %
  CHECK(share < 975);
  CHECK(trace > 925);
  CHECK(trace < 975);
}

TEST_CASE("spectral density: a density is the Gaussian mixture of its nodes, cell averages") {
  SpectralQuadrature q;
  q.n = 2;
  q.rules = {{{0.0, 1.0}, {0.25, 0.75}}, {{0.0, 1.0}, {0.35, 0.65}}};
  const DensityCurve c = spectral_density(q, 0.1, {.cells = 400, .low = -1, .high = 2});
  const double width = 3.0 / 400;
  for (size_t i = 0; i < 400; i += 7) {
    const double left = -1 + static_cast<double>(i) * width;
    auto mass = [&](double at) {
      return normal_cdf((left + width - at) / 0.1) - normal_cdf((left - at) / 0.1);
    };
    CHECK(std::abs(c.density[i] * width - (0.3 * mass(0) + 0.7 * mass(1))) < 1e-14);
    const Estimate band = mean_estimate(std::vector<double>{
        (0.25 * mass(0) + 0.75 * mass(1)) / width, (0.35 * mass(0) + 0.65 * mass(1)) / width});
    CHECK(std::abs(c.high[i] - band.interval.high) < 1e-9 * (1 + band.interval.high));
  }
  // A width far below the cells loses no mass: two spikes.
  const DensityCurve spikes = spectral_density(q, 1e-7, {.cells = 50, .low = -1, .high = 2});
  CHECK(std::abs(area(spikes) - 1) < 1e-12);
  CHECK(std::count_if(spikes.density.begin(), spikes.density.end(),
                      [](double d) { return d > 0; }) == 2);
  CHECK_THROWS_AS(spectral_density(q, 0), Error);
  CHECK_THROWS_AS(spectral_density(q, 0.1, {.low = 2, .high = 1}), Error);
}

TEST_CASE("spectral density: the log spectrum has the decades, signs and floor apart") {
  std::vector<double> x;
  for (int i = 0; i < 20; ++i) x.insert(x.end(), {1e-3, 1e-1, 10.0, -1.0});
  for (int i = 0; i < 20; ++i) x.push_back(0);
  const auto a = operator_of(x);
  const SpectralQuadrature q = spectral_quadrature(*a, {.probes = 30, .steps = 20});
  const DensityCurve both = log_spectral_density(q, 0.05, 1e-8);
  CHECK(std::abs(both.mass - 0.8) < 0.03);
  CHECK(std::abs(area(both) - both.mass) < 1e-6);
  const DensityCurve negative = log_spectral_density(q, 0.05, 1e-8, SpectrumSign::negative);
  CHECK(std::abs(negative.mass - 0.2) < 0.03);
  const auto peak = std::max_element(negative.density.begin(), negative.density.end());
  CHECK(std::abs(negative.x[static_cast<size_t>(peak - negative.density.begin())]) < 0.01);
  const DensityCurve positive = log_spectral_density(q, 0.05, 1e-2, SpectrumSign::positive);
  CHECK(std::abs(positive.mass - 0.4) < 0.03);
  CHECK(positive.mass + negative.mass < both.mass);  // the floor took 1e-3 away
  CHECK_THROWS_AS(log_spectral_density(q, 0.05, 0), Error);
}

TEST_CASE("spectral density: moments, Wasserstein distance and options on known rules") {
  SpectralQuadrature q;
  q.n = 10;
  q.rules = {{{-1.0, 2.0}, {0.5, 0.5}}, {{-1.0, 2.0}, {0.25, 0.75}}};
  CHECK(spectral_moment(q, 0).value == 1);
  CHECK(spectral_moment(q, 2).value == doctest::Approx(0.375 + 4 * 0.625).epsilon(1e-15));
  CHECK(spectral_trace(q).value == doctest::Approx(10 * (-0.375 + 1.25)).epsilon(1e-15));
  CHECK(wasserstein_distance(q, {-1, -1, -1, 2, 2, 2, 2, 2}) == doctest::Approx(0).epsilon(1e-15));
  CHECK(wasserstein_distance(q, {2}) == doctest::Approx(3 * 0.375).epsilon(1e-15));
  CHECK(negative_share(q, 1.5).value == 0);
  CHECK_THROWS_AS(negative_share(q, -1), Error);
  CHECK_THROWS_AS(spectral_moment(q, -1), Error);
  CHECK_THROWS_AS(spectral_trace(SpectralQuadrature{}), Error);
  const auto a = operator_of(even(20, 0, 1));
  CHECK_THROWS_AS(spectral_quadrature(*a, {.probes = 0}), Error);
  CHECK_THROWS_AS(spectral_quadrature(*a, {.steps = 0}), Error);
  // One probe at a time or all in lockstep, any number of threads.
  const SpectralQuadrature one =
      spectral_quadrature(*a, {.probes = 4, .steps = 8, .basis_bytes = 1});
  const int before = num_threads();
  set_num_threads(3);
  const SpectralQuadrature all = spectral_quadrature(*a, {.probes = 4, .steps = 8});
  set_num_threads(before);
  CHECK(one.products == 32);
  for (size_t p = 0; p < 4; ++p) {
    for (size_t j = 0; j < 8; ++j) {
      CHECK(std::abs(one.rules[p].nodes[j] - all.rules[p].nodes[j]) < 1e-12);
    }
  }
}

TEST_CASE("spectral density: the spread of the trace is Hutchinson's from the same probes") {
  const auto a = operator_of(outliers(60));
  const SpectralQuadrature q = spectral_quadrature(*a, {.probes = 15, .steps = 10, .seed = 6});
  const TraceResult t = hutchinson_trace(*a, {.products = 15, .seed = 6});
  const Estimate e = spectral_trace(q);
  CHECK(e.value == doctest::Approx(t.estimate.value).epsilon(1e-11));
  CHECK(e.standard_error == doctest::Approx(t.estimate.standard_error).epsilon(1e-9));
}
