// What a layer's weight is multiplied with: the stable rank ||X||_F^2 / ||X||_2^2 of its input
// activations X [rows, in], rows being points, nodes or examples. Beside it stands the nuclear rank
// ||G||_*^2 / ||G||_F^2 of the weight's gradient: where that exceeds the stable rank of the inputs,
// a spectral step (Muon) lowers the loss by more than a Euclidean one of the same kind (Davis,
// Drusvyatskiy, arXiv 2512.04299).
//   The inputs are read off a recording of the forward pass from plain ops: of every product x w^T
// with a whole weight. A weight that is used in parts (an edge map cut before the gather) has none.
#pragma once
#include <vector>

#include "basin/models/model.h"

namespace basin {

// One per parameter; NaN where no product with it was seen. batches: the inputs of the network, in
// the precision of the state. Evaluation mode.
std::vector<double> input_stable_ranks(const Model& model, const ModelState& state,
                                       const std::vector<Tensors>& batches);

}  // namespace basin
