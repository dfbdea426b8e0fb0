// The mean loss over batches as a function of a displacement of the parameters,
//   L(w + d) = sum_b share_b L_b(w + d),
// and its gradient: what the measures of sharpness evaluate. Displacements are f64 vectors on the
// CPU laid out by a ParameterSpace; w + d is rounded to the parameters' dtype. Batches are summed
// in their order, in f64.
#pragma once
#include <vector>

#include "basin/analysis/curvature.h"

namespace basin {

class LossSurface {
 public:
  // indices: which parameters may move; empty: all. The parameters are copied. usage error without
  // batches, examples or a loss; numerical error when L(w) is not finite.
  LossSurface(std::vector<LossBatch> batches, const ParamList& params,
              std::vector<int> indices = {});

  int64_t size() const { return space_.size(); }  // n
  const ParameterSpace& space() const { return space_; }
  const std::vector<LossBatch>& batches() const { return batches_; }
  const ParamList& params() const { return params_; }   // all of them
  const Tensor& weights() const { return weights_; }    // w, [n] f64
  double loss() const { return loss_; }                 // L(w)
  int64_t evaluations() const { return evaluations_; }  // of L and of its gradient so far

  // L(w + d); Inf or NaN when the network overflows there.   d [n]
  double loss_at(const Tensor& displacement) const;
  struct Point {
    double loss = 0;
    Tensor gradient;  // [n] f64
  };
  Point gradient_at(const Tensor& displacement) const;

 private:
  Tensors moved(const Tensor& displacement) const;
  double share(const LossBatch& batch) const;

  std::vector<LossBatch> batches_;
  ParamList params_;
  ParameterSpace space_;
  Tensor weights_;
  int64_t examples_ = 0;
  double loss_ = 0;
  mutable int64_t evaluations_ = 0;
};

}  // namespace basin
