// Ranks of representations: known spectra, pooling, standard errors against the leave-one-out
// jackknife and against the spread over fresh samples, coverage where the bootstrap's percentiles
// fail.
#include "basin/analysis/representation.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "basin/analysis/statistics.h"
#include "basin/core/error.h"
#include "basin/core/parallel.h"
#include "basin/core/random.h"
#include "basin/kernels/linalg.h"

namespace basin {
namespace {

using doctest::Approx;

// n samples of C channels of standard deviation (j + 1)^-power.
Tensor power_law(int64_t n, int64_t c, double power, uint64_t stream) {
  Rng rng(13, stream);
  Tensor t = Tensor::empty({n, c}, DType::f64);
  double* x = t.mutable_data<double>();
  for (int64_t i = 0; i < n * c; ++i) {
    x[i] = rng.normal() * std::pow(static_cast<double>(i % c) + 1, -power);
  }
  return t;
}

TEST_CASE("representation: orthogonal columns, centred and not") {
  // Columns 2 (1, -1, 1, -1), (1, 1, -1, -1) and the constant 3: singular values 6, 4, 2.
  const Tensor x = Tensor::from<double>({2, 1, 3, -2, 1, 3, 2, -1, 3, -2, -1, 3}, {4, 3});
  const RepresentationRanks r = representation_ranks("conv1", x);
  CHECK(r.layer == "conv1");
  CHECK(r.samples == 4);
  CHECK(r.channels == 3);
  CHECK(r.uncentred.singular_values.at(0) == Approx(6).epsilon(1e-14));
  CHECK(r.uncentred.stable.value == Approx(56.0 / 36).epsilon(1e-14));
  CHECK(r.centred.stable.value == Approx(20.0 / 16).epsilon(1e-14));  // the constant is gone
  const double q = 2.0 / 3;
  CHECK(r.centred.effective.value ==
        Approx(std::exp(-q * std::log(q) - (1 - q) * std::log(1 - q))).epsilon(1e-13));
  CHECK(r.centred.ranks.limit == 3);
  CHECK(r.centred.stable.method == "infinitesimal jackknife");
  // Every row has |U_ik|^2 = 1/4: no sample pulls the spectrum anywhere.
  CHECK(r.centred.stable.standard_error == Approx(0).epsilon(1e-12));

  const RepresentationRanks wide = representation_ranks("wide", power_law(5, 9, 0, 1));
  CHECK(wide.uncentred.ranks.limit == 5);
  CHECK(wide.centred.ranks.limit == 4);
  CHECK(wide.centred.singular_values.numel() == 4);
}

TEST_CASE("representation: dead and constant layers") {
  for (const double value : {0.0, 0.1}) {
    const RepresentationRanks r =
        representation_ranks("dead", Tensor::full({7, 3}, DType::f32, value));
    CHECK(r.centred.stable.value == 0);
    CHECK(r.centred.effective.value == 0);
    CHECK(r.centred.effective.standard_error == 0);
    CHECK(r.centred.effective.interval.low == 0);
    CHECK(r.uncentred.stable.value == Approx(value == 0 ? 0 : 1).epsilon(1e-12));
  }
  CHECK_THROWS_AS(representation_ranks("few", power_law(2, 3, 0, 1)), Error);
  CHECK_THROWS_AS(representation_ranks("cube", Tensor::zeros({3, 4, 5}, DType::f32)), Error);
  Tensor bad = power_law(6, 3, 0, 1);
  bad.mutable_data<double>()[7] = std::nan("");
  CHECK_THROWS_WITH_AS(representation_ranks("conv2", bad),
                       doctest::Contains("layer 'conv2': sample 2, channel 1"), Error);
}

TEST_CASE("representation: the mean over points") {
  const Tensor x = Tensor::from<float>({1, 2, 3, 4, 5, 6, 7, 8}, {2, 2, 2});
  const Tensor y = mean_pooled(x);
  CHECK(y.shape() == Shape({2, 2}));
  CHECK(y.dtype() == DType::f64);
  CHECK(y.to_vector<double>() == std::vector<double>{2, 3, 6, 7});
  CHECK(mean_pooled(y).to_vector<double>() == y.to_vector<double>());
  CHECK_THROWS_AS(mean_pooled(Tensor::zeros({3}, DType::f32)), Error);
}

TEST_CASE("representation: influences agree with leaving samples out") {
  // The jackknife and its infinitesimal form differ by O(1 / n).
  const int64_t n = 300, c = 6;
  const Tensor x = power_law(n, c, 0.7, 2);
  const RepresentationRanks r = representation_ranks("x", x);
  std::vector<double> stable, effective, uncentred;
  for (int64_t left = 0; left < n; ++left) {
    Tensor y = Tensor::empty({n - 1, c}, DType::f64);
    double* v = y.mutable_data<double>();
    std::copy_n(x.data<double>(), left * c, v);
    std::copy_n(x.data<double>() + (left + 1) * c, (n - 1 - left) * c, v + left * c);
    const RepresentationRanks s = representation_ranks("y", y);
    stable.push_back(s.centred.stable.value);
    effective.push_back(s.centred.effective.value);
    uncentred.push_back(s.uncentred.effective.value);
  }
  auto jackknife = [&](const std::vector<double>& v) {
    return (n - 1) / std::sqrt(n) * std::sqrt(variance(v));
  };
  CHECK(r.centred.stable.standard_error == Approx(jackknife(stable)).epsilon(0.03));
  CHECK(r.centred.effective.standard_error == Approx(jackknife(effective)).epsilon(0.03));
  CHECK(r.uncentred.effective.standard_error == Approx(jackknife(uncentred)).epsilon(0.03));
}

// The effective rank (or the stable one) of rows with weights, each row moved by the weighted mean.
double weighted_rank(const Tensor& x, const std::vector<double>& weights, bool effective) {
  const int64_t n = x.size(0), c = x.size(1);
  std::vector<double> mean(c, 0.0);
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += weights[i];
  for (int64_t i = 0; i < n * c; ++i) mean[i % c] += weights[i / c] * x.at(i) / total;
  std::vector<double> y;
  for (int64_t i = 0; i < n * c; ++i)
    y.push_back(std::sqrt(weights[i / c]) * (x.at(i) - mean[i % c]));
  const std::vector<double> s = SingularValues::cpu(Tensor::from(y, {n, c})).to_vector<double>();
  const RankNumbers ranks = rank_numbers(s, c);
  return effective ? ranks.effective : ranks.stable;
}

TEST_CASE(
    "representation: few samples, the standard error is that of the influences, n - 1 and all") {
  const int64_t n = 7, c = 3;
  const Tensor x = power_law(n, c, 0.7, 5);
  const RepresentationRanks r = representation_ranks("x", x);
  for (const bool effective : {false, true}) {
    double squares = 0;
    for (int64_t i = 0; i < n; ++i) {  // along (1 - e) / n + e [this sample]
      constexpr double kStep = 1e-5;
      std::vector<double> more(n, (1 - kStep) / n), less(n, (1 + kStep) / n);
      more[i] += kStep;
      less[i] -= kStep;
      const double influence =
          (weighted_rank(x, more, effective) - weighted_rank(x, less, effective)) / (2 * kStep);
      squares += influence * influence;
    }
    const double expected = std::sqrt(squares / (n * (n - 1)));
    const Estimate& e = effective ? r.centred.effective : r.centred.stable;
    CHECK(e.standard_error == Approx(expected).epsilon(1e-6));
    CHECK(expected > 0.01);
  }
}

TEST_CASE("representation: coverage of E T_n, where percentiles of the bootstrap miss it") {
  struct Case {
    int64_t n, c;
    double power;
  };
  for (const Case& k : {Case{100, 10, 1.0}, Case{60, 40, 0.5}}) {
    std::vector<double> stable, effective;
    for (uint64_t r = 0; r < 1000; ++r) {
      const RepresentationRanks t =
          representation_ranks("t", power_law(k.n, k.c, k.power, 9000 + r));
      stable.push_back(t.centred.stable.value);
      effective.push_back(t.centred.effective.value);
    }
    const double e_stable = mean(stable), e_effective = mean(effective);
    int stable_in = 0, effective_in = 0;
    double errors = 0;
    for (uint64_t r = 0; r < 300; ++r) {
      const RepresentationRanks t =
          representation_ranks("t", power_law(k.n, k.c, k.power, 100 + r));
      stable_in += t.centred.stable.interval.contains(e_stable) ? 1 : 0;
      effective_in += t.centred.effective.interval.contains(e_effective) ? 1 : 0;
      errors += t.centred.effective.standard_error / 300;
    }
    CHECK(stable_in >= 270);  // 95 % less four standard deviations is 270
    CHECK(stable_in <= 299);
    CHECK(effective_in >= 270);
    CHECK(effective_in <= 299);
    CHECK(errors == Approx(std::sqrt(variance(effective))).epsilon(0.1));
  }

  // Why percentiles are not offered: at C = 40, n = 60 no resample reaches the value itself.
  const Tensor x = power_law(60, 40, 0.5, 4);
  const Estimate percentile = bootstrap(
      60,
      [&](std::span<const int64_t> rows) {
        Tensor y = Tensor::empty({60, 40}, DType::f64);
        for (int64_t i = 0; i < 60; ++i) {
          std::copy_n(x.data<double>() + rows[i] * 40, 40, y.mutable_data<double>() + i * 40);
        }
        return representation_ranks("y", y).centred.effective.value;
      },
      {.resamples = 100, .kind = BootstrapKind::percentile});
  CHECK(percentile.interval.high < percentile.value - 2 * percentile.standard_error);

  // Its standard error is the one of the built-in bootstrap, and too wide here.
  const RepresentationRanks b =
      representation_ranks("x", x, {.interval = RankInterval::bootstrap, .resamples = 400});
  CHECK(b.centred.effective.standard_error == Approx(percentile.standard_error).epsilon(0.25));
  CHECK(b.centred.effective.interval.contains(b.centred.effective.value));
  CHECK(b.centred.effective.method == "bootstrap");
  CHECK(b.centred.effective.samples == 400);
}

TEST_CASE("representation: the same bits for any number of threads") {
  std::vector<std::pair<std::string, Tensor>> layers;
  for (int64_t c : {5, 12, 3}) layers.emplace_back("l", power_law(20, c, 1, c));
  const int threads = num_threads();
  std::vector<double> seen;
  for (const int t : {1, 3}) {
    set_num_threads(t);
    double sum = 0;
    for (const RepresentationRanks& r :
         representation_ranks(layers, {.interval = RankInterval::bootstrap, .resamples = 20})) {
      sum += r.centred.stable.standard_error + 3 * r.uncentred.effective.standard_error;
    }
    seen.push_back(sum);
  }
  set_num_threads(threads);
  CHECK(seen[0] == seen[1]);
}

}  // namespace
}  // namespace basin
