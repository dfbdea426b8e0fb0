// The CUDA kernels of point clouds against their CPU forms (compare.h): nearest neighbours, edge
// convolution, sums over targets. Sizes cross the edges of warps, lists, tiles and blocks; both
// signs of the gain, ties, repeated points, values that are not finite. Layers under a maximum:
// kernels_pool_test.cpp.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "basin/kernels/edge_conv.h"
#include "basin/kernels/index.h"
#include "basin/kernels/index_map.h"
#include "basin/kernels/knn.h"
#include "basin/tests/emulation/compare.h"

using namespace basin;
using testing::between;
using testing::compare;
using testing::gains;
using testing::gridded;
using testing::Place;
using testing::stream;
using testing::uniform;

namespace {

// The lists of both devices must be equal, tie by tie.
void compare_neighbours(const char* what, const Tensor& x, int64_t k, bool self) {
  compare("knn", str(what, x.shape(), ", k ", k, self ? "" : ", without self"),
          [&](const Place& on) {
            Tensor index = on.empty({x.size(0), x.size(1), k}, DType::i32);
            launch<Knn>(on.device, on(x), k, self, index);
            return Tensors{index};
          });
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
  struct Case {
    int64_t points, dims, k;
    bool self;
  };
  // Lists of one and of two minima a lane and of several rounds; rows of whole vectors, of pairs
  // and of neither; own points that stay and that are read again; a last tile of one point.
  const Case cases[] = {{270, 3, 21, true},  {257, 2, 21, false}, {520, 3, 4, false},
                        {300, 1, 43, true},  {257, 5, 20, true},  {290, 8, 42, false},
                        {257, 33, 5, false}, {260, 70, 20, true}, {70, 130, 50, true},
                        {257, 131, 3, true}};
  int round = 0;
  for (const Case& c : cases) {
    Rng rng = stream("knn tiles", round++);
    compare_neighbours("x ", uniform(rng, {1, c.points, c.dims}), c.k, c.self);
  }
}

TEST_CASE("emulation: knn where ties and repeated points fill the lists") {
  for (const int64_t dims : {3, 6}) {
    Rng rng = stream("knn repeated", static_cast<int>(dims));
    compare_neighbours("grid ", gridded(rng, {1, 300, dims}, 2), 20, dims == 3);
    compare_neighbours("grid ", gridded(rng, {1, 280, dims}, 2), 42, dims != 3);
    // Padded clouds: one point, many times.
    Tensor x = uniform(rng, {2, 270, dims});
    double* v = x.mutable_data<double>();
    for (int64_t i = 60 * dims; i < 270 * dims; ++i) v[i] = v[59 * dims + i % dims];
    compare_neighbours("padded ", x, 20, true);
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
  Tensor wide = uniform(rng, {1, 300, 20}, 0, 1e-2);
  for (int64_t i = 0; i < wide.numel(); ++i) wide.mutable_data<double>()[i] += 1e3;
  compare_neighbours("far off ", wide, 12, false);
  // Differences below the rounding of f32: all of a neighbourhood is measured.
  compare_neighbours("near ", uniform(rng, {1, 300, 5}, 1, 1 + 1e-7), 12, true);
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
    Tensor far = uniform(rng, {1, 270, dims});
    v = far.mutable_data<double>();
    v[3] = NAN;           // in the point that the others are centred by
    v[100 * dims] = 1e5;  // far from all, but not so far that its square is unknown
    v[101 * dims] = 1e17;
    v[102 * dims] = -1e25;
    compare_neighbours("outliers ", far, 20, true);
    v[3] = 0.5;
    compare_neighbours("outliers ", far, 20, false);
  }
}

namespace {

struct EdgeCase {
  int64_t batch, points, neighbours, channels;
  Act act;
  bool given, ties;
};

// Forward, then the three derivatives at the CPU's results: a value at a kink may round to either
// side, and a winner among near-equals may be another one.
void compare_edge_conv(const EdgeCase& c, int round) {
  Rng rng = stream("edge_conv", round);
  const Shape nodes{c.batch, c.points, c.channels}, row{c.channels};
  const auto values = [&] { return c.ties ? gridded(rng, nodes, 2) : uniform(rng, nodes, -1, 3); };
  const Tensor u = values(), v = values(), ct = uniform(rng, nodes);
  const Tensor index = testing::indices(rng, {c.batch, c.points, c.neighbours}, 0, c.points);
  const Tensor gamma = gains(rng, c.channels), beta = uniform(rng, row);
  const Tensor mean0 = uniform(rng, row), var0 = uniform(rng, row, 0.5, 2);
  const EdgeConvTensors t{uniform(rng, nodes), round % 3 == 1 ? Tensor() : uniform(rng, nodes),
                          uniform(rng, row), uniform(rng, row)};
  const Tensor ct_t = round % 3 == 2 ? Tensor() : uniform(rng, nodes);
  const BnAct how{1e-5, c.act, 0.2, c.given};
  const auto forward = [&](const Place& on, Tensor& mean, Tensor& var, Tensor& y) {
    EdgeConvSaved saved = EdgeConvSaved::empty(nodes, on.dtype, on.device, c.given);
    mean = on(mean0).clone();
    var = on(var0).clone();
    y = on.empty(nodes);
    launch<EdgeBnActMaxForward>(on.device, on(u), on(v), on(index), on(gamma), on(beta), how, y,
                                mean, var, saved);
    return saved;
  };
  const std::string shapes = str("u ", nodes, ", k ", c.neighbours, ", act ",
                                 static_cast<int>(c.act), c.given ? ", given" : "");
  compare("edge_conv", shapes, [&](const Place& on) {
    Tensor mean, var, y, who = on.empty(nodes, DType::i32);
    const EdgeConvSaved saved = forward(on, mean, var, y);
    launch<PickNeighbours>(on.device, saved.argmax, on(index), who);
    return Tensors{y, mean, var, saved.degree, who};
  });
  // The same saved tensors for both devices: the CPU's, in the precision at hand.
  const auto point = [&](const Place& on) {
    Tensor mean, var, y;
    const EdgeConvSaved s = forward({Device::cpu, on.dtype}, mean, var, y);
    EdgeConvSaved saved{s.argmax.to(on.device),
                        s.winner.to(on.device),
                        s.sums.to(on.device),
                        s.degree.to(on.device),
                        s.centre.to(on.device),
                        {},
                        {}};
    if (on.device != Device::cpu && round % 2 == 0) {  // else the edges are sorted again
      Tensor other_mean, other_var, other_y;
      const EdgeConvSaved own = forward(on, other_mean, other_var, other_y);
      saved.start = own.start;
      saved.order = own.order;
    }
    return EdgeConvPoint{on(u), on(v), on(index), on(gamma), on(var), saved, on(y)};
  };
  const auto results = [&](const Place& on) {
    return EdgeConvTensors{on.empty(nodes), on.empty(nodes), on.empty(row), on.empty(row)};
  };
  const auto here = [](const Place& on, const EdgeConvTensors& x) {
    return EdgeConvTensors{on(x.u), on(x.v), on(x.gamma), on(x.beta)};
  };
  // A single edge is its own mean: the terms of du and dv, of size 1 / sqrt(eps), cancel.
  const bool single = c.batch * c.points * c.neighbours == 1;
  const double least = single ? 1 / std::sqrt(1e-5) : 1e-30;
  const auto compare_gradients = [&](const char* kernel, const testing::Launch& launched) {
    compare(kernel, shapes, launched, least);
  };
  compare_gradients("edge_conv_vjp", [&](const Place& on) {
    EdgeConvTensors d = results(on);
    launch<EdgeBnActMaxBackward>(on.device, point(on), on(ct), how, d);
    return Tensors{d.u, d.v, d.gamma, d.beta};
  });
  compare("edge_conv_jvp", shapes, [&](const Place& on) {
    Tensor y_t = on.empty(nodes);
    launch<EdgeBnActMaxTangent>(on.device, point(on), here(on, t), how, y_t);
    return Tensors{y_t};
  });
  compare_gradients("edge_conv_vjp_jvp", [&](const Place& on) {
    EdgeConvTensors d = results(on);
    launch<EdgeBnActMaxBackwardTangent>(on.device, point(on), on(ct), here(on, t), on(ct_t), how,
                                        d);
    return Tensors{d.u, d.v, d.gamma, d.beta};
  });
}

}  // namespace

TEST_CASE("emulation: edge convolution and its derivatives") {
  const EdgeCase cases[] = {{1, 1, 1, 1, Act::relu, false, false},
                            {2, 5, 5, 3, Act::leaky_relu, true, false},
                            {2, 20, 4, 33, Act::leaky_relu, false, false},
                            {1, 9, 1, 64, Act::none, false, false},
                            {3, 50, 7, 5, Act::relu, false, false},
                            {1, 12, 20, 130, Act::leaky_relu, false, false},
                            {2, 11, 6, 40, Act::relu, true, true},
                            {2, 15, 9, 7, Act::none, false, true},
                            {1, 6, 255, 2, Act::leaky_relu, false, false},
                            {2, 40, 3, 2, Act::relu, false, false}};
  int round = 0;
  for (const EdgeCase& c : cases) compare_edge_conv(c, round++);
}

// The lists that the forward pass leaves: every edge once, under its point, rising. Clouds beyond
// and within what a block holds, more points than it has threads, a point that takes every edge.
TEST_CASE("emulation: the edges into each point of an edge convolution") {
  struct Sizes {
    int64_t batch, points, neighbours;
  };
  for (const Sizes& c : {Sizes{1, 1, 1}, {3, 33, 5}, {2, 48, 4}, {2, 49, 4}, {2, 7, 40}}) {
    for (const bool one : {false, true}) {
      Rng rng = stream("edges into", static_cast<int>(c.points));
      const Shape nodes{c.batch, c.points, 2};
      const Tensor index = testing::indices(rng, {c.batch, c.points, c.neighbours},
                                            one ? c.points - 1 : 0, c.points);
      const Tensor u = uniform(rng, nodes).to(Device::cuda),
                   gain = uniform(rng, {2}).to(Device::cuda);
      const auto lists = [&] {
        EdgeConvSaved saved = EdgeConvSaved::empty(nodes, DType::f64, Device::cuda, false);
        Tensor mean = gain.clone(), var = gain.clone(), y = u.clone();
        launch<EdgeBnActMaxForward>(Device::cuda, u, u, index.to(Device::cuda), gain, gain,
                                    BnAct{1e-5, Act::none, 0, false}, y, mean, var, saved);
        return Tensors{saved.start, saved.order, saved.degree};
      };
      const Tensors got = lists();
      const std::vector<int32_t> from = index.to_vector<int32_t>();
      std::vector<int32_t> start{0}, order, degree;
      for (int64_t row = 0; row < c.batch * c.points; ++row) {
        const int64_t cloud = row / c.points, edges = c.points * c.neighbours;
        for (int64_t e = cloud * edges; e < (cloud + 1) * edges; ++e) {
          if (from[static_cast<size_t>(e)] == row % c.points) {
            order.push_back(static_cast<int32_t>(e));
          }
        }
        degree.push_back(static_cast<int32_t>(order.size()) - start.back());
        start.push_back(static_cast<int32_t>(order.size()));
      }
      CHECK(got[0].to_vector<int32_t>() == start);
      CHECK(got[1].to_vector<int32_t>() == order);
      CHECK(got[2].to_vector<int32_t>() == degree);
      testing::each_further_run([&] { CHECK(testing::same_values(lists(), got)); });
    }
  }
}

TEST_CASE("emulation: scatter_sum over many targets, and one that takes many rows") {
  Rng rng = stream("scatter", 0);
  const Tensor x = uniform(rng, {300, 2}), wide = testing::indices(rng, {300}, 0, 9000);
  const Tensor narrow = testing::indices(rng, {300}, 3, 5);
  for (const Tensor& index : {wide, narrow}) {
    compare("scatter_sum", str("x ", x.shape(), ", 9000 targets"), [&](const Place& on) {
      Tensor y = on.empty({9000, 2});
      launch<ScatterSum>(on.device, on(x), on(index), y);
      return Tensors{y};
    });
  }
}
