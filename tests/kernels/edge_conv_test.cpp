// The edge convolution's kernels against scalar loops in f64 that store every edge: values and
// gradients over all slice widths, float against double, ties and degenerate channels, offsets,
// thread counts. (Second-order kernels: the op table, against the composite.)
#include "basin/kernels/edge_conv.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "basin/core/parallel.h"
#include "basin/kernels/launch.h"
#include "basin/tests/kernels/numbers.h"

namespace basin {
namespace {

using testing::random_tensor;
using testing::relative_error;
using testing::same_bits;

constexpr double kEps = 1e-5;
constexpr double kSlope = 0.2;
const Act kActs[] = {Act::none, Act::relu, Act::leaky_relu};

struct Size {
  int64_t batch, points, neighbours, channels;
};

struct Layer {
  Tensor u, v, index, gamma, beta, mean, var, y, ct, du, dv, dgamma, dbeta;
  EdgeConvSaved saved;
  Act act = Act::relu;
  bool given = false;

  // gamma is negative for about half of the channels and zero for the last of several. Indices
  // repeat within a row; some points have no edge into them.
  Layer(const Size& q, DType dtype, Act a, bool given_stats) : act(a), given(given_stats) {
    const Shape nodes{q.batch, q.points, q.channels};
    u = random_tensor(nodes, dtype, 1);
    v = random_tensor(nodes, dtype, 2);
    index = Tensor::empty({q.batch, q.points, q.neighbours}, DType::i32);
    const std::vector<double> draws = testing::numbers<double>(index.numel(), 3);
    for (size_t e = 0; e < draws.size(); ++e) {
      index.mutable_data<int32_t>()[e] =
          static_cast<int32_t>((draws[e] + 1) / 2 * static_cast<double>(q.points));
    }
    gamma = random_tensor({q.channels}, DType::f64, 4);
    if (q.channels > 4) gamma.mutable_data<double>()[q.channels - 1] = 0;
    gamma = gamma.to(dtype);
    beta = random_tensor({q.channels}, dtype, 5);
    mean = random_tensor({q.channels}, dtype, 6);
    var = Tensor::full({q.channels}, dtype, 0.7);
    ct = random_tensor(nodes, dtype, 7);
    for (Tensor* t : {&y, &du, &dv}) *t = Tensor::full(nodes, dtype, 77);
    for (Tensor* t : {&dgamma, &dbeta}) *t = Tensor::full({q.channels}, dtype, 77);
    saved = EdgeConvSaved::empty(nodes, dtype, Device::cpu, given);
  }
  Layer to(DType dtype) const {
    Layer other = *this;
    for (Tensor Layer::*t :
         {&Layer::u, &Layer::v, &Layer::gamma, &Layer::beta, &Layer::mean, &Layer::var, &Layer::y,
          &Layer::ct, &Layer::du, &Layer::dv, &Layer::dgamma, &Layer::dbeta}) {
      other.*t = (this->*t).to(dtype).clone();
    }
    other.saved = EdgeConvSaved::empty(u.shape(), dtype, Device::cpu, given);
    return other;
  }
  void forward() {
    launch<EdgeBnActMaxForward>(Device::cpu, u, v, index, gamma, beta, how(), y, mean, var, saved);
  }
  void backward() {
    EdgeConvTensors grads{du, dv, dgamma, dbeta};
    launch<EdgeBnActMaxBackward>(Device::cpu, EdgeConvPoint{u, v, index, gamma, var, saved, y}, ct,
                                 how(), grads);
  }
  BnAct how() const { return {kEps, act, kSlope, given}; }
  int64_t winner(int64_t i) const { return static_cast<const uint8_t*>(saved.argmax.raw())[i]; }
  int64_t edge(int64_t point, int64_t q) const {  // row of the neighbour
    const int64_t points = u.size(1);
    return point / points * points + index.data<int32_t>()[point * index.size(2) + q];
  }
};

// The definition, channel by channel, in f64. The gradient goes to `route`'s winners where given
// (float ties resolve differently), else to the first; `picks` receives the winners.
void naive(Layer& l, const Layer* route = nullptr, std::vector<int64_t>* picks = nullptr) {
  const int64_t rows = l.u.size(0) * l.u.size(1), k = l.index.size(2), channels = l.u.size(2);
  const auto edges = static_cast<double>(rows * k);
  const double *u = l.u.data<double>(), *v = l.v.data<double>();
  double *du = l.du.mutable_data<double>(), *dv = l.dv.mutable_data<double>();
  l.du.fill(0);
  l.dv.fill(0);
  if (picks) picks->assign(static_cast<size_t>(rows * channels), 0);
  std::vector<double> z(rows * k), dz(rows * k);
  for (int64_t c = 0; c < channels; ++c) {
    double m = 0, s = 0;
    for (int64_t e = 0; e < rows * k; ++e) {
      z[e] = u[e / k * channels + c] + v[l.edge(e / k, e % k) * channels + c];
      m += z[e] / edges;
    }
    for (const double x : z) s += (x - m) * (x - m) / edges;
    if (l.given) {
      m = l.mean.at(c);
      s = l.var.at(c);
    }
    l.mean.mutable_data<double>()[c] = m;
    l.var.mutable_data<double>()[c] = s;
    const double inv = 1 / std::sqrt(s + kEps), gamma = l.gamma.at(c);
    double sum_g = 0, sum_ghat = 0;
    std::fill(dz.begin(), dz.end(), 0.0);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t at = r * channels + c;
      int64_t best = 0;
      for (int64_t q = 1; q < k; ++q) {
        if (gamma * z[r * k + q] > gamma * z[r * k + best]) best = q;  // gamma 0: all tie
      }
      if (picks) (*picks)[static_cast<size_t>(at)] = best;
      if (route) best = route->winner(at);
      const double hat = (z[r * k + best] - m) * inv, affine = gamma * hat + l.beta.at(c);
      const double slope = l.act == Act::none || affine > 0 ? 1 : l.act == Act::relu ? 0 : kSlope;
      const double g = l.ct.at(at) * slope;
      l.y.mutable_data<double>()[at] = slope * affine;
      dz[r * k + best] += gamma * inv * g;
      sum_g += g;
      sum_ghat += g * hat;
    }
    for (int64_t e = 0; e < rows * k; ++e) {
      if (!l.given) dz[e] -= gamma * inv * (sum_g + (z[e] - m) * inv * sum_ghat) / edges;
      du[e / k * channels + c] += dz[e];
      dv[l.edge(e / k, e % k) * channels + c] += dz[e];
    }
    l.dgamma.mutable_data<double>()[c] = sum_ghat;
    l.dbeta.mutable_data<double>()[c] = sum_g;
  }
}

// One to several slices, whole and partial; a slice of every width; clouds beyond the cache.
const Size kSizes[] = {{1, 1, 1, 1},    {1, 1, 4, 6},    {2, 7, 3, 5},     {8, 20, 4, 64},
                       {8, 11, 5, 70},  {4, 30, 20, 33}, {1, 40, 3, 130},  {9, 13, 6, 32},
                       {3, 9, 255, 17}, {8, 5, 2, 200},  {2, 5000, 2, 66}, {1, 300, 7, 16}};

}  // namespace

TEST_CASE("edge conv: f64 agrees with scalar loops") {
  for (const Size& q : kSizes) {
    for (const Act act : kActs) {
      for (const bool given : {false, true}) {
        if (q.points == 5000 && (act != Act::leaky_relu || given)) continue;
        CAPTURE(q.batch);
        CAPTURE(q.points);
        CAPTURE(q.neighbours);
        CAPTURE(q.channels);
        CAPTURE(static_cast<int>(act));
        CAPTURE(given);
        Layer l(q, DType::f64, act, given);
        Layer want = l.to(DType::f64);
        std::vector<int64_t> picks;
        naive(want, nullptr, &picks);
        l.forward();
        l.backward();
        int64_t wrong = 0;
        for (size_t i = 0; i < picks.size(); ++i) {
          wrong += picks[i] != l.winner(static_cast<int64_t>(i));
        }
        CHECK(wrong == 0);
        // One point has variance 0: zhat is pure rounding times 1 / sqrt(eps).
        const double tolerance = q.points == 1 ? 1e-9 : 1e-11;
        CHECK(relative_error(l.mean, want.mean, 1) < 1e-12);
        CHECK(relative_error(l.var, want.var, 1) < 1e-12);
        CHECK(relative_error(l.y, want.y) < tolerance);
        CHECK(relative_error(l.du, want.du, 1) < tolerance);
        CHECK(relative_error(l.dv, want.dv, 1) < tolerance);
        CHECK(relative_error(l.dgamma, want.dgamma, 1) < tolerance);
        CHECK(relative_error(l.dbeta, want.dbeta, 1) < tolerance);
      }
    }
  }
}

TEST_CASE("edge conv: float agrees with double") {
  for (const Size& q : {Size{8, 200, 20, 64}, Size{3, 257, 9, 130}, Size{1, 90, 5, 7}}) {
    for (const Act act : kActs) {
      for (const bool given : {false, true}) {
        CAPTURE(q.channels);
        CAPTURE(given);
        Layer f(q, DType::f32, act, given);
        Layer d = f.to(DType::f64);
        f.forward();
        f.backward();
        naive(d, &f);
        CHECK(relative_error(f.mean, d.mean, 0.1) < 1e-6);
        CHECK(relative_error(f.var, d.var) < 2e-7);
        CHECK(relative_error(f.y, d.y) < 2e-6);
        CHECK(relative_error(f.du, d.du) < 2e-6);
        CHECK(relative_error(f.dv, d.dv) < 2e-6);
        CHECK(relative_error(f.dgamma, d.dgamma) < 2e-6);
        CHECK(relative_error(f.dbeta, d.dbeta) < 2e-6);
      }
    }
  }
}

// A common offset of u and an opposite one of v, far larger than the spread of z.
TEST_CASE("edge conv: offsets do not spoil float statistics") {
  Layer f({4, 300, 10, 40}, DType::f32, Act::leaky_relu, false);
  for (int64_t i = 0; i < f.u.numel(); ++i) {
    f.u.mutable_data<float>()[i] += 3000.F;
    f.v.mutable_data<float>()[i] -= 2900.F;
  }
  Layer d = f.to(DType::f64);
  f.forward();
  f.backward();
  naive(d, &f);
  CHECK(relative_error(f.mean, d.mean) < 1e-7);
  CHECK(relative_error(f.var, d.var) < 2e-7);
  CHECK(relative_error(f.y, d.y) < 2e-6);
  CHECK(relative_error(f.du, d.du) < 2e-6);
  CHECK(relative_error(f.dv, d.dv) < 2e-6);
}

TEST_CASE("edge conv: constant channels, equal points, a NaN") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    Layer flat({3, 50, 4, 9}, dtype, Act::none, false);
    flat.u.fill(0.3);
    flat.v.fill(-7.1);
    flat.forward();
    flat.backward();
    for (int64_t c = 0; c < 9; ++c) {
      CHECK(flat.var.at(c) == 0.0);
      CHECK(flat.mean.at(c) == doctest::Approx(-6.8).epsilon(1e-6));
    }
    for (int64_t i = 0; i < flat.y.numel(); ++i) {
      CHECK(flat.winner(i) == 0);
      CHECK(flat.y.at(i) == flat.beta.at(i % 9));
    }
    CHECK(relative_error(flat.du, flat.du) == 0.0);  // finite
    CHECK(relative_error(flat.dv, flat.dv) == 0.0);
  }
  Layer bad({2, 40, 3, 10}, DType::f32, Act::relu, true);
  bad.v.mutable_data<float>()[17 * 10 + 1] = std::nanf("");
  bad.forward();
  int64_t touched = 0;
  for (int64_t i = 0; i < 40; ++i) {
    bool near = false;
    for (int64_t q = 0; q < 3; ++q) near = near || bad.edge(i, q) == 17;
    touched += near;
    for (int64_t c = 0; c < 10; ++c) {
      CHECK(std::isnan(bad.y.at(i * 10 + c)) == (near && c == 1));
    }
  }
  CHECK(touched > 0);
}

TEST_CASE("edge conv: the same bits for any number of threads and any split of the channels") {
  const int before = num_threads();
  for (const DType dtype : {DType::f32, DType::f64}) {
    Layer first({9, 120, 8, 130}, dtype, Act::leaky_relu, false);
    set_num_threads(1);
    first.forward();
    first.backward();
    for (const int threads : {2, 3}) {
      Layer again({9, 120, 8, 130}, dtype, Act::leaky_relu, false);
      set_num_threads(threads);
      again.forward();
      again.backward();
      for (const Tensor Layer::*t : {&Layer::y, &Layer::mean, &Layer::var, &Layer::du, &Layer::dv,
                                     &Layer::dgamma, &Layer::dbeta}) {
        CHECK(same_bits(again.*t, first.*t));
      }
    }
    // Two channels alone run in another width than among 130.
    Layer few({9, 120, 8, 2}, dtype, Act::leaky_relu, false);
    const auto columns = [&](const Tensor& from, Tensor& to) {
      const int64_t rows = to.numel() / 2, stride = from.numel() / rows;
      for (int64_t r = 0; r < rows; ++r) {
        const size_t bytes = 2 * size_of(dtype);
        std::memcpy(static_cast<char*>(to.mutable_raw()) + static_cast<size_t>(r) * bytes,
                    static_cast<const char*>(from.raw()) +
                        static_cast<size_t>(r * stride + 64) * size_of(dtype),
                    bytes);
      }
    };
    columns(first.u, few.u);
    columns(first.v, few.v);
    columns(first.ct, few.ct);
    columns(first.gamma, few.gamma);
    columns(first.beta, few.beta);
    few.index = first.index;
    few.forward();
    Tensor want = few.y.clone();
    columns(first.y, want);
    CHECK(same_bits(few.y, want));
    Tensor var = few.var.clone();
    columns(first.var, var);
    CHECK(same_bits(few.var, var));
  }
  set_num_threads(before);
}

}  // namespace basin
