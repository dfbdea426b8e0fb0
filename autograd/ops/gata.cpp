// gata_message and edge_products as fused ops: kernels for the values, the gradients and the
// tangents of both; the composites of gata_composite.cpp for everything beyond.
#include "basin/autograd/ops/gata.h"

#include "basin/autograd/families.h"
#include "basin/kernels/gata.h"
#include "basin/kernels/launch.h"

namespace basin {
namespace {

// The order of the ops' inputs; an edge list takes the last five places.
enum Input { kQ, kK, kS, kV, kX, kA, kF, kY, kC, kFactor, kEdges };
enum ProductInput { kProductQ, kProductK, kProductY, kProductEdges };

GataTensors named(const Tensors& t) {
  return {t[kQ], t[kK], t[kS], t[kV], t[kX], t[kA], t[kF], t[kY], t[kC]};
}
ProductTensors named_products(const Tensors& t) {
  return {t[kProductQ], t[kProductK], t[kProductY]};
}

void append(Tensors& in, const EdgeList& e) {
  for (const Tensor& t :
       {e.sender, e.receiver, e.offsets, e.by_sender.order, e.by_sender.offsets}) {
    in.push_back(t.detach());
  }
}
EdgeTensors edges_at(const Tensors& in, size_t first) {
  return {in[first], in[first + 1], in[first + 2], in[first + 3], in[first + 4]};
}
EdgeList edge_list_at(const Tensors& in, size_t first) {
  return {in[first], in[first + 1], in[first + 2], {in[first + 4], in[first + 3]}};
}

// Geometry is what depends on positions alone: where these are constants, its gradients are not
// made.
struct GataRule final : LaneByLaneRule {
  GataRule(int64_t h, bool g) : heads(h), geometry(g) {}
  std::string_view name() const override { return "gata_message"; }
  Positions differentiable() const override {
    Positions p = Positions::of({kQ, kK, kS, kV, kX, kA, kF});
    if (!geometry) return p;
    p.insert(kY);
    p.insert(kC);
    return p;
  }

  Tensor result(const Tensors& in) const {
    return Tensor::empty({in[kQ].size(0), (1 + in[kY].size(1)) * in[kQ].size(1)}, in[kQ].dtype(),
                         in[kQ].device());
  }
  Tensors gradients(const Tensors& in) const {
    Tensors all(in.size());
    for (size_t i = 0; i < kFactor; ++i) {
      if (differentiable().contains(i)) all[i] = empty_like(in[i]);
    }
    return all;
  }

  Tensors forward(const Tensors& in) const override {
    Tensor out = result(in);
    launch<GataMessage>(out.device(), named(in), edges_at(in, kEdges), in[kFactor], heads, nullptr,
                        out);
    return {out};
  }
  Tensors vjp(const Tensors& in, const Tensors&, const Tensor& ct) const override {
    Tensors all = gradients(in);
    GataTensors grads = named(all);
    launch<GataMessageVjp>(ct.device(), named(in), edges_at(in, kEdges), in[kFactor], heads, ct,
                           nullptr, Tensor(), grads);
    return all;
  }
  Tensor reference(const Tensors& in, const Tensors&) const override {
    const GataInputs named_in{in[kQ], in[kK], in[kS], in[kV], in[kX],
                              in[kA], in[kF], in[kY], in[kC], in[kFactor]};
    const GataMessages m = gata_composite(named_in, edge_list_at(in, kEdges), heads);
    const int64_t nodes = in[kQ].size(0);
    return concat({m.h, reshape(m.x, {nodes, m.x.numel() / nodes})}, 1);
  }
  Tensor forward_tangent(const Tensors& in, const Tensors&, const Tensors& t) const override {
    Tensor out = result(in);
    const GataTensors tangents = named(t);
    launch<GataMessage>(out.device(), named(in), edges_at(in, kEdges), in[kFactor], heads,
                        &tangents, out);
    return out;
  }
  Tensors vjp_tangent(const Tensors& in, const Tensors&, const Tensor& ct, const Tensors& t,
                      const Tensor& ct_t) const override {
    Tensors all = gradients(in);
    GataTensors grads = named(all);
    const GataTensors tangents = named(t);
    launch<GataMessageVjp>(ct.device(), named(in), edges_at(in, kEdges), in[kFactor], heads, ct,
                           &tangents, ct_t, grads);
    return all;
  }
  int64_t heads;
  bool geometry;
};

struct ProductRule final : LaneByLaneRule {
  explicit ProductRule(bool g) : geometry(g) {}
  std::string_view name() const override { return "edge_products"; }
  Positions differentiable() const override {
    Positions p = Positions::of({kProductQ, kProductK});
    if (geometry) p.insert(kProductY);
    return p;
  }

  Tensor result(const Tensors& in) const {
    return Tensor::empty({in[kProductEdges].numel(), in[kProductQ].size(2)}, in[kProductQ].dtype(),
                         in[kProductQ].device());
  }
  Tensors gradients(const Tensors& in) const {
    Tensors all(in.size());
    all[kProductQ] = empty_like(in[kProductQ]);
    all[kProductK] = empty_like(in[kProductK]);
    if (geometry) all[kProductY] = empty_like(in[kProductY]);
    return all;
  }

  Tensors forward(const Tensors& in) const override {
    Tensor out = result(in);
    launch<EdgeProducts>(out.device(), named_products(in), edges_at(in, kProductEdges), nullptr,
                         out);
    return {out};
  }
  Tensors vjp(const Tensors& in, const Tensors&, const Tensor& ct) const override {
    Tensors all = gradients(in);
    ProductTensors grads = named_products(all);
    launch<EdgeProductsVjp>(ct.device(), named_products(in), edges_at(in, kProductEdges), ct,
                            nullptr, Tensor(), grads);
    return all;
  }
  Tensor reference(const Tensors& in, const Tensors&) const override {
    return edge_products_composite(in[kProductQ], in[kProductK], in[kProductY],
                                   edge_list_at(in, kProductEdges));
  }
  Tensor forward_tangent(const Tensors& in, const Tensors&, const Tensors& t) const override {
    Tensor out = result(in);
    const ProductTensors tangents = named_products(t);
    launch<EdgeProducts>(out.device(), named_products(in), edges_at(in, kProductEdges), &tangents,
                         out);
    return out;
  }
  Tensors vjp_tangent(const Tensors& in, const Tensors&, const Tensor& ct, const Tensors& t,
                      const Tensor& ct_t) const override {
    Tensors all = gradients(in);
    ProductTensors grads = named_products(all);
    const ProductTensors tangents = named_products(t);
    launch<EdgeProductsVjp>(ct.device(), named_products(in), edges_at(in, kProductEdges), ct,
                            &tangents, ct_t, grads);
    return all;
  }
  bool geometry;
};

void check_edges(const char* op, const EdgeList& e) {
  const auto i32 = [](const Tensor& t) {
    return t.defined() && t.dtype() == DType::i32 && t.rank() == 1;
  };
  check(i32(e.sender) && i32(e.receiver) && i32(e.offsets) && i32(e.by_sender.order) &&
            i32(e.by_sender.offsets) && e.receiver.numel() == e.edges() &&
            e.by_sender.order.numel() == e.edges() && e.nodes() >= 1 &&
            e.by_sender.offsets.numel() == e.nodes() + 1,
        op, ": expects an edge list as radius_graph gives it, got senders ", e.sender,
        " and offsets ", e.offsets);
}

// usage error unless t has the shape and the type of the first argument.
void expect(const char* op, const char* name, const Tensor& t, const Shape& shape, DType dtype) {
  check(t.defined() && t.shape() == shape && t.dtype() == dtype, op, ": expects ", name, " ", shape,
        " ", name_of(dtype), ", got ", t);
}

void check_arguments(const GataInputs& in, const EdgeList& edges, int64_t heads) {
  const char* op = "gata_message";
  check_edges(op, edges);
  const int64_t nodes = edges.nodes(), count = edges.edges();
  check(in.q.rank() == 2 && in.q.size(0) == nodes && in.q.size(1) > 0, op, ": expects q [", nodes,
        ", d], got ", in.q);
  const int64_t d = in.q.size(1);
  check(heads > 0 && d % heads == 0, op, ": ", d, " channels do not divide among ", heads,
        " heads");
  check(in.y.rank() == 2, op, ": expects y [", count, ", K], got ", in.y);
  const int64_t rows = in.y.size(1), degree = largest_degree(rows, op);
  check(in.s.rank() == 2 && (in.s.size(1) == 3 * d || in.s.size(1) == (1 + 2 * degree) * d), op,
        ": expects s [", nodes, ", S d] with S = 3 or ", 1 + 2 * degree, ", got ", in.s);
  const DType dtype = in.q.dtype();
  expect(op, "k", in.k, {nodes, d}, dtype);
  expect(op, "s", in.s, {nodes, in.s.size(1)}, dtype);
  expect(op, "v", in.v, in.s.shape(), dtype);
  if (in.x.defined()) expect(op, "x", in.x, {nodes, rows, d}, dtype);
  expect(op, "a", in.a, {count, d}, dtype);
  expect(op, "f", in.f, {count, in.s.size(1)}, dtype);
  expect(op, "y", in.y, {count, rows}, dtype);
  expect(op, "c", in.c, {count}, dtype);
  if (in.factor.defined()) expect(op, "factor", in.factor, {count, heads}, dtype);
}

}  // namespace

GataMessages gata_message(const GataInputs& in, const EdgeList& edges, int64_t heads) {
  check_arguments(in, edges, heads);
  const bool geometry = in.y.node() || in.c.node();
  Tensors all{in.q, in.k, in.s, in.v, in.x,
              in.a, in.f, in.y, in.c, in.factor.defined() ? in.factor.detach() : Tensor()};
  append(all, edges);
  const Tensor out = fused_op(std::make_shared<GataRule>(heads, geometry), all)[0];
  const int64_t d = in.q.size(1), rows = in.y.size(1);
  const Tensors parts = split(out, 1, {d, rows * d});
  return {parts[0], reshape(parts[1], {edges.nodes(), rows, d})};
}

Tensor edge_products(const Tensor& q, const Tensor& k, const Tensor& y, const EdgeList& edges) {
  const char* op = "edge_products";
  check_edges(op, edges);
  check(q.rank() == 3 && q.size(0) == edges.nodes() && q.size(2) > 0, op, ": expects q [",
        edges.nodes(), ", K, d], got ", q);
  largest_degree(q.size(1), op);
  expect(op, "k", k, q.shape(), q.dtype());
  if (y.defined()) expect(op, "y", y, {edges.edges(), q.size(1)}, q.dtype());
  Tensors all{q, k, y};
  append(all, edges);
  return fused_op(std::make_shared<ProductRule>(y.defined() && y.node() != nullptr), all)[0];
}

}  // namespace basin
