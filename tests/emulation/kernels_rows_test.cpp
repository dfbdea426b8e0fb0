// Kernels that work on whole rows or segments, on the emulated device against the CPU (compare.h):
// softmax, cross-entropy and layer norm with their derivatives, over rows shorter and longer than a
// warp; segment reductions with empty and very unequal segments, ties and NaN.
#include <doctest/doctest.h>

#include <cmath>

#include "basin/kernels/copy.h"
#include "basin/kernels/index.h"
#include "basin/kernels/index_map.h"
#include "basin/kernels/layer_norm.h"
#include "basin/kernels/running_stats.h"
#include "basin/kernels/softmax.h"
#include "basin/tests/emulation/compare.h"

using namespace basin;
using testing::compare;
using testing::Place;
using testing::stream;

namespace {

const Shape kShapes[] = {{3, 5}, {41, 1}, {9, 40}, {150, 33}, {0, 4}};

}  // namespace

TEST_CASE("emulation: softmax and its derivatives") {
  for (int round = 0; round < 5; ++round) {
    Rng rng = stream("softmax", round);
    const Shape& shape = kShapes[round];
    Tensor x = testing::uniform(rng, shape, -4, 4);
    const Tensor c = testing::uniform(rng, shape), t = testing::uniform(rng, shape);
    const Tensor c_t = testing::uniform(rng, shape);
    for (const bool log : {false, true}) {
      Tensor y = x.clone();  // both devices differentiate at the CPU's result
      launch<Softmax>(Device::cpu, log, x, y);
      compare(log ? "log_softmax" : "softmax", str("x ", shape), [&](const Place& on) {
        Tensor out = on.empty(shape), dx = out.clone(), out_t = out.clone();
        Tensor a = out.clone(), b = out.clone();
        launch<Softmax>(on.device, log, on(x), out);
        launch<SoftmaxVjp>(on.device, log, on(y), on(c), dx);
        launch<SoftmaxJvp>(on.device, log, on(y), on(t), out_t);
        launch<SoftmaxVjpJvp>(on.device, log, on(y), on(c), on(t), on(c_t), a);
        launch<SoftmaxVjpJvp>(on.device, log, on(y), on(c), on(t), Tensor(), b);
        return Tensors{out, dx, out_t, a, b};
      });
    }
  }
}

TEST_CASE("emulation: softmax of a row with a NaN is NaN, of minus infinity 0") {
  const Tensor x = Tensor::from(std::vector<double>{1, NAN, 2, 1, -INFINITY, 1}, {2, 3});
  for (const Device device : {Device::cpu, Device::cuda}) {
    Tensor p = x.to(device).clone();
    launch<Softmax>(device, false, x.to(device), p);
    const std::vector<double> v = p.to_vector<double>();
    CHECK((std::isnan(v[0]) && std::isnan(v[1]) && std::isnan(v[2])));
    CHECK((v[3] == 0.5 && v[4] == 0 && v[5] == 0.5));
  }
}

TEST_CASE("emulation: cross-entropy and its derivatives") {
  for (int round = 0; round < 4; ++round) {
    Rng rng = stream("cross_entropy", round);
    const Shape& shape = kShapes[round];
    const double smoothing = round % 2 && shape[1] > 1 ? 0.2 : 0;
    const Tensor x = testing::uniform(rng, shape, -4, 4), t = testing::uniform(rng, shape);
    std::vector<int64_t> classes(static_cast<size_t>(shape[0]));
    for (int64_t& k : classes) k = rng.below(shape[1]);
    const Tensor labels = Tensor::from(classes, {shape[0]});
    const Tensor c = Tensor::full({}, DType::f64, 0.7), c_t = Tensor::full({}, DType::f64, -1.3);
    Tensor y = x.clone(), loss = c.clone();
    launch<CrossEntropy>(Device::cpu, x, labels, smoothing, y, loss);
    compare("cross_entropy", str("x ", shape, ", smoothing ", smoothing), [&](const Place& on) {
      Tensor out = on.empty(shape), value = on.empty(Shape{}), value_t = on.empty(Shape{});
      Tensor dx = on.empty(shape), a = on.empty(shape), b = on.empty(shape);
      launch<CrossEntropy>(on.device, on(x), on(labels), smoothing, out, value);
      launch<CrossEntropyVjp>(on.device, on(y), on(labels), smoothing, on(c), dx);
      launch<CrossEntropyJvp>(on.device, on(y), on(labels), smoothing, on(t), value_t);
      launch<CrossEntropyVjpJvp>(on.device, on(y), on(labels), smoothing, on(c), on(t), on(c_t), a);
      launch<CrossEntropyVjpJvp>(on.device, on(y), on(labels), smoothing, on(c), on(t), Tensor(),
                                 b);
      return Tensors{out, value, value_t, dx, a, b};
    });
  }
}

TEST_CASE("emulation: layer norm and its derivatives") {
  for (int round = 0; round < 5; ++round) {
    Rng rng = stream("layer_norm", round);
    const Shape& shape = kShapes[round];
    const Shape row{shape[1]};
    const Tensor x = testing::uniform(rng, shape), c = testing::uniform(rng, shape);
    const Tensor t = testing::uniform(rng, shape), c_t = testing::uniform(rng, shape);
    const Tensor gamma = testing::uniform(rng, row), beta = testing::uniform(rng, row);
    const Tensor g_t = testing::uniform(rng, row), b_t = testing::uniform(rng, row);
    constexpr double kEps = 1e-2;  // rows of one element are then no division by almost nothing
    const double least = shape[1] == 1 ? 1 : 1e-30;  // in these x - mean cancels to zero
    compare("layer_norm", str("x ", shape), [&](const Place& on) {
      Tensor y = on.empty(shape), y_t = on.empty(shape), z_t = on.empty(shape);
      launch<LayerNormForward>(on.device, on(x), on(gamma), on(beta), kEps, y);
      launch<LayerNormJvp>(on.device, on(x), on(gamma), on(t), on(g_t), on(b_t), kEps, y_t);
      launch<LayerNormJvp>(on.device, on(x), on(gamma), Tensor(), on(g_t), Tensor(), kEps, z_t);
      return Tensors{y, y_t, z_t};
    });
    compare(
        "layer_norm_vjp", str("x ", shape),
        [&](const Place& on) {
          Tensor dx = on.empty(shape), dg = on.empty(row), db = on.empty(row);
          launch<LayerNormVjp>(on.device, on(x), on(gamma), on(c), kEps, dx, dg, db);
          return Tensors{dx, dg, db};
        },
        least);
    compare(
        "layer_norm_vjp_jvp", str("x ", shape),
        [&](const Place& on) {
          Tensor dx = on.empty(shape), dg = on.empty(row), db = on.empty(row);
          Tensor ex = on.empty(shape), eg = on.empty(row), eb = on.empty(row);
          launch<LayerNormVjpJvp>(on.device, on(x), on(gamma), on(c), on(t), on(g_t), on(c_t), kEps,
                                  dx, dg, db);
          launch<LayerNormVjpJvp>(on.device, on(x), on(gamma), on(c), on(t), Tensor(), Tensor(),
                                  kEps, ex, eg, eb);
          return Tensors{dx, dg, db, ex, eg, eb};
        },
        least);
  }
}

TEST_CASE("emulation: segments, one with all rows, empty ones around it, ties and NaN") {
  Rng rng = stream("segments", 9);
  const int64_t rows = 700, width = 3;
  const Tensor x = testing::uniform(rng, {rows, width});
  const Tensor skewed = Tensor::from(std::vector<int32_t>{0, 0, 0, 699, 700, 700}, {6});
  const Tensor none = Tensor::from(std::vector<int32_t>{0, 0, 0}, {3});
  compare("segment_sum", "700 rows in 2 of 5 segments", [&](const Place& on) {
    Tensor y = on.empty({5, width}), nothing = on.empty({2, width});
    launch<SegmentSum>(on.device, on(x), on(skewed), y);
    launch<SegmentSum>(on.device, on.empty({0, width}), on(none), nothing);
    return Tensors{y, nothing};
  });
  Tensor level = testing::indices(rng, {rows, width}, 0, 4).to(DType::f64);  // ties everywhere
  compare("segment_argmax", "ties", [&](const Place& on) {
    Tensor at = on.empty({5, width}, DType::i32), nothing = on.empty({2, width}, DType::i32);
    launch<SegmentArgmax>(on.device, on(level), on(skewed), at);
    launch<SegmentArgmax>(on.device, on.empty({0, width}), on(none), nothing);
    return Tensors{at, nothing};
  });
  level.mutable_data<double>()[9] = NAN;
  Tensor here = Tensor::zeros({5, width}, DType::i32), there = here.to(Device::cuda);
  launch<SegmentArgmax>(Device::cpu, level, skewed, here);
  launch<SegmentArgmax>(Device::cuda, level.to(Device::cuda), skewed.to(Device::cuda), there);
  CHECK(here.to_vector<int32_t>() == there.to_vector<int32_t>());
}

TEST_CASE("emulation: identity") {
  for (const int64_t n : {1, 3, 33, 0}) {
    compare("identity", str("n ", n), [&](const Place& on) {
      Tensor out = on.empty({n, n});
      launch<Identity>(on.device, out);
      return Tensors{out};
    });
  }
}

// More tensors than one launch takes, tensors of several blocks and of none.
TEST_CASE("emulation: scales of many tensors") {
  Rng rng = stream("scale_each", 0);
  Tensors from;
  for (int i = 0; i < 90; ++i) {
    from.push_back(testing::uniform(rng, {i == 7 ? 5000 : i == 8 ? 0 : 1 + rng.below(40)}));
  }
  compare("scale_each", "90 tensors", [&](const Place& on) {
    std::vector<ScaleItem> items;
    Tensors out;
    for (const Tensor& t : from) {
      out.push_back(on.empty(t.shape()));
      items.push_back({on(t), out.back(), 1 + 1 / static_cast<double>(items.size() + 1)});
    }
    launch<ScaleEach>(on.device, std::span(items));
    return out;
  });
}
