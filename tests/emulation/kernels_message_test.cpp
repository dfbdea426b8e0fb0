// The E(n) message kernels on the emulated device against their CPU forms (compare.h): all four,
// with and without attention and moving coordinates, over shapes that cross the ends of tiles,
// chunks, slices, warps and clouds, with self edges, repeated neighbours and coinciding points.
#include <doctest/doctest.h>

#include "basin/kernels/csr.h"
#include "basin/kernels/edge_message.h"
#include "basin/tests/emulation/compare.h"

using namespace basin;
using testing::compare;
using testing::Place;

namespace {

struct Layer {
  int64_t clouds, nodes, k, d;
  bool attention, moves;
  int64_t rows() const { return clouds * nodes; }
  Shape result() const { return {rows(), moves ? d + 3 : d}; }
};

using Field = Tensor EdgeMessageTensors::*;
constexpr Field kFields[] = {
    &EdgeMessageTensors::p,   &EdgeMessageTensors::r,   &EdgeMessageTensors::x,
    &EdgeMessageTensors::w_s, &EdgeMessageTensors::w2,  &EdgeMessageTensors::b2,
    &EdgeMessageTensors::w_a, &EdgeMessageTensors::b_a, &EdgeMessageTensors::w_c,
    &EdgeMessageTensors::b_c, &EdgeMessageTensors::w_x};

EdgeMessageTensors tensors(Rng& rng, const Layer& l) {
  const auto make = [&](const Shape& shape) { return testing::uniform(rng, shape); };
  // Weights as large as in a network: sums over d keep the size of their terms.
  const auto weights = [&](const Shape& shape) {
    const double bound = std::sqrt(3.0 / static_cast<double>(l.d));
    return testing::uniform(rng, shape, -bound, bound);
  };
  EdgeMessageTensors t;
  t.p = make({l.rows(), l.d});
  t.r = make({l.rows(), l.d});
  t.x = make({l.rows(), 3});
  t.w_s = make({l.d});
  t.w2 = weights({l.d, l.d});
  t.b2 = make({l.d});
  if (l.attention) {
    t.w_a = weights({l.d});
    t.b_a = make({1});
  }
  if (l.moves) {
    t.w_c = weights({l.d, l.d});
    t.b_c = make({l.d});
    t.w_x = weights({l.d});
  }
  return t;
}

EdgeMessageTensors at(const Place& on, const EdgeMessageTensors& t) {
  EdgeMessageTensors out;
  for (Field f : kFields) out.*f = on(t.*f);
  return out;
}

// Memory for the gradients of `t`, and the list of it.
EdgeMessageTensors like(const Place& on, const EdgeMessageTensors& t) {
  EdgeMessageTensors out;
  for (Field f : kFields) {
    if ((t.*f).defined()) out.*f = on.empty((t.*f).shape());
  }
  return out;
}
Tensors list(const EdgeMessageTensors& t) {
  Tensors all;
  for (Field f : kFields) all.push_back(t.*f);
  return all;
}

MessageEdges sorted(const Place& on, const Tensor& index) {
  MessageEdges e{on(index), Tensor(), Tensor(), Tensor()};
  launch<SortClouds>(on.device, e.index, e.sender, e.start, e.order);
  return e;
}

void compare_layer(const Layer& l) {
  Rng rng(11, stream_id("edge_message", static_cast<uint64_t>(l.rows() * 1000 + l.k * 100 + l.d)));
  EdgeMessageTensors in = tensors(rng, l), t = tensors(rng, l), u = tensors(rng, l);
  double* x = in.x.mutable_data<double>();
  if (l.rows() > 1) std::copy(x, x + 3, x + 3);  // two points coincide
  u.p = u.x = u.w2 = Tensor();                   // absent tangents
  u.w_x = u.w_a = Tensor();
  Tensor index = testing::indices(rng, {l.clouds, l.nodes, l.k}, 0, l.nodes);
  index.mutable_data<int32_t>()[0] = 0;  // itself
  const Tensor ct = testing::uniform(rng, l.result()), ct_t = testing::uniform(rng, l.result());
  const std::string shapes = str("[", l.clouds, ", ", l.nodes, ", ", l.k, "], d ", l.d,
                                 l.attention ? ", attention" : "", l.moves ? ", moves" : "");
  compare("sort_clouds", shapes, [&](const Place& on) {
    const MessageEdges e = sorted(on, index);
    return Tensors{e.sender, e.start, e.order};
  });
  compare("edge_message", shapes, [&](const Place& on) {
    Tensor y = on.empty(l.result());
    launch<EdgeMessage>(on.device, at(on, in), sorted(on, index), y);
    return Tensors{y};
  });
  compare("edge_message_jvp", shapes, [&](const Place& on) {
    Tensor value = on.empty(l.result());
    Tensors both{on.empty(l.result()), on.empty(l.result())};
    const std::vector<EdgeMessageTensors> lanes{at(on, t), at(on, u)};
    launch<EdgeMessageJvp>(on.device, at(on, in), sorted(on, index),
                           std::span<const EdgeMessageTensors>(lanes), &value,
                           std::span<Tensor>(both));
    return Tensors{value, both[0], both[1]};
  });
  compare("edge_message_vjp", shapes, [&](const Place& on) {
    EdgeMessageTensors g = like(on, in);
    launch<EdgeMessageVjp>(on.device, at(on, in), sorted(on, index), on(ct), g);
    return list(g);
  });
  compare("edge_message_vjp_jvp", shapes, [&](const Place& on) {
    EdgeMessageTensors value = like(on, in);
    std::vector<EdgeMessageTensors> both{like(on, in), like(on, in)};
    const std::vector<EdgeMessageTensors> lanes{at(on, t), at(on, u)};
    const Tensors ct_lanes{on(ct_t), Tensor()};
    launch<EdgeMessageVjpJvp>(on.device, at(on, in), sorted(on, index), on(ct),
                              std::span<const EdgeMessageTensors>(lanes),
                              std::span<const Tensor>(ct_lanes), &value,
                              std::span<EdgeMessageTensors>(both));
    Tensors all = list(value);
    for (const EdgeMessageTensors& g : both) {
      for (const Tensor& tensor : list(g)) all.push_back(tensor);
    }
    return all;
  });
}

}  // namespace

// d of at most 64 in tiles on chip: some blocks have several tiles, the last has few nodes.
TEST_CASE("emulation: E(n) messages in tiles, one cloud") {
  compare_layer({1, 75, 5, 11, true, true});
}
TEST_CASE("emulation: E(n) messages in tiles, many clouds") {
  compare_layer({29, 8, 3, 6, false, true});
  compare_layer({19, 9, 2, 13, true, false});
}
TEST_CASE("emulation: E(n) messages in tiles, d of 64") {
  compare_layer({3, 9, 16, 64, false, true});
  compare_layer({2, 7, 7, 64, true, true});
}
TEST_CASE("emulation: E(n) messages in tiles, d of 32 and 16") {
  compare_layer({3, 17, 6, 32, true, true});
  compare_layer({2, 33, 9, 16, false, false});
}
TEST_CASE("emulation: E(n) messages in tiles, channels between 32 and 64") {
  compare_layer({2, 11, 5, 52, true, false});
}
// One node per tile in f32; more edges than a tile in the gradients of f64.
TEST_CASE("emulation: E(n) messages, many neighbours") {
  compare_layer({1, 6, 55, 40, true, true});
  compare_layer({1, 3, 130, 8, false, true});
}
TEST_CASE("emulation: E(n) messages, the smallest") { compare_layer({1, 1, 1, 1, false, false}); }
// Wider than a tile.
TEST_CASE("emulation: E(n) messages in chunks, one cloud") {
  compare_layer({1, 41, 5, 70, true, true});
}
TEST_CASE("emulation: E(n) messages in chunks, across clouds") {
  compare_layer({5, 7, 3, 65, false, true});
  compare_layer({7, 5, 2, 77, true, false});
}
TEST_CASE("emulation: E(n) messages in chunks, one node each") {
  compare_layer({1, 4, 60, 70, true, true});
}
