// Measurements that heed signals and say how far they are.
#pragma once
#include <string>

#include "basin/analysis/operator.h"

namespace basin::tools {

// Thrown where a signal is noticed; what is complete is on disk by then.
struct StopRequest {
  int signal = 0;
};
void heed_signals();  // throws StopRequest

// An operator that heeds signals and shows how many products were made.
class WatchedOperator : public SymmetricOperator {
 public:
  WatchedOperator(const SymmetricOperator& inner, std::string label);
  int64_t size() const override { return inner_.size(); }
  Tensor apply(const Tensor& v) const override;
  int64_t products() const { return products_; }

 private:
  const SymmetricOperator& inner_;
  std::string label_;
  mutable int64_t products_ = 0;
  mutable double last_ = 0;
};

}  // namespace basin::tools
