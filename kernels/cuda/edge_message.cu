// The edge messages and their tangent on the device: one launch over tiles on chip where they fit,
// else the chunks of edge_message.cuh, then the sums over each node's edges, one thread per element
// in the order of the edges.
#include "basin/kernels/cuda/edge_message_tile.cuh"

namespace basin::cuda::edge {
namespace {

// out [nodes, width] from the first node: sum_j m, mean_j delta phi (or their tangents)
template <class V>
void sum_nodes(const char* name, const Sizes& s, int64_t nodes, const Chunk<V>& c, BaseOf<V>* out) {
  using T = BaseOf<V>;
  const int64_t width = s.width(), k = s.k, d = s.d;
  for_rows(name, nodes, [=] __device__(const WarpLanes& lanes, int64_t i) {
    lanes.each(width, [&](int64_t channel) {
      T sum = 0;
      if (channel < d) {
        for (int64_t e = i * k; e < (i + 1) * k; ++e) sum += outcome(c.m.load(e * d + channel));
      } else {
        for (int64_t e = i * k; e < (i + 1) * k; ++e) {
          sum += outcome(c.delta.load(3 * e + channel - d) * c.phi.load(e));
        }
        sum /= static_cast<T>(k);
      }
      out[i * width + channel] = sum;
    });
  });
}

template <class V>
void messages(const char* name, const EdgeMessageTensors& in, const MessageEdges& edges,
              const EdgeMessageTensors* tangents, Tensor& out) {
  const Sizes s = sizes_of(name, in, edges);
  const int32_t* sender = in_ptr<int32_t>(edges.sender);
  const Arguments<V> arguments(in, tangents);
  const auto in_tiles = [&](auto shape) {
    using Shape = decltype(shape);
    const TileRun tiles = tile_run(s, 0, s.rows(), Shape::kEdges, rows_of_vectors(s, arguments));
    const dim3 blocks = grid_of(name, std::min<int64_t>(tiles.tiles, tile_blocks()));
    run(name, {blocks, dim3(kTileThreads), MessageTileBytes<Shape>::value},
        message_tile_kernel<Shape>, tiles, arguments, sender, out_ptr<BaseOf<V>>(out));
  };
  if (with_tile<V, kMessageEdges<V>, MessageTileBytes>(s, in_tiles)) return;
  Memory<V> memory(Chunk<V>::elements(s.chunk_edges(), s.d));
  const Chunk<V> chunk(s, false, memory);
  BaseOf<V>* result = out_ptr<BaseOf<V>>(out);
  for_chunks(s, [&](int64_t first, int64_t nodes) {
    forward_chunk(name, s, arguments, sender, first, nodes, chunk);
    sum_nodes(name, s, nodes, chunk, result + first * s.width());
  });
}

}  // namespace
}  // namespace basin::cuda::edge

namespace basin {

void EdgeMessage::cuda(const EdgeMessageTensors& in, const MessageEdges& edges, Tensor& out) {
  dispatch_float(out.dtype(), name,
                 [&](auto z) { cuda::edge::messages<decltype(z)>(name, in, edges, nullptr, out); });
}

void EdgeMessageJvp::cuda(const EdgeMessageTensors& in, const MessageEdges& edges,
                          std::span<const EdgeMessageTensors> tangents, Tensor* value,
                          std::span<Tensor> out) {
  if (value) EdgeMessage::cuda(in, edges, *value);
  for (size_t lane = 0; lane < out.size(); ++lane) {
    dispatch_float(in.p.dtype(), name, [&](auto z) {
      cuda::edge::messages<Dual<decltype(z)>>(name, in, edges, &tangents[lane], out[lane]);
    });
  }
}

}  // namespace basin
