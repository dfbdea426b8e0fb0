// The composites that gata_message and edge_products compute, in plain ops. They store the messages
// of every edge and are there to be compared with.
#pragma once
#include "basin/autograd/ops.h"

namespace basin {

GataMessages gata_composite(const GataInputs& in, const EdgeList& edges, int64_t heads);
Tensor edge_products_composite(const Tensor& q, const Tensor& k, const Tensor& y,
                               const EdgeList& edges);

// The largest degree L of K = (L + 1)^2 - 1 rows; usage error in the name of `op` unless L is 1 to 3.
int64_t largest_degree(int64_t rows, const char* op);

}  // namespace basin
