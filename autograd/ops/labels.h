// Class labels: the one check that cross_entropy and one_hot share.
#pragma once
#include <string_view>

#include "basin/core/tensor.h"

namespace basin {

// usage error in the name of `op` unless labels is i64 [B] with values in 0..classes-1 (the values
// on a GPU: with BASIN_SYNC=1)
void check_labels(std::string_view op, const Tensor& labels, int64_t classes);

}  // namespace basin
