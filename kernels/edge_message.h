// Messages of an E(n)-equivariant layer (Satorras, Hoogeboom, Welling, ICML 2021) between each node
// i and its k neighbours j, without ever storing anything of size R k d (R = B N nodes):
//   s = |x_i - x_j|^2,  e1 = silu(p_i + r_j + s w_s),  m0 = silu(W2 e1 + b2),
//   m = m0 sigmoid(w_a . m0 + b_a)   with attention, else m0,
//   phi = w_x . silu(Wc m + bc),     M_i = sum_j m,   D_i = 1/k sum_j (x_i - x_j) phi.
// Edges are worked on in tiles of a few nodes that stay in the second-level cache, on a device on
// chip or, where d is large, in chunks of bounded memory; the backward pass makes the tile's
// forward again. Only squared distances enter: everything is smooth where points coincide. Work is
// cut by the sizes only, so the bits do not depend on the thread count. In the formulas beside the
// kernels a minus behind a name marks the cotangent of what it names (z3-), a dot its tangent
// (z3.), both the tangent of the cotangent (z3-.).
#pragma once
#include <span>

#include "basin/core/tensor.h"

namespace basin {

// The arguments, their tangents or their gradients. As arguments: w_a and b_a are undefined without
// attention; w_c, b_c and w_x where coordinates do not move. As tangents: undefined is zero.
struct EdgeMessageTensors {
  Tensor p, r;           // [R, d]: products with the features of i (with the bias) and of j
  Tensor x;              // [R, 3]
  Tensor w_s;            // [d]
  Tensor w2, b2;         // [d, d], [d]
  Tensor w_a, b_a;       // [d], [1]
  Tensor w_c, b_c, w_x;  // [d, d], [d], [d]
};

// What the messages walk along. A GPU wants all of it, made once for all layers and passes over the
// same neighbours (SortClouds, csr.h); the CPU reads the index alone.
struct MessageEdges {
  Tensor index;         // [B, N, k] i32: numbers 0..N-1 within the cloud; usage error outside
  Tensor sender;        // [R k] i32: row of the sender of each edge
  Tensor start, order;  // [R + 1], [R k] i32: the edges by sender
};

// Results: M and D side by side, [R, d + 3], or [R, d] where coordinates do not move; preallocated.
struct EdgeMessage {
  static constexpr const char* name = "edge_message";
  using Run = void(const EdgeMessageTensors& in, const MessageEdges& edges, Tensor& out);
  static Run cpu, cuda;
};

// out: for each of `tangents` the tangent of EdgeMessage's result along it; value, where not null:
// that result. Values and several tangents share the work on the values.
struct EdgeMessageJvp {
  static constexpr const char* name = "edge_message_jvp";
  using Run = void(const EdgeMessageTensors& in, const MessageEdges& edges,
                   std::span<const EdgeMessageTensors> tangents, Tensor* value,
                   std::span<Tensor> out);
  static Run cpu, cuda;
};

// grads: the gradient of <ct, result> for every defined argument, all preallocated.
struct EdgeMessageVjp {
  static constexpr const char* name = "edge_message_vjp";
  using Run = void(const EdgeMessageTensors& in, const MessageEdges& edges, const Tensor& ct,
                   EdgeMessageTensors& grads);
  static Run cpu, cuda;
};

// grads: for each of `tangents` the tangent of what EdgeMessageVjp gives along it and along the
// cotangent's tangent of the same number (undefined: zero); value, where not null: what
// EdgeMessageVjp gives.
struct EdgeMessageVjpJvp {
  static constexpr const char* name = "edge_message_vjp_jvp";
  using Run = void(const EdgeMessageTensors& in, const MessageEdges& edges, const Tensor& ct,
                   std::span<const EdgeMessageTensors> tangents,
                   std::span<const Tensor> ct_tangents, EdgeMessageTensors* value,
                   std::span<EdgeMessageTensors> grads);
  static Run cpu, cuda;
};

}  // namespace basin
