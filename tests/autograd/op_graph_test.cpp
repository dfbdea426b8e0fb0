// Rows of the op table: fused ops on neighbour graphs, against the composite of plain ops. Indices
// are drawn with replacement: self edges, repeated neighbours, points that nobody points at. gamma
// takes both signs in every case. Then ties among different points, and the refusals.
#include <cmath>

#include "basin/autograd/detail/compare.h"
#include "basin/tests/autograd/composites.h"
#include "basin/tests/autograd/op_table.h"

using namespace basin;
using namespace basin::table;

namespace {

const std::vector<std::pair<Act, double>> kActs{
    {Act::none, 0}, {Act::relu, 0}, {Act::leaky_relu, 0.2}};

struct Graph {
  int64_t batch, points, neighbours, channels;
  std::string label(Act act) const {
    const char* names[] = {"none", "relu", "leaky relu"};
    return str(batch, " x ", points, ", k ", neighbours, ", ", channels, " channels, ",
               names[static_cast<int>(act)]);
  }
};

const std::vector<Graph> kGraphs{{2, 5, 3, 4}, {1, 7, 4, 1}, {3, 4, 1, 5}, {1, 3, 6, 2}};

Tensor alternating(Rng& rng, int64_t channels) {
  std::vector<double> v(channels);
  for (int64_t c = 0; c < channels; ++c) v[c] = (c % 2 ? -1 : 1) * rng.uniform(0.5, 1.5);
  return Tensor::from(v, {channels});
}

// u, v, gamma, beta
Tensors edge_arguments(Rng& rng, const Graph& g) {
  const Shape nodes{g.batch, g.points, g.channels};
  return {uniform(rng, nodes), uniform(rng, nodes), alternating(rng, g.channels),
          uniform(rng, {g.channels}, -0.3, 0.3)};
}

Tensor edge_index(Rng& rng, const Graph& g) {
  return indices(rng, {g.batch, g.points, g.neighbours}, 0, g.points);
}

Fn edge_op(const Tensor& index, Act act, double slope) {
  return [=](const Tensors& x) -> Tensors {
    return {edge_bn_act_max(x[0], x[1], like(index, x[0]), x[2], x[3], 1e-5, act, slope).y};
  };
}

Fn edge_composite(const Tensor& index, Act act, double slope) {
  return [=](const Tensors& x) -> Tensors {
    return {edge_bn_act_max_composite(x, index, 1e-5, act, slope).y};
  };
}

}  // namespace

OP_ROW(split_edge_map) {
  Cases cases;
  for (const Shape& shape : std::vector<Shape>{{3, 4}, {1, 2}, {5, 6}, {2, 0}, {70, 66}}) {
    Case c = one(
        str("w ", shape), uniform(rng, shape),
        [](const Tensor& w) {
          const EdgeMap halves = split_edge_map(w);
          return square(halves.neighbour) + exp(halves.centre);
        },
        [](const Tensor& w) {
          const int64_t in = w.size(1) / 2;
          const Tensor left = slice(w, 1, 0, in), right = slice(w, 1, in, 2 * in);
          return square(left) + exp(right - left);
        });
    cases.push_back(shape[0] == 70 ? large(std::move(c)) : std::move(c));
  }
  // One half alone: the cotangent of the other is zero.
  cases.push_back(one(
      "neighbour alone", uniform(rng, {2, 6}),
      [](const Tensor& w) { return square(split_edge_map(w).neighbour); },
      [](const Tensor& w) { return square(slice(w, 1, 0, 3)); }));
  Case value = one("values", Tensor::from(std::vector<double>{1, 2, 5, 9}, {1, 4}),
                   [](const Tensor& w) { return split_edge_map(w).centre; });
  value.values = {4, 7};
  cases.push_back(std::move(value));
  return cases;
}

OP_ROW(join_edge_map) {
  Cases cases;
  for (const Shape& shape : std::vector<Shape>{{3, 2}, {1, 1}, {2, 0}, {70, 33}}) {
    Case c = two(
        str("halves ", shape), uniform(rng, shape), uniform(rng, shape),
        [](const Tensor& a, const Tensor& b) { return square(join_edge_map(a, b)); },
        [](const Tensor& a, const Tensor& b) {
          return square(concat({a - b, b}, 1));
        });
    cases.push_back(shape[0] == 70 ? large(std::move(c)) : std::move(c));
  }
  Case value = two("values", Tensor::from(std::vector<double>{1, 2}, {1, 2}),
                   Tensor::from(std::vector<double>{5, 9}, {1, 2}), join_edge_map);
  value.values = {-4, -7, 5, 9};
  cases.push_back(std::move(value));
  return cases;
}

TEST_CASE("split_edge_map, join_edge_map: refusals") {
  const Tensor odd = Tensor::zeros({2, 3}, DType::f64), half = Tensor::zeros({2, 2}, DType::f64);
  CHECK_THROWS_WITH(split_edge_map(odd),
                    "split_edge_map: expects w [out, 2 in] of floats, got [2, 3] f64");
  CHECK_THROWS_WITH(join_edge_map(odd, half),
                    "join_edge_map: expects two halves [out, in] of one type of floats, got [2, 3] "
                    "f64 and [2, 2] f64");
}

OP_ROW(edge_bn_act_max) {
  Cases cases;
  for (const auto& [act, slope] : kActs) {
    for (const Graph& g : kGraphs) {
      const Tensor index = edge_index(rng, g);
      Case c;
      c.label = g.label(act);
      c.x = edge_arguments(rng, g);
      c.f = edge_op(index, act, slope);
      c.reference = edge_composite(index, act, slope);
      cases.push_back(std::move(c));
    }
    const Graph g{3, 300, 9, 40};
    Case c;
    c.label = g.label(act);
    c.x = edge_arguments(rng, g);
    c.f = edge_op(edge_index(rng, g), act, slope);
    cases.push_back(large(c));
  }
  cases[0].order = 3;
  return cases;
}

OP_ROW(edge_bn_act_max_frozen) {
  Cases cases;
  for (const auto& [act, slope] : kActs) {
    for (const Graph& g : {kGraphs[0], kGraphs[1], kGraphs[2], kGraphs[3], Graph{3, 300, 9, 40}}) {
      const auto a = act;
      const double s = slope;
      const Tensor index = edge_index(rng, g);
      const Tensor mean = uniform(rng, {g.channels}), var = uniform(rng, {g.channels}, 0.3, 2);
      Case c;
      c.label = g.label(act);
      c.x = edge_arguments(rng, g);
      c.f = [=](const Tensors& x) -> Tensors {
        return {edge_bn_act_max_frozen(x[0], x[1], like(index, x[0]), x[2], x[3], like(mean, x[0]),
                                       like(var, x[0]), 1e-5, a, s)};
      };
      c.reference = [=](const Tensors& x) -> Tensors {
        return {edge_bn_act_max_frozen_composite(x, index, mean, var, 1e-5, a, s)};
      };
      cases.push_back(g.points == 300 ? large(c) : c);
    }
  }
  return cases;
}

// Different points with equal rows of v (zero distances in the cloud), a gain of zero (every edge
// ties), and both: the edge with the lowest q takes the derivative, in the fused op as in the
// composite, at every order.
TEST_CASE("edge_bn_act_max: ties") {
  Rng rng(31, 0);
  const Graph half{2, 4, 5, 5};
  for (const auto& kind : kActs) {
    const Act act = kind.first;
    const double slope = kind.second;
    for (bool zero_gain : {false, true}) {
      CAPTURE(static_cast<int>(act));
      CAPTURE(zero_gain);
      Tensors x = edge_arguments(rng, half);
      for (int i : {0, 1}) x[i] = concat({x[i], x[i]}, 1);  // points 4..7 repeat 0..3
      if (zero_gain) x[2] = Tensor::from(std::vector<double>{0, 0.7, 0, -0.7, 0}, {5});
      const Tensor index = indices(rng, {2, 8, 5}, 0, 8);
      const Fn fused = edge_op(index, act, slope), plain = edge_composite(index, act, slope);
      const Tensors u = random_like(rng, fused(x)), t = random_like(rng, x);
      CHECK(relative_error(fused(x), plain(x)) <= 1e-13);
      const Tensors g = vjp(fused, x, u).second, h = vjp(plain, x, u).second;
      for (size_t i = 0; i < g.size(); ++i) {
        CAPTURE(i);
        CHECK(relative_error({g[i]}, {h[i]}, 1e-3) <= 1e-12);
      }
      CHECK(relative_error(jvp(fused, x, t).second, jvp(plain, x, t).second) <= 1e-12);
      const auto objective = [&](const Fn& f) -> Fn {
        return [&u, f](const Tensors& in) -> Tensors { return {dot(u[0], f(in)[0])}; };
      };
      const Fn df = grad(objective(fused)), dp = grad(objective(plain));
      const Tensors hessian = jvp(dp, x, t).second;
      CHECK(relative_error(jvp(df, x, t).second, hessian) <= 1e-11);
      CHECK(relative_error(vjp(df, x, t).second, hessian) <= 1e-11);
    }
  }
}

// Error of f32 against f64, of the fused op and of its composite on the same f32 data: the fused
// one is not the worse. Points in three dimensions with their true neighbours, so that z is small
// beside u and v.
TEST_CASE("edge_bn_act_max: in f32 as accurate as the composite") {
  Rng rng(34, 0);
  const Tensor points = uniform(rng, {4, 200, 3});
  const Tensor index = knn(points, 10, true);
  const Tensor w = uniform(rng, {24, 3}, -3, 3);
  const Tensor v = linear(points, w, {}) + 2.0, u = linear(points, uniform(rng, {24, 3}), {}) - v;
  Tensors x{u, v, alternating(rng, 24), uniform(rng, {24}, -0.3, 0.3)}, narrow, wide;
  for (const Tensor& t : x) {
    narrow.push_back(t.to(DType::f32));
    wide.push_back(narrow.back().to(DType::f64));
  }
  const Fn fused = edge_op(index, Act::leaky_relu, 0.2);
  const Fn plain = [&](const Tensors& in) -> Tensors {
    return {edge_bn_act_max_composite(in, index, 1e-5, Act::leaky_relu, 0.2).y};
  };
  const Tensor ct = uniform(rng, u.shape());
  const Tensors t = random_like(rng, x);
  const auto all = [&](const Fn& f, const Tensors& at) {
    Tensors tangents;
    for (const Tensor& d : t) tangents.push_back(d.to(at[0].dtype()));
    const Tensor c = ct.to(at[0].dtype());
    const Fn objective = [&](const Tensors& in) -> Tensors { return {dot(c, f(in)[0])}; };
    return std::vector<Tensors>{f(at), grad(objective)(at),
                                jvp(grad(objective), at, tangents).second};
  };
  const std::vector<Tensors> exact = all(fused, wide), a = all(fused, narrow),
                             b = all(plain, narrow);
  for (size_t order = 0; order < 3; ++order) {
    Tensors of_fused, of_plain;
    for (const Tensor& r : a[order]) of_fused.push_back(r.to(DType::f64));
    for (const Tensor& r : b[order]) of_plain.push_back(r.to(DType::f64));
    const double own = relative_error(of_fused, exact[order]);
    const double composite = relative_error(of_plain, exact[order]);
    CAPTURE(order);
    CAPTURE(own);
    CAPTURE(composite);
    CHECK(own <= 1.2 * composite);
    CHECK(own <= 2e-6);
  }
}

TEST_CASE("edge_bn_act_max: batch statistics are constants, those of all edges") {
  Rng rng(32, 0);
  const Graph g{2, 6, 3, 4};
  const Tensors x = edge_arguments(rng, g);
  const Tensor index = edge_index(rng, g);
  const BatchNormResult fused = edge_bn_act_max(x[0], x[1], index, x[2], x[3]);
  const BatchNormResult plain = edge_bn_act_max_composite(x, index, 1e-5, Act::leaky_relu, 0.2);
  CHECK(relative_error({fused.mean, fused.var}, {plain.mean, plain.var}) <= 1e-13);
  const Fn statistics = [&](const Tensors& in) -> Tensors {
    const BatchNormResult r = edge_bn_act_max(in[0], in[1], index, in[2], in[3]);
    return {sum(r.mean) + sum(r.var)};
  };
  CHECK(norm(grad(statistics)(x)) == 0);
}

TEST_CASE("edge_bn_act_max: refusals") {
  Rng rng(33, 0);
  const Graph g{2, 6, 3, 4};
  const Tensors x = edge_arguments(rng, g);
  const auto run = [&](const Tensor& v, const Tensor& index, Act act = Act::relu) {
    edge_bn_act_max(x[0], v, index, x[2], x[3], 1e-5, act, 0);
  };
  const Tensor index = edge_index(rng, g);
  CHECK_THROWS_WITH(run(slice(x[1], 1, 0, 5), index),
                    "edge_bn_act_max: expects u and v [B, N, C], got [2, 6, 4] and [2, 5, 4]");
  CHECK_THROWS_WITH(run(x[1], reshape(x[0], {2, 6, 4})),
                    "edge_bn_act_max: expects index [2, 6, k] i32, got [2, 6, 4] f64");
  CHECK_THROWS_WITH(run(x[1], Tensor::zeros({2, 6, 256}, DType::i32)),
                    "edge_bn_act_max: at most 255 neighbours fit the one-byte arg-max, got 256");
  Tensor bad = index.clone();
  bad.mutable_data<int32_t>()[20] = 6;
  CHECK_THROWS_WITH(run(x[1], bad), "edge_bn_act_max: index 6 at position 20 is outside 0..5");
  bad.mutable_data<int32_t>()[20] = -1;
  CHECK_THROWS_WITH(run(x[1], bad), "edge_bn_act_max: index -1 at position 20 is outside 0..5");
  CHECK_THROWS_WITH(run(x[1], index, Act::leaky_relu),
                    "edge_bn_act_max: the leaky slope must be positive, got 0");
}
