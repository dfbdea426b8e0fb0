// Batch normalisation against naive f64 loops and central differences: both statistics modes, all
// activations, degenerate shapes and channels, float against double, the same bits for any thread
// count.
#include "basin/kernels/batch_norm.h"

#include <doctest/doctest.h>

#include <cmath>
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

double act_of(Act act, double z) {
  if (act == Act::none || z > 0) return z;
  return act == Act::relu ? 0 : kSlope * z;
}
double act_slope(Act act, double z) {
  if (act == Act::none || z > 0) return 1;
  return act == Act::relu ? 0 : kSlope;
}

struct Layer {
  Tensor x, gamma, beta, mean, var, y, ct, dx, dgamma, dbeta;
  Act act = Act::relu;
  bool given = false;

  Layer(int64_t rows, int64_t channels, DType dtype, Act a, bool given_stats)
      : act(a), given(given_stats) {
    x = random_tensor({rows, channels}, dtype, 1);
    gamma = random_tensor({channels}, dtype, 2);
    beta = random_tensor({channels}, dtype, 3);
    mean = random_tensor({channels}, dtype, 4);
    var = Tensor::full({channels}, dtype, 0.7);
    ct = random_tensor({rows, channels}, dtype, 5);
    y = Tensor::full({rows, channels}, dtype, 77);
    dx = y.clone();
    dgamma = Tensor::full({channels}, dtype, 77);
    dbeta = dgamma.clone();
  }
  Layer to(DType dtype) const {
    Layer other = *this;
    for (Tensor Layer::*t : {&Layer::x, &Layer::gamma, &Layer::beta, &Layer::mean, &Layer::var,
                             &Layer::ct, &Layer::y, &Layer::dx, &Layer::dgamma, &Layer::dbeta}) {
      other.*t = (this->*t).to(dtype).clone();
    }
    return other;
  }
  void forward() { launch<BatchNormForward>(Device::cpu, x, gamma, beta, how(), mean, var, y); }
  void backward() {
    BatchNormTensors grads{dx, dgamma, dbeta};
    launch<BatchNormBackward>(Device::cpu, BatchNormPoint{x, gamma, mean, var, y}, ct, how(),
                              grads);
  }
  BnAct how() const { return {kEps, act, kSlope, given}; }
  double objective() {
    forward();
    double sum = 0;
    for (int64_t i = 0; i < y.numel(); ++i) sum += y.at(i) * ct.at(i);
    return sum;
  }
};

// Fills the outputs of `l` (f64) the plain way; mean and var stay as they are when given.
void naive(Layer& l) {
  const int64_t n = l.gamma.numel(), rows = l.x.numel() / n;
  for (int64_t c = 0; c < n; ++c) {
    double m = l.mean.at(c), v = l.var.at(c);
    if (!l.given) {
      m = v = 0;
      for (int64_t r = 0; r < rows; ++r) m += l.x.at(r * n + c) / rows;
      for (int64_t r = 0; r < rows; ++r) v += std::pow(l.x.at(r * n + c) - m, 2) / rows;
      l.mean.mutable_data<double>()[c] = m;
      l.var.mutable_data<double>()[c] = v;
    }
    const double inv = 1 / std::sqrt(v + kEps);
    double sum_g = 0, sum_gx = 0;
    std::vector<double> g(rows), hat(rows);
    for (int64_t r = 0; r < rows; ++r) {
      hat[r] = (l.x.at(r * n + c) - m) * inv;
      const double z = hat[r] * l.gamma.at(c) + l.beta.at(c);
      l.y.mutable_data<double>()[r * n + c] = act_of(l.act, z);
      g[r] = l.ct.at(r * n + c) * act_slope(l.act, z);
      sum_g += g[r];
      sum_gx += g[r] * hat[r];
    }
    l.dgamma.mutable_data<double>()[c] = sum_gx;
    l.dbeta.mutable_data<double>()[c] = sum_g;
    for (int64_t r = 0; r < rows; ++r) {
      const double centred = l.given ? g[r] : g[r] - sum_g / rows - hat[r] * sum_gx / rows;
      l.dx.mutable_data<double>()[r * n + c] = l.gamma.at(c) * inv * centred;
    }
  }
}

const Act kActs[] = {Act::none, Act::relu, Act::leaky_relu};

TEST_CASE("batch norm: forward and backward agree with the plain loops") {
  const std::pair<int64_t, int64_t> shapes[] = {{1, 1},   {1, 7},     {2, 3},    {5, 1},
                                                {33, 17}, {4097, 18}, {700, 130}};
  for (const auto& shape : shapes) {
    const int64_t rows = shape.first, channels = shape.second;
    for (const Act act : kActs) {
      for (const bool given : {false, true}) {
        CAPTURE(rows);
        CAPTURE(channels);
        CAPTURE(static_cast<int>(act));
        CAPTURE(given);
        Layer l(rows, channels, DType::f64, act, given);
        Layer want = l.to(DType::f64);
        naive(want);
        l.forward();
        l.backward();
        // One row: var = 0 exactly, xhat = 0, so everything but dbeta is zero up to rounding.
        const double floor = 1;
        CHECK(relative_error(l.mean, want.mean) < 1e-12);
        CHECK(relative_error(l.var, want.var, 1e-3) < 1e-12);
        CHECK(relative_error(l.y, want.y) < 1e-12);
        CHECK(relative_error(l.dx, want.dx, floor) < 1e-12);
        CHECK(relative_error(l.dgamma, want.dgamma, floor) < 1e-12);
        CHECK(relative_error(l.dbeta, want.dbeta, floor) < 1e-12);

        Layer f = Layer(rows, channels, DType::f64, act, given).to(DType::f32);
        f.forward();
        f.backward();
        if (rows < 3) continue;  // one or two rows: x - mean is all rounding in float
        Layer d = f.to(DType::f64);
        if (!given) d.mean.fill(0);
        naive(d);
        CHECK(relative_error(f.y, d.y) < 1e-5);
        CHECK(relative_error(f.var, d.var) < 1e-6);
        CHECK(relative_error(f.dx, d.dx) < 1e-5);
        CHECK(relative_error(f.dgamma, d.dgamma) < 1e-5);
        CHECK(relative_error(f.dbeta, d.dbeta) < 1e-5);
      }
    }
  }
}

TEST_CASE("batch norm: backward agrees with central differences") {
  for (const Act act : kActs) {
    for (const bool given : {false, true}) {
      Layer l(23, 5, DType::f64, act, given);
      l.forward();
      l.backward();
      struct Pair {
        Tensor Layer::*input, Layer::*gradient;
      };
      for (const Pair& p : {Pair{&Layer::x, &Layer::dx}, Pair{&Layer::gamma, &Layer::dgamma},
                            Pair{&Layer::beta, &Layer::dbeta}}) {
        const Tensor gradient = (l.*p.gradient).clone();
        for (int64_t i = 0; i < gradient.numel(); ++i) {
          double* value = (l.*p.input).mutable_data<double>() + i;
          const double kept = *value, h = 1e-6;
          *value = kept + h;
          const double up = l.objective();
          *value = kept - h;
          const double down = l.objective();
          *value = kept;
          CHECK((up - down) / (2 * h) == doctest::Approx(gradient.at(i)).epsilon(1e-6));
        }
      }
    }
  }
}

TEST_CASE("batch norm: a large mean, a constant channel, frozen statistics, a NaN") {
  Layer l(3000, 2, DType::f32, Act::none, false);
  for (int64_t r = 0; r < 3000; ++r) {
    l.x.mutable_data<float>()[2 * r] = 1000.f + static_cast<float>(r % 2);
    l.x.mutable_data<float>()[2 * r + 1] = 0.1f;
  }
  l.forward();
  CHECK(l.mean.at(0) == doctest::Approx(1000.5).epsilon(1e-9));
  CHECK(l.var.at(0) == doctest::Approx(0.25).epsilon(1e-7));
  CHECK(l.var.at(1) == 0.0);
  for (int64_t r = 0; r < 3000; r += 97) CHECK(l.y.at(2 * r + 1) == l.beta.at(1));

  Layer frozen = l.to(DType::f32);
  frozen.given = true;
  frozen.y.fill(0);
  frozen.forward();
  CHECK(same_bits(frozen.y, l.y));

  for (const Act act : kActs) {
    Layer bad(40, 3, DType::f32, act, false);
    bad.x.mutable_data<float>()[3 * 7 + 1] = std::nanf("");
    bad.forward();
    CHECK(std::isfinite(bad.y.at(0)));
    CHECK(std::isnan(bad.y.at(1)));
    CHECK(std::isfinite(bad.y.at(2)));
  }
}

TEST_CASE("batch norm: undefined outputs are skipped") {
  Layer l(50, 4, DType::f64, Act::relu, false);
  l.forward();
  l.backward();
  Layer only = l.to(DType::f64);
  only.dx = Tensor();
  only.dbeta = Tensor();
  only.dgamma.fill(0);
  only.backward();
  CHECK_FALSE(only.dx.defined());
  CHECK(same_bits(only.dgamma, l.dgamma));
}

TEST_CASE("batch norm: the same bits for any thread count") {
  const int before = num_threads();
  std::vector<Layer> results;
  for (int threads = 1; threads <= 3; ++threads) {
    set_num_threads(threads);
    results.emplace_back(5000, 48, DType::f32, Act::leaky_relu, false);
    results.back().forward();
    results.back().backward();
  }
  set_num_threads(before);
  for (int i = 1; i < 3; ++i) {
    CHECK(same_bits(results[0].y, results[i].y));
    CHECK(same_bits(results[0].var, results[i].var));
    CHECK(same_bits(results[0].dx, results[i].dx));
    CHECK(same_bits(results[0].dgamma, results[i].dgamma));
    CHECK(same_bits(results[0].dbeta, results[i].dbeta));
  }
}

}  // namespace
}  // namespace basin
