// Every CUDA kernel against its CPU form over random shapes (compare.h). Shapes cross the edges of
// warps (32), blocks (256) and row tiles (512), and include empty ones.
#include <doctest/doctest.h>

#include <cmath>

#include "basin/kernels/batch_norm.h"
#include "basin/kernels/copy.h"
#include "basin/kernels/cuda/elements.cuh"
#include "basin/kernels/elementwise.h"
#include "basin/kernels/gemm.h"
#include "basin/kernels/index.h"
#include "basin/kernels/index_map.h"
#include "basin/kernels/random_mask.h"
#include "basin/kernels/reduce.h"
#include "basin/tests/emulation/compare.h"

using namespace basin;
using testing::between;
using testing::compare;
using testing::Place;
using testing::stream;

namespace {

constexpr int kRounds = 4;

}  // namespace

TEST_CASE("emulation: elementwise kernels") {
  for (int round = 0; round < kRounds; ++round) {
    Rng rng = stream("elementwise", round);
    const int64_t rows = between(rng, 1, 40), width = between(rng, 1, 70);
    const Tensor x = testing::uniform(rng, {rows, width}, 0.2, 1.5);
    const Tensor t = testing::uniform(rng, {rows, width}), row = testing::uniform(rng, {width});
    const auto unary = static_cast<Unary>(between(rng, 0, static_cast<int64_t>(Unary::sign)));
    compare("unary", str("op ", static_cast<int>(unary), ", x ", x.shape()), [&](const Place& on) {
      Tensor y = on.empty(x.shape()), d = on.empty(x.shape());
      const Tensor here = on(x);
      launch<UnaryMap>(on.device, unary, here, 0.3, y);
      launch<UnaryChain>(on.device, unary, on(t), here, y, 0.3, d);
      return Tensors{y, d};
    });
    compare("binary", str("a ", t.shape(), ", b ", row.shape()), [&](const Place& on) {
      Tensor sum = on.empty(x.shape()), larger = on.empty(x.shape());
      launch<BinaryMap>(on.device, Binary::add, on(t), on(row), sum);
      launch<BinaryMap>(on.device, Binary::maximum, on(t), on(row), larger);
      return Tensors{sum, larger};
    });
  }
}

TEST_CASE("emulation: equal shapes, and broadcasts over outer, middle and several axes") {
  const std::pair<Shape, Shape> cases[] = {
      {{37, 9}, {37, 9}},           {{3, 1, 5}, {3, 7, 5}}, {{4, 1}, {1, 6}},
      {{2, 1, 3, 1}, {1, 4, 1, 5}}, {{}, {5, 3}},           {{0, 4}, {4}},
      {{2, 3, 1, 5}, {3, 4, 1}}};
  int round = 0;
  for (const auto& [left, right] : cases) {
    Rng rng = stream("broadcasts", round++);
    const Tensor a = testing::uniform(rng, left), b = testing::uniform(rng, right);
    const Shape shape = broadcast_shapes(left, right, "binary");
    compare("binary", str("a ", left, ", b ", right), [&](const Place& on) {
      Tensor y = on.empty(shape);
      launch<BinaryMap>(on.device, Binary::sub, on(a), on(b), y);
      return Tensors{y};
    });
  }
}

TEST_CASE("emulation: element numbers are divided without a division") {
  const int64_t most = int64_t{1} << 31;
  std::vector<int64_t> numbers;
  for (int64_t i = 0; i < 300; ++i) numbers.push_back(i);
  for (int bits = 8; bits <= 31; ++bits) {
    for (int64_t near = -2; near <= 1; ++near) numbers.push_back((int64_t{1} << bits) + near);
  }
  Rng rng = stream("divisors", 0);
  for (int k = 0; k < 500; ++k) numbers.push_back(static_cast<int64_t>(rng.below(1u << 31)));
  for (const int64_t d : numbers) {
    if (d < 1 || d > most) continue;
    const cuda::FastDivide by(d, most);
    int64_t wrong = 0;
    const auto look = [&](int64_t i) {
      if (i < 0 || i >= most) return;
      const int64_t q = by.quotient(i);
      if (q != i / d || by.remainder(i, q) != i % d) ++wrong;
    };
    for (const int64_t i : numbers) {
      look(i);
      look(i / d * d);
      look(i / d * d - 1);
    }
    CHECK_MESSAGE(wrong == 0, "divisor ", d);
  }
  const cuda::FastDivide wide(1000, most + 1);  // 64 bits
  CHECK(wide.quotient(most * 5000) == most * 5);
  CHECK(cuda::FastDivide(0, 0).divisor() == 1);  // of an empty tensor
}

TEST_CASE("emulation: copies and fills") {
  for (int round = 0; round < kRounds; ++round) {
    Rng rng = stream("copies", round);
    const int64_t a = between(rng, 1, 9), b = between(rng, 1, 33), c = between(rng, 1, 20);
    const Tensor x = testing::uniform(rng, {a, b, c});
    compare("strided_copy", str("x ", x.shape(), " -> ", Shape{c, a, b}), [&](const Place& on) {
      Tensor y = on.empty({c, a, b});
      launch<StridedCopy>(on.device, on(x), std::array<int64_t, kMaxRank>{1, b * c, c}, y);
      return Tensors{y};
    });
    compare("strided_copy", str("x ", Shape{a, 1, c}, " -> ", x.shape()), [&](const Place& on) {
      Tensor y = on.empty(x.shape());
      launch<StridedCopy>(on.device, on(x), std::array<int64_t, kMaxRank>{c, 0, 1}, y);
      return Tensors{y};
    });
    const int64_t count = between(rng, 1, b), from = b - count;
    compare("copy_axis", str("x ", x.shape(), ", ", count, " from ", from), [&](const Place& on) {
      Tensor y = on.empty({a, count + 3, c});
      launch<Fill>(on.device, 0.5, y);
      launch<CopyAxis>(on.device, on(x), 1, from, count, y, 2);
      return Tensors{y};
    });
  }
}

TEST_CASE("emulation: reductions") {
  for (const Shape& shape :
       {Shape{5, 63, 1}, Shape{5, 64, 1}, Shape{3, 1000, 1}, Shape{4, 7, 33}, Shape{1, 300, 5},
        Shape{1, 64, 33}, Shape{1, 1000, 70}, Shape{3, 100, 40}, Shape{2, 64, 1030}}) {
    Rng rng = stream("reductions", static_cast<int>(shape.numel()));
    const Tensor x = testing::uniform(rng, shape);
    const AxisView view{shape[0], shape[1], shape[2]};
    compare("sum", str("x ", shape), [&](const Place& on) {
      Tensor y = on.empty({shape[0], shape[2]});
      launch<ReduceSum>(on.device, on(x), view, y);
      return Tensors{y};
    });
    compare("argmax", str("x ", shape), [&](const Place& on) {
      Tensor high = on.empty({shape[0], shape[2]}, DType::i32), low = high.clone();
      launch<ArgExtreme>(on.device, Extreme::max, on(x), view, high);
      launch<ArgExtreme>(on.device, Extreme::min, on(x), view, low);
      return Tensors{high, low};
    });
  }
}

TEST_CASE("emulation: arg-max with ties and values that are not numbers") {
  const Shape shape{3, 29, 7};
  Rng rng = stream("arg-max ties", 0);
  std::vector<double> v(static_cast<size_t>(shape.numel()));
  for (double& x : v) x = rng.below(40) == 0 ? NAN : static_cast<double>(rng.below(3) - 1);
  const Tensor x = Tensor::from(v, shape);
  compare("argmax", str("ties ", shape), [&](const Place& on) {
    Tensor high = on.empty({shape[0], shape[2]}, DType::i32), low = high.clone();
    launch<ArgExtreme>(on.device, Extreme::max, on(x), AxisView{3, 29, 7}, high);
    launch<ArgExtreme>(on.device, Extreme::min, on(x), AxisView{3, 29, 7}, low);
    return Tensors{high, low};
  });
}

TEST_CASE("emulation: rows by index") {
  for (int round = 0; round < kRounds; ++round) {
    Rng rng = stream("rows", round);
    const int64_t rows = between(rng, 1, round == 0 ? 1 : 300), width = between(rng, 1, 9);
    const int64_t edges = round == 1 ? 0 : between(rng, 1, 700);
    const Tensor x = testing::uniform(rng, {rows, width}),
                 e = testing::uniform(rng, {edges, width});
    const Tensor index = testing::indices(rng, {edges}, 0, rows);
    const std::string shapes = str("x ", x.shape(), ", index ", index.shape());
    compare("gather", shapes, [&](const Place& on) {
      Tensor y = on.empty({edges, width});
      launch<Gather>(on.device, on(x), on(index), y);
      return Tensors{y};
    });
    compare("scatter_sum", shapes, [&](const Place& on) {
      Tensor y = on.empty({rows, width});
      launch<ScatterSum>(on.device, on(e), on(index), y);
      return Tensors{y};
    });
  }
}

TEST_CASE("emulation: segments") {
  for (int round = 0; round < kRounds; ++round) {
    Rng rng = stream("segments", round);
    const int64_t segments = between(rng, 1, 60), rows = between(rng, 1, 400);
    const int64_t width = between(rng, 1, 7);
    const Tensor x = testing::uniform(rng, {rows, width});
    const Tensor s = testing::uniform(rng, {segments, width});
    const Tensor starts = testing::offsets(rng, segments, rows);
    const std::string shapes = str("x ", x.shape(), ", ", segments, " segments");
    compare("segment_sum", shapes, [&](const Place& on) {
      Tensor y = on.empty(s.shape());
      launch<SegmentSum>(on.device, on(x), on(starts), y);
      return Tensors{y};
    });
    compare("segment_expand", shapes, [&](const Place& on) {
      Tensor y = on.empty(x.shape());
      launch<SegmentExpand>(on.device, on(s), on(starts), y);
      return Tensors{y};
    });
    compare("segment_argmax", shapes, [&](const Place& on) {
      Tensor y = on.empty(s.shape(), DType::i32);
      launch<SegmentArgmax>(on.device, on(x), on(starts), y);
      return Tensors{y};
    });
    compare("segment_inverse", shapes, [&](const Place& on) {
      Tensor y = on.empty({segments});
      launch<SegmentInverse>(on.device, on(starts), y);
      return Tensors{y};
    });
  }
}

TEST_CASE("emulation: elements along an axis, index maps, labels") {
  for (int round = 0; round < kRounds; ++round) {
    Rng rng = stream("along", round);
    const int64_t a = between(rng, 1, 6), n = between(rng, 1, 30), m = between(rng, 1, 20);
    const int64_t c = between(rng, 1, 8);
    const Tensor x = testing::uniform(rng, {a, n, c}), u = testing::uniform(rng, {a, m, c});
    const Tensor index = testing::indices(rng, {a, m, c}, -1, n);
    const std::string shapes = str("x ", x.shape(), ", index ", index.shape());
    compare("take_along", shapes, [&](const Place& on) {
      Tensor y = on.empty(u.shape());
      launch<TakeAlong>(on.device, on(x), on(index), 1, y);
      return Tensors{y};
    });
    compare("put_along", shapes, [&](const Place& on) {
      Tensor y = on.empty(x.shape());
      launch<PutAlong>(on.device, on(u), on(index), 1, y);
      return Tensors{y};
    });
    const Tensor near = testing::indices(rng, {a, n, m}, 0, n);
    compare("cloud_rows", str("index ", near.shape()), [&](const Place& on) {
      Tensor rows = on.empty({near.numel()}, DType::i32);
      launch<CloudRows>(on.device, on(near), n * m, n, rows);
      return Tensors{rows};
    });
    Tensor q = testing::indices(rng, {(a * n * c + 3) / 4}, 0, 1);
    auto* bytes = reinterpret_cast<uint8_t*>(q.mutable_data<int32_t>());
    for (int64_t i = 0; i < a * n * c; ++i) bytes[i] = static_cast<uint8_t>(rng.below(m));
    compare("pick_neighbours", str("q ", Shape{a, n, c}, ", k ", m), [&](const Place& on) {
      Tensor out = on.empty({a, n, c}, DType::i32);
      launch<PickNeighbours>(on.device, on(q), on(near), out);
      return Tensors{out};
    });
    std::vector<int64_t> classes(static_cast<size_t>(n));
    for (int64_t& k : classes) k = rng.below(m);
    const Tensor labels = Tensor::from(classes, {n});
    compare("one_hot", str("labels [", n, "], ", m, " classes"), [&](const Place& on) {
      Tensor out = on.empty({n, m});
      launch<OneHot>(on.device, on(labels), out);
      return Tensors{out};
    });
  }
}

TEST_CASE("emulation: dropout masks have the bits of the CPU") {
  for (int64_t n : {0, 1, 5, 1023, 4099}) {
    compare("dropout_mask", str("out [", n, "]"), [&](const Place& on) {
      Tensor out = on.empty({n});
      launch<DropoutMask>(on.device, 0.3, 11, 5, out);
      return Tensors{out};
    });
    Tensor here = Tensor::zeros({n}, DType::f32), there = here.to(Device::cuda);
    launch<DropoutMask>(Device::cpu, 0.3, 11, 5, here);
    launch<DropoutMask>(Device::cuda, 0.3, 11, 5, there);
    CHECK(here.to_vector<float>() == there.to_vector<float>());
  }
}

TEST_CASE("emulation: matrix products") {
  for (int round = 0; round < 8; ++round) {
    Rng rng = stream("matmul", round);
    const bool ta = round & 1, tb = round & 2, batched = round & 4;
    const int64_t m = between(rng, 1, 40), n = between(rng, 1, 40), k = between(rng, 0, 50);
    const Shape a2 = ta ? Shape{k, m} : Shape{m, k}, b2 = tb ? Shape{n, k} : Shape{k, n};
    const Tensor a = testing::uniform(rng, batched ? Shape{3, a2[0], a2[1]} : a2);
    const Tensor b = testing::uniform(rng, b2);
    compare("matmul", str(ta ? "T " : "", a.shape(), " x ", tb ? "T " : "", b.shape()),
            [&](const Place& on) {
              Tensor out = on.empty(batched ? Shape{3, m, n} : Shape{m, n});
              launch<Matmul>(on.device, on(a), on(b), ta, tb, out);
              return Tensors{out};
            });
  }
}

TEST_CASE("emulation: batch norm and its derivatives") {
  for (int round = 0; round < 9; ++round) {  // rows of one tile, of one launch, and of several
    Rng rng = stream("batch_norm", round);
    const Act act = static_cast<Act>(round % 3);
    const bool given = round % 2;
    const int64_t least = between(rng, 1, 90), c = between(rng, 1, 70);
    const int64_t rows = round == 4 ? 1100 : round == 6 ? 24 : round == 8 ? 25 : least;
    const Shape all{rows, c}, channels{c};
    const Tensor x = testing::uniform(rng, all), ct = testing::uniform(rng, all);
    const Tensor t_x = testing::uniform(rng, all), t_ct = testing::uniform(rng, all);
    const Tensor gamma = testing::uniform(rng, channels), beta = testing::uniform(rng, channels);
    const Tensor t_gamma = testing::uniform(rng, channels);
    const Tensor t_beta = testing::uniform(rng, channels);
    const Tensor mean0 = testing::uniform(rng, channels);
    const Tensor var0 = testing::uniform(rng, channels, 0.5, 2);
    const BnAct how{1e-5, act, 0.2, given};
    // The signs of y come from the CPU: a value at the kink may round to either side.
    Tensor sign = Tensor::zeros(all, DType::f64), m = mean0.clone(), v = var0.clone();
    launch<BatchNormForward>(Device::cpu, x, gamma, beta, how, m, v, sign);
    const auto point = [&](const Place& on) {
      return BatchNormPoint{on(x), on(gamma), on(m), on(v), on(sign)};
    };
    const auto tangents = [&](const Place& on) {
      return BatchNormTensors{on(t_x), on(t_gamma), on(t_beta)};
    };
    const auto results = [&](const Place& on) {
      return BatchNormTensors{on.empty(all), on.empty(channels), on.empty(channels)};
    };
    const std::string shapes = str("x ", all, ", act ", round % 3, given ? ", given" : "");
    compare("batch_norm", shapes, [&](const Place& on) {
      Tensor mean = on(mean0).clone(), var = on(var0).clone(), y = on.empty(all);
      launch<BatchNormForward>(on.device, on(x), on(gamma), on(beta), how, mean, var, y);
      return Tensors{mean, var, y};
    });
    compare("batch_norm_vjp", shapes, [&](const Place& on) {
      BatchNormTensors d = results(on);
      launch<BatchNormBackward>(on.device, point(on), on(ct), how, d);
      return Tensors{d.x, d.gamma, d.beta};
    });
    compare("batch_norm_jvp", shapes, [&](const Place& on) {
      Tensor t_y = on.empty(all);
      launch<BatchNormTangent>(on.device, point(on), tangents(on), how, t_y);
      return Tensors{t_y};
    });
    compare("batch_norm_vjp_jvp", shapes, [&](const Place& on) {
      BatchNormTensors d = results(on);
      launch<BatchNormBackwardTangent>(on.device, point(on), on(ct), tangents(on), on(t_ct), how,
                                       d);
      return Tensors{d.x, d.gamma, d.beta};
    });
  }
}
