// Graphs and GotenNet's kernels on the device against their CPU forms (compare.h): examples of one
// point, points on top of each other, nodes with many and with few neighbours, heads that straddle
// blocks, absent tangents, gradients that are not wanted.
#include <doctest/doctest.h>

#include <limits>

#include "basin/kernels/csr.h"
#include "basin/kernels/gata.h"
#include "basin/kernels/radius_graph.h"
#include "basin/tests/emulation/compare.h"

using namespace basin;
using testing::compare;
using testing::indices;
using testing::Place;
using testing::uniform;

namespace {

struct Layer {
  int64_t nodes, d, heads, degree;
  bool shared, moved, scaled;
  double cutoff;
  int64_t rows() const { return (degree + 1) * (degree + 1) - 1; }
  int64_t width() const { return (shared ? 3 : 1 + 2 * degree) * d; }
};

// Two examples, every point its own neighbour; on the CPU.
EdgeTensors graph_of(const Tensor& x, const Tensor& offsets, double cutoff) {
  EdgeTensors e;
  const int64_t nodes = x.size(0);
  e.offsets = Tensor::empty({nodes + 1}, DType::i32);
  RadiusDegrees::cpu(x, offsets, cutoff, true, e.offsets);
  const auto count = static_cast<int64_t>(e.offsets.at(nodes));
  e.sender = Tensor::empty({count}, DType::i32);
  e.receiver = Tensor::empty({count}, DType::i32);
  RadiusEdges::cpu(x, offsets, cutoff, true, e.offsets, e.sender, e.receiver);
  e.order = Tensor::empty({count}, DType::i32);
  e.sender_offsets = Tensor::empty({nodes + 1}, DType::i32);
  SortByRow::cpu(e.sender, e.sender_offsets, e.order);
  return e;
}

EdgeTensors at(const Place& on, const EdgeTensors& e) {
  return {on(e.sender), on(e.receiver), on(e.offsets), on(e.order), on(e.sender_offsets)};
}

using Field = Tensor GataTensors::*;
constexpr Field kFields[] = {&GataTensors::q, &GataTensors::k, &GataTensors::s,
                             &GataTensors::v, &GataTensors::x, &GataTensors::a,
                             &GataTensors::f, &GataTensors::y, &GataTensors::c};

GataTensors tensors(Rng& rng, const Layer& l, int64_t edges) {
  GataTensors t;
  t.q = uniform(rng, {l.nodes, l.d});
  t.k = uniform(rng, {l.nodes, l.d});
  t.s = uniform(rng, {l.nodes, l.width()});
  t.v = uniform(rng, {l.nodes, l.width()});
  if (l.moved) t.x = uniform(rng, {l.nodes, l.rows(), l.d});
  t.a = uniform(rng, {edges, l.d});
  t.f = uniform(rng, {edges, l.width()});
  t.y = uniform(rng, {edges, l.rows()});
  t.c = uniform(rng, {edges});
  return t;
}

GataTensors at(const Place& on, const GataTensors& t) {
  GataTensors out;
  for (Field f : kFields) out.*f = on(t.*f);
  return out;
}

// Memory for gradients; without geometry none for y and c.
GataTensors gradients(const Place& on, const GataTensors& t, bool geometry) {
  GataTensors out;
  for (Field f : kFields) {
    if ((t.*f).defined()) out.*f = on.empty((t.*f).shape());
  }
  if (!geometry) out.y = out.c = Tensor();
  return out;
}
Tensors list(const GataTensors& t) {
  Tensors all;
  for (Field f : kFields) all.push_back(t.*f);
  return all;
}

Tensor some_points(Rng& rng, int64_t nodes) {
  Tensor x = uniform(rng, {nodes, 3});
  double* p = x.mutable_data<double>();
  if (nodes > 1) std::copy(p, p + 3, p + 3);  // two coincide
  return x;
}

Tensor two_examples(int64_t nodes) {
  return Tensor::from(
      std::vector<int32_t>{0, static_cast<int32_t>(nodes / 3), static_cast<int32_t>(nodes)}, {3});
}

void compare_messages(const Layer& l) {
  Rng rng(12, stream_id("gata", static_cast<uint64_t>(l.nodes * 100 + l.d * 10 + l.degree)));
  const EdgeTensors edges = graph_of(some_points(rng, l.nodes), two_examples(l.nodes), l.cutoff);
  const int64_t count = edges.sender.numel();
  const GataTensors in = tensors(rng, l, count);
  GataTensors t = tensors(rng, l, count);
  t.k = t.f = t.y = Tensor();  // absent tangents
  const Tensor factor = l.scaled ? uniform(rng, {count, l.heads}, 0, 2) : Tensor();
  const Shape result{l.nodes, (1 + l.rows()) * l.d};
  const Tensor ct = uniform(rng, result), ct_t = uniform(rng, result);
  const std::string shapes = str(l.nodes, " nodes, ", count, " edges, d ", l.d, ", ", l.heads,
                                 " heads, degree ", l.degree, l.shared ? ", shared" : "");
  for (const bool tangent : {false, true}) {
    const char* name = tangent ? "gata tangent" : "gata";
    compare(name, shapes, [&](const Place& on) {
      const GataTensors tangents = at(on, t);
      Tensor out = on.empty(result);
      launch<GataMessage>(on.device, at(on, in), at(on, edges), on(factor), l.heads,
                          tangent ? &tangents : nullptr, out);
      return Tensors{out};
    });
    for (const bool geometry : {false, true}) {
      compare(str(name, " vjp"), shapes, [&](const Place& on) {
        const GataTensors tangents = at(on, t);
        GataTensors grads = gradients(on, in, geometry);
        launch<GataMessageVjp>(on.device, at(on, in), at(on, edges), on(factor), l.heads, on(ct),
                               tangent ? &tangents : nullptr, tangent ? on(ct_t) : Tensor(), grads);
        return list(grads);
      });
    }
  }
}

void compare_products(int64_t nodes, int64_t d, int64_t degree, bool rejection) {
  Rng rng(13, stream_id("products", static_cast<uint64_t>(nodes * 100 + d * 10 + degree)));
  const int64_t rows = (degree + 1) * (degree + 1) - 1;
  const EdgeTensors edges = graph_of(some_points(rng, nodes), two_examples(nodes), 1.1);
  const int64_t count = edges.sender.numel();
  const auto make = [&] {
    return ProductTensors{uniform(rng, {nodes, rows, d}), uniform(rng, {nodes, rows, d}),
                          rejection ? uniform(rng, {count, rows}) : Tensor()};
  };
  const ProductTensors in = make();
  ProductTensors t = make();
  t.q = Tensor();
  const Tensor ct = uniform(rng, {count, d}), ct_t = uniform(rng, {count, d});
  const auto there = [](const Place& on, const ProductTensors& p) {
    return ProductTensors{on(p.q), on(p.k), on(p.y)};
  };
  const std::string shapes = str(nodes, " nodes, ", count, " edges, d ", d, ", degree ", degree,
                                 rejection ? ", normal parts" : "");
  for (const bool tangent : {false, true}) {
    compare("products", shapes, [&](const Place& on) {
      const ProductTensors tangents = there(on, t);
      Tensor out = on.empty({count, d});
      launch<EdgeProducts>(on.device, there(on, in), at(on, edges), tangent ? &tangents : nullptr,
                           out);
      return Tensors{out};
    });
    compare("products vjp", shapes, [&](const Place& on) {
      const ProductTensors tangents = there(on, t);
      ProductTensors grads{on.empty({nodes, rows, d}), on.empty({nodes, rows, d}),
                           rejection ? on.empty({count, rows}) : Tensor()};
      launch<EdgeProductsVjp>(on.device, there(on, in), at(on, edges), on(ct),
                              tangent ? &tangents : nullptr, tangent ? on(ct_t) : Tensor(), grads);
      return Tensors{grads.q, grads.k, grads.y};
    });
  }
}

}  // namespace

TEST_CASE("emulation: radius graphs and sorted edges") {
  Rng rng(4, stream_id("radius"));
  for (const int64_t nodes : {1, 7, 90}) {
    const Tensor x = some_points(rng, nodes).to(DType::f32).to(DType::f64);
    const Tensor offsets = two_examples(nodes);
    for (const double cutoff : {0.7, std::numeric_limits<double>::infinity()}) {
      for (const bool loops : {false, true}) {
        compare("radius", str(nodes, " points, cutoff ", cutoff, loops ? ", loops" : ""),
                [&](const Place& on) {
                  Tensor start = on.empty({nodes + 1}, DType::i32);
                  launch<RadiusDegrees>(on.device, on(x), on(offsets), cutoff, loops, start);
                  const auto count = static_cast<int64_t>(start.at(nodes));
                  Tensor sender = on.empty({count}, DType::i32);
                  Tensor receiver = on.empty({count}, DType::i32);
                  launch<RadiusEdges>(on.device, on(x), on(offsets), cutoff, loops, start, sender,
                                      receiver);
                  Tensor order = on.empty({count}, DType::i32);
                  Tensor of_sender = on.empty({nodes + 1}, DType::i32);
                  launch<SortByRow>(on.device, sender, of_sender, order);
                  return Tensors{start, sender, receiver, order, of_sender};
                });
      }
    }
  }
}

TEST_CASE("emulation: gata messages") {
  compare_messages({5, 4, 2, 1, false, true, true, 1});
  compare_messages({7, 6, 3, 2, false, true, true, 0.9});
  compare_messages({7, 6, 3, 2, true, true, false, 5});
  compare_messages({6, 8, 2, 3, false, false, false, 5});
  compare_messages({3, 40, 4, 2, false, true, true, 0.1});  // nodes alone; 50 entries per head
  compare_messages({9, 66, 2, 2, false, true, false, 1.2});
}

TEST_CASE("emulation: products of steerable features") {
  for (const bool rejection : {false, true}) {
    compare_products(5, 3, 1, rejection);
    compare_products(8, 40, 2, rejection);
    compare_products(4, 5, 3, rejection);
  }
}
