// SVD and symmetric eigenproblem: reconstruction, orthogonality, known spectra, faults.
#include "basin/kernels/linalg.h"

#include <limits>

#include "basin/tests/optim/optim_fixtures.h"

using namespace basin;
using namespace basin::optim_test;

TEST_CASE("linalg: thin svd reconstructs and is orthonormal") {
  for (DType dtype : {DType::f32, DType::f64}) {
    const double tolerance = dtype == DType::f32 ? 2e-5 : 2e-14;
    for (const auto& size : {std::pair{5, 9}, {9, 5}, {6, 6}, {1, 4}, {4, 1}, {70, 33}}) {
      const int m = size.first, n = size.second;
      CAPTURE(m);
      CAPTURE(n);
      const Tensor a = random_tensor({m, n}, dtype, 3);
      const SvdFactors f = Svd::cpu(a);
      const int64_t p = std::min(m, n);
      CHECK(f.u.shape() == Shape{m, p});
      CHECK(f.vt.shape() == Shape{p, n});
      CHECK(f.s.dtype() == dtype);
      std::vector<double> scaled = f.vt.to_vector<double>();
      for (int64_t i = 0; i < p * n; ++i) scaled[i] *= f.s.at(i / n);
      CHECK(max_difference(product(f.u, Tensor::from(scaled, {p, n})), a.to(DType::f64)) <
            4 * tolerance);
      const Tensor utu = product(transposed(f.u), f.u), vvt = product(f.vt, transposed(f.vt));
      for (int64_t i = 0; i < p * p; ++i) {
        CHECK(std::abs(utu.at(i) - (i / p == i % p)) < tolerance);
        CHECK(std::abs(vvt.at(i) - (i / p == i % p)) < tolerance);
      }
      for (int64_t i = 0; i + 1 < p; ++i) CHECK(f.s.at(i) >= f.s.at(i + 1));
      CHECK(max_difference(SingularValues::cpu(a), f.s) < 8 * tolerance);
    }
  }
}

TEST_CASE("linalg: svd of a known matrix") {
  const Tensor a = Tensor::from(std::vector<double>{3, 0, 4, 5}, {2, 2});
  const Tensor s = SingularValues::cpu(a);
  CHECK(s.at(0) == doctest::Approx(std::sqrt(45.0)).epsilon(1e-14));
  CHECK(s.at(1) == doctest::Approx(std::sqrt(5.0)).epsilon(1e-14));
  CHECK(SingularValues::cpu(Tensor::zeros({3, 2}, DType::f32)).at(0) == 0);
  CHECK(Svd::cpu(Tensor::zeros({0, 2}, DType::f32)).s.numel() == 0);
}

TEST_CASE("linalg: eigh solves A Q = Q diag(w) from the lower triangle") {
  for (DType dtype : {DType::f32, DType::f64}) {
    const double tolerance = dtype == DType::f32 ? 1e-4 : 1e-12;
    const int64_t n = 17;
    const Tensor half = random_tensor({n, n}, DType::f64, 8);
    std::vector<double> symmetric(n * n), lower(n * n);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        symmetric[i * n + j] = half.at(std::max(i, j) * n + std::min(i, j));
        lower[i * n + j] = j <= i ? symmetric[i * n + j] : std::numeric_limits<double>::quiet_NaN();
      }
    }
    const Tensor a = Tensor::from(symmetric, {n, n});
    const EighFactors f = Eigh::cpu(Tensor::from(lower, {n, n}).to(dtype));
    const Tensor left = product(a, f.vectors);
    for (int64_t i = 0; i < n * n; ++i) {
      CHECK(std::abs(left.at(i) - f.vectors.at(i) * f.values.at(i % n)) < tolerance);
    }
    for (int64_t i = 0; i + 1 < n; ++i) CHECK(f.values.at(i) <= f.values.at(i + 1));
  }
  const EighFactors known = Eigh::cpu(Tensor::from(std::vector<double>{2, 1, 1, 2}, {2, 2}));
  CHECK(known.values.at(0) == doctest::Approx(1).epsilon(1e-14));
  CHECK(known.values.at(1) == doctest::Approx(3).epsilon(1e-14));
}

TEST_CASE("linalg: faults are sentences") {
  Tensor a = Tensor::zeros({2, 3}, DType::f64);
  a.mutable_data<double>()[4] = std::numeric_limits<double>::infinity();
  CHECK(error_of([&] { Svd::cpu(a); }, ErrorKind::numerical) ==
        "svd: element 4 of the matrix [2, 3] is inf");
  CHECK(error_of([&] { Eigh::cpu(a); }, ErrorKind::usage) ==
        "eigh: expects a square matrix, got [2, 3]");
  CHECK(error_of([] { Svd::cpu(Tensor::zeros({3}, DType::f32)); }, ErrorKind::usage) ==
        "svd: expects a matrix, got [3] f32");
  CHECK(error_of(
            [] {
              Svd::cpu(Tensor::zeros({3, 3}, DType::i32));
            },
            ErrorKind::usage) == "svd: expects f32 or f64, got i32");
}

TEST_CASE("linalg: the basis of a QR decomposition is orthonormal and spans the columns") {
  for (DType dtype : {DType::f32, DType::f64}) {
    const double tolerance = dtype == DType::f32 ? 1e-5 : 1e-13;
    const Tensor a = random_tensor({40, 9}, dtype, 2), q = QrBasis::cpu(a);
    const Tensor qtq = product(transposed(q), q);
    for (int64_t i = 0; i < 81; ++i) CHECK(std::abs(qtq.at(i) - (i % 10 == 0)) < tolerance);
    const Tensor r = product(transposed(q), a);
    CHECK(max_difference(product(q, r), a.to(DType::f64)) < 10 * tolerance);
    for (int64_t i = 0; i < 9; ++i) {
      for (int64_t j = 0; j < i; ++j) CHECK(std::abs(r.at(i * 9 + j)) < 10 * tolerance);
    }
    // Whatever the rank.
    const Tensor zero = QrBasis::cpu(Tensor::zeros({5, 3}, dtype));
    const Tensor unit = product(transposed(zero), zero);
    for (int64_t i = 0; i < 9; ++i) CHECK(unit.at(i) == doctest::Approx(i % 4 == 0));
  }
  CHECK(error_of(
            [] {
              QrBasis::cpu(Tensor::zeros({2, 3}, DType::f64));
            },
            ErrorKind::usage) == "qr_basis: expects at least as many rows as columns, got [2, 3]");
}

namespace {

// U diag(s) V^T with the given values.
Tensor with_spectrum(int64_t m, int64_t n, const std::vector<double>& s, DType dtype) {
  const SvdFactors f = Svd::cpu(random_tensor({m, n}, DType::f64, 11));
  std::vector<double> scaled = f.vt.to_vector<double>();
  for (size_t i = 0; i < scaled.size(); ++i) scaled[i] *= s[i / n];
  return product(f.u, Tensor::from(scaled, {static_cast<int64_t>(s.size()), n})).to(dtype).clone();
}

// The largest angle, as a sine, between a leading vector and the space of LAPACK's k vectors.
double largest_angle(const Tensor& vt, const Tensor& all, int64_t k) {
  const Tensor overlap = product(vt, transposed(all));
  double worst = 0;
  for (int64_t j = 0; j < k; ++j) {
    double inside = 0;
    for (int64_t i = 0; i < k; ++i) {
      inside += overlap.at(j * all.size(0) + i) * overlap.at(j * all.size(0) + i);
    }
    worst = std::max(worst, std::sqrt(std::abs(1 - inside)));
  }
  return worst;
}

}  // namespace

TEST_CASE("linalg: leading triples agree with LAPACK over spectra, shapes and precisions") {
  const auto geometric = [](double ratio) {
    std::vector<double> s(120);
    for (size_t i = 0; i < s.size(); ++i) s[i] = std::pow(ratio, static_cast<double>(i));
    return s;
  };
  std::vector<double> flat(120), low(120, 0.0), tail(120, 1e-3), repeated(120, 0.1);
  for (size_t i = 0; i < 120; ++i) flat[i] = 1 - 0.005 * static_cast<double>(i);
  std::fill_n(low.begin(), 4, 2.0);
  std::fill_n(repeated.begin(), 6, 1.0);
  for (size_t i = 0; i < 6; ++i) tail[i] = 6.0 - static_cast<double>(i);
  const std::vector<std::pair<std::string, std::vector<double>>> spectra = {
      {"geometric .5", geometric(0.5)},
      {"geometric .95", geometric(0.95)},
      {"flat", flat},
      {"rank 4", low},
      {"small tail", tail},
      {"repeated", repeated}};
  constexpr int64_t k = 6;
  for (const auto& spectrum : spectra) {
    for (DType dtype : {DType::f64, DType::f32}) {
      for (const Shape& shape : {Shape{120, 150}, Shape{300, 120}}) {
        CAPTURE(spectrum.first);
        CAPTURE(name_of(dtype));
        const Tensor a = with_spectrum(shape[0], shape[1], spectrum.second, dtype);
        const double tolerance = dtype == DType::f64 ? 1e-10 : 1e-5;
        const SvdFactors got = TopSvd::cpu(a, k, tolerance), all = Svd::cpu(a);
        REQUIRE(got.s.numel() == k);
        CHECK(got.u.shape() == Shape{shape[0], k});
        CHECK(got.vt.shape() == Shape{k, shape[1]});
        const double rounding = dtype == DType::f64 ? 1e-13 : 1e-5;
        for (int64_t j = 0; j < k; ++j) {
          CHECK(std::abs(got.s.at(j) - all.s.at(j)) <= (tolerance + rounding) * all.s.at(0));
        }
        const Tensor vvt = product(got.vt, transposed(got.vt));
        const Tensor utu = product(transposed(got.u), got.u);
        for (int64_t i = 0; i < k * k; ++i) {
          CHECK(std::abs(vvt.at(i) - (i % (k + 1) == 0)) < 100 * rounding);
          CHECK(std::abs(utu.at(i) - (i % (k + 1) == 0)) < 100 * rounding);
        }
        const double gap = all.s.at(k - 1) - all.s.at(k);
        if (gap > 1e-3) CHECK(largest_angle(got.vt, all.vt, k) < 1e3 * tolerance / gap + 1e-4);
        CHECK(same_bits(TopSvd::cpu(a, k, tolerance).u, got.u));
        for (int64_t j = 0; j < k; ++j) {  // the sign rule
          double largest = 0;
          for (int64_t i = 0; i < shape[0]; ++i) {
            if (std::abs(got.u.at(i * k + j)) > std::abs(largest)) largest = got.u.at(i * k + j);
          }
          CHECK(largest > 0);
        }
      }
    }
  }
}

TEST_CASE("linalg: leading triples of small, zero and wrong matrices") {
  const Tensor a = random_tensor({7, 5}, DType::f64, 3);
  CHECK(max_difference(TopSvd::cpu(a, 5, 1e-10).s, Svd::cpu(a).s) < 1e-14);
  CHECK(max_abs(TopSvd::cpu(Tensor::zeros({80, 90}, DType::f32), 2, 1e-5).s) == 0);
  CHECK(error_of([&] { TopSvd::cpu(a, 6, 1e-10); }, ErrorKind::usage) ==
        "top_svd: expects k from 1 to 5 for a matrix [7, 5], got 6");
  Tensor bad = random_tensor({100, 100}, DType::f64, 3);
  bad.mutable_data<double>()[17] = NAN;
  error_of([&] { TopSvd::cpu(bad, 3, 1e-10); }, ErrorKind::numerical);
}
