// Grouping of edges on CUDA: the sort of scatter_sum (by_target.cuh), then one thread per edge.
#include "basin/kernels/segment.h"

#include "basin/kernels/cuda/by_target.cuh"
#include "basin/kernels/cuda/grid.cuh"
#include "basin/kernels/index.h"

namespace basin {

void GroupEdges::cuda(const Tensor& key, const Tensor& node, const Tensor& kind, int64_t nodes,
                      EdgeGroups& out) {
  check_index(key, nodes, 0, name);
  check_index(node, nodes, 0, name);
  const cuda::ByTarget sorted = cuda::sort_by_target(name, key, nodes);
  out = {sorted.start, Tensor::empty(key.shape(), DType::i32, Device::cuda),
         Tensor::empty(key.shape(), DType::i32, Device::cuda)};
  const int32_t* order = cuda::in_ptr<int32_t>(sorted.order);
  const int32_t *from_node = cuda::in_ptr<int32_t>(node), *from_kind = cuda::in_ptr<int32_t>(kind);
  int32_t *to_node = cuda::out_ptr<int32_t>(out.node), *to_kind = cuda::out_ptr<int32_t>(out.kind);
  cuda::for_items(name, key.numel(), [=] __device__(int64_t e) {
    to_node[e] = from_node[order[e]];
    to_kind[e] = from_kind[order[e]];
  });
}

}  // namespace basin
