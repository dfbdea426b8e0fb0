// Which parameters a matrix optimizer such as Muon updates, and which go to its auxiliary Adam.
// Rule: a parameter is orthogonalised if it has a logical matrix view, its role is not embedding,
// head or first, and every block has min(rows, cols) >= min_side. Each clause is a switch, names
// override.
//
// MatrixView says what "the matrix" is:
//   matrix:    the logical view of the parameter (Param::view);
//   reference: what K. Jordan's Muon code does with the tensor of the PyTorch model, that is with
//              reference_shape: 4-D is flattened to (out, rest), any other rank is a batch over the
//              leading axes, so a conv1d weight (out, in, 1) is `out` separate in x 1 columns;
//   torch:     torch.optim.Muon, which takes 2-D reference shapes only.
// Elements are assumed to lie in the same row-major order in value and reference shape.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "basin/core/params.h"
#include "basin/optim/optimizer.h"

namespace basin {

enum class MatrixView : uint8_t { matrix, reference, torch };

struct RoutingConfig {
  MatrixView view = MatrixView::matrix;
  bool embedding = false;  // true: orthogonalise embeddings too
  bool head = false;
  bool first = false;
  int64_t min_side = 2;
  std::vector<std::string> force_matrix{};     // name patterns with *, win over every other clause
  std::vector<std::string> force_auxiliary{};  // win over force_matrix
};

struct Route {
  bool matrix = false;
  std::string why;
  std::vector<MatrixBlock> blocks;  // what is orthogonalised, under the chosen view
};

// usage error when a block leaves the tensor, the blocks do not cover it, or a forced parameter has
// no matrix under the chosen view.
Route route(const Param& param, const RoutingConfig& config);
// usage error naming the first pattern of force_muon or force_aux that matches no parameter
void check_routing_used(const ParamList& params, const RoutingConfig& config);

std::string view_text(const std::vector<MatrixBlock>& blocks);  // "64x3", "4 of 64x1", "-"
// Aligned columns: name, shape, view, optimizer, lr, wd, group, why.
std::string format_routing_table(const std::vector<RoutingRow>& rows);

}  // namespace basin
