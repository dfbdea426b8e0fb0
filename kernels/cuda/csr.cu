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

void SortClouds::cuda(const Tensor& index, Tensor& sender, Tensor& offsets, Tensor& order) {
  check_index(index, index.size(1), 0, name);
  sender = Tensor::empty({index.numel()}, DType::i32, Device::cuda);
  Tensor degree;
  const cuda::ByTarget sorted = cuda::sort_clouds(name, index, degree, sender);
  offsets = sorted.start;
  order = sorted.order;
}

}  // namespace basin
