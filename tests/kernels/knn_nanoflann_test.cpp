// knn in three dimensions against nanoflann's k-d tree: an oracle that shares no line with the
// kernel. Its distances must be the same as ours; where a point's distances differ clearly from
// each other, so must the neighbours themselves. Skipped where its header was not found.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "basin/kernels/knn.h"
#include "basin/tests/kernels/numbers.h"

#ifdef BASIN_HAS_NANOFLANN
#include <nanoflann.hpp>
#endif

namespace basin {
namespace {

#ifdef BASIN_HAS_NANOFLANN

// The names are nanoflann's. Coordinates in double: its distances are then exact to 1e-15.
struct Cloud {
  std::vector<double> xyz;

  size_t kdtree_get_point_count() const { return xyz.size() / 3; }
  double kdtree_get_pt(size_t i, size_t d) const { return xyz[3 * i + d]; }
  template <class Box>
  bool kdtree_get_bbox(Box&) const {
    return false;
  }
};
using Tree = nanoflann::KDTreeSingleIndexAdaptor<nanoflann::L2_Simple_Adaptor<double, Cloud>, Cloud,
                                                 3, uint32_t>;

struct Disagreement {
  int64_t distances = 0;  // q-th distances that differ
  int64_t numbers = 0;    // neighbours that differ though no tie explains it
  int64_t compared = 0;   // neighbours for which no tie could
};

double distance(const Cloud& cloud, size_t i, size_t j) {
  double sum = 0;
  for (size_t d = 0; d < 3; ++d) {
    const double difference = cloud.xyz[3 * j + d] - cloud.xyz[3 * i + d];
    sum += difference * difference;
  }
  return sum;
}

// One point: our list against the tree's first k + 2 points, of which i itself may be one.
void compare_point(const Cloud& cloud, const Tree& tree, size_t i, bool include_self,
                   const std::vector<int32_t>& ours, Disagreement& found) {
  const size_t k = ours.size(), all = std::min(k + 2, cloud.kdtree_get_point_count());
  std::vector<uint32_t> number(all);
  std::vector<double> square(all);
  REQUIRE(tree.knnSearch(&cloud.xyz[3 * i], all, number.data(), square.data()) == all);
  if (!include_self) {
    // Of many points in this place the tree may have left out i; then any one of them goes.
    size_t at = static_cast<size_t>(std::find(number.begin(), number.end(), i) - number.begin());
    if (at == all) at = 0;
    number.erase(number.begin() + static_cast<ptrdiff_t>(at));
    square.erase(square.begin() + static_cast<ptrdiff_t>(at));
  }
  const auto apart = [&](size_t q) {  // from the next; the end of the cloud is apart
    return q + 1 >= square.size() || square[q + 1] - square[q] > 1e-12 * square[q + 1];
  };
  for (size_t q = 0; q < k; ++q) {
    const double mine = distance(cloud, i, static_cast<size_t>(ours[q]));
    found.distances += std::fabs(mine - square[q]) > 1e-12 * square[q];
    if (!apart(q) || (q > 0 && !apart(q - 1))) continue;
    ++found.compared;
    found.numbers += ours[q] != static_cast<int32_t>(number[q]);
  }
}

Disagreement compare(const Tensor& x, int64_t k, bool include_self) {
  Tensor index = Tensor::empty(knn_shape(x, k, include_self), DType::i32);
  Knn::cpu(x, k, include_self, index);
  const std::vector<int32_t> ours = index.to_vector<int32_t>();
  const std::vector<double> all = x.to_vector<double>();
  const int64_t points = x.size(1);
  Disagreement found;
  for (int64_t b = 0; b < x.size(0); ++b) {
    const auto first = all.begin() + b * points * 3;
    const Cloud cloud{std::vector<double>(first, first + points * 3)};
    Tree tree(3, cloud);
    tree.buildIndex();
    for (int64_t i = 0; i < points; ++i) {
      const auto list = ours.begin() + (b * points + i) * k;
      compare_point(cloud, tree, static_cast<size_t>(i), include_self, {list, list + k}, found);
    }
  }
  return found;
}

// A share of at least `decided` of the neighbours must have been compared by number.
void check_agreement(const Tensor& x, int64_t k, double decided) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const bool include_self : {true, false}) {
      CAPTURE(x.shape());
      CAPTURE(k);
      CAPTURE(include_self);
      const Disagreement found = compare(x.to(dtype), k, include_self);
      CHECK(found.distances == 0);
      CHECK(found.numbers == 0);
      CHECK(static_cast<double>(found.compared) >=
            decided * static_cast<double>(x.size(0) * x.size(1) * k));
    }
  }
}

TEST_CASE("knn and nanoflann: random clouds of several sizes") {
  struct Case {
    int64_t batch, points, k;
  };
  uint64_t seed = 100;
  for (const Case& c : {Case{2, 30, 5}, Case{2, 65, 20}, Case{1, 300, 20}, Case{2, 1024, 20},
                        Case{1, 2048, 40}, Case{1, 700, 1}, Case{1, 500, 100}}) {
    check_agreement(testing::random_tensor({c.batch, c.points, 3}, DType::f32, ++seed), c.k, 0.99);
  }
}

TEST_CASE("knn and nanoflann: a surface, a thin rod and a far cluster") {
  std::vector<double> v = testing::numbers<double>(3 * 1000 * 3, 7);
  for (size_t i = 0; i < 3000; i += 3) {  // the unit sphere
    const double length = std::hypot(v[i], v[i + 1], v[i + 2]);
    for (size_t d = 0; d < 3; ++d) v[i + d] = static_cast<float>(v[i + d] / length);
  }
  for (size_t i = 3000; i < 6000; ++i) v[i] = static_cast<float>(v[i] * (i % 3 == 0 ? 1 : 1e-4));
  for (size_t i = 6000; i < 9000; ++i) v[i] = static_cast<float>(50 + 0.01 * v[i]);
  check_agreement(Tensor::from(v, {3, 1000, 3}), 20, 0.8);
}

TEST_CASE("knn and nanoflann: a grid, where most distances occur several times") {
  std::vector<double> v;
  for (int64_t p = 0; p < 1000; ++p) {
    for (const int64_t c : {p / 100, p / 10 % 10, p % 10}) v.push_back(0.125 * double(c));
  }
  check_agreement(Tensor::from(v, {1, 1000, 3}), 20, 0.0);
  check_agreement(Tensor::from(v, {1, 1000, 3}), 7, 0.0);
}

TEST_CASE("knn and nanoflann: points that occur several times") {
  std::vector<double> v = testing::numbers<double>(600 * 3, 11);
  for (double& value : v) value = static_cast<float>(value);
  for (size_t i = 300; i < 900; ++i) v[i] = v[i - 300];  // 100..299 repeat 0..199
  check_agreement(Tensor::from(v, {1, 600, 3}), 20, 0.1);
  check_agreement(Tensor::from(v, {2, 300, 3}), 10, 0.0);
}

#else

TEST_CASE("knn and nanoflann: random clouds of several sizes") {
  std::printf("SKIPPED: built without nanoflann (Debian: libnanoflann-dev)\n");
}

#endif

}  // namespace
}  // namespace basin
