// All pairs of points of one example that are closer than a cutoff, as edges j -> i sorted by the
// receiver i and then by the sender j. |x_j - x_i|^2 is summed in f64 from differences, so the
// graph is symmetric and the same on every device. Two passes: how many edges each point receives,
// whose running sums are the rows of the edge list, then the edges. No cap on the number of
// neighbours, nothing of size N x N.
#pragma once
#include "basin/core/tensor.h"

namespace basin {

// x [N, 3], offsets [B + 1] i32 (example b: points offsets[b] .. offsets[b + 1] - 1, rising to N).
// loops: every point is a neighbour of itself, too. A pair at the cutoff is none, nor is one whose
// distance is not a number.
struct RadiusDegrees {
  static constexpr const char* name = "radius_degrees";
  // start [N + 1] i32: running sums of the degrees
  using Run = void(const Tensor& x, const Tensor& offsets, double cutoff, bool loops,
                   Tensor& start);
  static Run cpu, cuda;
};

struct RadiusEdges {
  static constexpr const char* name = "radius_edges";
  // sender, receiver [E] i32, E = start[N]
  using Run = void(const Tensor& x, const Tensor& offsets, double cutoff, bool loops,
                   const Tensor& start, Tensor& sender, Tensor& receiver);
  static Run cpu, cuda;
};

}  // namespace basin
