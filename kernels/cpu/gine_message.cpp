// GINE messages on the CPU: a node's edges are walked by one thread, a row of channels at a time.
#include "basin/kernels/gine_message.h"

#include <algorithm>

#include "basin/core/parallel.h"
#include "basin/kernels/cpu/hot.h"
#include "basin/kernels/cpu/vectors.h"

namespace basin {
namespace {

constexpr int64_t kGrain = 32768;
constexpr int64_t kTileNodes = 256;  // that share a partial sum of the kinds, at least

int64_t node_grain(int64_t channels) {
  return std::max<int64_t>(1, kGrain / std::max<int64_t>(channels, 1));
}

template <class T>
BASIN_HOT void add_message(const T* h, const T* t, T* out, int64_t d) {
  for (int64_t f = 0; f < d; ++f) {
    const T x = h[f] + t[f];
    out[f] += x < T(0) ? T(0) : x;  // a NaN passes through, as in relu
  }
}

// tangent: of h or of t
template <class T>
BASIN_HOT void add_tangent(const T* h, const T* t, const T* tangent, T* out, int64_t d) {
  for (int64_t f = 0; f < d; ++f) out[f] += h[f] + t[f] > T(0) ? tangent[f] : T(0);
}

template <class T>
BASIN_HOT void add_gradient(const T* h, const T* t, const T* ct, T* d_h, T* d_t, int64_t d) {
  for (int64_t f = 0; f < d; ++f) {
    const T g = h[f] + t[f] > T(0) ? ct[f] : T(0);
    d_h[f] += g;
    d_t[f] += g;
  }
}

// What the sum of a node starts with: its own row, or zeros.
template <class T>
void start_sum(const T* own, int64_t d, T* sum) {
  if (own) {
    std::copy_n(own, d, sum);
  } else {
    std::fill_n(sum, d, T(0));
  }
}

struct Edges {
  explicit Edges(const EdgeGroups& g)
      : start(g.start.data<int32_t>()),
        node(g.node.data<int32_t>()),
        kind(g.kind.data<int32_t>()) {}
  const int32_t *start, *node, *kind;
};

// d_t = the sum over the tiles of their sums.
template <class T>
void add_tiles(const T* partial, int64_t tiles, int64_t size, T* d_t) {
  parallel_for(size, 1024, [&](int64_t i, int64_t end) {
    sum_of_rows<T>(partial + i, tiles, size, T(0), d_t + i, end - i);
  });
}

}  // namespace

void GineMessage::cpu(const Tensor& h, const Tensor& t, const EdgeGroups& into, bool own,
                      Tensor& out) {
  const int64_t d = h.size(1);
  const Edges edges(into);
  dispatch_float(h.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const T *rows = h.data<T>(), *kinds = t.data<T>();
    T* o = out.mutable_data<T>();
    parallel_for(out.size(0), node_grain(d), [&](int64_t i, int64_t end) {
      for (; i < end; ++i) {
        start_sum(own ? rows + i * d : nullptr, d, o + i * d);
        for (int32_t e = edges.start[i]; e < edges.start[i + 1]; ++e) {
          hot([&] {
            add_message(rows + edges.node[e] * d, kinds + edges.kind[e] * d, o + i * d, d);
          });
        }
      }
    });
  });
}

void GineMessageJvp::cpu(const Tensor& h, const Tensor& t, const EdgeGroups& into, bool own,
                         const Tensor& h_t, const Tensor& t_t, Tensor& out) {
  const int64_t d = h.size(1);
  const Edges edges(into);
  dispatch_float(h.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const T *rows = h.data<T>(), *kinds = t.data<T>();
    const T* of_rows = h_t.defined() ? h_t.data<T>() : nullptr;
    const T* of_kinds = t_t.defined() ? t_t.data<T>() : nullptr;
    T* o = out.mutable_data<T>();
    parallel_for(out.size(0), node_grain(d), [&](int64_t i, int64_t end) {
      for (; i < end; ++i) {
        start_sum(own && of_rows ? of_rows + i * d : nullptr, d, o + i * d);
        for (int32_t e = edges.start[i]; e < edges.start[i + 1]; ++e) {
          const int64_t j = edges.node[e] * d, k = edges.kind[e] * d;
          if (of_rows) hot([&] { add_tangent(rows + j, kinds + k, of_rows + j, o + i * d, d); });
          if (of_kinds) hot([&] { add_tangent(rows + j, kinds + k, of_kinds + k, o + i * d, d); });
        }
      }
    });
  });
}

void GineMessageVjp::cpu(const Tensor& h, const Tensor& t, const EdgeGroups& from, bool own,
                         const Tensor& ct, Tensor& d_h, Tensor& d_t) {
  const int64_t nodes = h.size(0), d = h.size(1), size = t.numel();
  const int64_t tile_nodes = std::max(kTileNodes, gine_tile_nodes(t.size(0)));
  const int64_t tiles = (nodes + tile_nodes - 1) / tile_nodes;
  const Edges edges(from);
  Tensor parts = Tensor::empty({tiles, t.size(0), d}, t.dtype());
  dispatch_float(h.dtype(), name, [&](auto z) {
    using T = decltype(z);
    const T *rows = h.data<T>(), *kinds = t.data<T>(), *c = ct.data<T>();
    T *of_rows = d_h.mutable_data<T>(), *partial = parts.mutable_data<T>();
    parallel_for(tiles, 1, [&](int64_t tile, int64_t last) {
      for (; tile < last; ++tile) {
        T* of_kinds = partial + tile * size;
        std::fill_n(of_kinds, size, T(0));
        const int64_t end = std::min(nodes, (tile + 1) * tile_nodes);
        for (int64_t j = tile * tile_nodes; j < end; ++j) {
          start_sum(own ? c + j * d : nullptr, d, of_rows + j * d);
          for (int32_t e = edges.start[j]; e < edges.start[j + 1]; ++e) {
            const int64_t k = edges.kind[e] * d;
            hot([&] {
              add_gradient(rows + j * d, kinds + k, c + edges.node[e] * d, of_rows + j * d,
                           of_kinds + k, d);
            });
          }
        }
      }
    });
    add_tiles(partial, tiles, size, d_t.mutable_data<T>());
  });
}

}  // namespace basin
