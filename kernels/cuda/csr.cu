// Sorting by row on the device: kernels/cuda/scatter.cu has the sort.
#include "basin/kernels/csr.h"

#include "basin/kernels/cuda/by_target.cuh"
#include "basin/kernels/index.h"

namespace basin {

void SortByRow::cuda(const Tensor& index, Tensor& offsets, Tensor& order) {
  const int64_t rows = offsets.numel() - 1;
  check_index(index, rows, 0, name);
  const cuda::ByTarget sorted = cuda::sort_by_target(name, index, rows);
  offsets.copy_from(sorted.start);
  order.copy_from(sorted.order);
}

}  // namespace basin
