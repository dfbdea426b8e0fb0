// mlp_jet on the CPU: a thread takes a chunk of tiles, the gradients of the chunks are added in
// their order.
#include "basin/kernels/mlp_jet.h"

#include <utility>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/mlp_jet_tile.h"

namespace basin {

JetSlots::JetSlots(const std::vector<int>& orders) {
  for (size_t i = 0; i < orders.size(); ++i) {
    if (orders[i] == 0) continue;
    along.push_back({static_cast<int>(i), count, orders[i] > 1 ? count + 1 : 0});
    count += orders[i];
  }
}

int64_t MlpTensors::parameters() const {
  int64_t sum = 0;
  for (size_t l = 0; l < weights.size(); ++l) sum += weights[l].numel() + biases[l].numel();
  return sum;
}

int64_t MlpTensors::widest() const {
  int64_t most = x.size(1);
  for (const Tensor& b : biases) most = std::max(most, b.numel());
  return most;
}

namespace jets {
namespace {

template <class V>
Network<V> network(const MlpTensors& in, const MlpTensors* tangents, JetActivation phi,
                   const std::vector<int>& orders) {
  using T = ElementOf<V>;
  const auto input = [](const Tensor& v, const Tensor* t) {
    return Input<V>{v.data<T>(), t ? t->data<T>() : nullptr};
  };
  Network<V> net{input(in.x, tangents ? &tangents->x : nullptr),
                 {},
                 phi,
                 JetSlots(orders),
                 in.x.size(0),
                 in.widest()};
  for (size_t l = 0; l < in.weights.size(); ++l) {
    net.layers.push_back({input(in.weights[l], tangents ? &tangents->weights[l] : nullptr),
                          input(in.biases[l], tangents ? &tangents->biases[l] : nullptr),
                          {},
                          in.weights[l].size(1),
                          in.weights[l].size(0)});
  }
  return net;
}

// f(V()) for what is computed with
template <class F>
void dispatch_jet(DType dtype, bool dual, const char* name, const F& f) {
  dispatch_float(dtype, name, [&](auto zero) {
    using P = Vector<decltype(zero)>;
    if (dual) {
      f(Dual<P>());
    } else {
      f(P());
    }
  });
}

// Lane of point p of a tile in [groups, rows, slots].
template <class V>
struct PointLane {
  PointLane(const Network<V>& net, int64_t rows, int64_t p)
      : slots(net.slots.count),
        first(p / kLanes<ElementOf<V>> * rows * slots),
        lane(static_cast<int>(p % kLanes<ElementOf<V>>)) {}
  int64_t at(int64_t row, int slot) const { return first + row * slots + slot; }
  int slots;
  int64_t first;
  int lane;
};

template <class V>
void jet_forward(const Network<V>& net, ElementOf<V>* out) {
  const int64_t chunk = mlp_jet_chunk(net.points, net.tile(), 64), outs = net.layers.back().out;
  parallel_for(net.points, chunk, [&](int64_t begin, int64_t end) {
    Memory<V> memory(net);
    for (int64_t first = begin; first < end; first += net.tile()) {
      const int64_t count = std::min(net.tile(), end - first);
      load_points(net, first, count, memory.a[0]);
      hot([&] { run_layers(net, memory, true); });
      for (int64_t p = 0; p < count; ++p) {
        const PointLane<V> point(net, outs, p);
        for (int slot = 0; slot < net.slots.count; ++slot) {
          for (int64_t o = 0; o < outs; ++o) {
            out[(slot * net.points + first + p) * outs + o] =
                lane_outcome(memory.z.back()[point.at(o, slot)], point.lane);
          }
        }
      }
    }
  });
}

// The cotangents of a tile; zeros behind the last point.
template <class V>
void load_cotangents(const Network<V>& net, const Input<V>& ct, int64_t first, int64_t count,
                     V* g) {
  const int64_t outs = net.layers.back().out;
  std::fill_n(g, net.groups() * outs * net.slots.count, V());
  for (int64_t p = 0; p < count; ++p) {
    const PointLane<V> point(net, outs, p);
    for (int slot = 0; slot < net.slots.count; ++slot) {
      for (int64_t o = 0; o < outs; ++o) {
        set_lane(g[point.at(o, slot)], point.lane,
                 ct.at((slot * net.points + first + p) * outs + o));
      }
    }
  }
}

// partial [chunks, parameters], d_x [B, d]
template <class V>
void jet_backward(const Network<V>& net, const Input<V>& ct, int64_t chunk, int64_t parameters,
                  ElementOf<V>* partial, ElementOf<V>* d_x) {
  using T = ElementOf<V>;
  const int64_t d = net.layers[0].in;
  parallel_for(net.points, chunk, [&](int64_t begin, int64_t end) {
    Memory<V> memory(net);
    T* sums = partial + begin / chunk * parameters;
    std::fill_n(sums, parameters, T(0));
    for (int64_t first = begin; first < end; first += net.tile()) {
      const int64_t count = std::min(net.tile(), end - first);
      load_points(net, first, count, memory.a[0]);
      hot([&] { run_layers(net, memory, false); });
      load_cotangents(net, ct, first, count, memory.g);
      hot([&] { pull_layers(net, memory, sums + parameters); });
      for (int64_t p = 0; p < count; ++p) {
        const PointLane<V> point(net, d, p);
        for (int64_t i = 0; i < d; ++i) {
          d_x[(first + p) * d + i] = lane_outcome(memory.g[point.at(i, 0)], point.lane);
        }
      }
    }
  });
}

// The weights of all layers transposed, one behind the other.
template <class T>
std::vector<T> transposed(const Tensors& weights) {
  std::vector<T> all;
  for (const Tensor& w : weights) {
    const int64_t rows = w.size(0), cols = w.size(1);
    for (int64_t c = 0; c < cols; ++c) {
      for (int64_t r = 0; r < rows; ++r) all.push_back(w.data<T>()[r * cols + c]);
    }
  }
  return all;
}

// The sum over the chunks of what they have at `first`.
template <class T>
void add_chunks(const T* partial, int64_t chunks, int64_t parameters, int64_t first, Tensor& out) {
  T* sums = out.mutable_data<T>();
  parallel_for(out.numel(), 4096, [&](int64_t i, int64_t end) {
    for (; i < end; ++i) {
      double sum = 0;
      for (int64_t c = 0; c < chunks; ++c) {
        sum += static_cast<double>(partial[c * parameters + first + i]);
      }
      sums[i] = static_cast<T>(sum);
    }
  });
}

}  // namespace
}  // namespace jets

void MlpJet::cpu(const MlpTensors& in, const MlpTensors* tangents, JetActivation phi,
                 const std::vector<int>& orders, Tensor& out) {
  jets::dispatch_jet(in.x.dtype(), tangents != nullptr, name, [&](auto zero) {
    using V = decltype(zero);
    jets::jet_forward(jets::network<V>(in, tangents, phi, orders),
                      out.mutable_data<jets::ElementOf<V>>());
  });
}

void MlpJetVjp::cpu(const MlpTensors& in, const MlpTensors* tangents, JetActivation phi,
                    const std::vector<int>& orders, const Tensor& ct, const Tensor& ct_t,
                    MlpTensors& grads) {
  const int64_t parameters = in.parameters();
  jets::dispatch_jet(in.x.dtype(), tangents != nullptr, name, [&](auto zero) {
    using V = decltype(zero);
    using T = jets::ElementOf<V>;
    jets::Network<V> net = jets::network<V>(in, tangents, phi, orders);
    const std::vector<T> back = jets::transposed<T>(in.weights),
                         back_t = jets::transposed<T>(tangents ? tangents->weights : Tensors());
    int64_t first = 0;
    for (jets::Layer<V>& layer : net.layers) {
      layer.back = {back.data() + first, tangents ? back_t.data() + first : nullptr};
      first += layer.in * layer.out;
    }
    const int64_t chunk = mlp_jet_chunk(net.points, net.tile(), 16);
    const int64_t chunks = tile_count(net.points, chunk);
    Tensor parts = Tensor::empty({chunks, parameters}, ct.dtype());
    T* partial = parts.mutable_data<T>();
    const jets::Input<V> cotangents{ct.data<T>(), tangents ? ct_t.data<T>() : nullptr};
    jets::jet_backward(net, cotangents, chunk, parameters, partial, grads.x.mutable_data<T>());
    first = 0;
    for (size_t l = 0; l < in.weights.size(); ++l) {
      for (Tensor* out : {&grads.weights[l], &grads.biases[l]}) {
        jets::add_chunks(partial, chunks, parameters, first, *out);
        first += out->numel();
      }
    }
  });
}

}  // namespace basin
