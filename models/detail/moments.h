// Second and third moments of points as features of a node that no rotation, reflection,
// translation, permutation or change of the unit of length alters: polynomials of inner products,
// over powers of the size of the cloud, smooth wherever the points are not all in one place.
//
// Of the whole cloud, with g_i = x_i - mean x and s = mean |g|^2:
//   u_i = g_i / sqrt(s),  S = 3 mean u u^T,  t = mean |u|^2 u
//   node   u.u, u.S u, u.S^2 u: squares of the coordinates along the principal axes, without the
//          order and signs that an eigenbasis has to choose;  u.t, t.S u, t.S^2 u: their signs,
//          as far as the cloud has a skewness
//   cloud  tr S^2, tr S^3, t.t, t.S t, t.S^2 t, the same for every node
// Of the k neighbours of a point, with d_ij = (x_j - x_i) / sqrt(s) over the neighbours,
// C_i = mean d d^T, c_i = tr C_i, v_i = mean d, all over powers of c_i to have no unit:
//   sqrt(c), 3 tr C^2, 27 det C (a plane has 0), v.v, v.u, u.C u, v.t, t.C t, tr C S, tr C S^2
// Invariants of moments under rotations as descriptors of shapes: Sadjadi and Hall, IEEE PAMI 2
// (1980), for three dimensions.
#pragma once
#include "basin/core/tensor.h"

namespace basin {

constexpr int64_t kCloudMoments = 11;
constexpr int64_t kNeighbourMoments = 10;

// points [B, N, 3] -> [B, N, kCloudMoments]
Tensor cloud_moments(const Tensor& points);
// index [B, N, k] i32, neighbours within the cloud as knn gives them -> [B, N, kNeighbourMoments]
Tensor neighbour_moments(const Tensor& points, const Tensor& index);

}  // namespace basin
