// Philox4x32-10 against the published known answers (Random123, kat_vectors), and the draws built
// on it.
#include "basin/core/random.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <vector>

#include "basin/core/error.h"

using namespace basin;

TEST_CASE("random: Philox4x32-10 known answers") {
  using Block = std::array<uint32_t, 4>;
  CHECK(philox4x32(0, 0, 0) == Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  constexpr uint64_t kOnes = ~uint64_t{0};
  CHECK(philox4x32(kOnes, kOnes, kOnes) == Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  // Words of pi, the first in the low half: counter 243f6a88 85a308d3 13198a2e 03707344,
  // key a4093822 299f31d0.
  CHECK(philox4x32(0x85a308d3243f6a88, 0x0370734413198a2e, 0x299f31d0a4093822) ==
        Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("random: uniform_from_bits stays inside (0, 1)") {
  CHECK(uniform_from_bits(0, 0) > 0);
  CHECK(uniform_from_bits(~0u, ~0u) < 1);
  CHECK(uniform_from_bits(0x80000000u, 0) == doctest::Approx(0.5).epsilon(1e-15));
}

TEST_CASE("random: a draw is a function of seed, stream and position") {
  Rng a(1, 2), b(1, 2);
  std::vector<uint32_t> first;
  for (int i = 0; i < 11; ++i) first.push_back(a.next_u32());
  for (int i = 0; i < 11; ++i) CHECK(b.next_u32() == first[i]);
  CHECK(a.position() == 11);
  for (uint64_t start : {0, 1, 3, 4, 6, 10}) {
    Rng resumed(1, 2, start);
    CHECK(resumed.next_u32() == first[start]);
    CHECK(resumed.position() == start + 1);
  }
  CHECK(Rng(2, 2).next_u64() != Rng(1, 2).next_u64());
  CHECK(Rng(1, 3).next_u64() != Rng(1, 2).next_u64());
  Rng copy = a;
  CHECK(copy.next_u64() == a.next_u64());
}

TEST_CASE("random: uniform and normal have the right moments") {
  constexpr int kDraws = 200000;
  Rng rng(7, stream_id("moments"));
  double u1 = 0, u2 = 0, n1 = 0, n2 = 0, n3 = 0, n4 = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double u = rng.uniform(-1, 1), n = rng.normal();
    REQUIRE((u > -1 && u < 1 && std::isfinite(n)));
    u1 += u;
    u2 += u * u;
    n1 += n;
    n2 += n * n;
    n3 += n * n * n;
    n4 += n * n * n * n;
  }
  // Five standard errors of each mean.
  const double root = 5 / std::sqrt(static_cast<double>(kDraws));
  CHECK(std::abs(u1 / kDraws) < root * std::sqrt(1.0 / 3));
  CHECK(std::abs(u2 / kDraws - 1.0 / 3) < root * std::sqrt(4.0 / 45));
  CHECK(std::abs(n1 / kDraws) < root);
  CHECK(std::abs(n2 / kDraws - 1) < root * std::sqrt(2.0));
  CHECK(std::abs(n3 / kDraws) < root * std::sqrt(15.0));
  CHECK(std::abs(n4 / kDraws - 3) < root * std::sqrt(96.0));
}

TEST_CASE("random: below is inside its range and even") {
  Rng rng(3, 0);
  std::vector<int> count(7, 0);
  for (int i = 0; i < 70000; ++i) {
    const int64_t k = rng.below(7);
    REQUIRE((k >= 0 && k < 7));
    ++count[k];
  }
  double chi2 = 0;
  for (int c : count) chi2 += (c - 10000.0) * (c - 10000.0) / 10000;
  CHECK(chi2 < 22.5);  // 6 degrees of freedom, p = 0.001
  for (int i = 0; i < 10; ++i) CHECK(rng.below(1) == 0);
  CHECK(rng.below(int64_t{1} << 62) >= 0);
  CHECK_THROWS_AS(rng.below(0), Error);
  CHECK_THROWS_AS(rng.below(-3), Error);
}

TEST_CASE("random: shuffle permutes, and reaches every order") {
  std::set<std::vector<int>> seen;
  Rng rng(5, 0);
  for (int i = 0; i < 200; ++i) {
    std::vector<int> v{1, 2, 3};
    rng.shuffle(std::span<int>(v));
    std::vector<int> sorted = v;
    std::sort(sorted.begin(), sorted.end());
    REQUIRE(sorted == std::vector<int>{1, 2, 3});
    seen.insert(v);
  }
  CHECK(seen.size() == 6);
  std::vector<int> none;
  rng.shuffle(std::span<int>(none));
  CHECK(none.empty());
}

TEST_CASE("random: stream numbers differ by purpose and index") {
  std::set<uint64_t> ids;
  for (const char* purpose : {"", "init", "augment", "order"}) {
    for (uint64_t a = 0; a < 20; ++a) {
      for (uint64_t b = 0; b < 20; ++b) ids.insert(stream_id(purpose, a, b));
    }
  }
  CHECK(ids.size() == 4 * 20 * 20);
  CHECK(stream_id("init", 1, 2) == stream_id("init", 1, 2));
  CHECK(stream_id("init", 1, 2) != stream_id("init", 2, 1));
}
