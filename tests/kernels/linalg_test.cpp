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
