// Neighbour lists, moved from numbers within a cloud to rows of the batch.
#include "basin/models/detail/point_graph.h"

#include <limits>

#include "basin/autograd/ops.h"
#include "basin/kernels/index_map.h"
#include "basin/kernels/launch.h"

namespace basin {

Tensor neighbour_rows(const Tensor& x, int64_t k, bool include_self) {
  return neighbour_rows(knn(x, k, include_self));
}

Tensor neighbour_rows(const Tensor& index) {
  const int64_t points = index.size(1);
  check(index.size(0) * points <= std::numeric_limits<int32_t>::max(),
        "neighbour_rows: too many points in a batch, got lists ", index.shape());
  Tensor rows = Tensor::empty({index.numel()}, DType::i32, index.device());
  launch<CloudRows>(index.device(), index, points * index.size(2), points, rows);
  return rows;
}

}  // namespace basin
