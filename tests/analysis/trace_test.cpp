// Trace estimators on operators with known spectra: unbiased values, honest intervals (2,000
// replications each; the 10,000 of trace_coverage_slow_test.cpp are tighter), exact cases, blocks,
// the paper's protocol, refusals. Probes do not depend on lanes or threads.
#include "basin/analysis/trace.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "basin/analysis/statistics.h"
#include "basin/core/error.h"
#include "basin/core/parallel.h"
#include "known_spectra.h"

using namespace basin;
using namespace basin::known;

namespace {

using Estimator = TraceResult (*)(const SymmetricOperator&, const TraceOptions&);

struct Named {
  const char* name;
  Estimator estimate;
};
const std::vector<Named> kEstimators{
    {"hutchinson", &hutchinson_trace}, {"hutch++", &hutch_plus_plus_trace}, {"xtrace", &xtrace}};

class Broken : public SymmetricOperator {
 public:
  int64_t size() const override { return 8; }
  Tensor apply(const Tensor& v) const override {
    Tensor out = v.clone();
    if (++calls_ > 2) out.fill(std::numeric_limits<double>::quiet_NaN());
    return out;
  }

 private:
  mutable int calls_ = 0;
};

// Products as a network in f32 makes them.
class Rounded : public SymmetricOperator {
 public:
  explicit Rounded(const std::vector<double>& eigenvalues) : a_(operator_of(eigenvalues)) {}
  int64_t size() const override { return a_->size(); }
  Tensor apply(const Tensor& v) const override {
    return a_->apply(v.to(DType::f32).to(DType::f64)).to(DType::f32).to(DType::f64);
  }

 private:
  std::unique_ptr<SymmetricOperator> a_;
};

double squared(const Tensor& a, int64_t r0, int64_t r1, int64_t c0, int64_t c1, bool diagonal) {
  double sum = 0;
  for (int64_t i = r0; i < r1; ++i) {
    for (int64_t j = c0; j < c1; ++j) {
      if (diagonal || i != j) sum += std::pow(a.at(i * a.size(1) + j), 2);
    }
  }
  return sum;
}

}  // namespace

TEST_CASE("trace: unbiased, the standard error is the spread, 2,000 seeds each") {
  const std::vector<std::pair<const char*, std::vector<double>>> spectra{
      {"flat", even(60, 1, 3)}, {"indefinite", even(60, -1, 2)}, {"outliers", outliers(60)}};
  const int replications = 2000;
  for (const auto& [name, eigenvalues] : spectra) {
    const char* spectrum = name;
    const auto a = operator_of(eigenvalues);
    const double truth = sum_of(eigenvalues);
    for (const Named& e : kEstimators) {
      std::vector<double> values, variances;
      int hits = 0;
      for (int rep = 0; rep < replications; ++rep) {
        const TraceResult r =
            e.estimate(*a, {.products = 36, .seed = static_cast<uint64_t>(rep) + 77});
        CHECK_MESSAGE(r.products <= 36, e.name);
        values.push_back(r.estimate.value);
        variances.push_back(std::pow(r.estimate.standard_error, 2));
        hits += r.estimate.interval.contains(truth);
      }
      const double spread = variance(values);
      INFO(e.name, " on ", spectrum, ": coverage ", hits / 20.0, " %, variance estimated / true ",
           mean(variances) / spread);
      CHECK(std::abs(mean(values) - truth) < 4 * std::sqrt(spread / replications));
      CHECK(mean(variances) / spread > 0.87);  // 3 % standard error of a variance over 2,000
      CHECK(mean(variances) / spread < 1.15);
      CHECK(hits > 0.933 * replications);  // 36 products; binomial standard error 0.49 %
      CHECK(hits < 0.967 * replications);
    }
  }
}

TEST_CASE("trace: XTrace's samples are correlated, and the plain interval is too short") {
  const auto a = operator_of(even(60, 1, 3));
  int plain = 0;
  for (uint64_t seed = 1; seed <= 500; ++seed) {
    plain +=
        mean_estimate(xtrace(*a, {.products = 40, .seed = seed}).samples).interval.contains(120);
  }
  CHECK(plain < 0.90 * 500);
}

TEST_CASE("trace: decaying spectra, what Hutch++ and XTrace are for") {
  const auto decay = power_law(200, 2);
  const auto a = operator_of(decay);
  const double truth = sum_of(decay);
  double error[3] = {};
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    for (size_t e = 0; e < 3; ++e) {
      const TraceResult r = kEstimators[e].estimate(*a, {.products = 60, .seed = seed});
      error[e] += std::pow(r.estimate.value - truth, 2) / 20;
    }
  }
  CHECK(error[1] < 0.01 * error[0]);
  CHECK(error[2] < 0.5 * error[1]);
}

TEST_CASE("trace: exact where the basis spans the range or the whole space") {
  std::vector<double> low_rank(50, 0.0);
  low_rank[3] = 7, low_rank[20] = -2, low_rank[21] = -2;
  const auto a = operator_of(low_rank);
  for (const Estimator e : {&hutch_plus_plus_trace, &xtrace}) {
    const TraceResult r = e(*a, {.products = 60});
    CHECK(std::abs(r.estimate.value - 3) < 1e-12);
    CHECK(r.estimate.standard_error == 0);
    CHECK(r.estimate.method.find("exact") != std::string::npos);
    for (const int64_t n : {1, 2, 5}) {  // more products than n can use
      const auto small = operator_of(std::vector<double>(static_cast<size_t>(n), -1.5));
      const TraceResult s = e(*small, {.products = 60});
      CHECK(std::abs(s.estimate.value + 1.5 * static_cast<double>(n)) < 1e-12);
      CHECK(s.estimate.standard_error == 0);
    }
    const auto zero = operator_of(std::vector<double>(9, 0.0));
    CHECK(e(*zero, {}).estimate.value == 0);
    CHECK(e(*zero, {.relative = 0.01}).estimate.value == 0);
  }
  // Signs make Hutchinson exact on a diagonal.
  const auto diagonal = diagonal_operator(Tensor::from(std::vector<double>{1, -4, 9}, {3}));
  const TraceResult r = hutchinson_trace(*diagonal, {.products = 5});
  CHECK(r.estimate.value == 6);
  CHECK(r.estimate.standard_error == 0);
  CHECK(r.estimate.interval.contains(6));
}

TEST_CASE("trace: steep spectra, and products with the rounding of f32") {
  std::vector<double> steep;
  for (int i = 0; i < 60; ++i) steep.push_back((i % 3 == 0 ? -1 : 1) * std::pow(10, -i));
  std::vector<double> half;
  for (int i = 0; i < 60; ++i) half.push_back(std::pow(0.5, i));
  for (const Estimator e : {&hutch_plus_plus_trace, &xtrace}) {
    for (const std::vector<double>& spectrum : {steep, half, power_law(60, 3)}) {
      const double truth = sum_of(spectrum);
      const TraceResult exact = e(*operator_of(spectrum), {.products = 54, .seed = 2});
      CHECK(std::abs(exact.estimate.value - truth) <= 5 * exact.estimate.standard_error + 1e-11);
      const TraceResult rounded = e(Rounded(spectrum), {.products = 54, .seed = 2});
      CHECK(std::abs(rounded.estimate.value - exact.estimate.value) < 1e-5);
      CHECK(std::abs(rounded.estimate.value - truth) <= 5 * rounded.estimate.standard_error + 1e-6);
    }
  }
}

TEST_CASE("trace: the same numbers for any lanes and threads") {
  const auto a = operator_of(outliers(70));
  const int before = num_threads();
  for (const Named& e : kEstimators) {
    const TraceResult reference = e.estimate(*a, {.products = 30, .seed = 5, .lanes = 1});
    for (const int threads : {1, 2, 3}) {
      set_num_threads(threads);
      const TraceResult same = e.estimate(*a, {.products = 30, .seed = 5, .lanes = 1});
      CHECK(same.estimate.value == reference.estimate.value);
      CHECK(same.estimate.interval.high == reference.estimate.interval.high);
      const TraceResult lanes = e.estimate(*a, {.products = 30, .seed = 5, .lanes = 7});
      CHECK(lanes.estimate.value == doctest::Approx(reference.estimate.value).epsilon(1e-11));
      CHECK(lanes.samples.size() == reference.samples.size());
    }
    const TraceResult other = e.estimate(*a, {.products = 30, .seed = 6, .lanes = 1});
    CHECK(other.estimate.value != reference.estimate.value);
  }
  set_num_threads(before);
}

TEST_CASE("trace: to a precision, or says that it is not reached") {
  const auto a = operator_of(even(250, 1, 3));
  for (const Named& e : kEstimators) {
    const TraceResult r = e.estimate(*a, {.products = 400, .relative = 0.02, .seed = 3});
    INFO(e.name, " ", r.products, " products");
    const double half = (r.estimate.interval.high - r.estimate.interval.low) / 2;
    CHECK(r.reached == (half <= 0.02 * std::abs(r.estimate.value)));
    CHECK(half <= 0.03 * std::abs(r.estimate.value));
    CHECK(r.products < 400);
    CHECK(mean(r.samples) == doctest::Approx(r.estimate.value).epsilon(1e-12));
    const TraceResult cut = e.estimate(*a, {.products = 50, .relative = 1e-6, .seed = 3});
    CHECK_FALSE(cut.reached);
    CHECK(cut.products <= 50);
    CHECK(cut.products >= 48);
    for (int64_t few = 6; few <= 14; ++few) {
      const TraceResult small = e.estimate(*a, {.products = few, .relative = 1e-6});
      CHECK(small.products <= few);
      CHECK(small.estimate.standard_error > 0);
      CHECK_FALSE(small.reached);
    }
  }
}

TEST_CASE("trace: blocks are unbiased, add up, and have the variance the header states") {
  const Tensor matrix = matrix_of(outliers(60));
  const auto a = dense_operator(matrix);
  const std::vector<int64_t> offsets{0, 10, 10, 37, 60};  // one block is empty
  const BlockTraces t = block_traces(*a, offsets, {.products = 4000, .seed = 2});
  REQUIRE(t.blocks.size() == 4);
  for (size_t b = 0; b < 4; ++b) {
    const int64_t begin = offsets[b], end = offsets[b + 1];
    double truth = 0;
    for (int64_t i = begin; i < end; ++i) truth += matrix.at(i * 60 + i);
    CHECK(std::abs(t.blocks[b].value - truth) <= 4 * t.blocks[b].standard_error);
    const double stated = 2 * squared(matrix, begin, end, begin, end, false) +
                          squared(matrix, begin, end, 0, 60, true) -
                          squared(matrix, begin, end, begin, end, true);
    if (end > begin) {
      CHECK(variance(t.samples[b]) / stated > 0.85);
      CHECK(variance(t.samples[b]) / stated < 1.15);
    }
  }
  for (size_t i = 0; i < 4000; i += 97) {
    const double sum = t.samples[0][i] + t.samples[1][i] + t.samples[2][i] + t.samples[3][i];
    CHECK(sum == doctest::Approx(t.total.samples[i]).epsilon(1e-12));
  }
  const Estimate all = t.group({0, 1, 2, 3});
  CHECK(all.value == doctest::Approx(t.total.estimate.value).epsilon(1e-12));
  CHECK(all.standard_error == doctest::Approx(t.total.estimate.standard_error).epsilon(1e-9));
  const TraceResult plain = hutchinson_trace(*a, {.products = 4000, .seed = 2});
  CHECK(plain.estimate.value == doctest::Approx(t.total.estimate.value).epsilon(1e-12));
  CHECK_THROWS_AS(block_traces(*a, {0, 30}), Error);
  CHECK_THROWS_AS(block_traces(*a, {0, 40, 30, 60}), Error);
  CHECK_THROWS_AS(t.group({4}), Error);
}

TEST_CASE("trace: the paper's protocol stops where two means agree, without an interval") {
  const auto a = operator_of(even(100, 1, 3));
  const PaperTrace p = paper_protocol_trace(*a, {.seed = 4});
  CHECK(std::isnan(p.estimate.standard_error));
  CHECK(std::isnan(p.estimate.interval.low));
  REQUIRE(p.converged);
  const auto k = p.running.size();
  CHECK(static_cast<int64_t>(k) == p.estimate.samples);
  CHECK(std::abs(p.running[k - 1] - p.running[k - 2]) < 1e-3 * std::abs(p.running[k - 2]) + 1e-9);
  for (size_t i = 2; i + 1 < k; ++i) {
    CHECK(std::abs(p.running[i] - p.running[i - 1]) >= 1e-3 * std::abs(p.running[i - 1]));
  }
  const std::vector<double> samples = hutchinson_trace(*a, {.seed = 4}).samples;
  CHECK(p.estimate.value == mean(std::span(samples).first(k)));
  // A trace near zero never satisfies it: all probes are used.
  const PaperTrace all = paper_protocol_trace(*operator_of(even(100, -1, 1.02)), {.probes = 30});
  CHECK(all.running.size() <= 30);
  // It is no error bound: over seeds the error at the stop is many times the rule's 1e-3.
  double squares = 0, probes = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    const PaperTrace s = paper_protocol_trace(*operator_of(outliers(100)), {.seed = seed});
    squares += std::pow(s.estimate.value / sum_of(outliers(100)) - 1, 2) / 200;
    probes += static_cast<double>(s.estimate.samples) / 200;
  }
  MESSAGE("paper protocol on outliers: rms error ", 100 * std::sqrt(squares), " % after ", probes,
          " probes on average");
  CHECK(std::sqrt(squares) > 0.02);
}

TEST_CASE("trace: signs are signs, in any number of rows") {
  const Tensor z = rademacher_probes(1000, 3, 4, 9);
  for (int64_t l = 0; l < 4; ++l) {
    double sum = 0;
    for (int64_t i = 0; i < 1000; ++i) {
      CHECK(std::abs(z.at(l * 1000 + i)) == 1);
      sum += z.at(l * 1000 + i);
    }
    CHECK(std::abs(sum) < 130);
  }
  const Tensor one = rademacher_probes(1000, 5, 1, 9);
  for (int64_t i = 0; i < 1000; ++i) CHECK(one.at(i) == z.at(2000 + i));
}

TEST_CASE("trace: refusals name what is wrong") {
  const auto a = operator_of(even(10, 1, 3));
  for (const Named& e : kEstimators) {
    CHECK_THROWS_AS(e.estimate(*a, {.products = 0}), Error);
    CHECK_THROWS_AS(e.estimate(*a, {.level = 1}), Error);
    CHECK_THROWS_AS(e.estimate(*a, {.lanes = 0}), Error);
    Broken broken;
    CHECK_THROWS_WITH_AS(e.estimate(broken, {.products = 12, .lanes = 1}),
                         doctest::Contains("not finite"), Error);
  }
  CHECK_THROWS_WITH_AS(
      hutch_plus_plus_trace(*operator_of(even(40, 1, 3)), {.products = 20, .basis = 10}),
      doctest::Contains("leaves none"), Error);
  const TraceResult one = hutchinson_trace(*a, {.products = 1});
  CHECK(std::isnan(one.estimate.standard_error));
}
