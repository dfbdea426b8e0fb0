// GotenNet (Aykent, Xia, ICLR 2025): attention between atoms closer than a cutoff, with invariant
// features h [A, d], steerable ones X [A, K, d] (K = (L + 1)^2 - 1 rows: the 2l + 1 components of
// degree l = 1..L) and invariant edge features t [E, d]. Edges j -> i are all pairs within the
// cutoff and every atom itself.
//   Inputs, in this order (models/detail/molecules.h checks them):
//     positions [A, 3], z [A] i64, molecule [A] i64 (owner, rising), atoms [B] i64 (per molecule)
//   Output: [B, outputs] in the units of the target; no mean, spread or atom reference is inside.
//   Block:  A_ij = softmax_j(sum_c q_i k_j a_ij) per head,  o_ij = f_ij s_j C(r_ij) + A_ij v_j / sqrt d
//           h_i += sum_j o_s,   X_i^l += sum_j Y^l(u_ij) o_d^l + X_j^l o_t^l                (GATA)
//           t_ij += gamma_t(t_ij) gate(sum_l <P Q_i^l, P K_j^l>), P Z = Z - Y (Y.Z)   (HTR)
//           Z = X W, n = |Z|, (m1, m2) = gamma_m(h, n):  h += m1, X += m2 Z                (EQFF)
// h is invariant under O(3), translations and permutations of the atoms, X^l turns with D^l and
// has parity (-1)^l. Not smooth where a neighbour crosses the cutoff: the attention does not know
// C(r) (as in the published network). Atoms on top of each other count as one place: u = 0.
//
// Names are those of the Python package `gotennet` (1.1): A_na, node_init.*, edge_init.*,
// gata_list.N.*, eqff_list.N.*; its constants radial_basis.* are computed and passed over when a
// file has them. Heads:
//   scalar  out_net.1.out_net.{0,1}    sum over atoms of W2 silu(W1 h)
//   dipole  equivariant_layers.{0,1}.{mix_vectors, scalar_net.{0,1}}
//           |sum_i p_i + q_i (x_i - x_com)|; the published head takes x_i itself, which makes its
//           output depend on the origin
//   r2      out_net.1.out_net.{0,1}    sum_i u_i |x_i - x_com|^2, shifted softplus inside
// A checkpoint of the package's training program has the prefixes "representation." and
// "output_modules.0." before these names.
#pragma once
#include "basin/models/model.h"

namespace basin {

// scalar: an extensive quantity; dipole: the length of the dipole moment; r2: electronic spatial
// extent. The last two have one output and no place for a shift of the target.
enum class MoleculeHead : uint8_t { scalar, dipole, r2 };

// How HTR changes the edge features. In options: parts joined by '_', such as "norej_gatedt";
// "default" is none of them.
struct EdgeRefinement {
  enum class Gate : uint8_t { none, sigmoid, tanh, silu };
  bool rejection = true;      // norej: inner products of Q and K themselves
  Gate gate = Gate::none;     // gated: sigmoid; gatedt: tanh; act: silu
  bool linear = false;        // linw: a linear map of the products before the gate
  bool linear_after = false;  // linwa: that map behind a silu
  int64_t layers = 1;         // mlp, mlpa: gamma_t has two linear maps ..
  bool activated = true;      // .. of which only mlpa's last is activated
};

struct GotenNetConfig {
  int64_t outputs = 1;
  MoleculeHead head = MoleculeHead::scalar;
  int64_t hidden = 256;  // d, a multiple of heads
  int64_t blocks = 4;
  int64_t radial = 64;  // radial functions
  int64_t heads = 8;
  int64_t degree = 2;         // L, 1 to 3
  int64_t head_hidden = 256;  // of the output head
  bool hat = false;         // one coefficient o_d and o_t for all degrees: S = 3 instead of 1 + 2L
  bool scale_edge = false;  // attention times sqrt(edges of the receiver), the package's default
  EdgeRefinement htr;
  double cutoff = 5;     // of the positions' unit (Angstrom)
  double dropout = 0.1;  // of attention weights
  bool fused = true;     // false: plain ops, which store every edge's features
};

// usage error for an unknown part, with the nearest one, or for two gates.
EdgeRefinement parse_refinement(std::string_view text);

Model make_gotennet(const GotenNetConfig& config);
ModelInfo gotennet_info();

}  // namespace basin
