// A tile of points through the layers of mlp_jet and back, in one thread. A unit's numbers lie
// side by side as [slots] vectors of points, so that every loop runs along points and the products
// of the layers multiply matrices [units, slots], one for each group of as many points as a vector
// has lanes. A tile has several groups: its gradients of weights are added across all of them.
// V: a vector, or a Dual.
#pragma once
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "basin/kernels/cpu/mlp_jet_math.h"
#include "basin/kernels/cpu/mlp_jet_products.h"
#include "basin/kernels/detail/mlp_jet_maps.h"

namespace basin::jets {

// What a kernel reads, in raw pointers.
template <class V>
struct Layer {
  Input<V> w, b;
  Input<V> back;  // w transposed [in, out]; the backward pass has it
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
  // Narrow networks stay within the first cache.
  int groups() const { return widest > 48 ? 4 : 2; }
  int64_t tile() const { return groups() * kLanes<T>; }
};

// A thread's memory, [groups, units, slots] each: of layer l its input a (for l = 0 the
// coordinates), and of hidden layers z and what their slopes need.
template <class V>
struct Memory {
  explicit Memory(const Network<V>& net) {
    const int64_t slots = net.slots.count;
    int64_t size = 2 * net.widest * slots;
    for (const Layer<V>& l : net.layers) size += (l.in + l.out) * slots + l.out;
    const size_t bytes = static_cast<size_t>(size * net.groups()) * sizeof(V);
    size_t space = bytes + kVectorBytes;
    all = std::make_unique_for_overwrite<std::byte[]>(space);  // zeros cost 9 % of a small step
    void* memory = all.get();
    V* at = static_cast<V*>(std::align(kVectorBytes, bytes, memory, space));
    const auto take = [&](int64_t n) { return std::exchange(at, at + n * net.groups()); };
    for (const Layer<V>& l : net.layers) {
      a.push_back(take(l.in * slots));
      z.push_back(take(l.out * slots));
      aux.push_back(take(l.out));
    }
    g = take(net.widest * slots);
    g_next = take(net.widest * slots);
  }
  std::unique_ptr<std::byte[]> all;
  std::vector<V*> a, z, aux;
  V *g, *g_next;
};

template <JetActivation kPhi, class V>
[[gnu::always_inline]] inline void activate_layer(const JetSlots& slots, int64_t units, const V* z,
                                                  V* a, V* aux) {
  const int along = static_cast<int>(slots.along.size());
  for (int64_t u = 0; u < units; ++u) {
    const int64_t at = u * slots.count;
    const auto s = activate<kPhi, VectorMath<ElementOf<V>>>(z[at]);
    a[at] = s.value;
    aux[u] = s.aux;
    push_slots(slots.along.data(), along, jets::slopes<kPhi>(z[at], s.value, s.aux), z + at,
               a + at);
  }
}

template <JetActivation kPhi, class V>
[[gnu::always_inline]] inline void pull_layer(const JetSlots& slots, int64_t units, const V* z,
                                              const V* a, const V* aux, V* g) {
  const int along = static_cast<int>(slots.along.size());
  for (int64_t u = 0; u < units; ++u) {
    const int64_t at = u * slots.count;
    pull_slots(slots.along.data(), along, jets::slopes<kPhi>(z[at], a[at], aux[u]), z + at, g + at);
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
  const int slots = net.slots.count;
  constexpr int kWidth = kLanes<ElementOf<V>>;
  std::fill_n(a, net.groups() * d * slots, V());
  for (int64_t p = 0; p < count; ++p) {
    V* group = a + p / kWidth * d * slots;
    for (int64_t i = 0; i < d; ++i) {
      set_lane(group[i * slots], static_cast<int>(p % kWidth), net.x.at((first + p) * d + i));
    }
  }
  for (int group = 0; group < net.groups(); ++group) {
    for (const JetSlots::Along& along : net.slots.along) {
      V& one = a[(group * d + along.coordinate) * slots + along.first];
      one = plus(one, 1);
    }
  }
}

// z of every layer before the last and, where `last`, of that too.
template <class V>
BASIN_HOT void run_layers(const Network<V>& net, Memory<V>& m, bool last) {
  const int slots = net.slots.count;
  const size_t layers = net.layers.size() - (last ? 0 : 1);
  for (int group = 0; group < net.groups(); ++group) {
    for (size_t l = 0; l < layers; ++l) {
      const Layer<V>& layer = net.layers[l];
      V* z = m.z[l] + group * layer.out * slots;
      product(layer.w, layer.out, layer.in, slots, m.a[l] + group * layer.in * slots, z);
      for (int64_t u = 0; u < layer.out; ++u) z[u * slots] = add(z[u * slots], layer.b.at(u));
      if (l + 1 == net.layers.size()) continue;
      with_activation(net.phi, [&](auto phi) {
        activate_layer<decltype(phi)::value>(net.slots, layer.out, z,
                                             m.a[l + 1] + group * layer.out * slots,
                                             m.aux[l] + group * layer.out);
      });
    }
  }
}

// From the cotangent of the last layer in m.g to those of the parameters, added to what ends at
// `grads_end` (W_0, b_0, W_1, ...), and of the coordinates, left in m.g. With Dual the tangents.
template <class V>
BASIN_HOT void pull_layers(const Network<V>& net, Memory<V>& m, ElementOf<V>* grads_end) {
  const int slots = net.slots.count, groups = net.groups();
  for (size_t l = net.layers.size(); l-- > 0;) {
    const Layer<V>& layer = net.layers[l];
    grads_end -= layer.out;
    for (int64_t u = 0; u < layer.out; ++u) {
      BaseOf<V> sum{};
      for (int k = 0; k < groups; ++k) sum += outcome(m.g[(k * layer.out + u) * slots]);
      grads_end[u] += lane_sum(sum);
    }
    grads_end -= layer.out * layer.in;
    add_outer(groups, slots, Grouped<V>{m.g, layer.out}, Grouped<V>{m.a[l], layer.in}, grads_end);
    for (int k = 0; k < groups; ++k) {
      const int64_t at = k * layer.in * slots;
      product(layer.back, layer.in, layer.out, slots, m.g + k * layer.out * slots, m.g_next + at);
      if (l == 0) continue;
      with_activation(net.phi, [&](auto phi) {
        pull_layer<decltype(phi)::value>(net.slots, layer.in, m.z[l - 1] + at, m.a[l] + at,
                                         m.aux[l - 1] + k * layer.in, m.g_next + at);
      });
    }
    std::swap(m.g, m.g_next);
  }
}

}  // namespace basin::jets
