// Effective updates: RMS and spectral norm of the weight change, per parameter and per group. Two
// runs whose learning rates look different (0.02 and 1e-3) compare by these numbers. Costs one SVD
// per matrix and step while attached.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "basin/optim/optimizer.h"

namespace basin {

struct UpdateSize {
  std::string name;  // parameter, or "rule/group"
  std::string rule;
  double rms = 0;       // sqrt(mean change^2)
  double spectral = 0;  // largest singular value over the matrix blocks; 0 without one
  int64_t elements = 0;
  std::vector<std::pair<std::string_view, Tensor>> numbers = {};  // UpdateRecord::numbers
  Tensor spectrum = {};                                           // UpdateRecord::spectrum
};

// Attach with optimizer.set_observer(meter.observer()); the meter must outlive it. Holds the last
// step.
class UpdateMeter {
 public:
  UpdateObserver observer();
  const std::vector<UpdateSize>& parameters() const { return parameters_; }
  std::vector<UpdateSize> groups() const;  // one entry per rule and group

 private:
  void add(const UpdateRecord& record);
  std::vector<UpdateSize> parameters_;
  std::vector<std::string> group_of_;
  int64_t step_ = -1;
};

}  // namespace basin
