// A tile of points through the layers of mlp_jet and back, in one thread. A unit's numbers lie
// side by side as [slots, kVectors] vectors of points, so that every loop runs along points and the
// products of the layers multiply matrices [units, slots * kVectors]. V: a vector, or a Dual.
#pragma once
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "basin/kernels/cpu/mlp_jet_math.h"
#include "basin/kernels/cpu/mlp_jet_products.h"
#include "basin/kernels/detail/mlp_jet_maps.h"

namespace basin::jets {

inline constexpr int kVectors = 2;
template <class V>
inline constexpr int kTilePoints = kVectors* kLanes<ElementOf<V>>;

// What a kernel reads, in raw pointers.
template <class V>
struct Layer {
  Input<V> w, b;
  int64_t in, out;
};
template <class V>
struct Network {
  using T = ElementOf<V>;
  Input<V> x;
  std::vector<Layer<V>> layers;
  JetActivation phi;
  JetSlots slots;
  int64_t points, widest;
  int columns() const { return slots.count * kVectors; }
};

// A thread's memory: of layer l its input a (for l = 0 the coordinates), and of hidden layers z and
// what their slopes need.
template <class V>
struct Memory {
  explicit Memory(const Network<V>& net) {
    const int64_t columns = net.columns();
    int64_t size = 2 * net.widest * columns;
    for (const Layer<V>& l : net.layers) size += (l.in + l.out) * columns + l.out * kVectors;
    const size_t bytes = static_cast<size_t>(size) * sizeof(V);
    all.resize(bytes + kVectorBytes);
    void* memory = all.data();
    size_t space = all.size();
    V* at = static_cast<V*>(std::align(kVectorBytes, bytes, memory, space));
    const auto take = [&](int64_t n) { return std::exchange(at, at + n); };
    for (const Layer<V>& l : net.layers) {
      a.push_back(take(l.in * columns));
      z.push_back(take(l.out * columns));
      aux.push_back(take(l.out * kVectors));
    }
    g = take(net.widest * columns);
    g_next = take(net.widest * columns);
  }
  std::vector<std::byte> all;
  std::vector<V*> a, z, aux;
  V *g, *g_next;
};

template <JetActivation kPhi, class V>
[[gnu::always_inline]] inline void activate_layer(const Network<V>& net, int64_t units, const V* z,
                                                  V* a, V* aux) {
  const int columns = net.columns(), along = static_cast<int>(net.slots.along.size());
  for (int64_t u = 0; u < units; ++u) {
    for (int p = 0; p < kVectors; ++p) {
      const V* at = z + u * columns + p;
      const auto s = activate<kPhi, VectorMath<ElementOf<V>>>(*at);
      a[u * columns + p] = s.value;
      aux[u * kVectors + p] = s.aux;
      const Slopes<V> phi = slopes<kPhi>(*at, s.value, s.aux);
      push_slots(net.slots.along.data(), along, kVectors, phi, at, a + u * columns + p);
    }
  }
}

template <JetActivation kPhi, class V>
[[gnu::always_inline]] inline void pull_layer(const Network<V>& net, int64_t units, const V* z,
                                              const V* a, const V* aux, V* g) {
  const int columns = net.columns(), along = static_cast<int>(net.slots.along.size());
  for (int64_t u = 0; u < units; ++u) {
    for (int p = 0; p < kVectors; ++p) {
      const int64_t at = u * columns + p;
      const Slopes<V> phi = slopes<kPhi>(z[at], a[at], aux[u * kVectors + p]);
      pull_slots(net.slots.along.data(), along, kVectors, phi, z + at, g + at);
    }
  }
}

// f(std::integral_constant<JetActivation, phi>)
template <class F>
[[gnu::always_inline]] inline void with_activation(JetActivation phi, const F& f) {
  using enum JetActivation;
  switch (phi) {
    case tanh: return f(std::integral_constant<JetActivation, tanh>{});
    case sin: return f(std::integral_constant<JetActivation, sin>{});
    case silu: return f(std::integral_constant<JetActivation, silu>{});
  }
}

// The coordinates of points [first, first + count) as jets; zeros behind the last point.
template <class V>
void load_points(const Network<V>& net, int64_t first, int64_t count, V* a) {
  const int64_t d = net.layers[0].in;
  const int columns = net.columns();
  constexpr int kWidth = kLanes<ElementOf<V>>;
  std::fill_n(a, d * columns, V());
  for (int64_t i = 0; i < d; ++i) {
    for (int64_t p = 0; p < count; ++p) {
      set_lane(a[i * columns + p / kWidth], static_cast<int>(p % kWidth),
               net.x.at((first + p) * d + i));
    }
  }
  for (const JetSlots::Along& along : net.slots.along) {
    for (int p = 0; p < kVectors; ++p) {
      V& one = a[along.coordinate * columns + along.first * kVectors + p];
      one = plus(one, 1);
    }
  }
}

// z of every layer before the last and, where `last`, of that too.
template <class V>
BASIN_HOT void run_layers(const Network<V>& net, Memory<V>& m, bool last) {
  const int columns = net.columns();
  const size_t layers = net.layers.size();
  for (size_t l = 0; l < layers; ++l) {
    if (l + 1 == layers && !last) return;
    const Layer<V>& layer = net.layers[l];
    product(layer.w, layer.in, 1, layer.out, layer.in, columns, m.a[l], m.z[l]);
    for (int64_t u = 0; u < layer.out; ++u) {
      for (int p = 0; p < kVectors; ++p) {
        V& z = m.z[l][u * columns + p];
        z = add(z, layer.b.at(u));
      }
    }
    if (l + 1 == layers) return;
    with_activation(net.phi, [&](auto phi) {
      activate_layer<decltype(phi)::value>(net, layer.out, m.z[l], m.a[l + 1], m.aux[l]);
    });
  }
}

// From the cotangent of the last layer in m.g to those of the parameters, added to `grads` (W_0,
// b_0, W_1, ...), and of the coordinates, left in m.g. With Dual the tangents of these.
template <class V>
BASIN_HOT void pull_layers(const Network<V>& net, Memory<V>& m, ElementOf<V>* grads_end) {
  const int columns = net.columns();
  for (size_t l = net.layers.size(); l-- > 0;) {
    const Layer<V>& layer = net.layers[l];
    grads_end -= layer.out;
    for (int64_t u = 0; u < layer.out; ++u) {
      BaseOf<V> sum{};
      for (int p = 0; p < kVectors; ++p) sum += outcome(m.g[u * columns + p]);
      grads_end[u] += lane_sum(sum);
    }
    grads_end -= layer.out * layer.in;
    add_outer(layer.out, layer.in, columns, m.g, m.a[l], grads_end);
    product(layer.w, 1, layer.in, layer.in, layer.out, columns, m.g, m.g_next);
    std::swap(m.g, m.g_next);
    if (l == 0) return;
    with_activation(net.phi, [&](auto phi) {
      pull_layer<decltype(phi)::value>(net, layer.in, m.z[l - 1], m.a[l], m.aux[l - 1], m.g);
    });
  }
}

}  // namespace basin::jets
