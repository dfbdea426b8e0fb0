// Messages of GINE (Hu et al., ICLR 2020) along edges j -> i whose features are one of K kinds:
//   out_i = sum over the edges into i of relu(h_j + t_kind), and h_i before them with `own`
// h [V, d] features of the nodes, t [K, d] features of the kinds. Nothing is kept per edge: the
// backward pass makes the sign of h_j + t_kind again. The derivative of relu is constant around
// every point where it exists, so the tangent of the gradients is the gradient at the cotangent's
// tangent: no kernel of its own. Sums run along the edges of a node in their order, those over all
// edges of a kind in tiles of nodes that depend on the sizes only.
#pragma once
#include "basin/kernels/segment.h"

namespace basin {

struct GineMessage {
  static constexpr const char* name = "gine_message";
  // into: by receiver. out [V, d]
  using Run = void(const Tensor& h, const Tensor& t, const EdgeGroups& into, bool own, Tensor& out);
  static Run cpu, cuda;
};

struct GineMessageJvp {
  static constexpr const char* name = "gine_message_jvp";
  // The tangent along h_t [V, d] and t_t [K, d]; an undefined one is zero, not both.
  using Run = void(const Tensor& h, const Tensor& t, const EdgeGroups& into, bool own,
                   const Tensor& h_t, const Tensor& t_t, Tensor& out);
  static Run cpu, cuda;
};

struct GineMessageVjp {
  static constexpr const char* name = "gine_message_vjp";
  // from: by sender. ct [V, d] -> d_h [V, d], d_t [K, d]
  using Run = void(const Tensor& h, const Tensor& t, const EdgeGroups& from, bool own,
                   const Tensor& ct, Tensor& d_h, Tensor& d_t);
  static Run cpu, cuda;
};

// Nodes of a tile: at most as many rows of partial sums as nodes.
inline int64_t gine_tile_nodes(int64_t kinds) { return kinds > 64 ? kinds : 64; }

}  // namespace basin
