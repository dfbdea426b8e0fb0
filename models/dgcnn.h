// DGCNN for classification (Wang, Sun, Liu, Sarma, Bronstein, Solomon, ACM TOG 2019), as the
// authors' PyTorch code has it: four edge convolutions, each on the k nearest neighbours (the point
// itself among them) in the space of its own input, so the graph changes from layer to layer.
//   edge convolution: y_i = max_j lrelu(BN(W [x_j - x_i, x_i])), j in kNN(i)
// The product is split, W [x_j - x_i, x_i] = W1 x_j + (W2 - W1) x_i, and made before the gathering.
// Exactly invariant under permutations of the points, under nothing else.
// With normals (option features) the first layer's input has six channels, and its graph is of all
// six, as the authors' classification code makes a graph of whatever a layer is given.
#pragma once
#include "basin/models/model.h"

namespace basin {

struct DgcnnWidths {
  int64_t edge1 = 64, edge2 = 64, edge3 = 128, edge4 = 256;  // edge convolutions
  int64_t points = 1024;                                     // per point, from all four
  int64_t fc1 = 512, fc2 = 256;                              // per cloud
};

struct DgcnnConfig {
  int64_t classes = 40;
  int64_t k = 20;  // the authors take 20 for 1024 points, 40 for 2048
  DgcnnWidths widths = {};
  bool normals = false;  // a second input [B, N, 3]
  double dropout = 0.5;
  bool fused = true;  // false: the same network from plain ops only
};

Model make_dgcnn(const DgcnnConfig& config);
ModelInfo dgcnn_info();

}  // namespace basin
