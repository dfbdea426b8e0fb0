// transpose and sum_of_rows against plain loops, at sizes on both sides of their squares and
// strips.
#include "basin/kernels/cpu/vectors.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "basin/tests/kernels/numbers.h"

namespace basin {
namespace {

template <class T>
int64_t misplaced(int64_t rows, int64_t cols, int64_t pad) {
  const int64_t ld_from = cols + pad, ld_to = rows + 2 * pad;
  const auto from = testing::numbers<T>(rows * ld_from, 1),
             before = testing::numbers<T>(cols * ld_to, 2);
  auto to = before;
  transpose<T>(from.data(), rows, cols, ld_from, to.data(), ld_to);
  int64_t bad = 0;
  for (int64_t j = 0; j < cols; ++j) {
    for (int64_t i = 0; i < ld_to; ++i) {  // what lies beyond the rows stays
      bad += to[j * ld_to + i] != (i < rows ? from[i * ld_from + j] : before[j * ld_to + i]);
    }
  }
  return bad;
}

TEST_CASE("vectors: a transpose of any size, and nothing beside it") {
  for (const int64_t rows : {1, 7, 8, 15, 16, 17, 48, 70}) {
    for (const int64_t cols : {1, 9, 16, 31, 32, 64}) {
      CAPTURE(rows);
      CAPTURE(cols);
      CHECK(misplaced<float>(rows, cols, 0) == 0);
      CHECK(misplaced<float>(rows, cols, 3) == 0);
      CHECK(misplaced<double>(rows, cols, 3) == 0);
    }
  }
}

TEST_CASE("vectors: the sum of rows in double, with and without what was there") {
  for (const int64_t n : {1, 255, 256, 600}) {
    const int64_t rows = 5, stride = n + 3;
    const auto x = testing::numbers<float>(rows * stride, 3);
    for (const float beta : {0.f, -0.5f}) {
      auto y = testing::numbers<float>(n, 4);
      const auto before = y;
      if (beta == 0) std::fill(y.begin(), y.end(), NAN);  // beta = 0 must not read y
      sum_of_rows<float>(x.data(), rows, stride, beta, y.data(), n);
      int64_t bad = 0;
      for (int64_t j = 0; j < n; ++j) {
        double sum = beta == 0 ? 0 : static_cast<double>(beta) * before[static_cast<size_t>(j)];
        for (int64_t r = 0; r < rows; ++r) sum += x[static_cast<size_t>(r * stride + j)];
        bad += y[static_cast<size_t>(j)] != static_cast<float>(sum);
      }
      CHECK(bad == 0);
    }
  }
}

}  // namespace
}  // namespace basin
