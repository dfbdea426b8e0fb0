// GotenNet's messages on the CPU: receivers, senders and edges in tiles of a few; eight channels at
// a time in a vector of the compiler's where a head has a multiple of eight.
#include "basin/kernels/gata.h"

#include <algorithm>
#include <cmath>

#include "basin/core/parallel.h"
#include "basin/kernels/detail/gata_maps.h"
#include "basin/kernels/index.h"

// Vectors wider than the baseline's registers are passed in other ways with and without AVX; these
// never leave this file.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace basin {
namespace gata {

constexpr int kPack = 8;
template <class T>
struct PackOf {
  typedef T Type __attribute__((vector_size(kPack * sizeof(T))));
};
template <class T>
using Pack = typename PackOf<T>::Type;
template <>
struct Element<Pack<float>> {
  using Type = float;
};
template <>
struct Element<Pack<double>> {
  using Type = double;
};

namespace {

template <class V>
inline constexpr int kWidth = sizeof(BaseOf<V>) / sizeof(ElementOf<V>);

template <class V>
ScalarOf<V> total_of(const V& x) {
  using T = ElementOf<V>;
  if constexpr (kWidth<V> == 1) {
    return x;
  } else if constexpr (kDual<V>) {
    return {total_of(x.v), total_of(x.t)};
  } else {
    T sum = 0;
    for (int n = 0; n < kPack; ++n) sum += x[n];
    return sum;
  }
}

// One thread works on an edge.
template <int kStep>
struct OneThread {
  template <class F>
  void each(int64_t n, const F& f) const {
    for (int64_t c = 0; c < n; c += kStep) f(c);
  }
  template <class V>
  ScalarOf<V> total(const V& x) const {
    return total_of(x);
  }
  bool first() const { return true; }
};

template <class V>
In<V> in_of(const Tensor& value, const Tensor* tangent) {
  using T = ElementOf<V>;
  const auto at = [](const Tensor& t) { return t.defined() ? t.data<T>() : nullptr; };
  return {at(value), tangent ? at(*tangent) : nullptr};
}
template <class V>
Out<V> out_of(Tensor& t) {
  return {t.defined() ? t.mutable_data<ElementOf<V>>() : nullptr};
}

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

Graph graph_of(const EdgeTensors& e, int64_t channels) {
  const int64_t nodes = e.offsets.numel() - 1;
  check_index(e.sender, nodes, 0, GataMessage::name);
  return {e.sender.data<int32_t>(),
          e.receiver.data<int32_t>(),
          e.offsets.data<int32_t>(),
          e.order.data<int32_t>(),
          e.sender_offsets.data<int32_t>(),
          nodes,
          e.sender.numel(),
          channels};
}

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

constexpr int64_t kTileNodes = 2, kTileEdges = 16;

// body(n, c) for the channels of every node, in vectors.
template <class V, class Body>
void each_channel(int64_t nodes, int64_t channels, int64_t grain, const Body& body) {
  parallel_for(nodes, grain, [&](int64_t n, int64_t end) {
    for (; n < end; ++n) {
      for (int64_t c = 0; c < channels; c += kWidth<V>) body(n, c);
    }
  });
}

// One call for one value type.
template <int kDegree, class V>
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
    parallel_for(g.nodes, kTileNodes, [&](int64_t i, int64_t end) {
      for (; i < end; ++i) {
        for (int64_t h = 0; h < s.heads; ++h) {
          for (int64_t e = g.offsets[i]; e < g.offsets[i + 1]; ++e) {
            logit(kLanes, g, s, arguments, e, h, w);
          }
          softmax(g, s.heads, i, h, w);
        }
      }
    });
  }

  void forward(Tensor& out) const {
    const Out<V> to = out_of<V>(out);
    each_channel<V>(g.nodes, g.channels, kTileNodes, [&](int64_t i, int64_t c) {
      gather_messages<kDegree>(g, s, arguments, attention.field, i, c, to);
    });
  }

  void backward(const Tensor& ct, const Tensor& ct_tangent, GataTensors& grads) const {
    const In<V> up = in_of<V>(ct, &ct_tangent);
    const PerHead<S> back(g.edges, s.heads);
    const Out<V> f = out_of<V>(grads.f), q = out_of<V>(grads.q), a = out_of<V>(grads.a);
    const Out<S> c_out = out_of<S>(grads.c), y = out_of<S>(grads.y);
    parallel_for(g.edges, kTileEdges, [&](int64_t e, int64_t end) {
      for (; e < end; ++e) {
        edge_gradients<kDegree>(kLanes, g, s, arguments, attention.field, up, e, f, back.field,
                                c_out, y);
      }
    });
    parallel_for(g.nodes, kTileNodes, [&](int64_t i, int64_t end) {
      for (; i < end; ++i) {
        for (int64_t h = 0; h < s.heads; ++h) {
          softmax_gradient(g, s, i, h, attention.field, back.field);
        }
        for (int64_t c = 0; c < g.channels; c += kWidth<V>) {
          receiver_gradients(g, s, arguments, back.field, i, c, q, a);
        }
      }
    });
    const Out<V> k = out_of<V>(grads.k), s_out = out_of<V>(grads.s), v = out_of<V>(grads.v);
    const Out<V> x = out_of<V>(grads.x);
    each_channel<V>(g.nodes, g.channels, kTileNodes, [&](int64_t j, int64_t c) {
      sender_gradients<kDegree>(g, s, arguments, attention.field, back.field, up, j, c, k, s_out, v,
                                x);
    });
  }

  Graph g;
  Widths<T> s;
  Arguments<V> arguments;
  PerHead<S> attention;
};

// body(value of V, degree) for number type, tangent or not, and vectors where `unit` channels allow
// them; rows = (degree + 1)^2 - 1.
template <class Body>
void with_types(DType dtype, bool dual, int64_t unit, int64_t rows, const char* name,
                const Body& body) {
  const auto with_degree = [&](auto v) {
    if (rows == 3) return body(v, std::integral_constant<int, 1>{});
    if (rows == 8) return body(v, std::integral_constant<int, 2>{});
    body(v, std::integral_constant<int, 3>{});
  };
  dispatch_float(dtype, name, [&](auto z) {
    using T = decltype(z);
    if (unit % kPack == 0) {
      dual ? with_degree(Dual<Pack<T>>()) : with_degree(Pack<T>{});
    } else {
      dual ? with_degree(Dual<T>()) : with_degree(T());
    }
  });
}

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
    parallel_for(g.edges, kTileEdges, [&](int64_t e, int64_t end) {
      constexpr OneThread<kWidth<V>> kLanes{};
      for (; e < end; ++e) harmonic_gradient<kDegree>(kLanes, g, factors, up, e, y);
    });
  }

  Graph g;
  Factors<V> factors;
};

}  // namespace
}  // namespace gata

void GataMessage::cpu(const GataTensors& in, const EdgeTensors& edges, const Tensor& factor,
                      int64_t heads, const GataTensors* tangents, Tensor& out) {
  gata::with_types(
      out.dtype(), tangents, in.q.size(1) / heads, in.y.size(1), name, [&](auto v, auto degree) {
        gata::Run<decltype(degree)::value, decltype(v)>(in, edges, factor, heads, tangents)
            .forward(out);
      });
}

void GataMessageVjp::cpu(const GataTensors& in, const EdgeTensors& edges, const Tensor& factor,
                         int64_t heads, const Tensor& ct, const GataTensors* tangents,
                         const Tensor& ct_tangent, GataTensors& grads) {
  gata::with_types(
      ct.dtype(), tangents, in.q.size(1) / heads, in.y.size(1), name, [&](auto v, auto degree) {
        gata::Run<decltype(degree)::value, decltype(v)>(in, edges, factor, heads, tangents)
            .backward(ct, ct_tangent, grads);
      });
}

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
