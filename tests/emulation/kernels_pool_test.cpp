// The CUDA kernels of layers under a maximum or a mean over points against their CPU forms
// (compare.h): PointNet's wide layer, batch norm under both. Sizes cross the edges of warps and
// tiles; both signs of the gain, ties, repeated points, values that are not finite.
#include <doctest/doctest.h>

#include <cmath>

#include "basin/kernels/linear_max.h"
#include "basin/kernels/norm_pool.h"
#include "basin/tests/emulation/compare.h"

using namespace basin;
using testing::compare;
using testing::gains;
using testing::gridded;
using testing::Place;
using testing::stream;
using testing::uniform;

namespace {

struct WideCase {
  int64_t batch, points, in, out;
  Act act;
  bool given, ties;
};

// Forward, then the derivatives at the CPU's results: a value at a kink may round to either side.
void compare_linear_max(const WideCase& c, int round) {
  Rng rng = stream("linear_max", round);
  const Shape points{c.batch, c.points, c.in}, weights{c.out, c.in}, pooled{c.batch, c.out};
  const Shape row{c.out};
  Tensor x = c.ties ? gridded(rng, points, 2) : uniform(rng, points, -1, 3);
  const Tensor w = uniform(rng, weights), bias = uniform(rng, row), gamma = gains(rng, c.out);
  const Tensor beta = uniform(rng, row), mean0 = uniform(rng, row), ct = uniform(rng, pooled);
  const Tensor var0 = uniform(rng, row, 0.5, 2), t_ct = uniform(rng, pooled);
  const LinearMaxTensors t{uniform(rng, points), uniform(rng, weights), uniform(rng, row),
                           uniform(rng, row), uniform(rng, row)};
  const BnAct how{1e-5, c.act, 0.2, c.given};
  const bool kept = round % 2 == 0;  // the moments, for the passes after the forward one
  const auto forward = [&](const Place& on) {
    LinearMaxPoint p{
        on(x),
        on(w),
        on(bias),
        on(gamma),
        on.empty(pooled),
        on(mean0).clone(),
        on(var0).clone(),
        on.empty(pooled, DType::i32),
        {kept && !c.given ? on.empty({1 + c.in, c.in}, DType::f64) : Tensor(), {}, {}, {}}};
    launch<LinearBnActMaxForward>(on.device, p.x, p.w, p.bias, p.gamma, on(beta), how, p.y, p.mean,
                                  p.var, p.argmax, &p.kept);
    return p;
  };
  const auto primal = [&](const Place& on) {
    const LinearMaxPoint p = forward({Device::cpu, on.dtype});
    const auto here = [&](const Tensor& v) { return v.to(on.device); };
    return LinearMaxPoint{here(p.x),     here(p.w),      here(p.bias),
                          here(p.gamma), here(p.y),      here(p.mean),
                          here(p.var),   here(p.argmax), {here(p.kept.moments), {}, {}, {}}};
  };
  const auto tangents = [&](const Place& on) {
    return LinearMaxTensors{on(t.x), on(t.w), on(t.bias), on(t.gamma), on(t.beta)};
  };
  const auto results = [&](const Place& on) {
    return LinearMaxTensors{on.empty(points), on.empty(weights), on.empty(row), on.empty(row),
                            on.empty(row)};
  };
  const std::string shapes = str("x ", points, ", w ", weights, ", act ", static_cast<int>(c.act),
                                 c.given ? ", given" : "");
  compare("linear_max", shapes, [&](const Place& on) {
    const LinearMaxPoint p = forward(on);
    return Tensors{p.y, p.mean, p.var, p.argmax, p.kept.moments};
  });
  compare("linear_max_vjp", shapes, [&](const Place& on) {
    LinearMaxTensors d = results(on), none;
    launch<LinearBnActMaxBackward>(on.device, primal(on), on(ct), how, d);
    if (round == 0) {  // outputs that nobody asked for, moments that nobody kept
      LinearMaxPoint bare = primal(on);
      bare.kept = {};
      launch<LinearBnActMaxBackward>(on.device, bare, on(ct), how, none);
    }
    return Tensors{d.x, d.w, d.bias, d.gamma, d.beta};
  });
  compare("linear_max_jvp", shapes, [&](const Place& on) {
    Tensor t_y = on.empty(pooled);
    launch<LinearBnActMaxTangent>(on.device, primal(on), tangents(on), how, t_y, nullptr);
    return Tensors{t_y};
  });
  compare("linear_max_vjp_jvp", shapes, [&](const Place& on) {
    LinearMaxTensors d = results(on);
    launch<LinearBnActMaxBackwardTangent>(on.device, primal(on), on(ct), tangents(on), on(t_ct),
                                          how, d, nullptr);
    return Tensors{d.x, d.w, d.bias, d.gamma, d.beta};
  });
}

}  // namespace

TEST_CASE("emulation: the wide layer in closed form and its derivatives") {
  const WideCase cases[] = {
      {3, 1, 2, 1, Act::relu, false, false},      {1, 1, 1, 1, Act::relu, true, false},
      {2, 5, 3, 7, Act::leaky_relu, true, false}, {2, 70, 4, 33, Act::leaky_relu, false, false},
      {3, 9, 2, 130, Act::none, false, false},    {1, 300, 3, 5, Act::relu, false, false},
      {2, 8, 34, 64, Act::relu, true, true},      {2, 20, 5, 9, Act::leaky_relu, false, true},
      {1, 6, 130, 3, Act::none, false, false}};
  int round = 0;
  for (const WideCase& c : cases) compare_linear_max(c, round++);
}

namespace {

struct PoolCase {
  int64_t batch, points, channels;
  Act act;
  bool given, ties;
};

// As above.
void compare_norm_pool(const PoolCase& c, int round) {
  Rng rng = stream("norm_pool", round);
  const Shape points{c.batch, c.points, c.channels}, pooled{c.batch, 2 * c.channels};
  const Shape row{c.channels}, places{c.batch, c.channels};
  const Tensor x = c.ties ? gridded(rng, points, 2) : uniform(rng, points, -1, 3);
  const Tensor gamma = gains(rng, c.channels), beta = uniform(rng, row), mean0 = uniform(rng, row);
  const Tensor var0 = uniform(rng, row, 0.5, 2), ct = uniform(rng, pooled);
  const Tensor t_ct = uniform(rng, pooled);
  const BatchNormTensors t{uniform(rng, points), uniform(rng, row), uniform(rng, row)};
  const BnAct how{1e-5, c.act, 0.2, c.given};
  struct Result {
    NormPoolPoint at;
    Tensor y;
  };
  const auto forward = [&](const Place& on) {
    Result r{{on(x), on(gamma), on(beta), on(mean0).clone(), on(var0).clone(),
              on.empty(places, DType::i32)},
             on.empty(pooled)};
    launch<NormPoolForward>(on.device, r.at.x, r.at.gamma, r.at.beta, how, r.at.mean, r.at.var, r.y,
                            r.at.argmax);
    return r;
  };
  const auto primal = [&](const Place& on) {
    const NormPoolPoint p = forward({Device::cpu, on.dtype}).at;
    const auto here = [&](const Tensor& v) { return v.to(on.device); };
    return NormPoolPoint{here(p.x),    here(p.gamma), here(p.beta),
                         here(p.mean), here(p.var),   here(p.argmax)};
  };
  const auto tangents = [&](const Place& on) {
    return BatchNormTensors{on(t.x), on(t.gamma), on(t.beta)};
  };
  const auto results = [&](const Place& on) {
    return BatchNormTensors{on.empty(points), on.empty(row), on.empty(row)};
  };
  const std::string shapes =
      str("x ", points, ", act ", static_cast<int>(c.act), c.given ? ", given" : "");
  compare("norm_pool", shapes, [&](const Place& on) {
    const Result r = forward(on);
    return Tensors{r.y, r.at.mean, r.at.var, r.at.argmax};
  });
  compare("norm_pool_vjp", shapes, [&](const Place& on) {
    BatchNormTensors d = results(on), none;
    launch<NormPoolBackward>(on.device, primal(on), on(ct), how, d);
    if (round == 0) launch<NormPoolBackward>(on.device, primal(on), on(ct), how, none);
    return Tensors{d.x, d.gamma, d.beta};
  });
  compare("norm_pool_jvp", shapes, [&](const Place& on) {
    Tensor t_y = on.empty(pooled);
    launch<NormPoolTangent>(on.device, primal(on), tangents(on), how, t_y);
    return Tensors{t_y};
  });
  compare("norm_pool_vjp_jvp", shapes, [&](const Place& on) {
    BatchNormTensors d = results(on);
    launch<NormPoolBackwardTangent>(on.device, primal(on), on(ct), tangents(on), on(t_ct), how, d);
    return Tensors{d.x, d.gamma, d.beta};
  });
}

}  // namespace

TEST_CASE("emulation: batch norm under the maximum and the mean, and its derivatives") {
  const PoolCase cases[] = {
      {3, 2, 1, Act::relu, false, false},        {1, 1, 3, Act::leaky_relu, true, false},
      {2, 5, 7, Act::leaky_relu, true, false},   {2, 70, 33, Act::leaky_relu, false, false},
      {3, 9, 130, Act::none, false, false},      {1, 300, 5, Act::relu, false, false},
      {2, 8, 64, Act::relu, true, true},         {2, 20, 9, Act::leaky_relu, false, true},
      {4, 7, 300, Act::leaky_relu, false, false}};
  int round = 0;
  for (const PoolCase& c : cases) compare_norm_pool(c, round++);
}

TEST_CASE("emulation: a NaN, an infinity and repeated points in the wide layer") {
  Rng rng = stream("linear_max wild", 0);
  Tensor x = uniform(rng, {2, 270, 2}, 0.5, 1);
  double* v = x.mutable_data<double>();
  for (int64_t n : {3, 140, 265}) v[2 * n] = v[2 * n + 1] = 7;  // the largest, three times
  v[2 * (270 + 30)] = v[2 * (270 + 200)] = NAN;                 // the last NaN is the winner
  const Tensor w = Tensor::from(std::vector<double>{1, 1, -1, 1, 0, 0}, {3, 2});
  const Tensor gamma = Tensor::from(std::vector<double>{1, -1, 0}, {3}), row = uniform(rng, {3});
  const Tensor var = uniform(rng, {3}, 0.5, 1);
  const auto winners = [&](Device device) {
    const Place on{device, DType::f32};
    Tensor y = on.empty({2, 3}), argmax = on.empty({2, 3}, DType::i32), mean = on(row).clone();
    Tensor variance = on(var).clone();
    launch<LinearBnActMaxForward>(device, on(x), on(w), on(row), on(gamma), on(row),
                                  BnAct{1e-5, Act::relu, 0.0, true}, y, mean, variance, argmax,
                                  nullptr);
    CHECK(std::isnan(y.at(3)));
    return argmax.to_vector<int32_t>();
  };
  const std::vector<int32_t> expected = winners(Device::cpu);
  CHECK(expected[0] == 3);
  CHECK(expected[3] == 200);
  CHECK(winners(Device::cuda) == expected);
}
