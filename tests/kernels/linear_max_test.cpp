// The closed form of linear + batch norm + activation + max against the plain composite in f64 (z
// stored in full), central differences, degenerate shapes and channels, ties, float against double,
// thread counts.
#include "basin/kernels/linear_max.h"

#include <doctest/doctest.h>

#include <algorithm>
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
const Act kActs[] = {Act::none, Act::relu, Act::leaky_relu};

struct Layer {
  Tensor x, w, bias, gamma, beta, mean, var, y, argmax, ct, dx, dw, dbias, dgamma, dbeta;
  Act act = Act::relu;
  bool given = false;

  // gamma is negative for about half of the channels and zero for the last of several.
  Layer(int64_t b, int64_t n, int64_t in, int64_t out, DType dtype, Act a, bool given_stats)
      : act(a), given(given_stats) {
    x = random_tensor({b, n, in}, DType::f64, 1);
    for (int64_t i = 0; i < x.numel(); ++i) {
      x.mutable_data<double>()[i] += 0.7 * static_cast<double>(i % in);  // columns have means
    }
    x = x.to(dtype);
    w = random_tensor({out, in}, dtype, 2);
    bias = random_tensor({out}, dtype, 3);
    gamma = random_tensor({out}, DType::f64, 4);
    if (out > 4) gamma.mutable_data<double>()[out - 1] = 0;
    gamma = gamma.to(dtype);
    beta = random_tensor({out}, dtype, 5);
    mean = random_tensor({out}, dtype, 6);
    var = Tensor::full({out}, dtype, 0.7);
    ct = random_tensor({b, out}, dtype, 7);
    y = Tensor::full({b, out}, dtype, 77);
    argmax = Tensor::full({b, out}, DType::i32, -1);
    dx = Tensor::full({b, n, in}, dtype, 77);
    dw = Tensor::full({out, in}, dtype, 77);
    dbias = Tensor::full({out}, dtype, 77);
    dgamma = dbias.clone();
    dbeta = dbias.clone();
  }
  Layer to(DType dtype) const {
    Layer other = *this;
    for (Tensor Layer::*t : {&Layer::x, &Layer::w, &Layer::bias, &Layer::gamma, &Layer::beta,
                             &Layer::mean, &Layer::var, &Layer::y, &Layer::ct, &Layer::dx,
                             &Layer::dw, &Layer::dbias, &Layer::dgamma, &Layer::dbeta}) {
      other.*t = (this->*t).to(dtype).clone();
    }
    other.argmax = argmax.clone();
    return other;
  }
  void forward() {
    launch<LinearBnActMaxForward>(Device::cpu, x, w, bias, gamma, beta, how(), y, mean, var, argmax,
                                  nullptr);
  }
  void backward() {
    LinearMaxTensors grads{dx, dw, dbias, dgamma, dbeta};
    launch<LinearBnActMaxBackward>(Device::cpu, point(), ct, how(), grads);
  }
  BnAct how() const { return {kEps, act, kSlope, given}; }
  LinearMaxPoint point(const LinearMaxKept& kept = {}) const {
    return {x, w, bias, gamma, y, mean, var, argmax, kept};
  }
  double objective() {
    forward();
    double sum = 0;
    for (int64_t i = 0; i < y.numel(); ++i) sum += y.at(i) * ct.at(i);
    return sum;
  }
};

double act_of(Act act, double z, double* slope) {
  *slope = act == Act::none || z > 0 ? 1 : (act == Act::relu ? 0 : kSlope);
  return *slope * z;
}

// The composite, channel by channel, in f64: linear, batch norm over B * N, activation, max over n.
// The gradient goes to `route`'s arg-max where given (float ties resolve differently), else to the
// first.
void naive(Layer& l, const Tensor& route = Tensor()) {
  const int64_t batch = l.x.size(0), points = l.x.size(1), in = l.x.size(2), out = l.w.size(0);
  const int64_t rows = batch * points;
  const double *x = l.x.data<double>(), *w = l.w.data<double>();
  l.dx.fill(0);
  l.dw.fill(0);
  std::vector<double> z(rows), hat(rows), dz(rows);
  for (int64_t c = 0; c < out; ++c) {
    double m = 0, v = 0;
    for (int64_t r = 0; r < rows; ++r) {
      z[r] = l.bias.at(c);
      for (int64_t i = 0; i < in; ++i) z[r] += x[r * in + i] * w[c * in + i];
      m += z[r] / static_cast<double>(rows);
    }
    for (int64_t r = 0; r < rows; ++r) v += (z[r] - m) * (z[r] - m) / static_cast<double>(rows);
    if (l.given) {
      m = l.mean.at(c);
      v = l.var.at(c);
    }
    l.mean.mutable_data<double>()[c] = m;
    l.var.mutable_data<double>()[c] = v;
    const double inv = 1 / std::sqrt(v + kEps), gamma = l.gamma.at(c);
    double sum_g = 0, sum_ghat = 0;
    std::fill(dz.begin(), dz.end(), 0.0);
    for (int64_t b = 0; b < batch; ++b) {
      int64_t best = b * points;
      for (int64_t r = b * points; r < (b + 1) * points; ++r) {
        if (gamma * z[r] > gamma * z[best]) best = r;  // gamma 0: all tie
      }
      if (route.defined()) best = b * points + static_cast<int64_t>(route.at(b * out + c));
      hat[b] = (z[best] - m) * inv;
      double slope = 0;
      l.y.mutable_data<double>()[b * out + c] =
          act_of(l.act, gamma * hat[b] + l.beta.at(c), &slope);
      l.argmax.mutable_data<int32_t>()[b * out + c] = static_cast<int32_t>(best - b * points);
      const double g = l.ct.at(b * out + c) * slope;
      dz[best] += gamma * inv * g;
      sum_g += g;
      sum_ghat += g * hat[b];
    }
    double bias = 0;
    for (int64_t r = 0; r < rows; ++r) {
      if (!l.given)
        dz[r] -= gamma * inv * (sum_g + (z[r] - m) * inv * sum_ghat) / static_cast<double>(rows);
      bias += dz[r];
      for (int64_t i = 0; i < in; ++i) {
        l.dx.mutable_data<double>()[r * in + i] += dz[r] * w[c * in + i];
        l.dw.mutable_data<double>()[c * in + i] += dz[r] * x[r * in + i];
      }
    }
    l.dbias.mutable_data<double>()[c] = bias;
    l.dgamma.mutable_data<double>()[c] = sum_ghat;
    l.dbeta.mutable_data<double>()[c] = sum_g;
  }
}

struct Size {
  int64_t batch, points, in, out;
};

TEST_CASE("linear max: f64 agrees with the plain composite") {
  const Size sizes[] = {{1, 1, 1, 1}, {1, 1, 3, 6},   {3, 1, 2, 5},    {1, 9, 1, 1},
                        {2, 5, 3, 7}, {4, 33, 6, 70}, {2, 600, 5, 20}, {3, 140, 17, 300}};
  for (const Size& q : sizes) {
    for (const Act act : kActs) {
      for (const bool given : {false, true}) {
        CAPTURE(q.batch);
        CAPTURE(q.points);
        CAPTURE(q.in);
        CAPTURE(q.out);
        CAPTURE(static_cast<int>(act));
        CAPTURE(given);
        Layer l(q.batch, q.points, q.in, q.out, DType::f64, act, given);
        Layer want = l.to(DType::f64);
        naive(want);
        l.forward();
        l.backward();
        // One row has variance 0: zhat is pure rounding times 1 / sqrt(eps).
        const double tolerance = q.batch * q.points == 1 ? 1e-9 : 1e-11;
        CHECK(same_bits(l.argmax, want.argmax));
        CHECK(relative_error(l.mean, want.mean) < 1e-12);
        CHECK(relative_error(l.var, want.var, 1) < 1e-12);
        CHECK(relative_error(l.y, want.y) < tolerance);
        CHECK(relative_error(l.dx, want.dx, 1) < tolerance);
        CHECK(relative_error(l.dw, want.dw, 1) < tolerance);
        CHECK(relative_error(l.dbias, want.dbias, 1) < tolerance);
        CHECK(relative_error(l.dgamma, want.dgamma, 1) < tolerance);
        CHECK(relative_error(l.dbeta, want.dbeta, 1) < tolerance);
      }
    }
  }
}

TEST_CASE("linear max: float agrees with double") {
  for (const Size& q : {Size{4, 200, 3, 64}, Size{8, 257, 64, 130}, Size{3, 1030, 33, 70}}) {
    for (const Act act : kActs) {
      for (const bool given : {false, true}) {
        CAPTURE(q.in);
        CAPTURE(given);
        Layer f = Layer(q.batch, q.points, q.in, q.out, DType::f64, act, given).to(DType::f32);
        Layer d = f.to(DType::f64);
        f.forward();
        f.backward();
        naive(d, f.argmax);
        CHECK(relative_error(f.mean, d.mean) < 1e-6);
        CHECK(relative_error(f.var, d.var) < 1e-6);
        CHECK(relative_error(f.y, d.y) < 1e-5);
        CHECK(relative_error(f.dx, d.dx) < 1e-5);
        CHECK(relative_error(f.dw, d.dw) < 1e-5);
        CHECK(relative_error(f.dgamma, d.dgamma) < 1e-5);
        CHECK(relative_error(f.dbeta, d.dbeta) < 1e-5);
        if (given) CHECK(relative_error(f.dbias, d.dbias) < 1e-5);
      }
    }
  }
}

TEST_CASE("linear max: backward agrees with central differences") {
  for (const Act act : kActs) {
    for (const bool given : {false, true}) {
      Layer l(3, 11, 4, 6, DType::f64, act, given);
      l.forward();
      l.backward();
      struct Pair {
        Tensor Layer::*input, Layer::*gradient;
      };
      for (const Pair& p : {Pair{&Layer::x, &Layer::dx}, Pair{&Layer::w, &Layer::dw},
                            Pair{&Layer::bias, &Layer::dbias}, Pair{&Layer::gamma, &Layer::dgamma},
                            Pair{&Layer::beta, &Layer::dbeta}}) {
        const Tensor gradient = (l.*p.gradient).clone();
        for (int64_t i = 0; i < gradient.numel(); ++i) {
          // At gamma = 0 the maximum turns into the minimum: no derivative with respect to gamma.
          if (p.input == &Layer::gamma && l.gamma.at(i) == 0) continue;
          double* value = (l.*p.input).mutable_data<double>() + i;
          const double kept = *value, h = 1e-6;
          *value = kept + h;
          const double up = l.objective();
          *value = kept - h;
          const double down = l.objective();
          *value = kept;
          const double slope = (up - down) / (2 * h);
          CHECK(std::fabs(slope - gradient.at(i)) < 1e-6 * (1 + std::fabs(gradient.at(i))));
        }
      }
    }
  }
}

// Every cloud is one pattern of rows repeated, so each maximum is reached several times.
TEST_CASE("linear max: duplicated points give the lowest index") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const int64_t depth : {3, 64, 100}) {
      const int64_t points = 1003, period = 7;
      Layer l(2, points, depth, 129, dtype, Act::relu, false);
      const size_t row = static_cast<size_t>(depth) * size_of(dtype);
      for (int64_t b = 0; b < 2; ++b) {
        char* cloud = static_cast<char*>(l.x.mutable_raw()) + static_cast<size_t>(b * points) * row;
        for (int64_t n = period; n < points; ++n) {
          std::memcpy(cloud + static_cast<size_t>(n) * row,
                      cloud + static_cast<size_t>(n % period) * row, row);
        }
      }
      l.forward();
      int64_t late = 0;
      for (int64_t i = 0; i < l.argmax.numel(); ++i) late += l.argmax.at(i) >= period;
      CAPTURE(depth);
      CAPTURE(name_of(dtype));
      CHECK(late == 0);
    }
  }
}

TEST_CASE("linear max: constant channels, constant points, a NaN") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    Layer l(3, 50, 4, 9, dtype, Act::none, false);
    for (int64_t i = 0; i < 4; ++i) {  // channel 2 has no weights: z is its bias
      if (dtype == DType::f32) l.w.mutable_data<float>()[8 + i] = 0;
      if (dtype == DType::f64) l.w.mutable_data<double>()[8 + i] = 0;
    }
    l.forward();
    l.backward();
    CHECK(l.var.at(2) == 0.0);
    CHECK(l.mean.at(2) == l.bias.at(2));
    for (int64_t b = 0; b < 3; ++b) {
      CHECK(l.y.at(b * 9 + 2) == l.beta.at(2));
      CHECK(l.argmax.at(b * 9 + 2) == 0.0);
    }
    CHECK(relative_error(l.dw, l.dw) == 0.0);  // finite
    CHECK(relative_error(l.dx, l.dx) == 0.0);

    Layer flat(2, 30, 5, 8, dtype, Act::none, false);
    flat.x.fill(0.3);
    flat.forward();
    for (int64_t c = 0; c < 8; ++c) CHECK(flat.var.at(c) == 0.0);
    const double tolerance = dtype == DType::f32 ? 2e-3 : 1e-11;  // rounding of z / sqrt(eps)
    for (int64_t i = 0; i < 16; ++i)
      CHECK(std::fabs(flat.y.at(i) - flat.beta.at(i % 8)) < tolerance);
  }
  for (const Size& q : {Size{2, 40, 3, 10}, Size{2, 300, 40, 130}}) {
    CAPTURE(q.in);
    Layer bad(q.batch, q.points, q.in, q.out, DType::f32, Act::relu, true);
    bad.x.mutable_data<float>()[q.in * 17 + 1] = std::nanf("");
    bad.forward();
    for (int64_t c = 0; c < q.out; ++c) {
      CHECK(std::isnan(bad.y.at(c)));
      CHECK(bad.argmax.at(c) == (bad.gamma.at(c) == 0 ? bad.argmax.at(c) : 17));
      CHECK(std::isfinite(bad.y.at(q.out + c)));
    }
  }
}

TEST_CASE("linear max: a large offset of the points does not spoil float statistics") {
  Layer l = Layer(4, 300, 3, 40, DType::f64, Act::none, false).to(DType::f32);
  for (int64_t i = 0; i < l.x.numel(); ++i) l.x.mutable_data<float>()[i] += 50.f;
  Layer d = l.to(DType::f64);
  l.forward();
  naive(d, l.argmax);
  CHECK(relative_error(l.var, d.var) < 1e-6);
  CHECK(relative_error(l.y, d.y) < 1e-4);
}

TEST_CASE("linear max: moments kept by the forward pass change no bit of the backward pass") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    Layer l(3, 400, 6, 20, dtype, Act::relu, false);
    l.forward();
    l.backward();
    Layer kept = l.to(dtype);
    kept.dx.fill(0);
    kept.dw.fill(0);
    LinearMaxKept kept_sums;
    kept_sums.moments = Tensor::zeros({7, 6}, DType::f64);
    kept_sums.spread = Tensor::zeros({20, 6}, DType::f64);
    const Tensor &moments = kept_sums.moments, &spread = kept_sums.spread;
    LinearBnActMaxForward::cpu(kept.x, kept.w, kept.bias, kept.gamma, kept.beta, kept.how(), kept.y,
                               kept.mean, kept.var, kept.argmax, &kept_sums);
    LinearMaxTensors grads{kept.dx, kept.dw, kept.dbias, kept.dgamma, kept.dbeta};
    LinearBnActMaxBackward::cpu(kept.point(kept_sums), kept.ct, kept.how(), grads);
    double mean = 0, product = 0;
    for (int64_t r = 0; r < 1200; ++r) mean += l.x.at(r * 6 + 1) / 1200;
    for (int64_t r = 0; r < 1200; ++r)
      product += (l.x.at(r * 6 + 1) - mean) * l.x.at(r * 6 + 4) / 1200;
    CHECK(moments.at(1) == doctest::Approx(mean).epsilon(1e-9));
    CHECK(std::fabs(moments.at(6 + 1 * 6 + 4) - product) < 1e-7);
    double row = 0;
    for (int64_t i = 0; i < 6; ++i) row += l.w.at(3 * 6 + i) * moments.at(6 + i * 6 + 4);
    CHECK(spread.at(3 * 6 + 4) == doctest::Approx(row).epsilon(1e-9));
    CHECK(same_bits(kept.y, l.y));
    CHECK(same_bits(kept.dx, l.dx));
    CHECK(same_bits(kept.dw, l.dw));
  }
}

// The tangents of y and of the derivative along one direction, each alone and with what the first
// leaves for the second.
TEST_CASE("linear max: what the tangents share does not change their bits") {
  for (const bool given : {false, true}) {
    for (const bool with_mean : {false, true}) {
      CAPTURE(given);
      CAPTURE(with_mean);
      Layer l(3, 70, 40, 70, DType::f32, Act::leaky_relu, given);
      LinearMaxKept kept;
      if (with_mean) {
        l.y = Tensor::empty({3, 140}, DType::f32);
        l.ct = random_tensor({3, 140}, DType::f32, 8);
        kept.active = Tensor::empty({3, active_blocks(70), 70}, DType::i32);
      }
      LinearBnActMaxForward::cpu(l.x, l.w, l.bias, l.gamma, l.beta, l.how(), l.y, l.mean, l.var,
                                 l.argmax, &kept);
      const auto like = [](const Tensor& t, uint64_t seed) {
        return random_tensor(t.shape(), DType::f32, seed);
      };
      const LinearMaxTensors t{like(l.x, 11), like(l.w, 12), like(l.bias, 13), like(l.gamma, 14),
                               like(l.beta, 15)};
      const auto run = [&](LinearMaxPushed* pushed) {
        LinearMaxTensors d{like(l.x, 1), like(l.w, 1), like(l.bias, 1), like(l.gamma, 1),
                           like(l.beta, 1)};
        Tensor t_y = like(l.y, 1);
        LinearBnActMaxTangent::cpu(l.point(kept), t, l.how(), t_y, pushed);
        LinearBnActMaxBackwardTangent::cpu(l.point(kept), l.ct, t, like(l.ct, 16), l.how(), d,
                                           pushed);
        return std::vector<Tensor>{t_y, d.x, d.w, d.bias, d.gamma, d.beta};
      };
      LinearMaxPushed pushed;
      const std::vector<Tensor> alone = run(nullptr), shared = run(&pushed);
      CHECK(pushed.sums.defined() == with_mean);
      for (size_t i = 0; i < alone.size(); ++i) {
        CAPTURE(i);
        CHECK(same_bits(alone[i], shared[i]));
      }
      // The gradient from sums that tangents left.
      const auto gradient = [&] {
        LinearMaxTensors d{like(l.x, 1), like(l.w, 1), like(l.bias, 1), like(l.gamma, 1),
                           like(l.beta, 1)};
        LinearBnActMaxBackward::cpu(l.point(kept), l.ct, l.how(), d);
        return std::vector<Tensor>{d.x, d.w, d.gamma};
      };
      const std::vector<Tensor> found = gradient();
      kept.sums = pushed.sums;
      const std::vector<Tensor> known = gradient();
      for (size_t i = 0; i < found.size(); ++i) CHECK(same_bits(found[i], known[i]));
    }
  }
}

TEST_CASE("linear max: without inputs the bias is all there is") {
  Layer l(2, 3, 0, 4, DType::f64, Act::none, false);
  l.forward();
  l.backward();
  for (int64_t c = 0; c < 4; ++c) {
    CHECK(l.mean.at(c) == l.bias.at(c));
    CHECK(l.var.at(c) == 0);
    CHECK(l.y.at(4 + c) == l.beta.at(c));
  }
}

TEST_CASE("linear max: undefined outputs are skipped") {
  Layer l(3, 20, 4, 6, DType::f64, Act::none, false);
  l.forward();
  l.backward();
  Layer only = l.to(DType::f64);
  only.dx = only.dbias = only.dgamma = only.dbeta = only.y = Tensor();
  only.dw.fill(0);
  only.backward();
  CHECK_FALSE(only.dx.defined());
  CHECK(same_bits(only.dw, l.dw));
}

TEST_CASE("linear max: the same bits for any thread count") {
  const int before = num_threads();
  for (const bool given : {false, true}) {
    std::vector<Layer> results;
    for (int threads = 1; threads <= 3; ++threads) {
      set_num_threads(threads);
      results.emplace_back(5, 700, 64, 300, DType::f32, Act::leaky_relu, given);
      results.back().forward();
      results.back().backward();
    }
    for (int i = 1; i < 3; ++i) {
      for (Tensor Layer::*t : {&Layer::y, &Layer::mean, &Layer::var, &Layer::argmax, &Layer::dx,
                               &Layer::dw, &Layer::dgamma, &Layer::dbeta, &Layer::dbias}) {
        CHECK(same_bits(results[0].*t, results[i].*t));
      }
    }
  }
  set_num_threads(before);
}

}  // namespace
}  // namespace basin
