// Shape: sizes, negative axes, overflow, broadcasting.
#include "basin/core/shape.h"

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "basin/core/error.h"

using namespace basin;

namespace {

std::string sentence_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::usage);
    return e.what();
  }
  FAIL_CHECK("no Error was thrown");
  return "";
}

}  // namespace

TEST_CASE("shape: sizes, rank, elements, text") {
  CHECK(Shape().rank() == 0);
  CHECK(Shape().numel() == 1);
  CHECK(Shape().to_string() == "[]");
  const Shape s{32, 1024, 3};
  CHECK(s.rank() == 3);
  CHECK(s.numel() == 98304);
  CHECK(s.to_string() == "[32, 1024, 3]");
  CHECK(str(s) == s.to_string());
  CHECK(Shape{4, 0, 3}.numel() == 0);
  CHECK(Shape(std::vector<int64_t>{2, 3}) == Shape{2, 3});
  CHECK_FALSE(Shape{2, 3} == Shape{3, 2});
  CHECK_FALSE(Shape{2} == Shape{2, 1});
  CHECK_FALSE(Shape{} == Shape{1});
}

TEST_CASE("shape: axes count from both ends") {
  Shape s{5, 6, 7};
  CHECK(s[0] == 5);
  CHECK(s[-1] == 7);
  CHECK(s[-3] == 5);
  CHECK(s.normalise(-2) == 1);
  s.set(-1, 9);
  CHECK(s == Shape{5, 6, 9});
  const std::string sentence = sentence_of([&] { s.normalise(3); });
  CHECK(sentence.find("3") != std::string::npos);
  CHECK(sentence.find("[5, 6, 9]") != std::string::npos);
  CHECK_THROWS_AS(s.normalise(-4), Error);
  CHECK_THROWS_AS(Shape{}.normalise(0), Error);
}

TEST_CASE("shape: growing and shrinking") {
  Shape s{2, 3};
  s.push_front(7);
  s.push_back(4);
  CHECK(s == Shape{7, 2, 3, 4});
  CHECK(s.without_first() == Shape{2, 3, 4});
  CHECK(Shape{9}.without_first() == Shape{});
  CHECK_THROWS_AS(Shape{}.without_first(), Error);
  Shape full{1, 1, 1, 1, 1, 1, 1, 1};
  CHECK(full.rank() == kMaxRank);
  CHECK_THROWS_AS(full.push_back(1), Error);
  CHECK_THROWS_AS(full.push_front(1), Error);
  CHECK(full.rank() == kMaxRank);
}

TEST_CASE("shape: negative sizes and element counts beyond 63 bits are refused") {
  CHECK_THROWS_AS((Shape{2, -1}), Error);
  constexpr int64_t kBig = int64_t{1} << 31;
  CHECK_THROWS_AS((Shape{kBig, kBig, 4}), Error);
  CHECK_THROWS_AS((Shape{kBig, 0, kBig, kBig}), Error);
  Shape s{2, 3};
  CHECK_THROWS_AS(s.push_back(int64_t{1} << 61), Error);
}

TEST_CASE("shape: set keeps the invariants of the constructor") {
  Shape s{2, 3};
  CHECK_THROWS_AS(s.set(0, -1), Error);
  CHECK_THROWS_AS(s.set(0, int64_t{1} << 62), Error);
}

TEST_CASE("shape: broadcasting follows NumPy") {
  struct Row {
    Shape a, b, wanted;
  };
  for (const Row& r : std::vector<Row>{{{}, {}, {}},
                                       {{}, {2, 3}, {2, 3}},
                                       {{3}, {2, 3}, {2, 3}},
                                       {{2, 1}, {1, 3}, {2, 3}},
                                       {{2, 1, 3}, {4, 1}, {2, 4, 3}},
                                       {{0, 3}, {1, 3}, {0, 3}},
                                       {{1}, {0}, {0}}}) {
    CHECK(broadcast_shapes(r.a, r.b, "op") == r.wanted);
    CHECK(broadcast_shapes(r.b, r.a, "op") == r.wanted);
  }
  const std::string sentence = sentence_of([] { broadcast_shapes({2, 3}, {4}, "mul"); });
  CHECK(sentence.find("mul") == 0);
  CHECK(sentence.find("[2, 3]") != std::string::npos);
  CHECK(sentence.find("[4]") != std::string::npos);
  CHECK_THROWS_AS(broadcast_shapes({0}, {2}, "op"), Error);
}
