// What the CPU side of GotenNet's kernels shares: eight channels at a time in a vector of the
// compiler's where the widths allow it, and the choice of value type and degree.
#pragma once

// Vectors wider than the baseline's registers are passed in other ways with and without AVX; these
// never leave a source.
#pragma GCC diagnostic ignored "-Wpsabi"

#include <algorithm>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/hot.h"
#include "basin/kernels/detail/gata_maps.h"
#include "basin/kernels/gata.h"
#include "basin/kernels/index.h"

namespace basin::gata {

inline constexpr int kPack = 8;
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

inline Graph graph_of(const EdgeTensors& e, int64_t channels) {
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

inline constexpr int64_t kTileNodes = 2, kTileEdges = 16;

// body(n) for all n. Vectors of f32 channels are compiled for the instruction set that was chosen;
// f64 (a tenth slower for it), single channels (of widths that no vector divides) and everything
// under a sanitizer for the baseline's alone: each copy of these loops costs the compiler seconds.
template <class V, class Body>
void each(int64_t n, int64_t grain, const Body& body) {
  parallel_for(n, grain, [&](int64_t begin, int64_t end) {
    const auto run = [&] {
      for (int64_t i = begin; i < end; ++i) body(i);
    };
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    run();
#else
    if constexpr (std::is_same_v<BaseOf<V>, Pack<float>>) {
      hot(run);
    } else {
      run();
    }
#endif
  });
}

// body(n, c) for the channels of every node, in vectors.
template <class V, class Body>
void each_channel(int64_t nodes, int64_t channels, int64_t grain, const Body& body) {
  each<V>(nodes, grain, [&](int64_t n) {
    for (int64_t c = 0; c < channels; c += kWidth<V>) body(n, c);
  });
}

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

}  // namespace basin::gata
