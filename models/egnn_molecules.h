// EGNN of molecules, as its authors have it for QM9 (Satorras, Hoogeboom, Welling, ICML 2021):
// every atom of a molecule receives from all others, coordinates stay, messages are gated.
//   node input  one-hot(element) (x) (1, q, q^2), q = z / largest z of the elements
//   layer       models/egnn.h without x_i'
//   read-out    h_i -> Linear SiLU Linear -> sum over the atoms -> Linear SiLU Linear
// Inputs, in this order: positions [A, 3], z [A] i64 atomic numbers, molecule [A] i64 the owner of
// each atom (rising from 0), atoms [B] i64 how many each molecule has. Output [B, outputs].
// Invariant under O(3), translations and permutations of a molecule's atoms. Parameters: embedding,
// gcl_N.{edge_mlp.{0,2}, node_mlp.{0,2}, att_mlp.0}, node_dec.{0,2}, graph_dec.{0,2}.
//   Molecules of one size that stand next to each other share a call of the fused message pass;
// a batch sorted by size makes the fewest calls. Their sizes are read: on a GPU this waits.
#pragma once
#include "basin/models/model.h"

namespace basin {

struct EgnnMoleculesConfig {
  int64_t outputs = 1;
  int64_t hidden = 128;
  int64_t layers = 7;
  bool attention = true;
  std::vector<int64_t> elements{1, 6, 7, 8, 9};  // rising atomic numbers
  bool fused = true;  // false: the same network from plain ops only, which store every edge
};

Model make_egnn_molecules(const EgnnMoleculesConfig& config);
ModelInfo egnn_molecules_info();

}  // namespace basin
