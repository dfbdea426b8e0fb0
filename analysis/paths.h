// Between and along checkpoints of one network.
//   Line   L(t) at w(t) = (1 - t) a + t b, t in [0, 1]. The barrier is how far the loss rises above
//          the straight line between the losses at the ends (Frankle et al. 2020; Entezari et al.
//          2022):
//            barrier = max_t  L(t) - [(1 - t) L(0) + t L(1)]  >= 0
//   Path   checkpoints w_0 .. w_n of a training, about the last one, drawn in a plane: one through
//          three checkpoints (directions.h), or the first two principal directions of the
//          differences w_i - w_n (Li, Xu, Taylor, Studer and Goldstein 2018).
//          What a plane with orthonormal directions p, q shows of the path is the share
//            sum_i <w_i - mean, p>^2 + <w_i - mean, q>^2  over  sum_i ||w_i - mean||^2
// Principal directions show large shares of random walks as well (Antognini and Sohl-Dickstein
// 2018): a share says what the picture leaves out, not that the path is low-dimensional.
#pragma once
#include <array>
#include <limits>
#include <vector>

#include "basin/analysis/directions.h"
#include "basin/analysis/slices.h"

namespace basin {

struct Barrier {
  double height = std::numeric_limits<double>::quiet_NaN();
  double at = 0;                                           // t of the highest rise
  double loss = std::numeric_limits<double>::quiet_NaN();  // there
  int64_t points = 0;  // of the line that were computed; the maximum is over these
};
// Of a slice along one direction whose axis reaches from 0 to 1. NaN where an end has no loss.
// usage error for another axis.
Barrier line_barrier(const Slice& line);

struct PathPlane {
  Direction first, second;         // orthonormal; the origin is the last checkpoint
  std::array<double, 2> shares{};  // of the variance, by direction
};
// usage error for fewer than three checkpoints, or where names or shapes differ; numerical error
// where all lie on a line.
PathPlane principal_plane(const std::vector<ParamList>& path);

struct ProjectedPath {
  std::vector<double> x, y;  // <w_i - origin, first>, <w_i - origin, second>
  double share = 0;          // of the variance that the plane shows
};
// first and second: orthonormal. usage error where names or shapes differ.
ProjectedPath projected_path(const std::vector<ParamList>& path, const ParamList& origin,
                             const Direction& first, const Direction& second);

// (1 - t) a + t b for statistics that no direction moves: running means and variances, in f64 and
// rounded once; integers are those of the nearer end. The ends are a and b to the bit.
ParamList between(const ParamList& a, const ParamList& b, double t);
// a + u (b - a) + v (c - a), alike.
ParamList between(const ParamList& a, const ParamList& b, const ParamList& c, double u, double v);

}  // namespace basin
