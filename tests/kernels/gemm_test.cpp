// gemm and Matmul against naive f64 loops: every transpose, strides, alpha and beta, the cut into
// tiles and into chunks of k, batches and shared sides, and the same bits for any thread count.
#include "basin/kernels/gemm.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "basin/core/parallel.h"
#include "basin/kernels/launch.h"
#include "basin/kernels/newton_schulz.h"
#include "basin/tests/kernels/numbers.h"

namespace basin {
namespace {

using testing::numbers;
using testing::random_tensor;

struct Case {
  int64_t m, n, k;
};

enum class Added { result, matrix, row };  // what beta multiplies

// Largest |difference| of C to the naive result, over the scale k^(1/2) of its entries.
template <class T>
double gemm_error(const Case& s, bool ta, bool tb, double alpha, double beta, int64_t pad,
                  Added added = Added::result) {
  const int64_t lda = (ta ? s.m : s.k) + pad, ldb = (tb ? s.k : s.n) + pad, ldc = s.n + pad;
  const auto a = numbers<T>((ta ? s.k : s.m) * lda, 1), b = numbers<T>((tb ? s.n : s.k) * ldb, 2);
  const auto c0 = numbers<T>(s.m * ldc, 3);
  const int64_t stride = added == Added::row ? 0 : s.n + 2 * pad;
  const auto d = added == Added::result ? c0 : numbers<T>(s.m * (s.n + 2 * pad), 4);
  auto c = c0;
  if (beta == 0 || added != Added::result) {
    for (int64_t i = 0; i < s.m * ldc; ++i) {
      if (i % ldc < s.n) c[i] = std::nan("");  // beta = 0 must not read C, nor an addend let it
    }
  }
  gemm<T>(ta, tb, s.m, s.n, s.k, static_cast<T>(alpha), a.data(), lda, b.data(), ldb,
          static_cast<T>(beta), c.data(), ldc,
          added == Added::result ? Addend<T>{} : Addend<T>{d.data(), stride});
  double worst = 0;
  for (int64_t i = 0; i < s.m; ++i) {
    for (int64_t j = 0; j < s.n; ++j) {
      double sum = 0;
      for (int64_t l = 0; l < s.k; ++l) {
        sum += static_cast<double>(a[ta ? l * lda + i : i * lda + l]) *
               b[tb ? j * ldb + l : l * ldb + j];
      }
      const double term = d[i * (added == Added::result ? ldc : stride) + j];
      const double want = alpha * sum + (beta == 0 ? 0 : beta * term);
      worst = std::fmax(worst, std::fabs(c[i * ldc + j] - want));
      if (std::isnan(c[i * ldc + j])) return INFINITY;
    }
    for (int64_t j = s.n; j < ldc && beta != 0; ++j) {
      if (c[i * ldc + j] != c0[i * ldc + j]) return INFINITY;  // the padding is not ours
    }
  }
  return worst / std::sqrt(static_cast<double>(s.k) + 1);
}

TEST_CASE("gemm: all transposes, strides, alpha and beta") {
  const Case cases[] = {{1, 1, 1},   {3, 5, 2},    {1, 40, 7},    {17, 1, 33},
                        {64, 64, 3}, {130, 70, 9}, {300, 200, 90}};
  for (const Case& s : cases) {
    for (int flags = 0; flags < 4; ++flags) {
      const bool ta = flags & 1, tb = flags & 2;
      CAPTURE(s.m);
      CAPTURE(s.n);
      CAPTURE(s.k);
      CAPTURE(flags);
      CHECK(gemm_error<double>(s, ta, tb, 1, 0, 0) < 1e-14);
      CHECK(gemm_error<double>(s, ta, tb, -0.5, 0.75, 3) < 1e-14);
      CHECK(gemm_error<float>(s, ta, tb, 1, 0, 0) < 2e-6);
      CHECK(gemm_error<float>(s, ta, tb, -0.5, 0.75, 3) < 2e-6);
    }
  }
}

TEST_CASE("gemm: tiles of C and chunks of k") {
  for (int flags = 0; flags < 4; ++flags) {
    const bool ta = flags & 1, tb = flags & 2;
    CAPTURE(flags);
    CHECK(gemm_error<double>({1030, 40, 33}, ta, tb, 1, 0, 0) < 1e-14);
    CHECK(gemm_error<double>({40, 1100, 65}, ta, tb, 2, 1, 1) < 1e-14);
    CHECK(gemm_error<double>({20, 24, 5000}, ta, tb, 1, 0, 0) < 1e-14);
    CHECK(gemm_error<double>({20, 24, 5001}, ta, tb, 0.5, -2, 2) < 1e-14);
    CHECK(gemm_error<float>({3, 64, 20000}, ta, tb, 1, 0, 0) < 1e-6);
    CHECK(gemm_error<float>({64, 3, 20000}, ta, tb, 1, 0, 0) < 1e-6);
    CHECK(gemm_error<double>({64, 3, 900}, ta, tb, 0.5, 2, 3) < 1e-14);
    CHECK(gemm_error<float>({1030, 40, 33}, ta, tb, 1, 1, 1) < 2e-6);
    CHECK(gemm_error<float>({1030, 140, 33}, ta, tb, 1, 1, 1) < 2e-6);
    CHECK(gemm_error<float>({270, 530, 1100}, ta, tb, -0.5, 0.75, 3) < 2e-6);
    CHECK(gemm_error<float>({90, 112, 5001}, ta, tb, 1, 0, 0) < 2e-6);
    CHECK(gemm_error<float>({2100, 512, 100}, ta, tb, 1, 0, 0) < 2e-6);  // C past the caches
  }
}

TEST_CASE("gemm: an addend in the place of C") {
  const Case cases[] = {{1, 5, 7},   {3, 5, 2},      {130, 70, 9},   {300, 200, 90}, {1030, 40, 33},
                        {50, 9, 40}, {20, 24, 5001}, {40, 130, 600}, {1, 3000, 900}};
  for (const Case& s : cases) {
    for (int flags = 0; flags < 8; ++flags) {
      const bool ta = flags & 1, tb = flags & 2;
      const Added added = flags & 4 ? Added::row : Added::matrix;
      CAPTURE(str(s.m, " ", s.n, " ", s.k, " ", flags));
      CHECK(gemm_error<double>(s, ta, tb, 1, 1, 0, added) < 1e-14);
      CHECK(gemm_error<double>(s, ta, tb, -0.5, 0.75, 3, added) < 1e-14);
      CHECK(gemm_error<float>(s, ta, tb, 1, 1, 2, added) < 2e-6);
      CHECK(gemm_error<float>(s, ta, tb, 1, 0, 2, added) < 2e-6);
    }
  }
}

TEST_CASE("gemm: a rectified result is the plain one without its negative entries") {
  const Case cases[] = {{1, 5, 7},       {3, 5, 2},       {130, 70, 9},
                        {1030, 40, 33},  {50, 9, 400},    {20, 24, 5001},
                        {400, 1100, 65}, {270, 130, 600}, {1, 3000, 900}};
  for (const Case& s : cases) {
    for (int flags = 0; flags < 8; ++flags) {
      const bool ta = flags & 1, tb = flags & 2, add = flags & 4;
      CAPTURE(str(s.m, " ", s.n, " ", s.k, " ", flags));
      auto a = numbers<float>(s.m * s.k, 1);
      const auto b = numbers<float>(s.k * s.n, 2), row = numbers<float>(s.n, 3);
      a[0] = NAN;
      std::vector<float> plain(s.m * s.n), rectified(s.m * s.n);
      for (auto* c : {&plain, &rectified}) {
        gemm<float>(ta, tb, s.m, s.n, s.k, 1.f, a.data(), ta ? s.m : s.k, b.data(), tb ? s.k : s.n,
                    add ? 1.f : 0.f, c->data(), s.n,
                    add ? Addend<float>{row.data(), 0} : Addend<float>{}, Factors::any,
                    c == &rectified);
      }
      CHECK(std::isnan(plain[0]));
      for (float& x : plain) x = x < 0 ? 0 : x;
      const auto same = [](float x, float y) { return x == y || (std::isnan(x) && std::isnan(y)); };
      CHECK(std::equal(plain.begin(), plain.end(), rectified.begin(), same));
    }
  }
}

TEST_CASE("gemm: empty products") {
  std::vector<double> c = {1, 2, 3, 4};
  gemm<double>(false, false, 2, 2, 0, 1.0, nullptr, 0, nullptr, 2, 0.0, c.data(), 2);
  CHECK(c == std::vector<double>{0, 0, 0, 0});
  gemm<double>(false, false, 0, 2, 3, 1.0, nullptr, 3, nullptr, 2, 0.0, c.data(), 2);
  CHECK(c == std::vector<double>{0, 0, 0, 0});
}

TEST_CASE("gemm: the same bits for any thread count") {
  const Case cases[] = {{2050, 130, 64}, {64, 128, 9000}, {700, 700, 200}, {32, 512, 1024}};
  const int before = num_threads();
  for (const Case& s : cases) {
    for (int flags = 0; flags < 4; ++flags) {
      const bool ta = flags & 1, tb = flags & 2;
      const auto a = numbers<float>(s.m * s.k, 4), b = numbers<float>(s.k * s.n, 5);
      std::vector<std::vector<float>> c(3, std::vector<float>(s.m * s.n));
      for (int threads = 1; threads <= 3; ++threads) {
        set_num_threads(threads);
        gemm<float>(ta, tb, s.m, s.n, s.k, 1.f, a.data(), ta ? s.m : s.k, b.data(), tb ? s.k : s.n,
                    0.f, c[threads - 1].data(), s.n);
      }
      CHECK(std::memcmp(c[0].data(), c[1].data(), c[0].size() * sizeof(float)) == 0);
      CHECK(std::memcmp(c[0].data(), c[2].data(), c[0].size() * sizeof(float)) == 0);
    }
  }
  set_num_threads(before);
}

TEST_CASE("gemm_symmetric: the lower half of gemm and its mirror image, for any thread count") {
  const auto check = [](auto zero, int64_t n, int64_t k, bool trans, double beta) {
    using T = decltype(zero);
    CAPTURE(n);
    CAPTURE(k);
    CAPTURE(trans);
    // x x^T, or g g with g = x x^T: symmetric to the last bit.
    const auto x = numbers<T>(n * k, 6);
    std::vector<T> g(n * n), c(n * n, T(1)), want(n * n, T(1));
    gemm<T>(false, true, n, n, k, T(1), x.data(), k, x.data(), k, T(0), g.data(), n);
    const std::vector<T>& a = trans ? x : g;
    const int64_t depth = trans ? k : n;
    gemm<T>(false, trans, n, n, depth, T(0.5), a.data(), depth, a.data(), depth,
            static_cast<T>(beta), want.data(), n);
    const int before = num_threads();
    for (int threads = 1; threads <= 3; ++threads) {
      set_num_threads(threads);
      std::fill(c.begin(), c.end(), T(1));
      gemm_symmetric<T>(trans, n, depth, T(0.5), a.data(), depth, a.data(), depth,
                        static_cast<T>(beta), c.data(), n);
      double worst = 0, largest = 0;
      int64_t unlike = 0;  // entries that are not their mirror image
      for (int64_t i = 0; i < n * n; ++i) {
        worst = std::fmax(worst, std::fabs(static_cast<double>(c[i] - want[i])));
        largest = std::fmax(largest, std::fabs(static_cast<double>(want[i])));
        unlike += c[i] != c[i % n * n + i / n];
      }
      CHECK(unlike == 0);
      CHECK(worst <= (sizeof(T) == 4 ? 1e-5 : 1e-14) * largest);
    }
    set_num_threads(before);
  };
  for (const int64_t n : {1, 7, 64, 65, 190, 330}) {
    for (const bool trans : {true, false}) {
      check(0.f, n, 40, trans, 0);
      check(0.0, n, 300, trans, 0.75);
    }
  }
}

// A single product in every sum: what is off is the product itself, not the order of a sum.
TEST_CASE("gemm: an f32 product is rounded to f32, whatever its factors") {
  const int64_t m = 70, n = 130, k = 90;
  const auto left = numbers<float>(m, 10), right = numbers<float>(k * n, 11);
  std::vector<float> a(m * k, 0.f), b(k * n);
  for (int64_t i = 0; i < m; ++i) {
    a[i * k + i * 7 % k] = std::ldexp(left[i], static_cast<int>(i % 41) - 20);
  }
  for (int64_t i = 0; i < k * n; ++i) b[i] = std::ldexp(right[i], static_cast<int>(i % 37) - 18);
  for (int flags = 0; flags < 4; ++flags) {
    const bool ta = flags & 1, tb = flags & 2;
    std::vector<float> at(a), bt(b), c(m * n);
    for (int64_t i = 0; i < m * k && ta; ++i) at[i % k * m + i / k] = a[i];
    for (int64_t i = 0; i < k * n && tb; ++i) bt[i % n * k + i / n] = b[i];
    gemm<float>(ta, tb, m, n, k, 1.f, at.data(), ta ? m : k, bt.data(), tb ? k : n, 0.f, c.data(),
                n);
    double worst = 0, squares = 0, sum = 0;  // of what is off, in halves of the last bit
    for (int64_t i = 0; i < m * n; ++i) {
      const int64_t l = i / n * 7 % k;
      const double want = static_cast<double>(a[i / n * k + l]) * b[l * n + i % n];
      const double off = (c[i] - want) / want * 0x1p24;
      worst = std::fmax(worst, std::fabs(off));
      squares += off * off, sum += off;
    }
    CAPTURE(flags);
    const auto count = static_cast<double>(m * n);
    CHECK(worst < 2);  // 1 for one rounding, and 1 for what six products of parts leave out
    CHECK(std::sqrt(squares / count) < 0.5);  // 0.41 for one rounding
    CHECK(std::fabs(sum / count) < 0.02);
  }
}

TEST_CASE("gemm: factors of bf16 numbers, announced as such") {
  const int64_t m = 270, n = 200, k = 600;
  auto a = numbers<float>(m * k, 14), b = numbers<float>(k * n, 15), g = numbers<float>(m * m, 16);
  for (std::vector<float>* x : {&a, &b, &g}) {
    for (float& v : *x) v = bf16_value(v);
  }
  for (int64_t i = 0; i < m * m; ++i) g[i] = g[i % m * m + i / m];  // symmetric
  const auto compare = [](const std::vector<float>& c, const std::vector<float>& want) {
    double worst = 0;
    for (size_t i = 0; i < c.size(); ++i) worst = std::fmax(worst, std::fabs(c[i] - want[i]));
    return worst;
  };
  std::vector<float> c(m * n, 0.5f), want = c;
  gemm<float>(false, false, m, n, k, 0.3f, a.data(), k, b.data(), n, 0.7f, c.data(), n, {},
              Factors::bf16);
  gemm<float>(false, false, m, n, k, 0.3f, a.data(), k, b.data(), n, 0.7f, want.data(), n);
  CHECK(compare(c, want) < 2e-5);
  c.assign(m * m, 0.5f), want = c;
  gemm_symmetric<float>(true, m, k, 1.f, a.data(), k, a.data(), k, 0.f, c.data(), m, Factors::bf16);
  gemm_symmetric<float>(true, m, k, 1.f, a.data(), k, a.data(), k, 0.f, want.data(), m);
  CHECK(compare(c, want) < 4e-4);  // sums up to 200, whose last place is 1.5e-5
  gemm_symmetric<float>(false, m, m, 0.3f, g.data(), m, g.data(), m, 0.7f, c.data(), m,
                        Factors::bf16);
  gemm_symmetric<float>(false, m, m, 0.3f, g.data(), m, g.data(), m, 0.7f, want.data(), m);
  CHECK(compare(c, want) < 3e-4);
}

TEST_CASE("gemm: what is not finite reaches its row or column and no other entry") {
  const int64_t m = 70, n = 130, k = 90;
  for (const float bad : {INFINITY, -INFINITY, std::nanf("")}) {
    auto a = numbers<float>(m * k, 12), b = numbers<float>(k * n, 13);
    a[33 * k + 41] = bad;
    b[17 * n + 100] = bad;
    std::vector<float> c(m * n);
    gemm<float>(false, false, m, n, k, 1.f, a.data(), k, b.data(), n, 0.f, c.data(), n);
    int64_t wrong = 0;
    for (int64_t i = 0; i < m * n; ++i) {
      wrong += std::isfinite(c[i]) == (i / n == 33 || i % n == 100);
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("gemm: equal rows give equal bits wherever they stand") {
  if (blas_description().rfind("Basin ", 0) != 0) {
    MESSAGE("SKIPPED: the library multiplies here, and it does not promise this");
    return;
  }
  const int64_t period = 7, m = 1003, n = 70, k = 700;
  auto a = numbers<float>(m * k, 8);
  const auto b = numbers<float>(k * n, 9);
  for (int64_t i = period * k; i < m * k; ++i) a[i] = a[i - period * k];
  std::vector<float> c(m * n);
  gemm<float>(false, false, m, n, k, 1.f, a.data(), k, b.data(), n, 0.f, c.data(), n);
  CHECK(std::memcmp(c.data(), c.data() + period * n, (m - period) * n * sizeof(float)) == 0);
}

// Largest |difference| of Matmul to the naive result. An empty batch shape means that side is
// shared.
template <class T>
double matmul_error(const Shape& batch, bool share_a, bool share_b, bool ta, bool tb,
                    const Case& s) {
  const auto shaped = [&](bool share, int64_t rows, int64_t cols) {
    Shape shape = share ? Shape{} : batch;
    shape.push_back(rows);
    shape.push_back(cols);
    return shape;
  };
  const Tensor a = random_tensor(shaped(share_a, ta ? s.k : s.m, ta ? s.m : s.k), kDTypeOf<T>, 6);
  const Tensor b = random_tensor(shaped(share_b, tb ? s.n : s.k, tb ? s.k : s.n), kDTypeOf<T>, 7);
  Tensor out = Tensor::full(shaped(false, s.m, s.n), kDTypeOf<T>, 99);
  launch<Matmul>(Device::cpu, a, b, ta, tb, out);
  double worst = 0;
  for (int64_t q = 0; q < batch.numel(); ++q) {
    const T* pa = a.data<T>() + (share_a ? 0 : q * s.m * s.k);
    const T* pb = b.data<T>() + (share_b ? 0 : q * s.k * s.n);
    for (int64_t i = 0; i < s.m; ++i) {
      for (int64_t j = 0; j < s.n; ++j) {
        double sum = 0;
        for (int64_t l = 0; l < s.k; ++l) {
          sum += static_cast<double>(pa[ta ? l * s.m + i : i * s.k + l]) *
                 pb[tb ? j * s.k + l : l * s.n + j];
        }
        worst = std::fmax(worst, std::fabs(out.at((q * s.m + i) * s.n + j) - sum));
      }
    }
  }
  return worst / std::sqrt(static_cast<double>(s.k));
}

TEST_CASE("Matmul: batches and shared sides") {
  for (const Shape& batch : {Shape{}, Shape{1}, Shape{3}, Shape{2, 5}, Shape{40}}) {
    for (int flags = 0; flags < 4; ++flags) {
      const bool ta = flags & 1, tb = flags & 2;
      CAPTURE(batch.to_string());
      CAPTURE(flags);
      for (const Case& s : {Case{1, 1, 1}, Case{7, 3, 3}, Case{65, 33, 20}}) {
        CHECK(matmul_error<double>(batch, false, false, ta, tb, s) < 1e-14);
        CHECK(matmul_error<double>(batch, true, false, ta, tb, s) < 1e-14);
        CHECK(matmul_error<double>(batch, false, true, ta, tb, s) < 1e-14);
        CHECK(matmul_error<float>(batch, false, true, ta, tb, s) < 2e-6);
      }
    }
  }
}

TEST_CASE("Matmul: integers are refused, the library is named") {
  const Tensor a = Tensor::zeros({2, 2}, DType::i32);
  Tensor out = Tensor::zeros({2, 2}, DType::i32);
  CHECK_THROWS_AS(Matmul::cpu(a, a, false, false, out), Error);
  CHECK(blas_description().find("OpenBLAS ") != std::string::npos);
}

}  // namespace
}  // namespace basin
