// Neighbour lists, moved from numbers within a cloud to rows of the batch.
#include "basin/models/detail/point_graph.h"

#include <limits>

#include "basin/autograd/ops.h"
#include "basin/kernels/index_map.h"
#include "basin/kernels/launch.h"

namespace basin {

Tensor neighbour_rows(const Tensor& x, int64_t k, bool include_self) {
  const Tensor index = knn(x, k, include_self);
  const int64_t edges = x.size(1) * k;
  check(x.size(0) * x.size(1) <= std::numeric_limits<int32_t>::max(), "neighbour_rows: too many ",
        "points in a batch, got ", x.shape());
  Tensor rows = Tensor::empty({index.numel()}, DType::i32, index.device());
  launch<CloudRows>(index.device(), index, edges, x.size(1), rows);
  return rows;
}

}  // namespace basin
