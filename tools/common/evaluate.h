// Evaluation of a classifier on a whole split, in evaluation mode (running statistics, no dropout).
//   overall accuracy = correct / total;  mean class accuracy = unweighted mean of the recalls of
//   the classes that occur;  loss = mean cross-entropy without smoothing and without penalty terms.
// Sums are taken in f64 in the order of the shapes, so the batch size enters only through the
// kernels.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "basin/datasets/loader.h"
#include "basin/models/model.h"

namespace basin::tools {

struct Evaluation {
  double loss = 0;
  double overall_accuracy = 0;
  double mean_class_accuracy = 0;
  int64_t examples = 0;
  std::vector<double> recall;  // per class; NaN for a class that does not occur
};

// Counts predictions; the arg-max of equal logits is the first.
class Tally {
 public:
  explicit Tally(int64_t classes) : correct_(classes, 0), total_(classes, 0) {}
  void add(const Tensor& logits, const Tensor& labels);  // [B, C] on any device, [B] i64
  int64_t correct() const;
  int64_t total() const;
  Evaluation result() const;

 private:
  std::vector<int64_t> correct_, total_;
  double loss_sum_ = 0;
};

// `stop`, if given, is asked between batches; once it says yes the result is empty.
std::optional<Evaluation> evaluate(const Model& model, const ModelState& state,
                                   const PointCloudSet& set, const LoaderOptions& options,
                                   const std::function<bool()>& stop = {});

}  // namespace basin::tools
