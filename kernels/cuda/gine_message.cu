// GINE messages on CUDA: a thread owns a channel of a node and walks its edges; of the gradients by
// kind it owns a channel of a tile of nodes and adds to rows of its own, which a second kernel
// sums. Every sum has a fixed order: no float atomics.
#include "basin/kernels/gine_message.h"

#include "basin/kernels/cuda/rows.cuh"

namespace basin {
namespace {

template <class T>
struct GineArrays {
  GineArrays(const Tensor& features, const Tensor& kinds, const EdgeGroups& edges)
      : h(cuda::in_ptr<T>(features)),
        t(cuda::in_ptr<T>(kinds)),
        start(cuda::in_ptr<int32_t>(edges.start)),
        node(cuda::in_ptr<int32_t>(edges.node)),
        kind(cuda::in_ptr<int32_t>(edges.kind)),
        d(features.size(1)) {}
  const T *h, *t;
  const int32_t *start, *node, *kind;
  int64_t d;
};

template <class T>
void message(const GineArrays<T>& in, int64_t nodes, bool own, T* out) {
  cuda::for_rows(GineMessage::name, nodes, in.d, [=] __device__(int64_t i, int64_t f) {
    T sum = own ? in.h[i * in.d + f] : T(0);
    for (int32_t e = in.start[i]; e < in.start[i + 1]; ++e) {
      const T x = in.h[in.node[e] * in.d + f] + in.t[in.kind[e] * in.d + f];
      sum += x < T(0) ? T(0) : x;
    }
    out[i * in.d + f] = sum;
  });
}

template <class T>
void message_jvp(const GineArrays<T>& in, int64_t nodes, bool own, const T* h_t, const T* t_t,
                 T* out) {
  cuda::for_rows(GineMessageJvp::name, nodes, in.d, [=] __device__(int64_t i, int64_t f) {
    T sum = own && h_t ? h_t[i * in.d + f] : T(0);
    for (int32_t e = in.start[i]; e < in.start[i + 1]; ++e) {
      const int64_t j = in.node[e] * in.d + f, k = in.kind[e] * in.d + f;
      if (!(in.h[j] + in.t[k] > T(0))) continue;
      if (h_t) sum += h_t[j];
      if (t_t) sum += t_t[k];
    }
    out[i * in.d + f] = sum;
  });
}

template <class T>
void message_vjp(const GineArrays<T>& in, int64_t nodes, int64_t kinds, bool with_own, const T* ct,
                 T* d_h, T* partial) {
  const int64_t tile_nodes = gine_tile_nodes(kinds);
  const int64_t tiles = (nodes + tile_nodes - 1) / tile_nodes;
  cuda::for_rows(GineMessageVjp::name, tiles, in.d, [=] __device__(int64_t tile, int64_t f) {
    T* by_kind = partial + tile * kinds * in.d + f;
    for (int64_t k = 0; k < kinds; ++k) by_kind[k * in.d] = T(0);
    const int64_t begin = tile * tile_nodes;
    const int64_t end = begin + tile_nodes < nodes ? begin + tile_nodes : nodes;
    for (int64_t j = begin; j < end; ++j) {
      const T own = in.h[j * in.d + f];
      T sum = with_own ? ct[j * in.d + f] : T(0);
      for (int32_t e = in.start[j]; e < in.start[j + 1]; ++e) {
        const int64_t k = in.kind[e] * in.d;
        if (!(own + in.t[k + f] > T(0))) continue;
        const T g = ct[in.node[e] * in.d + f];
        sum += g;
        by_kind[k] += g;
      }
      d_h[j * in.d + f] = sum;
    }
  });
}

// total[i] = the sum over the tiles, in double.
template <class T>
void add_tiles(const T* partial, int64_t tiles, int64_t n, T* total) {
  cuda::for_warps(GineMessageVjp::name, n, [=] __device__(int64_t i, int lane) {
    double sum = 0;
    for (int64_t tile = lane; tile < tiles; tile += cuda::kChannelLanes) {
      sum += static_cast<double>(partial[tile * n + i]);
    }
    sum = cuda::warp_sum(sum);
    if (lane == 0) total[i] = static_cast<T>(sum);
  });
}

// Not beside a device lambda: nvcc loses the braces of a shape there.
Tensor partial_sums(const Tensor& t, int64_t tiles) {
  return Tensor::empty({tiles, t.size(0), t.size(1)}, t.dtype(), Device::cuda);
}

}  // namespace

void GineMessage::cuda(const Tensor& h, const Tensor& t, const EdgeGroups& into, bool own,
                       Tensor& out) {
  dispatch_float(h.dtype(), name, [&](auto z) {
    using T = decltype(z);
    message(GineArrays<T>(h, t, into), out.size(0), own, cuda::out_ptr<T>(out));
  });
}

void GineMessageJvp::cuda(const Tensor& h, const Tensor& t, const EdgeGroups& into, bool own,
                          const Tensor& h_t, const Tensor& t_t, Tensor& out) {
  dispatch_float(h.dtype(), name, [&](auto z) {
    using T = decltype(z);
    message_jvp(GineArrays<T>(h, t, into), out.size(0), own, cuda::in_ptr<T>(h_t),
                cuda::in_ptr<T>(t_t), cuda::out_ptr<T>(out));
  });
}

void GineMessageVjp::cuda(const Tensor& h, const Tensor& t, const EdgeGroups& from, bool own,
                          const Tensor& ct, Tensor& d_h, Tensor& d_t) {
  const int64_t tile_nodes = gine_tile_nodes(t.size(0));
  const int64_t tiles = (h.size(0) + tile_nodes - 1) / tile_nodes;
  Tensor parts = partial_sums(t, tiles);
  dispatch_float(h.dtype(), name, [&](auto z) {
    using T = decltype(z);
    message_vjp(GineArrays<T>(h, t, from), h.size(0), t.size(0), own, cuda::in_ptr<T>(ct),
                cuda::out_ptr<T>(d_h), cuda::out_ptr<T>(parts));
    add_tiles(cuda::in_ptr<T>(parts), tiles, t.numel(), cuda::out_ptr<T>(d_t));
  });
}

}  // namespace basin
