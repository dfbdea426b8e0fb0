// The composite that en_message_pass computes, in plain ops. It stores [R, k, d] several times over
// and is there to be compared with.
#pragma once
#include "basin/autograd/ops.h"

namespace basin {

EnMessages en_message_composite(const Tensor& p, const Tensor& r, const Tensor& x,
                                const Tensor& index, const EnMessageWeights& w);

}  // namespace basin
