// mlp_jet on the device: a block takes a chunk of tiles of points, its threads the (unit, point)
// pairs of a layer, then the weights of it; a block's activations and gradients lie in memory of
// its own, and a second kernel adds the blocks' gradients in their order. No float atomics.
#include "basin/kernels/mlp_jet.h"

#include "basin/kernels/cuda/dual.cuh"
#include "basin/kernels/cuda/grid.cuh"
#include "basin/kernels/detail/mlp_jet_maps.h"

namespace basin {
namespace {

constexpr int kJetTile = 32, kJetThreads = 256;
constexpr int64_t kJetBlocks = 264;

// tanh, sigmoid, sin and cos of one number.
struct NumberMath {
  template <class T>
  __device__ static T tanh(T x) {
    return scalar::tanh_(x);
  }
  template <class T>
  __device__ static T sigmoid(T x) {
    return scalar::sigmoid_(x);
  }
  template <class T>
  __device__ static T sin(T x) {
    return scalar::sin_(x);
  }
  template <class T>
  __device__ static T cos(T x) {
    return scalar::cos_(x);
  }
};

// A layer and where its numbers lie in a block's memory: its input a, and z and aux behind it
// [units, slots, points] and [units, points]; and in a block's gradients.
template <class V>
struct JetLayer {
  cuda::Input<V> w, b;
  int in, out;
  int64_t a, z, aux, d_w;
};

template <class V>
struct JetNet {
  cuda::Input<V> x;
  JetLayer<V> layer[kMlpJetLayers];
  JetSlots::Along along[kMlpJetCoordinates];
  int layers, alongs, slots;
  JetActivation phi;
  int64_t points, chunk, size, g[2];  // of a block's memory; the cotangents' places
  cuda::Field<V> memory;

  __device__ cuda::Field<V> own() const {
    cuda::Field<V> mine = memory;
    mine.v += blockIdx.x * size;
    if constexpr (kDual<V>) mine.t += blockIdx.x * size;
    return mine;
  }
  __device__ int64_t begin() const { return blockIdx.x * chunk; }
  __device__ int64_t end() const {
    const int64_t last = begin() + chunk;
    return last < points ? last : points;
  }
};

// f(unit, point) for every pair, by the threads of the block.
template <class F>
__device__ void for_units(int units, const F& f) {
  for (int i = threadIdx.x; i < units * kJetTile; i += blockDim.x) f(i / kJetTile, i % kJetTile);
  __syncthreads();
}

// The place of a unit's number for a point.
__device__ inline int64_t jet_at(int unit, int slot, int slots, int point) {
  return (static_cast<int64_t>(unit) * slots + slot) * kJetTile + point;
}

// One unit's jet for one point, for the maps. A coordinate has two derivatives at most.
constexpr int kJetSlots = 1 + 2 * kMlpJetCoordinates;

template <class V>
__device__ void load_jet(const cuda::Field<V>& m, int64_t base, int slots, V* jet) {
  for (int s = 0; s < slots; ++s) jet[s] = m.load(base + s * kJetTile);
}
template <class V>
__device__ void store_jet(const cuda::Field<V>& m, int64_t base, int slots, const V* jet) {
  for (int s = 0; s < slots; ++s) m.store(base + s * kJetTile, jet[s]);
}

template <JetActivation kPhi, class V>
__device__ void activate_unit(const JetNet<V>& net, const cuda::Field<V>& m, int64_t z, int64_t a,
                              int64_t aux) {
  V in[kJetSlots], out[kJetSlots];
  load_jet(m, z, net.slots, in);
  const auto s = jets::activate<kPhi, NumberMath>(in[0]);
  out[0] = s.value;
  m.store(aux, s.aux);
  jets::push_slots(net.along, net.alongs, jets::slopes<kPhi>(in[0], s.value, s.aux), in, out);
  store_jet(m, a, net.slots, out);
}

template <JetActivation kPhi, class V>
__device__ void pull_unit(const JetNet<V>& net, const cuda::Field<V>& m, int64_t z, int64_t a,
                          int64_t aux, int64_t g) {
  V in[kJetSlots], ct[kJetSlots];
  load_jet(m, z, net.slots, in);
  load_jet(m, g, net.slots, ct);
  const auto phi = jets::slopes<kPhi>(in[0], m.load(a), m.load(aux));
  jets::pull_slots(net.along, net.alongs, phi, in, ct);
  store_jet(m, g, net.slots, ct);
}

template <class V>
__device__ void load_tile(const JetNet<V>& net, const cuda::Field<V>& m, int64_t first) {
  const int d = net.layer[0].in;
  for_units(d, [&](int i, int p) {
    const bool there = first + p < net.end();
    V jet[kJetSlots] = {};
    if (there) jet[0] = net.x.load((first + p) * d + i);
    for (int k = 0; k < net.alongs; ++k) {
      if (net.along[k].coordinate == i) jet[net.along[k].first] = V(1);
    }
    store_jet(m, net.layer[0].a + jet_at(i, 0, net.slots, p), net.slots, jet);
  });
}

template <class V>
__device__ void run_tile(const JetNet<V>& net, const cuda::Field<V>& m, int layers) {
  using Phi = JetActivation;
  for (int l = 0; l < layers; ++l) {
    const JetLayer<V>& layer = net.layer[l];
    for_units(layer.out, [&](int u, int p) {
      for (int s = 0; s < net.slots; ++s) {
        V sum = s == 0 ? layer.b.load(u) : V();
        for (int i = 0; i < layer.in; ++i) {
          sum = sum + layer.w.load(static_cast<int64_t>(u) * layer.in + i) *
                          m.load(layer.a + jet_at(i, s, net.slots, p));
        }
        m.store(layer.z + jet_at(u, s, net.slots, p), sum);
      }
      if (l + 1 == net.layers) return;
      const int64_t at = jet_at(u, 0, net.slots, p), z = layer.z + at, a = net.layer[l + 1].a + at,
                    aux = layer.aux + u * kJetTile + p;
      if (net.phi == Phi::tanh) activate_unit<Phi::tanh>(net, m, z, a, aux);
      if (net.phi == Phi::sin) activate_unit<Phi::sin>(net, m, z, a, aux);
      if (net.phi == Phi::silu) activate_unit<Phi::silu>(net, m, z, a, aux);
    });
  }
}

template <class V>
__global__ void jet_kernel(JetNet<V> net, BaseOf<V>* out) {
  const cuda::Field<V> m = net.own();
  const JetLayer<V>& last = net.layer[net.layers - 1];
  for (int64_t first = net.begin(); first < net.end(); first += kJetTile) {
    load_tile(net, m, first);
    run_tile(net, m, net.layers);
    for_units(last.out, [&](int u, int p) {
      if (first + p >= net.end()) return;
      for (int s = 0; s < net.slots; ++s) {
        out[(s * net.points + first + p) * last.out + u] =
            outcome(m.load(last.z + jet_at(u, s, net.slots, p)));
      }
    });
  }
}

// Adds a tile's gradients of a layer, each by one thread.
template <class V>
__device__ void add_gradients(const JetNet<V>& net, const cuda::Field<V>& m,
                              const JetLayer<V>& layer, int64_t g, BaseOf<V>* sums) {
  const int weights = layer.in * layer.out;
  for (int k = threadIdx.x; k < weights + layer.out; k += blockDim.x) {
    const int u = k < weights ? k / layer.in : k - weights;
    V sum = V();
    for (int n = 0; n < (k < weights ? net.slots * kJetTile : kJetTile); ++n) {
      const V ct = m.load(g + jet_at(u, 0, net.slots, n));
      sum = sum + (k < weights ? ct * m.load(layer.a + jet_at(k % layer.in, 0, net.slots, n)) : ct);
    }
    sums[layer.d_w + k] += outcome(sum);
  }
}

// sums: [blocks, parameters], zeros at first
template <class V>
__global__ void jet_vjp_kernel(JetNet<V> net, cuda::Input<V> ct, int64_t parameters,
                               BaseOf<V>* sums, BaseOf<V>* d_x) {
  using Phi = JetActivation;
  const cuda::Field<V> m = net.own();
  const int outs = net.layer[net.layers - 1].out, d = net.layer[0].in;
  for (int64_t first = net.begin(); first < net.end(); first += kJetTile) {
    load_tile(net, m, first);
    run_tile(net, m, net.layers - 1);
    int64_t g = net.g[0], next = net.g[1];
    for_units(outs, [&](int u, int p) {
      for (int s = 0; s < net.slots; ++s) {
        const bool there = first + p < net.end();
        m.store(g + jet_at(u, s, net.slots, p),
                there ? ct.load((s * net.points + first + p) * outs + u) : V());
      }
    });
    for (int l = net.layers - 1; l >= 0; --l) {
      const JetLayer<V>& layer = net.layer[l];
      add_gradients(net, m, layer, g, sums + blockIdx.x * parameters);
      for_units(layer.in, [&](int i, int p) {
        const int64_t at = jet_at(i, 0, net.slots, p);
        for (int s = 0; s < net.slots; ++s) {
          V sum = V();
          for (int u = 0; u < layer.out; ++u) {
            sum = sum + layer.w.load(static_cast<int64_t>(u) * layer.in + i) *
                            m.load(g + jet_at(u, s, net.slots, p));
          }
          m.store(next + at + s * kJetTile, sum);
        }
        if (l == 0) {
          if (first + p < net.end()) d_x[(first + p) * d + i] = outcome(m.load(next + at));
          return;
        }
        const int64_t z = net.layer[l - 1].z + at, a = layer.a + at,
                      aux = net.layer[l - 1].aux + i * kJetTile + p;
        if (net.phi == Phi::tanh) pull_unit<Phi::tanh>(net, m, z, a, aux, next + at);
        if (net.phi == Phi::sin) pull_unit<Phi::sin>(net, m, z, a, aux, next + at);
        if (net.phi == Phi::silu) pull_unit<Phi::silu>(net, m, z, a, aux, next + at);
      });
      const int64_t freed = g;
      g = next;
      next = freed;
    }
  }
}

// The network as the kernels read it, with the memory of its blocks.
template <class V>
struct HeldNet {
  using T = BaseOf<V>;
  HeldNet(const MlpTensors& in, const MlpTensors* tangents, JetActivation phi,
          const std::vector<int>& orders)
      : slots(orders) {
    const auto input = [](const Tensor& v, const Tensor* t) {
      return cuda::Input<V>{cuda::in_ptr<T>(v), t ? cuda::in_ptr<T>(*t) : nullptr};
    };
    net.x = input(in.x, tangents ? &tangents->x : nullptr);
    net.layers = static_cast<int>(in.weights.size());
    net.alongs = static_cast<int>(slots.along.size());
    std::copy(slots.along.begin(), slots.along.end(), net.along);
    net.slots = slots.count;
    net.phi = phi;
    net.points = in.x.size(0);
    net.chunk = mlp_jet_chunk(net.points, kJetTile, kJetBlocks);
    blocks = (net.points + net.chunk - 1) / net.chunk;
    const auto take = [this](int64_t n) { return (net.size += n * kJetTile) - n * kJetTile; };
    int64_t first = 0;
    for (size_t l = 0; l < in.weights.size(); ++l) {
      const Tensor &w = in.weights[l], &b = in.biases[l];
      const int64_t ins = w.size(1), outs = w.size(0);
      net.layer[l] = {input(w, tangents ? &tangents->weights[l] : nullptr),
                      input(b, tangents ? &tangents->biases[l] : nullptr),
                      static_cast<int>(ins),
                      static_cast<int>(outs),
                      take(ins * net.slots),
                      take(outs * net.slots),
                      take(outs),
                      first};
      first += w.numel() + b.numel();
    }
    for (int64_t& g : net.g) g = take(in.widest() * net.slots);
    memory = Tensor::empty({kDual<V> ? 2 : 1, blocks, net.size}, in.x.dtype(), Device::cuda);
    net.memory.v = cuda::out_ptr<T>(memory);
    if constexpr (kDual<V>) net.memory.t = net.memory.v + blocks * net.size;
  }
  cuda::Grid grid() const {
    return {cuda::grid_of("mlp_jet", blocks), dim3(static_cast<unsigned>(kJetThreads))};
  }
  JetSlots slots;
  JetNet<V> net{};
  int64_t blocks = 0;
  Tensor memory;
};

template <class V>
void jet_forward(const MlpTensors& in, const MlpTensors* tangents, JetActivation phi,
                 const std::vector<int>& orders, Tensor& out) {
  const HeldNet<V> held(in, tangents, phi, orders);
  if (held.blocks == 0) return;
  cuda::run(MlpJet::name, held.grid(), jet_kernel<V>, held.net, cuda::out_ptr<BaseOf<V>>(out));
}

// Not beside a device lambda: nvcc loses the braces of a shape there.
Tensor block_sums(int64_t blocks, int64_t parameters, DType dtype) {
  return Tensor::zeros({blocks, parameters}, dtype, Device::cuda);
}

// out = the sum over the blocks of what they have at `first`, in double.
template <class T>
void add_blocks(const T* sums, int64_t blocks, int64_t parameters, int64_t first, int64_t n,
                T* out) {
  cuda::for_items(MlpJetVjp::name, n, [=] __device__(int64_t i) {
    double sum = 0;
    for (int64_t b = 0; b < blocks; ++b) {
      sum += static_cast<double>(sums[b * parameters + first + i]);
    }
    out[i] = static_cast<T>(sum);
  });
}

template <class V>
void jet_backward(const MlpTensors& in, const MlpTensors* tangents, JetActivation phi,
                  const std::vector<int>& orders, const Tensor& ct, const Tensor& ct_t,
                  MlpTensors& grads) {
  using T = BaseOf<V>;
  const HeldNet<V> held(in, tangents, phi, orders);
  const int64_t parameters = in.parameters();
  Tensor parts = block_sums(held.blocks, parameters, ct.dtype());
  T* sums = cuda::out_ptr<T>(parts);
  const cuda::Input<V> cotangents{cuda::in_ptr<T>(ct), tangents ? cuda::in_ptr<T>(ct_t) : nullptr};
  if (held.blocks > 0) {
    cuda::run(MlpJetVjp::name, held.grid(), jet_vjp_kernel<V>, held.net, cotangents, parameters,
              sums, cuda::out_ptr<T>(grads.x));
  }
  int64_t first = 0;
  for (size_t l = 0; l < in.weights.size(); ++l) {
    for (Tensor* out : {&grads.weights[l], &grads.biases[l]}) {
      add_blocks(sums, held.blocks, parameters, first, out->numel(), cuda::out_ptr<T>(*out));
      first += out->numel();
    }
  }
}

}  // namespace

void MlpJet::cuda(const MlpTensors& in, const MlpTensors* tangents, JetActivation phi,
                  const std::vector<int>& orders, Tensor& out) {
  dispatch_float(in.x.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    if (tangents) {
      jet_forward<Dual<T>>(in, tangents, phi, orders, out);
    } else {
      jet_forward<T>(in, tangents, phi, orders, out);
    }
  });
}

void MlpJetVjp::cuda(const MlpTensors& in, const MlpTensors* tangents, JetActivation phi,
                     const std::vector<int>& orders, const Tensor& ct, const Tensor& ct_t,
                     MlpTensors& grads) {
  dispatch_float(in.x.dtype(), name, [&](auto zero) {
    using T = decltype(zero);
    if (tangents) {
      jet_backward<Dual<T>>(in, tangents, phi, orders, ct, ct_t, grads);
    } else {
      jet_backward<T>(in, tangents, phi, orders, ct, ct_t, grads);
    }
  });
}

}  // namespace basin
