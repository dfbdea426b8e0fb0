// Labels: see detail/labels.h. A float is a whole number up to 2^53, where doubles begin to skip
// some.
#include "basin/datasets/detail/labels.h"

#include <cmath>

namespace basin {

Tensor whole_labels(const Tensor& stored, const std::string& where) {
  const bool flat = stored.rank() == 1 || (stored.rank() == 2 && stored.size(1) == 1);
  if (!flat) fail(ErrorKind::data, where, ": expected labels [n] or [n, 1], got ", stored);
  const int64_t n = stored.size(0);
  if (!is_float(stored.dtype())) return stored.to(DType::i64).view({n});
  const Tensor floats = stored.to(DType::f64);
  Tensor out = Tensor::empty({n}, DType::i64);
  auto* label = out.mutable_data<int64_t>();
  for (int64_t i = 0; i < n; ++i) {
    const double value = floats.data<double>()[i];
    if (!(std::abs(value) <= 0x1p53) || value != std::floor(value)) {
      fail(ErrorKind::data, where, ": expected integers or whole floats as labels, row ", i, " is ",
           value);
    }
    label[i] = static_cast<int64_t>(value);
  }
  return out;
}

}  // namespace basin
