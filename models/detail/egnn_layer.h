// The message-passing layer of EGNN, which the networks of point clouds and of molecules share: its
// parameters under the names of the authors' code, and what the message ops need of them.
#pragma once
#include <string>

#include "basin/nn/hidden_units.h"
#include "basin/nn/layers.h"

namespace basin {

struct Perceptron {  // two linear maps around one SiLU
  Linear first, second;
};

struct EgnnLayer {
  Perceptron edge, node, coordinate;
  Linear attention;
  bool attends = false;  // has a gate per message
  bool moves = true;     // has phi_x
};

// PREFIX + edge_mlp.{0,2}, node_mlp.{0,2}, coord_mlp.{0,2}, att_mlp.0 of d channels. `framed`: the
// first map of phi_e has kFrame more columns, of the same initial range as the others.
constexpr int64_t kFrame = 3;
EgnnLayer declare_egnn_layer(Layout& layout, const std::string& prefix, int64_t d, bool attention,
                             bool moves, bool framed = false);

// What the layer does to the node features h (one group through all layers: a residual stream of
// linear maps), and its own hidden units of d channels, behind them.
void add_egnn_units(const EgnnLayer& layer, const std::string& prefix, int64_t d, HiddenUnits& h,
                    std::vector<HiddenUnits>& own);

Tensor apply(const Pass& pass, const Perceptron& p, const Tensor& x);

// phi_e and phi_x with the first map of phi_e split, so that the products with h_i and h_j are made
// per node.   h [R, d]; frame [R, kFrame] or undefined: c_i, phi_e also sees c_i - c_j
struct EgnnEdges {
  Tensor centre, neighbour;  // [R, d]
  EnMessageWeights weights;
};
EgnnEdges egnn_edges(const Pass& pass, const EgnnLayer& layer, const Tensor& h, bool move,
                     const Tensor& frame = {});

// phi_h of (h, m), both [R, d], without the residual. `cut`: by the two halves of its first map, so
// that no copy of h and m stays for the backward pass; otherwise by the whole map, whose inputs
// train/layer_inputs.h sees.
Tensor egnn_node_update(const Pass& pass, const EgnnLayer& layer, const Tensor& h, const Tensor& m,
                        bool cut);

}  // namespace basin
