// GotenNet's messages on the CPU: receivers, senders and edges in tiles of a few.
#include <cmath>

#include "basin/kernels/cpu/gata_lanes.h"

namespace basin {
namespace gata {
namespace {

// Values and tangents of `edges` x `heads`.
template <class S>
struct PerHead {
  using T = BaseOf<S>;
  PerHead(int64_t edges, int64_t heads)
      : memory(Tensor::empty({kDual<S> ? 2 : 1, edges, heads}, kDTypeOf<T>)) {
    field.v = memory.mutable_data<T>();
    if (kDual<S>) field.t = field.v + edges * heads;
  }
  Tensor memory;
  Field<S> field;
};

template <class T>
Widths<T> widths_of(const GataTensors& in, const Tensor& factor, int64_t heads) {
  const int64_t d = in.q.size(1), width = in.s.size(1);
  return {heads,
          d / heads,
          width,
          in.y.size(1),
          width == 3 * d,
          factor.defined() ? factor.data<T>() : nullptr,
          static_cast<T>(1 / std::sqrt(static_cast<double>(d)))};
}

template <class V>
Arguments<V> arguments_of(const GataTensors& in, const GataTensors* t) {
  using G = GataTensors;
  const auto take = [&](Tensor G::*field) {
    return in_of<V>(in.*field, t ? &(t->*field) : nullptr);
  };
  const auto of_edge = [&](Tensor G::*field) {
    return in_of<ScalarOf<V>>(in.*field, t ? &(t->*field) : nullptr);
  };
  return {take(&G::q), take(&G::k), take(&G::s),    take(&G::v),   take(&G::x),
          take(&G::a), take(&G::f), of_edge(&G::y), of_edge(&G::c)};
}

// One call for one value type.
template <class V>
struct Run {
  using T = ElementOf<V>;
  using S = ScalarOf<V>;
  static constexpr OneThread<kWidth<V>> kLanes{};

  Run(const GataTensors& in, const EdgeTensors& edges, const Tensor& factor, int64_t heads,
      const GataTensors* tangents)
      : g(graph_of(edges, in.q.size(1))),
        s(widths_of<T>(in, factor, heads)),
        arguments(arguments_of<V>(in, tangents)),
        attention(g.edges, heads) {
    const Field<S> w = attention.field;
    each<V>(g.nodes, kTileNodes, [&](int64_t i) {
      for (int64_t h = 0; h < s.heads; ++h) {
        for (int64_t e = g.offsets[i]; e < g.offsets[i + 1]; ++e) {
          logit(kLanes, g, s, arguments, e, h, w);
        }
        softmax(g, s.heads, i, h, w);
      }
    });
  }

  template <int kDegree>
  void forward(Tensor& out) const {
    const Out<V> to = out_of<V>(out);
    each_channel<V>(g.nodes, g.channels, kTileNodes, [&](int64_t i, int64_t c) {
      gather_messages<kDegree>(g, s, arguments, attention.field, i, c, to);
    });
  }

  template <int kDegree>
  void backward(const Tensor& ct, const Tensor& ct_tangent, GataTensors& grads) const {
    const In<V> up = in_of<V>(ct, &ct_tangent);
    const PerHead<S> back(g.edges, s.heads);
    const Out<V> f = out_of<V>(grads.f);
    const Out<S> c_out = out_of<S>(grads.c), y = out_of<S>(grads.y);
    each<V>(g.edges, kTileEdges, [&](int64_t e) {
      edge_gradients<kDegree>(kLanes, g, s, arguments, attention.field, up, e, f, back.field, c_out,
                              y);
    });
    pull_attention(back, grads);
    const Out<V> k = out_of<V>(grads.k), s_out = out_of<V>(grads.s), v = out_of<V>(grads.v);
    const Out<V> x = out_of<V>(grads.x);
    each_channel<V>(g.nodes, g.channels, kTileNodes, [&](int64_t j, int64_t c) {
      sender_gradients<kDegree>(g, s, arguments, attention.field, back.field, up, j, c, k, s_out, v,
                                x);
    });
  }

  // Knows no degree, and is compiled once for all of them.
  void pull_attention(const PerHead<S>& back, GataTensors& grads) const {
    const Out<V> q = out_of<V>(grads.q), a = out_of<V>(grads.a);
    each<V>(g.nodes, kTileNodes, [&](int64_t i) {
      for (int64_t h = 0; h < s.heads; ++h) {
        softmax_gradient(g, s, i, h, attention.field, back.field);
      }
      for (int64_t c = 0; c < g.channels; c += kWidth<V>) {
        receiver_gradients(g, s, arguments, back.field, i, c, q, a);
      }
    });
  }

  Graph g;
  Widths<T> s;
  Arguments<V> arguments;
  PerHead<S> attention;
};

}  // namespace
}  // namespace gata

void GataMessage::cpu(const GataTensors& in, const EdgeTensors& edges, const Tensor& factor,
                      int64_t heads, const GataTensors* tangents, Tensor& out) {
  gata::with_types(out.dtype(), tangents, in.q.size(1) / heads, in.y.size(1), name,
                   [&](auto v, auto degree) {
                     gata::Run<decltype(v)>(in, edges, factor, heads, tangents)
                         .template forward<decltype(degree)::value>(out);
                   });
}

void GataMessageVjp::cpu(const GataTensors& in, const EdgeTensors& edges, const Tensor& factor,
                         int64_t heads, const Tensor& ct, const GataTensors* tangents,
                         const Tensor& ct_tangent, GataTensors& grads) {
  gata::with_types(ct.dtype(), tangents, in.q.size(1) / heads, in.y.size(1), name,
                   [&](auto v, auto degree) {
                     gata::Run<decltype(v)>(in, edges, factor, heads, tangents)
                         .template backward<decltype(degree)::value>(ct, ct_tangent, grads);
                   });
}

}  // namespace basin
