// Class labels as arrays store them: integers of any width, or floats that are whole numbers.
// Internal to datasets/.
#pragma once
#include <string>

#include "basin/core/tensor.h"

namespace basin {

// [n] or [n, 1] of any type -> [n] i64. data error "WHERE: ..." naming the first row that is no
// whole number, or the shape.
Tensor whole_labels(const Tensor& stored, const std::string& where);

}  // namespace basin
