// CKA: against its definition with n x n matrices, unbiasedness at few samples, invariances, and
// what is undefined.
#include "basin/analysis/cka.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "basin/core/error.h"
#include "basin/core/random.h"
#include "basin/kernels/gemm.h"
#include "basin/kernels/linalg.h"

namespace basin {
namespace {

using doctest::Approx;

Tensor gaussian(const Shape& shape, uint64_t stream) {
  Rng rng(11, stream);
  Tensor t = Tensor::empty(shape, DType::f64);
  double* x = t.mutable_data<double>();
  for (int64_t i = 0; i < t.numel(); ++i) x[i] = rng.normal();
  return t;
}

Tensor product(const Tensor& a, const Tensor& b) {
  Tensor out = Tensor::empty({a.size(0), b.size(1)}, DType::f64);
  Matmul::cpu(a, b, false, false, out);
  return out;
}

// Half of y's channels copied from x, the rest independent: an alignment between 0 and 1.
Tensor related(const Tensor& x, uint64_t stream) {
  Tensor y = gaussian(x.shape(), stream);
  const int64_t c = x.size(1);
  for (int64_t i = 0; i < x.size(0); ++i) {
    for (int64_t j = 0; j < c / 2; ++j) y.mutable_data<double>()[i * c + j] = x.at(i * c + j);
  }
  return y;
}

// Song et al. 2012, equation 5, literally: K, L [n, n] without their diagonals.
double hsic1(const Tensor& x, const Tensor& y) {
  const int64_t n = x.size(0);
  auto gram = [&](const Tensor& t) {
    std::vector<double> k(n * n, 0.0);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        for (int64_t c = 0; i != j && c < t.size(1); ++c) {
          k[i * n + j] += t.at(i * t.size(1) + c) * t.at(j * t.size(1) + c);
        }
      }
    }
    return k;
  };
  const std::vector<double> k = gram(x), l = gram(y);
  double trace = 0, sum_k = 0, sum_l = 0, sum_kl = 0;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      trace += k[i * n + j] * l[j * n + i];
      sum_k += k[i * n + j];
      sum_l += l[i * n + j];
      for (int64_t q = 0; q < n; ++q) sum_kl += k[i * n + q] * l[q * n + j];
    }
  }
  const double m = static_cast<double>(n);
  return (trace + sum_k * sum_l / ((m - 1) * (m - 2)) - 2 / (m - 2) * sum_kl) / (m * (m - 3));
}

TEST_CASE("cka: equals its definition with n x n matrices, whatever the means") {
  for (const int64_t n : {4, 7, 20}) {
    Tensor x = gaussian({n, 5}, 1), y = gaussian({n, 3}, 2);
    for (int64_t i = 0; i < n; ++i) {
      x.mutable_data<double>()[i * 5] += 3;  // a mean that HSIC must not see
      y.mutable_data<double>()[i * 3 + 1] += x.at(i * 5);
    }
    const double xx = hsic1(x, x), yy = hsic1(y, y);
    REQUIRE(xx > 0);
    REQUIRE(yy > 0);
    CHECK(debiased_linear_cka(x, y) == Approx(hsic1(x, y) / std::sqrt(xx * yy)).epsilon(1e-10));
  }
}

TEST_CASE("cka: independent Gaussians at n = 32 read 0 on average, the biased one does not") {
  const int reps = 400;
  double sum = 0, squares = 0, biased = 0;
  for (int r = 0; r < reps; ++r) {
    const Tensor x = gaussian({32, 8}, 1000 + 2 * r), y = gaussian({32, 8}, 1001 + 2 * r);
    const double v = debiased_linear_cka(x, y);
    sum += v / reps;
    squares += v * v / reps;
    biased += biased_linear_cka(x, y) / reps;
  }
  const double error = std::sqrt((squares - sum * sum) / reps);
  CHECK(std::abs(sum) < 3 * error);
  CHECK(error < 0.005);                        // so that the line above says something
  CHECK(biased == Approx(0.2).epsilon(0.05));  // C / (n + C)
}

TEST_CASE("cka: 1 for itself, and for rotations, scales and shifts of it") {
  const Tensor x = gaussian({40, 6}, 21), y = related(x, 22);
  CHECK(debiased_linear_cka(x, x) == Approx(1).epsilon(1e-13));
  CHECK(biased_linear_cka(x, x) == Approx(1).epsilon(1e-13));
  const Tensor q = Svd::cpu(gaussian({6, 6}, 23)).u;
  Tensor moved = product(x, q);
  for (int64_t i = 0; i < moved.numel(); ++i) {
    moved.mutable_data<double>()[i] = -1e-3 * moved.at(i) + 0.05 * static_cast<double>(i % 6);
  }
  CHECK(debiased_linear_cka(x, moved) == Approx(1).epsilon(1e-12));
  const double xy = debiased_linear_cka(x, y);
  CHECK(xy > 0.2);
  CHECK(xy < 0.9);
  CHECK(debiased_linear_cka(moved, y) == Approx(xy).epsilon(1e-11));
  CHECK(debiased_linear_cka(y, x) == Approx(xy).epsilon(1e-13));
  CHECK(biased_linear_cka(moved, y) == Approx(biased_linear_cka(x, y)).epsilon(1e-11));
  CHECK(debiased_linear_cka(x.to(DType::f32), y.to(DType::f32)) == Approx(xy).epsilon(1e-6));

  const Tensor table = debiased_cka_matrix({x, y}, {x, moved, y});
  REQUIRE(table.shape() == Shape({2, 3}));
  CHECK(table.at(0) == Approx(1).epsilon(1e-13));
  CHECK(table.at(2) == Approx(xy).epsilon(1e-13));
  CHECK(table.at(4) == Approx(xy).epsilon(1e-11));
}

TEST_CASE("cka: the jackknife's leave-out values are those of the rows that stay; coverage") {
  // Groups of one row are the plain jackknife: recompute it by hand.
  const Tensor x = gaussian({12, 3}, 31), y = related(x, 32);
  const Estimate e = estimate_linear_cka(x, y, 12);
  std::vector<double> without;
  for (int64_t left = 0; left < 12; ++left) {
    std::vector<double> a, b;
    for (int64_t i = 0; i < 36; ++i) {
      if (i / 3 == left) continue;
      a.push_back(x.at(i));
      b.push_back(y.at(i));
    }
    without.push_back(debiased_linear_cka(Tensor::from(a, {11, 3}), Tensor::from(b, {11, 3})));
  }
  double mean = 0, squares = 0;
  for (const double v : without) mean += v / 12;
  for (const double v : without) squares += (v - mean) * (v - mean);
  CHECK(e.standard_error == Approx(std::sqrt(squares * 11 / 12)).epsilon(1e-9));
  CHECK(e.value == Approx(debiased_linear_cka(x, y)).epsilon(1e-14));
  // More groups than samples are as many as there are samples, degrees of freedom too.
  const Estimate all = estimate_linear_cka(x, y, 20);
  CHECK(all.standard_error == e.standard_error);
  CHECK(all.interval.low == e.interval.low);

  int covered = 0;  // of the alignment at a large n
  const Tensor big = gaussian({20000, 4}, 40);
  const double truth = debiased_linear_cka(big, related(big, 41));
  for (int r = 0; r < 200; ++r) {
    const Tensor u = gaussian({80, 4}, 5000 + 2 * r);
    covered += estimate_linear_cka(u, related(u, 5001 + 2 * r)).interval.contains(truth) ? 1 : 0;
  }
  CHECK(covered >= 180);
  CHECK(covered <= 199);
}

TEST_CASE("cka: dead layers are undefined, not 0 or 1; wrong input is refused") {
  const Tensor x = gaussian({10, 3}, 51);
  CHECK(std::isnan(debiased_linear_cka(x, Tensor::full({10, 2}, DType::f64, 0.1))));
  CHECK(std::isnan(biased_linear_cka(Tensor::zeros({10, 2}, DType::f64), x)));
  CHECK(std::isnan(estimate_linear_cka(x, Tensor::zeros({10, 2}, DType::f64), 5).value));
  CHECK_THROWS_AS(debiased_linear_cka(x, gaussian({9, 3}, 52)), Error);
  CHECK_THROWS_AS(debiased_linear_cka(gaussian({3, 3}, 53), gaussian({3, 3}, 54)), Error);
  CHECK_THROWS_AS(debiased_linear_cka(x, gaussian({10}, 55)), Error);
  CHECK_THROWS_AS(estimate_linear_cka(x, x, 1), Error);
  Tensor bad = gaussian({10, 3}, 56);
  bad.mutable_data<double>()[4] = std::nan("");
  CHECK_THROWS_WITH_AS(debiased_linear_cka(x, bad), doctest::Contains("sample 1, channel 1"),
                       Error);
}

}  // namespace
}  // namespace basin
