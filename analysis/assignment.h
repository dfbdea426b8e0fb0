// Linear assignment: the permutation p that makes sum_i value[i][p(i)] largest, exactly. Shortest
// augmenting paths with dual prices (Kuhn 1955; Jonker and Volgenant 1987), O(n^3), in f64.
#pragma once
#include <vector>

#include "basin/core/tensor.h"

namespace basin {

struct Assignment {
  std::vector<int64_t> column;  // of each row
  double total = 0;             // the sum, added up row by row
};
// Among equals the one that the order of rows and columns leads to: the same for the same values.
// usage error unless square f64; numerical error for a value that is not finite.  value [n, n]
Assignment best_assignment(const Tensor& value);

}  // namespace basin
