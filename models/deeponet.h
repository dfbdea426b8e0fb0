// DeepONet: operators between functions (Lu, Jin, Pang, Zhang, Karniadakis 2021).
//   G(v)(y) = sum_p b_p(v(s_1) .. v(s_m)) t_p(y) + b_0
// with a branch network b of the values at m sensors and a trunk network t of the place y.
//   Inputs    functions [N, m], points [P, d]
//   Output    [N, P]: every function at every point; with `aligned` N = P, [N, 1]: function i at
//             point i
// The branch's last layer is linear; that of the trunk is activated, as in DeepXDE, or linear
// (Wang, Wang, Perdikaris 2021). Derivatives in y pass through the trunk alone: u_x = b t_x^T, so
// the jets of the trunk are made once for all functions.
//   Names follow DeepXDE's PyTorch backend: branch.linears.L.weight, trunk.linears.L.weight, b.
#pragma once
#include "basin/models/mlp.h"

namespace basin {

struct DeepOnetConfig {
  int64_t sensors = 100;    // m; a task sets it
  int64_t coordinates = 1;  // d; a task sets it
  int64_t width = 40;
  int64_t branch_depth = 1;  // hidden layers
  int64_t trunk_depth = 1;
  int64_t products = 40;  // p
  Nonlinearity phi = Nonlinearity::relu;
  bool trunk_linear = false;  // the last layer of the trunk
  bool modified = false;      // both networks are modified MLPs
  bool periodic = false;      // the first coordinate x as cos and sin of 2 pi x and 4 pi x
  bool aligned = false;
  bool uniform = false;  // Glorot uniform instead of normal
};

Model make_deeponet(const DeepOnetConfig& config);
ModelInfo deeponet_info();

}  // namespace basin
