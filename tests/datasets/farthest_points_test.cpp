// Farthest-point sampling beside the definition, its ties, and what a set of chosen points is.
#include "basin/datasets/farthest_points.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "basin/core/parallel.h"
#include "basin/core/random.h"
#include "basin/datasets/loader.h"
#include "basin/datasets/npy.h"
#include "basin/tests/core/files.h"

using namespace basin;
using test::check_error;

namespace {

std::vector<float> random_points(int64_t n, uint64_t seed) {
  Rng rng(seed, 0);
  std::vector<float> xyz(static_cast<size_t>(3 * n));
  for (float& x : xyz) x = static_cast<float>(rng.uniform(-1, 1));
  return xyz;
}

float square(const std::vector<float>& xyz, int64_t i, int64_t j) {
  float out = 0;
  for (int64_t axis = 0; axis < 3; ++axis) {
    const float d = xyz[3 * i + axis] - xyz[3 * j + axis];
    out = axis == 0 ? d * d : out + d * d;
  }
  return out;
}

// argmax over the points that are left of the distance to the nearest chosen one.
int64_t next_by_definition(const std::vector<float>& xyz, const std::vector<int64_t>& chosen) {
  const auto n = static_cast<int64_t>(xyz.size() / 3);
  float best = -1;
  int64_t found = -1;
  for (int64_t i = 0; i < n; ++i) {
    if (std::find(chosen.begin(), chosen.end(), i) != chosen.end()) continue;
    float nearest = std::numeric_limits<float>::infinity();
    for (const int64_t j : chosen) nearest = std::min(nearest, square(xyz, i, j));
    if (nearest > best) best = nearest, found = i;
  }
  return found;
}

}  // namespace

TEST_CASE("farthest_points: every choice is the one of the definition") {
  for (const int64_t n : {1, 2, 63, 64, 65, 200}) {
    CAPTURE(n);
    const std::vector<float> xyz = random_points(n, 5);
    const std::vector<int64_t> all = farthest_points(xyz, n);
    REQUIRE(std::set<int64_t>(all.begin(), all.end()).size() == static_cast<size_t>(n));
    for (size_t m = 1; m < all.size(); ++m) {
      REQUIRE(all[m] == next_by_definition(xyz, {all.begin(), all.begin() + m}));
    }
    // A shorter choice is the beginning of a longer one.
    const std::vector<int64_t> few = farthest_points(xyz, (n + 1) / 2);
    CHECK(std::equal(few.begin(), few.end(), all.begin()));
  }
}

TEST_CASE("farthest_points: begins farthest from the mean, ties by the lowest number") {
  // The corners of a square about a point: all are as far; then the opposite corner, then the rest.
  const std::vector<float> corners{0, 0, 0, 1, 1, 0, 1, -1, 0, -1, -1, 0, -1, 1, 0};
  CHECK(farthest_points(corners, 5) == std::vector<int64_t>{1, 3, 2, 4, 0});
  const std::vector<float> same(30, 2.0F);
  std::vector<int64_t> order(10);
  std::iota(order.begin(), order.end(), int64_t{0});
  CHECK(farthest_points(same, 10) == order);
  check_error(ErrorKind::usage, {"1 to 10", "got 0"}, [&] { farthest_points(same, 0); });
  check_error(ErrorKind::usage, {"1 to 10", "got 11"}, [&] { farthest_points(same, 11); });
}

TEST_CASE("farthest_points: the same points whatever the order of the cloud") {
  const std::vector<float> xyz = random_points(150, 6);
  std::vector<int64_t> order(150);
  std::iota(order.begin(), order.end(), int64_t{0});
  Rng(7, 0).shuffle(std::span<int64_t>(order));
  std::vector<float> other;
  for (const int64_t i : order) other.insert(other.end(), &xyz[3 * i], &xyz[3 * i] + 3);
  const auto plain = farthest_points(xyz, 40), shuffled = farthest_points(other, 40);
  for (size_t m = 0; m < plain.size(); ++m) CHECK(order[shuffled[m]] == plain[m]);
}

TEST_CASE("farthest_points: a set that is loaded so holds the choice, for any thread count") {
  const test::TempDir dir;
  std::vector<float> clouds;
  for (uint64_t i = 0; i < 6; ++i) {
    const auto one = random_points(80, 10 + i);
    clouds.insert(clouds.end(), one.begin(), one.end());
  }
  write_npy(dir / "p.npy", Tensor::from(clouds, {6, 80, 3}));
  write_npy(dir / "l.npy", Tensor::from(std::vector<int64_t>{0, 1, 0, 1, 0, 1}, {6}));
  LoadOptions o;
  o.points = 20, o.selection = PointSelection::farthest, o.normalise = Normalisation::none;
  const int threads = num_threads();
  set_num_threads(1);
  const PointCloudSet set = load_npy_set(dir / "p.npy", dir / "l.npy", o);
  set_num_threads(3);
  CHECK(load_npy_set(dir / "p.npy", dir / "l.npy", o).content_hash == set.content_hash);
  set_num_threads(threads);
  REQUIRE(set.points.shape() == Shape{6, 20, 3});
  const auto chosen = farthest_points(std::span(clouds).subspan(240, 240), 20);
  for (size_t m = 0; m < 20; ++m) CHECK(set.xyz(1)[3 * m] == clouds[240 + 3 * chosen[m]]);
  o.points = 0;
  check_error(ErrorKind::usage, {"farthest", "number of points"},
              [&] { load_npy_set(dir / "p.npy", dir / "l.npy", o); });
  LoaderOptions loader;
  loader.selection = PointSelection::farthest;
  check_error(ErrorKind::usage, {"when a set is loaded"}, [&] { PointCloudLoader(set, loader); });
  LoadOptions embedded;
  embedded.points = 16, embedded.limit = 15, embedded.selection = PointSelection::farthest;
  const PointCloudSplits shapes = load_dataset("embedded", embedded);
  CHECK(shapes.train.points.shape() == Shape{15, 16, 3});
  CHECK(shapes.selection == PointSelection::first);
}
