// The pool: every tile once, the same cut for any thread count, exceptions, nesting, calls from
// several threads.
#include "basin/core/parallel.h"

#include <doctest/doctest.h>

#include <algorithm>

#include <atomic>
#include <chrono>
#include <cmath>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "basin/core/error.h"

using namespace basin;

namespace {

class ThreadCount {
 public:
  explicit ThreadCount(int n) { set_num_threads(n); }
  ~ThreadCount() { set_num_threads(before_); }

 private:
  int before_ = num_threads();
};

}  // namespace

#if defined(__SSE__)
TEST_CASE("parallel: subnormal numbers are zero within a body, and only there") {
  volatile float least = 1e-38f;  // below the least normal number, 1.18e-38
  volatile double small = 1e-300;
  for (int threads : {1, 2}) {
    const ThreadCount guard(threads);
    for (int64_t tiles : {1, 8}) {
      std::vector<float> read(tiles);
      std::vector<double> made(tiles);
      parallel_tiles(tiles, [&](int64_t t) {
        read[t] = least * 4;
        parallel_tiles(1, [&](int64_t) { made[t] = small * 1e-10; });
      });
      CHECK(std::count(read.begin(), read.end(), 0.f) == tiles);
      CHECK(std::count(made.begin(), made.end(), 0.0) == tiles);
      CHECK(least * 4 > 0);
      CHECK(small * 1e-10 > 0);
      CHECK_THROWS_AS(parallel_tiles(tiles, [](int64_t) { throw std::runtime_error("no"); }),
                      std::runtime_error);
      CHECK(small * 1e-10 > 0);
    }
  }
}
#endif

TEST_CASE("parallel: every element once, in tiles that depend on n and grain only") {
  for (int threads : {1, 2, 3, 8}) {
    const ThreadCount guard(threads);
    CHECK(num_threads() == threads);
    for (int64_t n : {0, 1, 7, 64, 1000}) {
      for (int64_t grain : {1, 3, 64, 5000}) {
        std::vector<std::atomic<int>> hits(n);
        std::vector<std::pair<int64_t, int64_t>> tiles(tile_count(n, grain));
        parallel_for(n, grain, [&](int64_t begin, int64_t end) {
          tiles[begin / grain] = {begin, end};
          for (int64_t i = begin; i < end; ++i) ++hits[i];
        });
        for (int64_t i = 0; i < n; ++i) REQUIRE(hits[i] == 1);
        for (int64_t t = 0; t < static_cast<int64_t>(tiles.size()); ++t) {
          REQUIRE(tiles[t].first == t * grain);
          REQUIRE(tiles[t].second == std::min(n, (t + 1) * grain));
        }
      }
    }
  }
}

TEST_CASE("parallel: partial sums in tile order give the same bits for any thread count") {
  const auto total = [] {
    constexpr int64_t kCount = 100000, kGrain = 777;
    std::vector<float> part(tile_count(kCount, kGrain));
    parallel_for(kCount, kGrain, [&](int64_t begin, int64_t end) {
      float s = 0;
      for (int64_t i = begin; i < end; ++i) s += std::sin(static_cast<float>(i));
      part[begin / kGrain] = s;
    });
    float sum = 0;
    for (float p : part) sum += p;
    return sum;
  };
  const ThreadCount one(1);
  const float wanted = total();
  for (int threads : {2, 3, 5}) {
    const ThreadCount guard(threads);
    for (int repeat = 0; repeat < 10; ++repeat) CHECK(total() == wanted);
  }
}

TEST_CASE("parallel: an exception reaches the caller, and the pool works on") {
  for (int threads : {1, 3}) {
    const ThreadCount guard(threads);
    for (int repeat = 0; repeat < 50; ++repeat) {
      CHECK_THROWS_WITH_AS(parallel_tiles(20,
                                          [](int64_t t) {
                                            if (t == 13) throw std::runtime_error("tile 13");
                                          }),
                           "tile 13", std::runtime_error);
      std::atomic<int> done{0};
      parallel_tiles(20, [&](int64_t) { ++done; });
      REQUIRE(done == 20);
    }
  }
}

TEST_CASE("parallel: of several exceptions that of the lowest tile, whenever it comes") {
  for (int threads : {1, 2, 3}) {
    const ThreadCount guard(threads);
    CHECK_THROWS_WITH_AS(
        parallel_tiles(8,
                       [](int64_t t) {
                         if (t == 0) return;
                         if (t == 1) {
                           std::this_thread::sleep_for(std::chrono::milliseconds(20));
                         }
                         throw std::runtime_error(str("tile ", t));
                       }),
        "tile 1", std::runtime_error);
  }
}

TEST_CASE("parallel: nested regions run in the calling thread") {
  for (int threads : {1, 3}) {
    const ThreadCount guard(threads);
    std::atomic<int> inner{0}, elsewhere{0};
    parallel_tiles(8, [&](int64_t) {
      const auto self = std::this_thread::get_id();
      parallel_tiles(5, [&](int64_t) {
        ++inner;
        if (std::this_thread::get_id() != self) ++elsewhere;
      });
    });
    CHECK(inner == 40);
    CHECK(elsewhere == 0);
    // An exception inside the nested region leaves the outer one intact.
    CHECK_THROWS_AS(parallel_tiles(4,
                                   [](int64_t t) {
                                     parallel_tiles(4, [t](int64_t k) {
                                       if (t == 2 && k == 3) throw std::logic_error("inner");
                                     });
                                   }),
                    std::logic_error);
  }
}

TEST_CASE("parallel: the thread count is between 1 and 256 and fixed inside a region") {
  const ThreadCount guard(2);
  CHECK_THROWS_AS(set_num_threads(0), Error);
  CHECK_THROWS_AS(set_num_threads(257), Error);
  CHECK(num_threads() == 2);
  CHECK_THROWS_AS(parallel_tiles(4, [](int64_t) { set_num_threads(3); }), Error);
  CHECK(num_threads() == 2);
}

TEST_CASE("parallel: regions started by several threads do not disturb each other") {
  const ThreadCount guard(3);
  std::vector<std::thread> callers;
  std::atomic<int64_t> sum{0};
  for (int c = 0; c < 3; ++c) {
    callers.emplace_back([&] {
      for (int i = 0; i < 200; ++i) parallel_tiles(10, [&](int64_t t) { sum += t; });
    });
  }
  for (std::thread& t : callers) t.join();
  CHECK(sum == 3 * 200 * 45);
}

TEST_CASE("parallel: the thread count may be asked for inside a region") {
  const ThreadCount guard(2);
  std::atomic<int> right{0};
  parallel_tiles(8, [&](int64_t) { right += num_threads() == 2; });
  CHECK(right == 8);
}
