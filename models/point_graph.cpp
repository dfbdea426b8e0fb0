// Neighbour lists, moved from numbers within a cloud to rows of the batch.
#include "basin/models/point_graph.h"

#include <limits>

#include "basin/autograd/ops.h"

namespace basin {

Tensor neighbour_rows(const Tensor& x, int64_t k, bool include_self) {
  const Tensor index = knn(x, k, include_self);
  const int64_t edges = x.size(1) * k;
  check(x.size(0) * x.size(1) <= std::numeric_limits<int32_t>::max(), "neighbour_rows: too many ",
        "points in a batch, got ", x.shape());
  Tensor rows = Tensor::empty({index.numel()}, DType::i32);
  const int32_t* from = index.data<int32_t>();
  int32_t* to = rows.mutable_data<int32_t>();
  for (int64_t e = 0; e < index.numel(); ++e) {
    to[e] = from[e] + static_cast<int32_t>(e / edges * x.size(1));
  }
  return rows;
}

}  // namespace basin
