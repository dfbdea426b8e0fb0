// A fully connected network of coordinates with its derivatives along them (nn/jet.h has the rules
// in public ops), all layers in one pass over tiles of points:
//   z_0 = W_0 x + b_0,  a_l = phi(z_l),  z_(l+1) = W_(l+1) a_l + b_(l+1),  out = z_L
// Slots of a jet: the value, then for each coordinate the derivatives asked for, the first and
// perhaps the second. With g, g_i, g_ii the cotangents of a, a_i, a_ii, those of z are
//   g phi' + g_i phi'' z_i + g_ii (phi''' z_i^2 + phi'' z_ii),  g_i phi' + 2 g_ii phi'' z_i,
//   g_ii phi'.
// Nothing is kept from the forward pass: the backward one makes a tile's activations again.
// Gradients are added in chunks of tiles that depend on the sizes only.
#pragma once
#include <algorithm>
#include <vector>

#include "basin/core/tensor.h"

namespace basin {

enum class JetActivation : uint8_t { tanh, sin, silu };

// Of a jet with the highest derivatives `orders` (0 to 2 per coordinate).
struct JetSlots {
  explicit JetSlots(const std::vector<int>& orders);
  struct Along {
    int coordinate, first, second;  // slots; second 0: there is none
  };
  std::vector<Along> along;  // coordinates with a derivative
  int count = 1;
};

// x [B, d], weights[l] [out, in], biases[l] [out]; also their tangents and gradients.
struct MlpTensors {
  Tensor x;
  Tensors weights, biases;
  int64_t parameters() const;
  int64_t widest() const;  // of x and all layers' outputs
};

struct MlpJet {
  static constexpr const char* name = "mlp_jet";
  // out [J, B, C]; with tangents (all defined) the tangent of it
  using Run = void(const MlpTensors& in, const MlpTensors* tangents, JetActivation phi,
                   const std::vector<int>& orders, Tensor& out);
  static Run cpu, cuda;
};

struct MlpJetVjp {
  static constexpr const char* name = "mlp_jet_vjp";
  // ct [J, B, C] -> grads, or with tangents (all defined, ct_t too) the tangents of these
  using Run = void(const MlpTensors& in, const MlpTensors* tangents, JetActivation phi,
                   const std::vector<int>& orders, const Tensor& ct, const Tensor& ct_t,
                   MlpTensors& grads);
  static Run cpu, cuda;
};

// Points of a chunk, whose gradients are added by one thread or block: a multiple of `tile`.
inline int64_t mlp_jet_chunk(int64_t points, int64_t tile, int64_t chunks) {
  constexpr int64_t kMost = 4096;
  const int64_t even = (points + chunks - 1) / chunks;
  return std::clamp((even + tile - 1) / tile * tile, tile, kMost);
}

}  // namespace basin
