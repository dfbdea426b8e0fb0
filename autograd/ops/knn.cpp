// Nearest neighbours as an op: indices, so without derivative.
#include "basin/kernels/knn.h"

#include "basin/autograd/families.h"
#include "basin/autograd/ops.h"
#include "basin/kernels/launch.h"

namespace basin {

Tensor knn(const Tensor& x, int64_t k, bool include_self) {
  const Shape shape = knn_shape(x, k, include_self);
  return opaque_op("knn",
                   [&](const Tensors& in) {
                     Tensor index = Tensor::empty(shape, DType::i32, in[0].device());
                     launch<Knn>(index.device(), in[0], k, include_self, index);
                     return Tensors{index};
                   },
                   {x})[0];
}

}  // namespace basin
