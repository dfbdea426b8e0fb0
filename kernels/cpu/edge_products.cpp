// Products of steerable features along edges on the CPU.
#include "basin/kernels/cpu/gata_lanes.h"
#include "basin/kernels/detail/edge_product_maps.h"

namespace basin {
namespace gata {
namespace {

template <int kDegree, class V>
struct ProductRun {
  using S = ScalarOf<V>;
  ProductRun(const ProductTensors& in, const EdgeTensors& edges, const ProductTensors* t)
      : g(graph_of(edges, in.q.size(2))),
        factors{in_of<V>(in.q, t ? &t->q : nullptr), in_of<V>(in.k, t ? &t->k : nullptr),
                in_of<S>(in.y, t ? &t->y : nullptr)} {}

  void forward(Tensor& out) const {
    const Out<V> to = out_of<V>(out);
    each_channel<V>(g.edges, g.channels, kTileEdges,
                    [&](int64_t e, int64_t c) { product<kDegree>(g, factors, e, c, to); });
  }

  void backward(const Tensor& ct, const Tensor& ct_tangent, ProductTensors& grads) const {
    const In<V> up = in_of<V>(ct, &ct_tangent);
    const Out<V> q = out_of<V>(grads.q), k = out_of<V>(grads.k);
    each_channel<V>(g.nodes, g.channels, kTileNodes, [&](int64_t n, int64_t c) {
      product_gradient<kDegree>(g, factors, up, false, n, c, q);
      product_gradient<kDegree>(g, factors, up, true, n, c, k);
    });
    if (!grads.y.defined()) return;
    const Out<S> y = out_of<S>(grads.y);
    each<V>(g.edges, kTileEdges, [&](int64_t e) {
      constexpr OneThread<kWidth<V>> kLanes{};
      harmonic_gradient<kDegree>(kLanes, g, factors, up, e, y);
    });
  }

  Graph g;
  Factors<V> factors;
};

}  // namespace
}  // namespace gata

void EdgeProducts::cpu(const ProductTensors& in, const EdgeTensors& edges,
                       const ProductTensors* tangents, Tensor& out) {
  gata::with_types(
      out.dtype(), tangents, in.q.size(2), in.q.size(1), name, [&](auto v, auto degree) {
        gata::ProductRun<decltype(degree)::value, decltype(v)>(in, edges, tangents).forward(out);
      });
}

void EdgeProductsVjp::cpu(const ProductTensors& in, const EdgeTensors& edges, const Tensor& ct,
                          const ProductTensors* tangents, const Tensor& ct_tangent,
                          ProductTensors& grads) {
  gata::with_types(ct.dtype(), tangents, in.q.size(2), in.q.size(1), name,
                   [&](auto v, auto degree) {
                     gata::ProductRun<decltype(degree)::value, decltype(v)>(in, edges, tangents)
                         .backward(ct, ct_tangent, grads);
                   });
}

}  // namespace basin
