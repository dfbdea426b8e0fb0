// The messages of an E(n)-equivariant layer: against scalar loops, the kernels of the derivatives
// against each other (duality, symmetry of the Hessian) for every way the work is cut, float
// against double, thread counts, NaN and the bounds of the sigmoid.
#include "basin/kernels/edge_message.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/edge_message_tile.h"
#include "basin/kernels/launch.h"
#include "basin/tests/kernels/numbers.h"

namespace basin {
namespace {

using testing::numbers;
using testing::random_tensor;
using testing::relative_error;
using testing::same_bits;

using Field = Tensor EdgeMessageTensors::*;
const Field kFields[] = {
    &EdgeMessageTensors::p,   &EdgeMessageTensors::r,   &EdgeMessageTensors::x,
    &EdgeMessageTensors::w_s, &EdgeMessageTensors::w2,  &EdgeMessageTensors::b2,
    &EdgeMessageTensors::w_a, &EdgeMessageTensors::b_a, &EdgeMessageTensors::w_c,
    &EdgeMessageTensors::b_c, &EdgeMessageTensors::w_x};

struct Layer {
  int64_t clouds, nodes, k, d;
  bool attention, moves;

  int64_t rows() const { return clouds * nodes; }
  Tensor result(DType dtype) const { return Tensor::full({rows(), moves ? d + 3 : d}, dtype, 77); }
};

EdgeMessageTensors tensors(const Layer& l, DType dtype, uint64_t seed) {
  EdgeMessageTensors t;
  const auto make = [&](const Shape& shape) { return random_tensor(shape, dtype, ++seed); };
  t.p = make({l.rows(), l.d});
  t.r = make({l.rows(), l.d});
  t.x = make({l.rows(), 3});
  t.w_s = make({l.d});
  t.w2 = make({l.d, l.d});
  t.b2 = make({l.d});
  if (l.attention) {
    t.w_a = make({l.d});
    t.b_a = make({1});
  }
  if (l.moves) {
    t.w_c = make({l.d, l.d});
    t.b_c = make({l.d});
    t.w_x = make({l.d});
  }
  return t;
}

Tensor neighbours(const Layer& l) {
  const std::vector<double> v = numbers<double>(l.rows() * l.k, 99);
  std::vector<int32_t> index;
  for (double u : v) {
    index.push_back(static_cast<int32_t>((u + 1) / 2 * static_cast<double>(l.nodes)));
  }
  return Tensor::from(index, {l.clouds, l.nodes, l.k});
}

MessageEdges edges(const Tensor& index) { return {index, Tensor(), Tensor(), Tensor()}; }

EdgeMessageTensors converted(EdgeMessageTensors t, DType dtype) {
  for (Field f : kFields) {
    if ((t.*f).defined()) t.*f = (t.*f).to(dtype).clone();
  }
  return t;
}

EdgeMessageTensors like(const EdgeMessageTensors& t) {
  EdgeMessageTensors out;
  for (Field f : kFields) {
    if ((t.*f).defined()) out.*f = Tensor::full((t.*f).shape(), (t.*f).dtype(), 77);
  }
  return out;
}

double inner(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (int64_t i = 0; i < a.numel(); ++i) sum += a.at(i) * b.at(i);
  return sum;
}

double inner(const EdgeMessageTensors& a, const EdgeMessageTensors& b) {
  double sum = 0;
  for (Field f : kFields) {
    if ((a.*f).defined()) sum += inner(a.*f, b.*f);
  }
  return sum;
}

void jvp(const EdgeMessageTensors& in, const Tensor& index,
         const std::vector<EdgeMessageTensors>& t, Tensor* value, Tensors& out) {
  launch<EdgeMessageJvp>(Device::cpu, in, edges(index), std::span<const EdgeMessageTensors>(t),
                         value, std::span<Tensor>(out));
}

void vjp_jvp(const EdgeMessageTensors& in, const Tensor& index, const Tensor& ct,
             const std::vector<EdgeMessageTensors>& t, const Tensors& ct_t,
             EdgeMessageTensors* value, std::vector<EdgeMessageTensors>& out) {
  launch<EdgeMessageVjpJvp>(Device::cpu, in, edges(index), ct,
                            std::span<const EdgeMessageTensors>(t), std::span<const Tensor>(ct_t),
                            value, std::span<EdgeMessageTensors>(out));
}

// Everything the four kernels give for one layer.
struct Results {
  Tensor y, y_t;
  EdgeMessageTensors g, g_t, g_tt;  // the VJP, its tangents along t and along (u, ct_t)

  Results(const Layer& l, const Tensor& index, const EdgeMessageTensors& in, const Tensor& ct,
          const EdgeMessageTensors& t, const EdgeMessageTensors& u, const Tensor& ct_t)
      : y(l.result(ct.dtype())), y_t(y.clone()), g(like(in)), g_t(like(in)), g_tt(like(in)) {
    launch<EdgeMessage>(Device::cpu, in, edges(index), y);
    launch<EdgeMessageVjp>(Device::cpu, in, edges(index), ct, g);
    Tensors tangents{y_t};
    jvp(in, index, {t}, nullptr, tangents);
    std::vector<EdgeMessageTensors> one{g_t}, other{g_tt};
    vjp_jvp(in, index, ct, {t}, {Tensor()}, nullptr, one);
    vjp_jvp(in, index, ct, {u}, {ct_t}, nullptr, other);
  }
  Tensors all() const {
    Tensors list{y, y_t};
    for (const EdgeMessageTensors* s : {&g, &g_t, &g_tt}) {
      for (Field f : kFields) {
        if ((s->*f).defined()) list.push_back(s->*f);
      }
    }
    return list;
  }
};

Results results(const Layer& l, DType dtype) {
  const EdgeMessageTensors in = converted(tensors(l, DType::f32, 10), dtype);
  const Tensor ct = random_tensor(l.result(dtype).shape(), DType::f32, 40).to(dtype);
  const Tensor ct_t = random_tensor(l.result(dtype).shape(), DType::f32, 41).to(dtype);
  return Results(l, neighbours(l), in, ct, converted(tensors(l, DType::f32, 50), dtype),
                 converted(tensors(l, DType::f32, 70), dtype), ct_t);
}

// The cuts: parts of one cloud, one task per cloud, several clouds per task, a node per tile.
const Layer kLayers[] = {{1, 61, 9, 5, true, true},   {3, 40, 20, 16, false, true},
                         {40, 7, 3, 13, true, false}, {131, 5, 2, 8, false, true},
                         {2, 9, 150, 4, true, true},  {1, 1, 1, 1, false, false},
                         {2, 13, 7, 70, false, true}};

double silu(double z) { return z / (1 + std::exp(-z)); }

// Row i of the result by the definition.
std::vector<double> expected_row(const Layer& l, const EdgeMessageTensors& in, const Tensor& index,
                                 int64_t i) {
  const int64_t d = l.d;
  std::vector<double> out(d + 3, 0.0), e(d), m(d);
  const auto map = [&](const Tensor& w, const Tensor& b, const std::vector<double>& x, int64_t o) {
    double sum = b.at(o);
    for (int64_t c = 0; c < d; ++c) sum += w.at(o * d + c) * x[c];
    return sum;
  };
  for (int64_t q = 0; q < l.k; ++q) {
    const int64_t j = i / l.nodes * l.nodes + static_cast<int64_t>(index.at(i * l.k + q));
    double s = 0;
    for (int c = 0; c < 3; ++c) s += std::pow(in.x.at(3 * i + c) - in.x.at(3 * j + c), 2);
    for (int64_t c = 0; c < d; ++c) {
      e[c] = silu(in.p.at(i * d + c) + in.r.at(j * d + c) + s * in.w_s.at(c));
    }
    for (int64_t c = 0; c < d; ++c) m[c] = silu(map(in.w2, in.b2, e, c));
    if (l.attention) {
      double gate = in.b_a.at(0);
      for (int64_t c = 0; c < d; ++c) gate += in.w_a.at(c) * m[c];
      for (double& v : m) v /= 1 + std::exp(-gate);
    }
    for (int64_t c = 0; c < d; ++c) out[c] += m[c];
    if (!l.moves) continue;
    double phi = 0;
    for (int64_t c = 0; c < d; ++c) phi += in.w_x.at(c) * silu(map(in.w_c, in.b_c, m, c));
    for (int c = 0; c < 3; ++c) {
      out[d + c] += (in.x.at(3 * i + c) - in.x.at(3 * j + c)) * phi / static_cast<double>(l.k);
    }
  }
  return out;
}

}  // namespace

TEST_CASE("edge_message: the definition in scalar loops") {
  for (const Layer& l : kLayers) {
    const EdgeMessageTensors in = tensors(l, DType::f64, 3);
    const Tensor index = neighbours(l);
    Tensor y = l.result(DType::f64);
    launch<EdgeMessage>(Device::cpu, in, edges(index), y);
    for (int64_t i = 0; i < l.rows(); i += 1 + l.rows() / 30) {
      const std::vector<double> row = expected_row(l, in, index, i);
      for (int64_t c = 0; c < y.size(1); ++c) {
        CHECK(y.at(i * y.size(1) + c) == doctest::Approx(row[c]).epsilon(1e-12));
      }
    }
  }
}

TEST_CASE("edge_message: duality of the tangent kernels, symmetry of the second order") {
  for (const Layer& l : kLayers) {
    CAPTURE(l.clouds);
    CAPTURE(l.d);
    const EdgeMessageTensors in = tensors(l, DType::f64, 3), t = tensors(l, DType::f64, 30),
                             u = tensors(l, DType::f64, 60);
    const Tensor index = neighbours(l);
    const Tensor ct = random_tensor(l.result(DType::f64).shape(), DType::f64, 4);
    const Tensor ct_t = random_tensor(ct.shape(), DType::f64, 5);
    const Results r(l, index, in, ct, t, u, ct_t);
    CHECK(inner(r.y_t, ct) == doctest::Approx(inner(r.g, t)).epsilon(1e-11));
    // <t, (H u + J^T ct_t)> = <H t, u> + <J t, ct_t>
    CHECK(inner(r.g_tt, t) == doctest::Approx(inner(r.g_t, u) + inner(r.y_t, ct_t)).epsilon(1e-11));
    // The derivative of the gradient along t by a central difference.
    EdgeMessageTensors up = converted(in, DType::f64), down = converted(in, DType::f64);
    for (Field f : kFields) {
      if (!(in.*f).defined()) continue;
      for (int64_t i = 0; i < (in.*f).numel(); ++i) {
        (up.*f).mutable_data<double>()[i] += 1e-5 * (t.*f).at(i);
        (down.*f).mutable_data<double>()[i] -= 1e-5 * (t.*f).at(i);
      }
    }
    EdgeMessageTensors a = like(in), b = like(in);
    launch<EdgeMessageVjp>(Device::cpu, up, edges(index), ct, a);
    launch<EdgeMessageVjp>(Device::cpu, down, edges(index), ct, b);
    const double slope = (inner(a, u) - inner(b, u)) / 2e-5;
    CHECK(slope == doctest::Approx(inner(r.g_t, u)).epsilon(1e-6));
  }
}

TEST_CASE("edge_message: float against double, the same bits for any thread count") {
  const int before = num_threads();
  for (const Layer& l : kLayers) {
    CAPTURE(l.clouds);
    CAPTURE(l.d);
    set_num_threads(1);
    const Tensors exact = results(l, DType::f64).all(), plain = results(l, DType::f32).all();
    REQUIRE(exact.size() == plain.size());
    for (size_t i = 0; i < exact.size(); ++i) {
      CAPTURE(i);
      CHECK(relative_error(plain[i].to(DType::f64), exact[i], 1e-6) < 2e-5);
    }
    for (const int threads : {2, 5}) {
      set_num_threads(threads);
      for (const DType dtype : {DType::f32, DType::f64}) {
        const Tensors other = results(l, dtype).all();
        for (size_t i = 0; i < other.size(); ++i) {
          CHECK(same_bits(other[i], dtype == DType::f32 ? plain[i] : exact[i]));
        }
      }
    }
  }
  set_num_threads(before);
}

TEST_CASE("edge_message: several tangents and the value at once give the bits of each alone") {
  for (const Layer& l : kLayers) {
    CAPTURE(l.d);
    for (const DType dtype : {DType::f32, DType::f64}) {
      const EdgeMessageTensors in = tensors(l, dtype, 3);
      std::vector<EdgeMessageTensors> t{tensors(l, dtype, 30), tensors(l, dtype, 60),
                                        tensors(l, dtype, 90)};
      t[1].w2 = t[1].x = Tensor();  // zero
      const Tensor index = neighbours(l), ct = random_tensor(l.result(dtype).shape(), dtype, 4);
      const Tensors ct_t{random_tensor(ct.shape(), dtype, 5), Tensor(),
                         random_tensor(ct.shape(), dtype, 6)};
      Tensor value = l.result(dtype), y = l.result(dtype);
      EdgeMessageTensors gradient = like(in), g = like(in);
      Tensors out{l.result(dtype), l.result(dtype), l.result(dtype)};
      std::vector<EdgeMessageTensors> grads{like(in), like(in), like(in)};
      jvp(in, index, t, &value, out);
      vjp_jvp(in, index, ct, t, ct_t, &gradient, grads);
      launch<EdgeMessage>(Device::cpu, in, edges(index), y);
      launch<EdgeMessageVjp>(Device::cpu, in, edges(index), ct, g);
      CHECK(same_bits(value, y));
      for (Field f : kFields) {
        if ((in.*f).defined()) CHECK(same_bits(gradient.*f, g.*f));
      }
      for (size_t lane = 0; lane < t.size(); ++lane) {
        Tensors alone{l.result(dtype)};
        jvp(in, index, {t[lane]}, nullptr, alone);
        CHECK(same_bits(out[lane], alone[0]));
        std::vector<EdgeMessageTensors> one{like(in)};
        vjp_jvp(in, index, ct, {t[lane]}, {ct_t[lane]}, nullptr, one);
        for (Field f : kFields) {
          if ((in.*f).defined()) CHECK(same_bits(grads[lane].*f, one[0].*f));
        }
      }
    }
  }
}

TEST_CASE("edge_message: a NaN reaches the nodes that see it and no others") {
  const Layer l{2, 30, 4, 64, true, true};
  EdgeMessageTensors in = tensors(l, DType::f32, 3);
  in.p.mutable_data<float>()[7 * 64 + 5] = NAN;
  in.x.mutable_data<float>()[3 * 20] = NAN;
  const Tensor index = neighbours(l);
  Tensor y = l.result(DType::f32);
  launch<EdgeMessage>(Device::cpu, in, edges(index), y);
  for (int64_t i = 0; i < l.rows(); ++i) {
    bool sees = i == 7 || i == 20;
    for (int64_t q = 0; q < l.k; ++q) sees |= i < 30 && index.at(i * l.k + q) == 20;
    for (int64_t c = 0; c < 67; ++c) CHECK(std::isnan(y.at(i * 67 + c)) == sees);
  }
}

template <bool kDivide>
void check_sigmoid() {
  double worst = 0;
  for (int i = -86000; i <= 120000; ++i) {
    const float x = static_cast<float>(i) * 1e-3f;
    const double exact = 1 / (1 + std::exp(-static_cast<double>(x)));
    const double error = std::fabs(edge::sigmoid<kDivide>(x, 87.f) - exact) / exact;
    worst = std::fmax(worst, error - 8e-8 * std::fabs(x));
  }
  CHECK(worst < 2e-7);
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float low : {-87.f, -1e4f, -1e30f, -infinity}) {
    CHECK(edge::sigmoid<kDivide>(low, 87.f) >= 0);
    CHECK(edge::sigmoid<kDivide>(low, 87.f) < 2e-38);
  }
  for (const float high : {20.f, 87.f, 1e30f, infinity}) {
    CHECK(edge::sigmoid<kDivide>(high, 87.f) == doctest::Approx(1).epsilon(1e-7));
  }
  CHECK(std::isnan(edge::sigmoid<kDivide>(NAN, 87.f)));
}

TEST_CASE("edge_message: the sigmoid, with and without a division") {
  check_sigmoid<false>();
  check_sigmoid<true>();
}

TEST_CASE("edge_message: neighbours outside the cloud are refused") {
  const Layer l{2, 5, 3, 4, false, false};
  const EdgeMessageTensors in = tensors(l, DType::f64, 3);
  Tensor y = l.result(DType::f64);
  for (const int32_t wrong : {-1, 5}) {
    Tensor index = neighbours(l);
    index.mutable_data<int32_t>()[11] = wrong;
    CHECK_THROWS_AS(launch<EdgeMessage>(Device::cpu, in, edges(index), y), Error);
  }
}

}  // namespace basin
