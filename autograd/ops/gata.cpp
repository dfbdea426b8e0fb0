#include "basin/autograd/ops/gata.h"
namespace basin {
GataMessages gata_message(const GataInputs& in, const EdgeList& edges, int64_t heads) {
  return gata_composite(in, edges, heads);
}
Tensor edge_products(const Tensor& q, const Tensor& k, const Tensor& y, const EdgeList& edges) {
  return edge_products_composite(q, k, y, edges);
}
}  // namespace basin
