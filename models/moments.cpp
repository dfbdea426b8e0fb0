// Moments of a cloud and of the neighbours of its points.
#include "basin/models/detail/moments.h"

#include "basin/autograd/ops.h"
#include "basin/models/detail/point_graph.h"

namespace basin {
namespace {

// Beside sums of squares over the size of a cloud: points in one place have no direction, and the
// features of one are 0, not a quotient of two zeros.
constexpr double kLeast = 1e-12;

struct CloudShape {
  Tensor u;      // [B, N, 3]
  Tensor s, s2;  // S and its square, [B, 3, 3]
  Tensor t;      // [B, 1, 3]
};

Tensor scaled(const Tensor& x, const Tensor& square) { return x * rsqrt(square + kLeast); }

CloudShape cloud_shape(const Tensor& points) {
  const double n = static_cast<double>(points.size(1));
  const Tensor g = points - mean(points, 1, true);
  const Tensor size = mean(sum(square(g), 2, true), 1, true);  // [B, 1, 1]
  CloudShape c;
  c.u = scaled(g, size);
  c.s = matmul(c.u, c.u, true) * (3 / n);
  c.s2 = matmul(c.s, c.s);
  c.t = mean(sum(square(c.u), 2, true) * c.u, 1, true);
  return c;
}

Tensor inner(const Tensor& a, const Tensor& b) { return sum(a * b, 2, true); }

// tr A B of symmetric matrices [.., 3, 3] -> [.., 1, 1]
Tensor trace(const Tensor& a, const Tensor& b) { return sum(sum(a * b, 2, true), 1, true); }

}  // namespace

Tensor cloud_moments(const Tensor& points) {
  const CloudShape c = cloud_shape(points);
  const Tensor su = matmul(c.u, c.s), s2u = matmul(c.u, c.s2), st = matmul(c.t, c.s);
  const Tensor cloud = concat(
      {trace(c.s, c.s), trace(c.s2, c.s), inner(c.t, c.t), inner(c.t, st), inner(st, st)}, 2);
  return concat({inner(c.u, c.u), inner(c.u, su), inner(c.u, s2u), inner(c.u, c.t), inner(su, c.t),
                 inner(s2u, c.t), broadcast_to(cloud, {points.size(0), points.size(1), 5})},
                2);
}

Tensor neighbour_moments(const Tensor& points, const Tensor& index) {
  const int64_t k = index.size(2);
  const int64_t clouds = points.size(0), n = points.size(1), nodes = clouds * n;
  const CloudShape cloud = cloud_shape(points);
  const Tensor at = reshape(cloud.u, {nodes, 3});
  const Tensor u = reshape(cloud.u, {nodes, 1, 3});
  const Tensor d = reshape(gather(at, neighbour_rows(index)), {nodes, k, 3}) - u;
  // Of the cloud, for each of its nodes.
  const auto each = [&](const Tensor& x) {
    return reshape(broadcast_to(reshape(x, {clouds, 1, x.size(1), 3}), {clouds, n, x.size(1), 3}),
                   {nodes, x.size(1), 3});
  };
  const Tensor s = each(cloud.s), s2 = each(cloud.s2), t = each(cloud.t);
  const Tensor spread = mean(sum(square(d), 2, true), 1, true);  // c, [nodes, 1, 1]
  const Tensor matrix = matmul(d, d, true) * reciprocal(spread * double(k) + kLeast);
  const Tensor v = mean(scaled(d, spread), 1, true);
  const Tensor square2 = trace(matrix, matrix), cube = trace(matmul(matrix, matrix), matrix);
  const Tensor det27 = (square2 * -3 + cube * 2 + 1) * 4.5;  // of trace 1
  const Tensor features = concat({sqrt(spread + kLeast), square2 * 3, det27, inner(v, v),
                                  inner(v, u), inner(matmul(u, matrix), u), inner(v, t),
                                  inner(matmul(t, matrix), t), trace(matrix, s), trace(matrix, s2)},
                                 2);
  return reshape(features, {clouds, n, kNeighbourMoments});
}

}  // namespace basin
