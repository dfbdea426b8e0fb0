// knn against brute force in double: sizes, dimensions on both sides of the switch between
// differences and products, clouds whole and in strips, ties, cancellation, values that are not
// finite, refusals, threads.
#include "basin/kernels/knn.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "basin/core/parallel.h"
#include "basin/tests/kernels/numbers.h"

namespace basin {
namespace {

using testing::random_tensor;
using testing::same_bits;

Tensor search(const Tensor& x, int64_t k, bool include_self) {
  Tensor index = Tensor::empty(knn_shape(x, k, include_self), DType::i32);
  Knn::cpu(x, k, include_self, index);
  return index;
}

std::vector<int32_t> brute_force(const Tensor& x, int64_t k, bool include_self) {
  const int64_t clouds = x.size(0), n = x.size(1), dims = x.size(2);
  const std::vector<double> v = x.to_vector<double>();
  std::vector<int32_t> out;
  for (int64_t b = 0; b < clouds; ++b) {
    for (int64_t i = 0; i < n; ++i) {
      std::vector<std::pair<double, int32_t>> all;
      for (int64_t j = 0; j < n; ++j) {
        if (j == i && !include_self) continue;
        double sum = 0;
        for (int64_t d = 0; d < dims; ++d) {
          const double difference = v[(b * n + j) * dims + d] - v[(b * n + i) * dims + d];
          sum += difference * difference;
        }
        const bool number = !std::isnan(sum);
        all.emplace_back(number ? sum : INFINITY, static_cast<int32_t>(j));
      }
      std::sort(all.begin(), all.end());
      for (int64_t q = 0; q < k; ++q) out.push_back(all[static_cast<size_t>(q)].second);
    }
  }
  return out;
}

int64_t mismatches(const Tensor& x, int64_t k, bool include_self) {
  const std::vector<int32_t> got = search(x, k, include_self).to_vector<int32_t>();
  const std::vector<int32_t> want = brute_force(x, k, include_self);
  REQUIRE(got.size() == want.size());
  int64_t bad = 0;
  for (size_t i = 0; i < got.size(); ++i) bad += got[i] != want[i];
  return bad;
}

// Both precisions, self in and out where there are neighbours enough.
void check_exact(const Tensor& x, int64_t k) {
  for (const DType dtype : {DType::f64, DType::f32}) {
    for (const bool include_self : {true, false}) {
      if (k > x.size(1) - !include_self) continue;
      const Tensor points = x.to(dtype);
      CHECK_MESSAGE(mismatches(points, k, include_self) == 0, "x ", x.shape(), ", k ", k, ", ",
                    name_of(dtype), include_self ? ", with self" : ", without self");
    }
  }
}

TEST_CASE("knn: brute force over sizes, dimensions and k") {
  struct Case {
    int64_t batch, points, dims, k;
  };
  const Case cases[] = {{1, 1, 3, 1},     {2, 2, 3, 1},     {3, 17, 3, 5},     {2, 64, 3, 20},
                        {2, 65, 3, 20},   {1, 300, 3, 20},  {1, 500, 3, 40},   {1, 700, 3, 100},
                        {1, 1024, 3, 20}, {2, 100, 1, 7},   {2, 100, 2, 7},    {1, 130, 8, 20},
                        {1, 130, 9, 20},  {2, 1, 64, 1},    {2, 33, 64, 32},   {2, 128, 64, 20},
                        {1, 257, 64, 20}, {1, 300, 128, 9}, {1, 200, 256, 20}, {1, 150, 300, 43},
                        {1, 640, 16, 43}, {1, 640, 16, 44}, {1, 900, 12, 200}, {0, 5, 3, 2},
                        {1, 700, 3, 2},   {1, 500, 64, 3}};
  // One thread multiplies a pair of any of these clouds once; two do where there are two clouds.
  const int before = num_threads();
  for (const int threads : {1, 2}) {
    set_num_threads(threads);
    uint64_t seed = 1;
    for (const Case& c : cases) {
      check_exact(random_tensor({c.batch, c.points, c.dims}, DType::f64, ++seed), c.k);
    }
  }
  set_num_threads(before);
}

TEST_CASE("knn: so many points that products of pairs are not kept") {
  const int before = num_threads();
  set_num_threads(1);  // the number of clouds is no reason then
  CHECK(mismatches(random_tensor({1, 2900, 9}, DType::f32, 31), 20, false) == 0);
  set_num_threads(before);
}

TEST_CASE("knn: k = N gives every point, with and without itself") {
  for (const int64_t dims : {3, 64}) {
    check_exact(random_tensor({2, 41, dims}, DType::f64, 7), 41);
    check_exact(random_tensor({2, 41, dims}, DType::f64, 7), 40);
    check_exact(random_tensor({1, 200, dims}, DType::f64, 8), 200);
  }
}

TEST_CASE("knn: an empty space puts all points at distance zero, in order") {
  CHECK(search(Tensor::zeros({1, 3, 0}, DType::f32), 2, false).to_vector<int32_t>() ==
        std::vector<int32_t>{1, 2, 0, 2, 0, 1});
}

// Points drawn with repetition from `distinct` different ones, on a coarse grid: ties everywhere.
Tensor duplicated(const Shape& shape, int64_t distinct, uint64_t seed) {
  const int64_t dims = shape[2];
  const auto raw = testing::numbers<double>(distinct * dims, seed);
  const auto pick = testing::numbers<double>(shape[0] * shape[1], seed + 1);
  std::vector<double> v;
  for (const double p : pick) {
    const auto which = static_cast<int64_t>((p + 1) / 2 * static_cast<double>(distinct));
    for (int64_t d = 0; d < dims; ++d) v.push_back(std::round(4 * raw[which * dims + d]) / 4);
  }
  return Tensor::from(v, shape);
}

TEST_CASE("knn: ties go to the lowest number") {
  for (const int64_t dims : {1, 2, 3, 5, 9, 64, 130}) {
    check_exact(duplicated({2, 200, dims}, 40, 3), 20);
    check_exact(duplicated({1, 150, dims}, 3, 5), 30);  // far more equal points than k
    check_exact(Tensor::zeros({1, 100, dims}, DType::f64), 10);
  }
  check_exact(duplicated({1, 1024, 3}, 128, 9), 20);
}

TEST_CASE("knn: nearly equal distances far from the origin") {
  for (const int64_t dims : {3, 16, 64}) {
    for (const double offset : {1.0, 100.0, 1e4}) {
      // 40 f32 spacings at the offset: the squares lose every digit of the distance.
      const double spread = 40 * offset * std::numeric_limits<float>::epsilon();
      std::vector<double> v = testing::numbers<double>(400 * dims, 11);
      for (double& value : v) value = static_cast<float>(offset + spread * value);
      const Tensor x = Tensor::from(v, {2, 200, dims});
      check_exact(x, 20);
      // One far point keeps the centred coordinates large.
      for (int64_t d = 0; d < dims; ++d) v[static_cast<size_t>(d)] = -offset;
      check_exact(Tensor::from(v, {2, 200, dims}), 20);
    }
  }
}

TEST_CASE("knn: shells around the first point differ in the last bits only") {
  for (const int64_t dims : {3, 64}) {
    std::vector<double> v(static_cast<size_t>(300 * dims), 0.0);
    for (int64_t j = 1; j < 300; ++j) {
      const double radius = 1 + static_cast<double>(j * 7 % 300) * 0x1p-23;
      v[static_cast<size_t>(j * dims + j % dims)] = j % 2 == 0 ? radius : -radius;
    }
    check_exact(Tensor::from(v, {1, 300, dims}), 20);
  }
}

TEST_CASE("knn: tiny, huge and non-finite coordinates") {
  for (const int64_t dims : {3, 32}) {
    for (const double unit : {1e-25, 1e-33, 1e22, 1e37}) {
      std::vector<double> v = testing::numbers<double>(150 * dims, 13);
      for (double& value : v) value *= unit;
      const Tensor x = Tensor::from(v, {1, 150, dims}).to(DType::f32);
      CHECK(mismatches(x, 12, false) == 0);
      CHECK(mismatches(x, 12, true) == 0);
    }
    std::vector<double> v = testing::numbers<double>(150 * dims, 17);
    v[5] = NAN;
    v[static_cast<size_t>(20 * dims)] = INFINITY;
    v[static_cast<size_t>(30 * dims)] = -INFINITY;
    check_exact(Tensor::from(v, {1, 150, dims}), 20);
    check_exact(Tensor::from(v, {1, 150, dims}), 149);
    check_exact(Tensor::full({1, 70, dims}, DType::f64, NAN), 4);
  }
}

TEST_CASE("knn: the same bits for any thread count") {
  const int before = num_threads();
  for (const Shape& shape :
       std::vector<Shape>{{3, 333, 3}, {1, 500, 3}, {3, 200, 64}, {1, 300, 64}, {2, 97, 12}}) {
    const Tensor x = random_tensor(shape, DType::f32, 19);
    std::vector<Tensor> index;
    for (int threads = 1; threads <= 3; ++threads) {
      set_num_threads(threads);
      index.push_back(search(x, 20, true));
    }
    CHECK(same_bits(index[0], index[1]));
    CHECK(same_bits(index[0], index[2]));
  }
  set_num_threads(before);
}

TEST_CASE("knn: refuses what has no answer") {
  const Tensor x = Tensor::zeros({2, 4, 3}, DType::f32);
  Tensor index = Tensor::empty({2, 4, 3}, DType::i32);
  CHECK_THROWS_WITH(Knn::cpu(x, 5, true, index),
                    "knn: k must be in 1..4 for 4 points with the point itself, got 5");
  CHECK_THROWS_WITH(Knn::cpu(x, 4, false, index),
                    "knn: k must be in 1..3 for 4 points without the point itself, got 4");
  CHECK_THROWS_AS(Knn::cpu(x, 0, true, index), Error);
  CHECK_THROWS_AS(search(Tensor::zeros({1, 1, 3}, DType::f32), 1, false), Error);
  CHECK_THROWS_AS(search(Tensor::zeros({4, 3}, DType::f32), 1, true), Error);
  CHECK_THROWS_AS(search(Tensor::zeros({1, 4, 3}, DType::i32), 1, true), Error);
  CHECK_THROWS_AS(Knn::cpu(x, 2, true, index), Error);  // index of another shape
}

}  // namespace
}  // namespace basin
