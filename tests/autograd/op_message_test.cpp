// Rows of the op table: the messages of an E(n)-equivariant layer against the composite of plain
// ops, with self edges, repeated neighbours and coinciding points in every case.
#include <algorithm>
#include <cmath>

#include "basin/tests/autograd/op_table.h"

using namespace basin;
using namespace basin::table;

namespace {

struct Layer {
  int64_t clouds, nodes, k, d;
  bool attention, moves;

  std::string label() const {
    return str(clouds, " x ", nodes, ", k ", k, ", d ", d, attention ? ", attention" : "",
               moves ? ", moves" : "");
  }
};

// Arguments in the order p, r, x, w_s, w2, b2 [, w_a, b_a] [, w_c, b_c, w_x].
EnMessageWeights weights_of(const Tensors& x, const Layer& l) {
  EnMessageWeights w;
  w.w_s = x[3];
  w.w2 = x[4];
  w.b2 = x[5];
  size_t next = 6;
  if (l.attention) {
    w.w_a = x[next++];
    w.b_a = x[next++];
  }
  if (l.moves) {
    w.w_c = x[next++];
    w.b_c = x[next++];
    w.w_x = x[next++];
  }
  return w;
}

Tensors arguments(Rng& rng, const Layer& l) {
  const int64_t rows = l.clouds * l.nodes, d = l.d;
  const double bound = 1.5 / std::sqrt(static_cast<double>(d));
  Tensor points = uniform(rng, {rows, 3});
  double* x = points.mutable_data<double>();
  for (int64_t i = 1; i < rows; i += 3) std::copy(x + 3 * i - 3, x + 3 * i, x + 3 * i);
  Tensors all{uniform(rng, {rows, d}),
              uniform(rng, {rows, d}),
              points,
              uniform(rng, {d}),
              uniform(rng, {d, d}, -bound, bound),
              uniform(rng, {d})};
  if (l.attention) {
    all.push_back(uniform(rng, {d}, -bound, bound));
    all.push_back(uniform(rng, {1}));
  }
  if (l.moves) {
    all.push_back(uniform(rng, {d, d}, -bound, bound));
    all.push_back(uniform(rng, {d}));
    all.push_back(uniform(rng, {d}, -bound, bound));
  }
  return all;
}

// Random neighbours, then: itself, and the same one twice.
Tensor some_neighbours(Rng& rng, const Layer& l) {
  Tensor index = indices(rng, {l.clouds, l.nodes, l.k}, 0, l.nodes);
  int32_t* p = index.mutable_data<int32_t>();
  p[0] = 0;
  if (l.k > 1) p[l.k] = p[l.k + 1];
  return index;
}

Tensors composite(const Tensors& x, const Tensor& index, const Layer& l) {
  const int64_t rows = l.clouds * l.nodes;
  std::vector<int32_t> senders, receivers;
  for (int64_t e = 0; e < rows * l.k; ++e) {
    const auto cloud = static_cast<int32_t>(e / (l.nodes * l.k));
    receivers.push_back(static_cast<int32_t>(e / l.k));
    senders.push_back(cloud * static_cast<int32_t>(l.nodes) + static_cast<int32_t>(index.at(e)));
  }
  const Tensor to = like(int32s(receivers), x[0]), from = like(int32s(senders), x[0]);
  const EnMessageWeights w = weights_of(x, l);
  const Tensor delta = gather(x[2], to) - gather(x[2], from);
  const Tensor s = sum(delta * delta, 1, true);
  Tensor m = silu(gather(x[0], to) + gather(x[1], from) + s * w.w_s);
  m = silu(matmul(m, w.w2, false, true) + w.b2);
  if (l.attention) m = m * sigmoid(sum(m * w.w_a, 1, true) + w.b_a);
  Tensors out{scatter_sum(m, to, rows)};
  if (!l.moves) return out;
  const Tensor phi = sum(silu(matmul(m, w.w_c, false, true) + w.b_c) * w.w_x, 1, true);
  out.push_back(scatter_sum(delta * phi, to, rows) * (1.0 / static_cast<double>(l.k)));
  return out;
}

Case message_case(Rng& rng, const Layer& l) {
  const Tensor index = some_neighbours(rng, l);
  Case c;
  c.label = l.label();
  c.x = arguments(rng, l);
  c.f = [=](const Tensors& x) {
    const EnMessages m =
        en_message_pass(x[0], x[1], x[2], neighbour_lists(like(index, x[0])), weights_of(x, l));
    return l.moves ? Tensors{m.sum, m.shift} : Tensors{m.sum};
  };
  c.reference = [=](const Tensors& x) { return composite(x, index, l); };
  return c;
}

}  // namespace

OP_ROW(en_message_pass) {
  Cases cases;
  for (const bool attention : {false, true}) {
    for (const bool moves : {false, true}) {
      cases.push_back(message_case(rng, {2, 5, 3, 5, attention, moves}));
    }
  }
  cases.push_back(message_case(rng, {1, 4, 2, 3, true, true}));
  cases.back().order = 3;
  cases.push_back(message_case(rng, {1, 1, 1, 1, true, true}));  // one self edge: no x at all
  cases.back().vanishing = Positions::of({2, 3, 10});
  cases.push_back(message_case(rng, {3, 4, 1, 13, false, true}));
  cases.push_back(message_case(rng, {1, 6, 130, 8, true, true}));  // more edges than a tile wants
  cases.push_back(message_case(rng, {2, 4, 2, 64, false, true}));
  cases.push_back(message_case(rng, {1, 5, 3, 70, true, true}));
  cases.push_back(message_case(rng, {1, 3, 2, 128, false, true}));
  cases.push_back(large(message_case(rng, {3, 90, 7, 64, false, true})));
  cases.push_back(large(message_case(rng, {1, 100, 20, 70, true, true})));
  cases.push_back(large(message_case(rng, {70, 11, 5, 16, true, false})));
  return cases;
}

// Two passes and their derivatives over the same lists.
OP_ROW(neighbour_lists) {
  const Layer l{2, 5, 3, 5, true, true};
  const Tensor index = some_neighbours(rng, l);
  const auto twice = [](Tensors x, const auto& pass) {
    const Tensors first = pass(x);
    x[1] = first[0];
    x[2] = x[2] + first[1];
    return pass(x);
  };
  Case c;
  c.label = "two passes, one list";
  c.x = arguments(rng, l);
  c.f = [=](const Tensors& x) {
    const NeighbourLists near = neighbour_lists(like(index, x[0]));
    return twice(x, [&](const Tensors& y) {
      const EnMessages m = en_message_pass(y[0], y[1], y[2], near, weights_of(y, l));
      return Tensors{m.sum, m.shift};
    });
  };
  c.reference = [=](const Tensors& x) {
    return twice(x, [&](const Tensors& y) { return composite(y, index, l); });
  };
  return {c};
}

TEST_CASE("neighbour_lists: an index of another rank is refused") {
  CHECK_THROWS_WITH_AS(neighbour_lists(Tensor::zeros({4, 3}, DType::i32)),
                       "neighbour_lists: expects the index [B, N, k] i32, got [4, 3] i32", Error);
}

TEST_CASE("en_message_pass: wrong arguments are refused by name") {
  Rng rng(1, 2);
  const Layer l{2, 5, 3, 4, true, true};
  const Tensors x = arguments(rng, l);
  const Tensor index = some_neighbours(rng, l);
  const auto refuses = [&](const Tensors& in, const Tensor& neighbours, const char* message) {
    CHECK_THROWS_WITH_AS(
        en_message_pass(in[0], in[1], in[2], neighbour_lists(neighbours), weights_of(in, l)),
        message, Error);
  };
  Tensors bad = x;
  bad[1] = Tensor::zeros({10, 3}, DType::f64);
  refuses(bad, index,
          "en_message_pass: expects p and r [R, d] and x [R, 3], got [10, 4], [10, 3] and [10, 3]");
  bad = x;
  bad[5] = Tensor();
  refuses(bad, index, "en_message_pass: expects b2 [4], got []");
  bad = x;
  bad[4] = x[4].to(DType::f32);
  refuses(bad, index, "en_message_pass: all float arguments need one dtype, got f64 and f32");
  refuses(x, Tensor::zeros({2, 4, 3}, DType::i32),
          "en_message_pass: expects the index [B, N, k] i32 with B N = 10, got [2, 4, 3] i32");
  Tensor outside = index.clone();
  outside.mutable_data<int32_t>()[7] = 5;
  refuses(x, outside, "edge_message: neighbour 5 at position 7 is outside 0..4");
}
