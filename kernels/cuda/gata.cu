// GotenNet's messages on the device (kernels/detail/gata_maps.h): a thread per node and channel
// walks the node's edges, a warp makes the sums over the channels of an edge.
#include "basin/kernels/gata.h"

#include <cmath>

#include "basin/kernels/cuda/dual.cuh"
#include "basin/kernels/cuda/elements.cuh"
#include "basin/kernels/cuda/rows.cuh"
#include "basin/kernels/detail/edge_product_maps.h"
#include "basin/kernels/index.h"

namespace basin {
namespace {

namespace maps = gata;
using maps::Arguments;
using maps::Factors;
using maps::Graph;
using maps::In;
using maps::Out;
using maps::Widths;

// The lanes of a warp take every 32nd channel.
struct Warp {
  int lane;
  template <class F>
  __device__ void each(int64_t n, const F& f) const {
    for (int64_t c = lane; c < n; c += 32) f(c);
  }
  template <class V>
  __device__ V total(const V& x) const {
    return cuda::warp_sum(x);
  }
  __device__ bool first() const { return lane == 0; }
};

template <class V>
In<V> in_of(const Tensor& value, const Tensor* tangent) {
  using T = BaseOf<V>;
  return {cuda::in_ptr<T>(value), tangent ? cuda::in_ptr<T>(*tangent) : nullptr};
}
template <class V>
Out<V> out_of(Tensor& t) {
  return {t.defined() ? cuda::out_ptr<BaseOf<V>>(t) : nullptr};
}

// Values and tangents of `edges` x `heads`.
template <class V>
struct PerHead {
  using T = BaseOf<V>;
  PerHead(int64_t edges, int64_t heads)
      : memory(Tensor::empty({kDual<V> ? 2 : 1, edges, heads}, kDTypeOf<T>, Device::cuda)) {
    field.v = cuda::out_ptr<T>(memory);
    if (kDual<V>) field.t = field.v + edges * heads;
  }
  Tensor memory;
  maps::Field<V> field;
};

Graph graph_of(const EdgeTensors& e, int64_t channels) {
  const int64_t nodes = e.offsets.numel() - 1;
  check_index(e.sender, nodes, 0, GataMessage::name);
  return {cuda::in_ptr<int32_t>(e.sender),
          cuda::in_ptr<int32_t>(e.receiver),
          cuda::in_ptr<int32_t>(e.offsets),
          cuda::in_ptr<int32_t>(e.order),
          cuda::in_ptr<int32_t>(e.sender_offsets),
          nodes,
          e.sender.numel(),
          channels};
}

template <class V>
Arguments<V> arguments_of(const GataTensors& in, const GataTensors* t) {
  const auto take = [&](Tensor GataTensors::*field) {
    return in_of<V>(in.*field, t ? &(t->*field) : nullptr);
  };
  using G = GataTensors;
  return {take(&G::q), take(&G::k), take(&G::s), take(&G::v), take(&G::x),
          take(&G::a), take(&G::f), take(&G::y), take(&G::c)};
}

// One call for one value type. Launches stand in free functions: nvcc wants the parent of an
// extended lambda to be named and public.
template <class V>
struct Call {
  using T = BaseOf<V>;
  Call(const GataTensors& in, const EdgeTensors& edges, const Tensor& factor, int64_t heads,
       const GataTensors* tangents)
      : g(graph_of(edges, in.q.size(1))),
        s{heads,
          in.q.size(1) / heads,
          in.s.size(1),
          in.y.size(1),
          in.s.size(1) == 3 * in.q.size(1),
          cuda::in_ptr<T>(factor),
          static_cast<T>(1 / std::sqrt(static_cast<double>(in.q.size(1))))},
        in(arguments_of<V>(in, tangents)),
        attention(g.edges, heads) {}
  Graph g;
  Widths<T> s;
  Arguments<V> in;
  PerHead<V> attention;
};

template <class V>
void attend(const char* name, const Call<V>& call) {
  const Graph g = call.g;
  const auto s = call.s;
  const auto in = call.in;
  const auto w = call.attention.field;
  cuda::for_warps(name, g.edges * s.heads, [=] __device__(int64_t n, int lane) {
    maps::logit(Warp{lane}, g, s, in, n / s.heads, n % s.heads, w);
  });
  cuda::map_elements(name, g.nodes, s.heads,
                     [=] __device__(int64_t r, int64_t c) { maps::softmax(g, s.heads, r, c, w); });
}

template <int kDegree, class V>
void forward(const Call<V>& call, Tensor& out) {
  attend(GataMessage::name, call);
  const Graph g = call.g;
  const auto s = call.s;
  const auto in = call.in;
  const auto w = call.attention.field;
  const Out<V> to = out_of<V>(out);
  cuda::map_elements(GataMessage::name, g.nodes, g.channels, [=] __device__(int64_t r, int64_t c) {
    maps::gather_messages<kDegree>(g, s, in, w, r, c, to);
  });
}

template <int kDegree, class V>
void backward(const Call<V>& call, const Tensor& ct, const Tensor& ct_tangent, GataTensors& grads) {
  const char* name = GataMessageVjp::name;
  attend(name, call);
  const PerHead<V> back(call.g.edges, call.s.heads);
  const Graph g = call.g;
  const auto s = call.s;
  const auto in = call.in;
  const auto w = call.attention.field, bar = back.field;
  const In<V> up = in_of<V>(ct, &ct_tangent);
  const Out<V> f = out_of<V>(grads.f), q = out_of<V>(grads.q), a = out_of<V>(grads.a);
  const Out<V> k = out_of<V>(grads.k), s_out = out_of<V>(grads.s), v = out_of<V>(grads.v);
  const Out<V> x = out_of<V>(grads.x), c_out = out_of<V>(grads.c), y = out_of<V>(grads.y);
  cuda::for_warps(name, g.edges, [=] __device__(int64_t e, int lane) {
    maps::edge_gradients<kDegree>(Warp{lane}, g, s, in, w, up, e, f, bar, c_out, y);
  });
  cuda::map_elements(name, g.nodes, s.heads, [=] __device__(int64_t r, int64_t c) {
    maps::softmax_gradient(g, s, r, c, w, bar);
  });
  cuda::map_elements(name, g.nodes, g.channels, [=] __device__(int64_t r, int64_t c) {
    maps::receiver_gradients(g, s, in, bar, r, c, q, a);
  });
  cuda::map_elements(name, g.nodes, g.channels, [=] __device__(int64_t r, int64_t c) {
    maps::sender_gradients<kDegree>(g, s, in, w, bar, up, r, c, k, s_out, v, x);
  });
}

template <class V>
Factors<V> factors_of(const ProductTensors& in, const ProductTensors* t) {
  return {in_of<V>(in.q, t ? &t->q : nullptr), in_of<V>(in.k, t ? &t->k : nullptr),
          in_of<V>(in.y, t ? &t->y : nullptr)};
}

template <int kDegree, class V>
void products(const Graph& graph, const Factors<V>& in, Tensor& out) {
  const Graph g = graph;
  const Factors<V> factors = in;
  const Out<V> to = out_of<V>(out);
  cuda::map_elements(EdgeProducts::name, g.edges, g.channels, [=] __device__(int64_t r, int64_t c) {
    maps::product<kDegree>(g, factors, r, c, to);
  });
}

template <int kDegree, class V>
void product_gradients(const Graph& graph, const Factors<V>& in, const Tensor& ct,
                       const Tensor& ct_tangent, ProductTensors& grads) {
  const char* name = EdgeProductsVjp::name;
  const Graph g = graph;
  const Factors<V> factors = in;
  const In<V> up = in_of<V>(ct, &ct_tangent);
  const Out<V> q = out_of<V>(grads.q), k = out_of<V>(grads.k), y = out_of<V>(grads.y);
  cuda::map_elements(name, g.nodes, g.channels, [=] __device__(int64_t r, int64_t c) {
    maps::product_gradient<kDegree>(g, factors, up, false, r, c, q);
  });
  cuda::map_elements(name, g.nodes, g.channels, [=] __device__(int64_t r, int64_t c) {
    maps::product_gradient<kDegree>(g, factors, up, true, r, c, k);
  });
  if (!grads.y.defined()) return;
  cuda::for_warps(name, g.edges, [=] __device__(int64_t e, int lane) {
    maps::harmonic_gradient<kDegree>(Warp{lane}, g, factors, up, e, y);
  });
}

// body(value of V, degree) for number type, tangents or not; rows = (degree + 1)^2 - 1.
template <class Body>
void with_types(DType dtype, bool dual, int64_t rows, const char* name, const Body& body) {
  const auto with_degree = [&](auto v) {
    if (rows == 3) return body(v, std::integral_constant<int, 1>{});
    if (rows == 8) return body(v, std::integral_constant<int, 2>{});
    body(v, std::integral_constant<int, 3>{});
  };
  dispatch_float(dtype, name, [&](auto z) {
    using T = decltype(z);
    dual ? with_degree(Dual<T>()) : with_degree(T());
  });
}

}  // namespace

void GataMessage::cuda(const GataTensors& in, const EdgeTensors& edges, const Tensor& factor,
                       int64_t heads, const GataTensors* tangents, Tensor& out) {
  with_types(out.dtype(), tangents, in.y.size(1), name, [&](auto v, auto degree) {
    forward<decltype(degree)::value>(Call<decltype(v)>(in, edges, factor, heads, tangents), out);
  });
}

void GataMessageVjp::cuda(const GataTensors& in, const EdgeTensors& edges, const Tensor& factor,
                          int64_t heads, const Tensor& ct, const GataTensors* tangents,
                          const Tensor& ct_tangent, GataTensors& grads) {
  with_types(ct.dtype(), tangents, in.y.size(1), name, [&](auto v, auto degree) {
    backward<decltype(degree)::value>(Call<decltype(v)>(in, edges, factor, heads, tangents), ct,
                                      ct_tangent, grads);
  });
}

void EdgeProducts::cuda(const ProductTensors& in, const EdgeTensors& edges,
                        const ProductTensors* tangents, Tensor& out) {
  with_types(out.dtype(), tangents, in.q.size(1), name, [&](auto v, auto degree) {
    products<decltype(degree)::value>(graph_of(edges, in.q.size(2)),
                                      factors_of<decltype(v)>(in, tangents), out);
  });
}

void EdgeProductsVjp::cuda(const ProductTensors& in, const EdgeTensors& edges, const Tensor& ct,
                           const ProductTensors* tangents, const Tensor& ct_tangent,
                           ProductTensors& grads) {
  with_types(ct.dtype(), tangents, in.q.size(1), name, [&](auto v, auto degree) {
    product_gradients<decltype(degree)::value>(graph_of(edges, in.q.size(2)),
                                               factors_of<decltype(v)>(in, tangents), ct,
                                               ct_tangent, grads);
  });
}

}  // namespace basin
