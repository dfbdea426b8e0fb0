// The maxima of products that integers find first against those of all products, bit for bit:
// smooth and random clouds, ties, signs, ranges that integers do not cover, values that are not
// finite; and that few rows are left to multiply.
#include "basin/kernels/cpu/row_max.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "basin/tests/kernels/numbers.h"

namespace basin {
namespace {

struct Case {
  int64_t rows, channels, depth;
  std::vector<float> x, w, sign;

  Case(int64_t n, int64_t c, int64_t k)
      : rows(n),
        channels(c),
        depth(k),
        x(testing::numbers<float>(n * k, 1)),
        w(testing::numbers<float>(c * k, 2)),
        sign(static_cast<size_t>(c), 1.F) {}

  // Points of a curve, which lie close to each other, behind a ReLU.
  void smooth() {
    for (int64_t i = 0; i < rows * depth; ++i) {
      const double place = static_cast<double>(i / depth) / static_cast<double>(rows);
      x[static_cast<size_t>(i)] = static_cast<float>(
          std::fmax(0.0, std::sin(6 * place + 0.7 * static_cast<double>(i % depth))));
    }
  }
};

struct Maxima {
  std::vector<float> best;
  std::vector<int32_t> index;
  bool operator==(const Maxima& other) const {
    return index == other.index &&
           std::memcmp(best.data(), other.best.data(), best.size() * sizeof(float)) == 0;
  }
};

// packed_for: 1 row is too few for the integers.
Maxima maxima_of(const Case& c, int64_t packed_for) {
  const PackedWeights w =
      pack_weights<float>(c.w.data(), c.sign.data(), c.channels, c.depth, packed_for);
  CHECK((packed_for > 1 || !w.screen.usable()));
  const auto n = static_cast<size_t>(c.channels);
  Maxima m{std::vector<float>(n, 77.F), std::vector<int32_t>(n, -1)};
  row_max<float>(w, 0, w.panels(), c.x.data(), c.rows, m.best.data(), m.index.data());
  return m;
}

bool agree(const Case& c) { return maxima_of(c, c.rows) == maxima_of(c, 1); }

TEST_CASE("row_max: integers find the same maxima and places as all products") {
  for (const int64_t rows : {63, 64, 65, 250}) {
    for (const int64_t depth : {15, 16, 17, 128, 301}) {
      for (const int64_t channels : {1, 64, 130}) {
        CAPTURE(rows);
        CAPTURE(depth);
        CAPTURE(channels);
        Case c(rows, channels, depth);
        CHECK(agree(c));
        for (int64_t i = 0; i < channels; i += 3) c.sign[static_cast<size_t>(i)] = -1;
        c.sign.back() = 0;
        c.smooth();
        CHECK(agree(c));
      }
    }
  }
}

TEST_CASE("row_max: of equal points the first is the place") {
  Case c(300, 100, 32);
  const int64_t third = 100 * c.depth;
  for (int64_t i = 0; i < third; ++i) {
    c.x[static_cast<size_t>(i + third)] = c.x[static_cast<size_t>(i + 2 * third)] =
        c.x[static_cast<size_t>(i)];
  }
  CHECK(agree(c));
  const Maxima m = maxima_of(c, c.rows);
  for (const int32_t n : m.index) CHECK(n < 100);
  for (int64_t i = 0; i < c.rows * c.depth; ++i) {
    c.x[static_cast<size_t>(i)] = c.x[static_cast<size_t>(i % c.depth)];
  }
  CHECK(agree(c));  // all points equal: every row is a candidate
  CHECK(maxima_of(c, c.rows).index == std::vector<int32_t>(100, 0));
  std::fill(c.x.begin(), c.x.end(), 0.F);
  CHECK(agree(c));
  std::fill(c.w.begin(), c.w.end(), 0.F);
  CHECK(agree(c));
}

TEST_CASE("row_max: what integers cannot carry is left to all products") {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  for (const float scale : {1e-30F, 1e-22F, 1e-10F, 1e10F, 1e19F}) {  // of both factors
    CAPTURE(scale);
    Case c(200, 70, 40);
    for (float& v : c.x) v *= scale;
    for (float& v : c.w) v *= scale;
    CHECK(agree(c));
  }
  Case uneven(200, 70, 40);  // weights without a scale in f32, products with one
  for (float& v : uneven.x) v *= 1e12F;
  for (float& v : uneven.w) v *= 1e-36F;
  CHECK(agree(uneven));
  for (const float odd : {1e6F, 1e30F, -1e30F, kInfinity, -kInfinity}) {
    CAPTURE(odd);
    Case in_x(200, 70, 40), in_w(200, 70, 40);
    in_x.x[777] = odd;
    CHECK(agree(in_x));
    in_w.w[777] = odd;
    CHECK(agree(in_w));
  }
  Case c(200, 70, 40);
  c.x[40 * 150 + 3] = kNan;
  for (const int32_t n : maxima_of(c, c.rows).index) CHECK(n == 150);
  Case in_w(200, 70, 40);
  in_w.w[5 * 40] = kNan;
  CHECK(std::isnan(maxima_of(in_w, in_w.rows).best[5]));
  CHECK(!std::isnan(maxima_of(in_w, in_w.rows).best[4]));
}

TEST_CASE("row_max: few rows are left to multiply") {
  for (const bool smooth : {false, true}) {
    CAPTURE(smooth);
    Case c(1024, 128, 128);
    if (smooth) c.smooth();
    const PackedWeights w =
        pack_weights<float>(c.w.data(), c.sign.data(), c.channels, c.depth, c.rows);
    if (!w.screen.usable()) return;  // this path multiplies f32 as fast
    RowScreen screen(w.screen, c.x.data(), c.rows);
    std::vector<Candidate> found;
    for (int64_t p = 0; p < w.panels(); ++p) {
      REQUIRE(screen.candidates(p, found));
      CHECK(found.size() >= 64);
      CHECK(found.size() <= (smooth ? 64 * 20 : 64 * 2));
    }
  }
}

}  // namespace
}  // namespace basin
