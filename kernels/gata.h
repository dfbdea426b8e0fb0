// Messages between the atoms of GotenNet (formulas in autograd/ops.h, gata_message and
// edge_products) along a sorted edge list. Nothing of an edge is stored but its attention weights
// [E, heads]. Sums run over the edges of a receiver or, backwards, of a sender in the order of the
// list: same bits for any thread count, no atomics. Written once for a value type V (kernels/
// detail/gata_maps.h): V = Dual gives the tangents of both directions.
#pragma once
#include "basin/core/tensor.h"

namespace basin {

// The arguments, their tangents (undefined: zero) or their gradients. A nodes, E edges, d channels,
// K = (L + 1)^2 - 1 rows, S = 1 + 2L or 3 blocks.
struct GataTensors {
  Tensor q, k;  // [A, d]
  Tensor s, v;  // [A, S d]
  Tensor x;     // [A, K, d]; as argument undefined: zero
  Tensor a;     // [E, d]
  Tensor f;     // [E, S d]
  Tensor y, c;  // [E, K], [E]; as gradients undefined: not wanted
};

struct EdgeTensors {
  Tensor sender, receiver;       // [E] i32
  Tensor offsets;                // [A + 1] i32: edges of a receiver
  Tensor order, sender_offsets;  // [E], [A + 1] i32: edges of a sender
};

struct GataMessage {
  static constexpr const char* name = "gata_message";
  // out [A, (1 + K) d]: h, then the rows of X; with `tangents` the tangent of that. factor
  // [E, heads] or undefined.
  using Run = void(const GataTensors& in, const EdgeTensors& edges, const Tensor& factor,
                   int64_t heads, const GataTensors* tangents, Tensor& out);
  static Run cpu, cuda;
};

struct GataMessageVjp {
  static constexpr const char* name = "gata_message_vjp";
  // grads: the gradients of <ct, out> for every defined one, preallocated; with `tangents` their
  // tangents along those and ct_tangent (undefined: zero).
  using Run = void(const GataTensors& in, const EdgeTensors& edges, const Tensor& factor,
                   int64_t heads, const Tensor& ct, const GataTensors* tangents,
                   const Tensor& ct_tangent, GataTensors& grads);
  static Run cpu, cuda;
};

// q, k [A, K, d], y [E, K] or undefined.
struct ProductTensors {
  Tensor q, k, y;
};

struct EdgeProducts {
  static constexpr const char* name = "edge_products";
  // out [E, d]
  using Run = void(const ProductTensors& in, const EdgeTensors& edges,
                   const ProductTensors* tangents, Tensor& out);
  static Run cpu, cuda;
};

struct EdgeProductsVjp {
  static constexpr const char* name = "edge_products_vjp";
  using Run = void(const ProductTensors& in, const EdgeTensors& edges, const Tensor& ct,
                   const ProductTensors* tangents, const Tensor& ct_tangent, ProductTensors& grads);
  static Run cpu, cuda;
};

}  // namespace basin
