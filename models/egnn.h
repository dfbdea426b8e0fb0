// EGNN (Satorras, Hoogeboom, Welling, ICML 2021) with one output vector per point cloud. Nodes
// carry features h_i and coordinates x_i; the edges are the k nearest neighbours j of i in the
// *input* coordinates, without i itself, the same for all layers.
//   d_ij = x_i - x_j,  m_ij = phi_e(h_i, h_j, |d_ij|^2)   [attention: m_ij sigmoid(w m_ij + b)]
//   x_i' = x_i + mean_j d_ij phi_x(m_ij),  h_i' = h_i + phi_h(h_i, sum_j m_ij)
//   outputs from the mean and the maximum of h over the points.
// The node input is constant or invariant (options `radius`, `moments`, and `types` for points of
// several kinds, such as atoms), so outputs are invariant under O(3), translations and
// permutations, and coordinates equivariant. Messages use squared distances alone: every
// derivative exists at coinciding points.
//   Relaxed equivariance (option `frame`): beside the equivariant term stands one that obeys no
// symmetry, weighted by the dial r = `relax`, in the first map of phi_e and in the node input,
//   m_ij = phi_e(h_i, h_j, |d_ij|^2, r (c_i - c_j)),   h_i = W (1, .., r c_i) + b at first,
// which have three more columns each, whatever r. Frame `fixed`: c_i = x_i of the layer, in the
// axes of the data. At 0 function and gradients are to the last bit those of the network without a
// frame, and the columns have the gradient 0; at 1 coordinates enter as any feature does, and only
// permutations are promised. This is the linear term that Pertigkiozoglou et al. (arXiv 2408.13242)
// add to equivariant layers, and a residual pathway (Finzi et al., arXiv 2112.01388), with a weight
// that is set in place of annealed or learned. It scales inputs: training can make up for a small r
// by large weights, so the error of equivariance is worth measuring after training too
// (symmetry.h). Frame `radial` is the control: c_i = |x_i - mean x| (1, 1, 1) / sqrt(3), through as
// many columns and about as large, but invariant.
#pragma once
#include "basin/models/model.h"

namespace basin {

enum class EgnnFrame : uint8_t { none, fixed, radial };
enum class EgnnMoments : uint8_t { none, cloud, neighbours, both };

struct EgnnConfig {
  int64_t classes = 40;  // outputs per cloud; 1 of a regression
  int64_t hidden = 64;
  int64_t layers = 4;
  int64_t k = 20;
  bool attention = false;
  bool radius = false;  // |x_i - mean x|^2 as second node input
  // Node inputs from the second and third moments of the cloud, of the neighbours of each point, or
  // of both (detail/moments.h); as invariant as the constant.
  EgnnMoments moments = EgnnMoments::none;
  // Kinds of points: a second input [B, N] i64 tells the kind of each, 0 <= kind < types, and the
  // node inputs gain as many columns, one of them 1. 0: there is no second input.
  int64_t types = 0;
  // The unit of length: coordinates are multiplied by it first. phi_e sees squared distances, about
  // 0.01 between neighbours in the unit sphere, and the constant node input carries nothing else,
  // so with 1 the features are almost equal at first and training starts slowly.
  double scale = 1;
  // The last layer's phi_x moves coordinates that no output reads: its gradient is zero. It is
  // there in the reference code; without it the model is the same function.
  bool last_coordinates = true;
  EgnnFrame frame = EgnnFrame::none;
  double relax = 0;  // of a frame, from 0 to 1
  // Channels of a map per node, before the mean and the maximum over the points, of the features
  // behind every layer; the read-out is as wide. 0: they are taken of the last features themselves.
  int64_t embedding = 0;
  double dropout = 0.5;
  bool fused = true;  // false: the same network from plain ops only, which store every edge
};

Model make_egnn(const EgnnConfig& config);
ModelInfo egnn_info();

}  // namespace basin
