// GINE: graph isomorphism network with edge features (Xu et al., ICLR 2019; Hu et al., ICLR 2020).
//   h_i = sum of the tables of i's features [, encoding of its random walks],  e_kind likewise
//   m_i = (1 + eps) h_i + sum over edges j -> i of relu(h_j + e_ij),  h_i' = h_i + phi(m_i)
//   outputs: mean or sum over the nodes of a graph, then a head; or the sum over all levels 0 .. L
//   of a linear map of the summed nodes
// e is one table for all layers. Edges are stored in both directions. Invariant under permutations
// of nodes and of edges.
//   Inputs, for V nodes and E edges of B graphs:
//     atoms [V, F] i64      features of the nodes, column f below atoms[f]
//     bonds [E, G] i64      features of the edges, column g below bonds[g]
//     sender, receiver [E]  i32, numbers of nodes within the batch
//     graph [V] i64         whose node it is, 0 .. B - 1
//     nodes [B] i64         how many a graph has: B is a shape, nothing is read for it
//     walks [V, steps]      float, only with walk_steps > 0: diag(P^t), t = 1 .. steps, of
//                           P = A / D (Dwivedi et al., ICLR 2022)
//   Sources: Peptides-func, LRGB (Dwivedi et al., NeurIPS 2022) and its re-evaluation (Toenshoff et
// al. 2023); ZINC, Benchmarking GNNs (Dwivedi et al., JMLR 2023) with bonds added.
//   Names follow PyTorch Geometric (GINEConv.nn, .eps) under GraphGym's layers and OGB's encoders:
// atom_encoder.atom_embedding_list.F, bond_encoder.bond_embedding_list.G, rwse.raw_norm,
// rwse.pe_encoder, gnn_layers.L.model.nn.K, gnn_layers.L.model.eps, batch_norms.L, post_mp.K,
// linears_prediction.L. K counts the modules of an nn.Sequential, activations and dropout too.
#pragma once
#include "basin/models/model.h"

namespace basin {

// The map phi of a layer and what follows it.
enum class GineLayer : uint8_t {
  relu,        // linear relu linear, relu, dropout
  gelu,        // linear gelu dropout linear dropout
  batch_norm,  // linear norm relu linear, norm relu; eps is learnt
};
enum class GineReadout : uint8_t { mean, sum, levels };

struct GineConfig {
  int64_t outputs = 10;
  std::vector<int64_t> atoms{119, 5, 12, 12, 10, 6, 6, 2, 2};  // kinds per column
  std::vector<int64_t> bonds{5, 6, 2};
  int64_t hidden = 208;
  int64_t layers = 5;
  GineLayer layer = GineLayer::relu;
  GineReadout readout = GineReadout::mean;
  int64_t head_layers = 0;  // hidden maps of the head, each with gelu; not with levels
  int64_t walk_steps = 0;
  int64_t walk_channels = 28;  // of the hidden ones
  double dropout = 0;          // in the layers and before each map of the head
  bool normal_tables = false;  // tables start as N(0, 1), else Xavier uniform
  bool fused = true;  // false: the same network from plain ops only, which store every edge
};

Model make_gine(const GineConfig& config);
ModelInfo gine_info();

}  // namespace basin
