// PointNet (Qi, Su, Mo, Guibas, CVPR 2017): a shared map per point, a maximum over the points, a
// classifier; T-Nets predict a 3x3 transform of the input and a KxK transform of the features.
// Exactly invariant under permutations of the points, under nothing else.
//   port:     the two widespread PyTorch ports: convs w1 | T | w2, w3 (BN without ReLU), dropout
//             before the BN of fc2, penalty 0.001 mean_b ||A A^T - I||_F (not squared);
//   original: the TensorFlow code: convs w1, w1 | T | w1, w2, w3 all with ReLU, dropout after both
//             hidden layers, zero-initialised T-Net outputs, Xavier weights,
//             penalty 0.001 / 2 sum_b ||A A^T - I||_F^2.
// With normals (option features) as in the PyTorch port: the input T-Net sees all six channels, its
// 3x3 matrix turns the coordinates alone, and the first layer takes [x T, n].
#pragma once
#include "basin/models/model.h"

namespace basin {

struct PointNetWidths {
  int64_t w1 = 64, w2 = 128, w3 = 1024;  // per point
  int64_t fc1 = 512, fc2 = 256;          // per cloud
};

struct PointNetConfig {
  bool original = false;  // preset
  int64_t classes = 40;
  PointNetWidths widths = {};
  bool normals = false;  // a second input [B, N, 3]
  bool input_transform = true;
  bool feature_transform = true;
  double dropout = 0.3;
  double penalty = 0.001;                // weight of the feature transform's penalty
  double bn_eps = 1e-5;                  // make_model sets 1e-3 for the preset original
  Role tnet_output_role = Role::matrix;  // head: keeps the T-Nets' last layers away from Muon
  bool fused = true;                     // false: the same network from plain ops only
};

Model make_pointnet(const PointNetConfig& config);
ModelInfo pointnet_info();

// ||A A^T - I|| penalties of a batch of square matrices, without the weight. a [B, K, K] -> []
Tensor orthogonality_norm(const Tensor& a);  // mean_b ||A A^T - I||_F; derivative 0 where it is 0
Tensor orthogonality_half_sum(const Tensor& a);  // 1/2 sum_b ||A A^T - I||_F^2

}  // namespace basin
