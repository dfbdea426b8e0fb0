// Sorting by row on the CPU: a counting sort.
#include "basin/kernels/csr.h"

#include <algorithm>
#include <vector>

#include "basin/kernels/index.h"
#include "basin/kernels/index_map.h"

namespace basin {

void SortByRow::cpu(const Tensor& index, Tensor& offsets, Tensor& order) {
  const int64_t rows = offsets.numel() - 1, edges = index.numel();
  check_index(index, rows, 0, name);
  const int32_t* row = index.data<int32_t>();
  int32_t* start = offsets.mutable_data<int32_t>();
  int32_t* at = order.mutable_data<int32_t>();
  std::fill_n(start, rows + 1, 0);
  for (int64_t e = 0; e < edges; ++e) ++start[row[e] + 1];
  for (int64_t n = 0; n < rows; ++n) start[n + 1] += start[n];
  std::vector<int32_t> next(start, start + rows);
  for (int64_t e = 0; e < edges; ++e) at[next[row[e]]++] = static_cast<int32_t>(e);
}

void SortClouds::cpu(const Tensor& index, Tensor& sender, Tensor& offsets, Tensor& order) {
  const int64_t points = index.size(1), rows = index.size(0) * points;
  check_index(index, points, 0, name);
  sender = Tensor::empty({index.numel()}, DType::i32);
  offsets = Tensor::empty({rows + 1}, DType::i32);
  order = Tensor::empty({index.numel()}, DType::i32);
  CloudRows::cpu(index, points * index.size(2), points, sender);
  SortByRow::cpu(sender, offsets, order);
}

}  // namespace basin
