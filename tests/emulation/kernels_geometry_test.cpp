// The CUDA kernels of point clouds against their CPU forms (compare.h): nearest neighbours, edge
// convolution, PointNet's wide layer. Sizes cross the edges of warps, lists, tiles and blocks; both
// signs of the gain, ties, repeated points, values that are not finite.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "basin/kernels/knn.h"
#include "basin/tests/emulation/compare.h"

using namespace basin;
using testing::between;
using testing::compare;
using testing::Place;
using testing::uniform;

namespace {

Rng stream(const char* purpose, int round) {
  return Rng(11, stream_id(purpose, static_cast<uint64_t>(round)));
}

// The lists of both devices must be equal, tie by tie.
void compare_neighbours(const char* what, const Tensor& x, int64_t k, bool self) {
  compare("knn", str(what, x.shape(), ", k ", k, self ? "" : ", without self"),
          [&](const Place& on) {
            Tensor index = on.empty({x.size(0), x.size(1), k}, DType::i32);
            launch<Knn>(on.device, on(x), k, self, index);
            return Tensors{index};
          });
}

// On a coarse grid with few different values: ties and repeated points everywhere.
Tensor gridded(Rng& rng, const Shape& shape, int64_t values) {
  std::vector<double> v(static_cast<size_t>(shape.numel()));
  for (double& x : v) x = 0.1 * static_cast<double>(rng.below(values));
  return Tensor::from(v, shape);
}

}  // namespace

TEST_CASE("emulation: knn over sizes, dimensions and k") {
  struct Case {
    int64_t batch, points, dims, k;
    bool self;
  };
  const Case cases[] = {{1, 1, 3, 1, true},    {1, 2, 1, 1, false},   {2, 7, 2, 7, true},
                        {1, 33, 3, 20, false}, {1, 40, 3, 33, true},  {1, 67, 3, 66, false},
                        {2, 20, 4, 5, true},   {1, 34, 64, 9, false}, {1, 9, 128, 9, true},
                        {0, 5, 3, 2, true},    {1, 3, 0, 2, false},   {1, 20, 33, 1, false}};
  int round = 0;
  for (const Case& c : cases) {
    Rng rng = stream("knn", round++);
    compare_neighbours("x ", uniform(rng, {c.batch, c.points, c.dims}), c.k, c.self);
  }
}

TEST_CASE("emulation: knn over several tiles of candidates") {
  for (const int64_t dims : {3, 5}) {
    Rng rng = stream("knn tiles", static_cast<int>(dims));
    const Tensor x = uniform(rng, {1, dims == 3 ? 270 : 140, dims}).to(DType::f32);
    Tensor here = Tensor::empty(knn_shape(x, 4, true), DType::i32), there = here.to(Device::cuda);
    launch<Knn>(Device::cpu, x, 4, true, here);
    launch<Knn>(Device::cuda, x.to(Device::cuda), 4, true, there);
    CHECK(here.to_vector<int32_t>() == there.to_vector<int32_t>());
  }
}

TEST_CASE("emulation: knn breaks ties by number, as the CPU does") {
  for (const int64_t dims : {1, 3, 4, 64}) {
    Rng rng = stream("knn ties", static_cast<int>(dims));
    compare_neighbours("grid ", gridded(rng, {1, 50, dims}, 3), 20, dims % 2 == 0);
  }
  compare_neighbours("equal points ", Tensor::full({1, 40, 3}, DType::f64, 0.3), 35, false);
  Rng rng = stream("knn far", 0);
  Tensor far = uniform(rng, {1, 40, 3}, 0, 1e-3);  // the offset eats digits that order the points
  for (int64_t i = 0; i < far.numel(); ++i) far.mutable_data<double>()[i] += 1e3;
  compare_neighbours("far off ", far, 12, true);
}

TEST_CASE("emulation: knn with overflow, infinities and NaN") {
  Rng rng = stream("knn wild", 0);
  const double infinity = std::numeric_limits<double>::infinity();
  for (const int64_t dims : {3, 10}) {
    Tensor x = uniform(rng, {1, 41, dims});
    double* v = x.mutable_data<double>();
    v[5] = NAN;
    v[4 * dims + 1] = infinity;
    v[7 * dims] = infinity;
    v[8 * dims + 2] = -infinity;
    v[9 * dims] = 3e38;  // its squares exceed f32, not f64
    v[39 * dims] = -3e38;
    compare_neighbours("wild ", x, 41, true);
    compare_neighbours("wild ", x, 10, false);
    compare_neighbours("tiny ", uniform(rng, {1, 20, dims}, 0, 1e-22), 9, true);
  }
}
