// Meters that several tasks share.
//   classification  overall accuracy = correct / total; mean class accuracy = unweighted mean of
//                   the recalls of the classes that occur; loss = mean cross-entropy without
//                   smoothing and without penalty terms
//   regression      mean absolute error, root of the mean squared error
//   multi-label     average precision: per class, with the scores in falling order and equal ones
//                   together, sum over the groups of (recall - recall before) precision (the step
//                   rule); its mean over the classes that have both labels; loss = mean binary
//                   cross-entropy of the logits. Over everything that was added, never a mean of
//                   batches
//   masked          the mean absolute error over the targets that are known
//   relative error  |u - truth|_2 / |truth|_2 and max |u - truth| over all examples
// Sums are taken in f64 in the order of the examples.
#pragma once
#include <memory>
#include <vector>

#include "basin/train/task.h"

namespace basin {

// Counts predictions; the arg-max of equal logits is the first.
class Tally {
 public:
  explicit Tally(int64_t classes)
      : correct_(static_cast<size_t>(classes), 0), total_(static_cast<size_t>(classes), 0) {}
  // [B, C] on any device, [B] i64. A row with a NaN counts as wrong, and makes the loss NaN.
  void add(const Tensor& logits, const Tensor& labels);
  int64_t correct() const;
  int64_t total() const;
  double loss() const;  // mean
  double overall_accuracy() const;
  double mean_class_accuracy() const;
  std::vector<double> recall() const;  // per class; NaN for a class that does not occur

 private:
  std::vector<int64_t> correct_, total_;
  double loss_sum_ = 0;
};

// overall_accuracy, mean_class_accuracy, loss.   predictions {logits [B, C]}; the labels [B] i64
// are the last tensor of the batch
std::vector<Metric> classification_metrics();
std::unique_ptr<Meter> classification_meter(int64_t classes);

// accuracy, of the training steps. Saved as "correct" (and counted examples as "seen").
std::vector<Metric> accuracy_metrics();
std::unique_ptr<Meter> accuracy_meter(int64_t classes);

// mae, rmse.   predictions {[B, 1]}; the targets [B, 1] in report units are the last tensor
std::vector<Metric> regression_metrics(const std::string& unit);
std::unique_ptr<Meter> regression_meter();

// NaN unless there are both labels; scores and labels of one class
double average_precision(const std::vector<double>& scores, const std::vector<bool>& labels);

// ap, loss.   predictions {logits [B, classes]}; the last tensors of the batch are labels and known
// [B, classes], 0 or 1: what is not known is left out
std::vector<Metric> multi_label_metrics();
std::unique_ptr<Meter> multi_label_meter(int64_t classes);

// mae.   predictions {[B, T]}; the last tensors of the batch are targets and known [B, T]
std::vector<Metric> masked_error_metrics();
std::unique_ptr<Meter> masked_error_meter();

// rel_l2, max_error.   predictions {u [Q, C]}; the truth [Q, C] is the last tensor of the batch.
// A batch whose truth is empty counts for nothing; of such alone the error is NaN
std::vector<Metric> relative_error_metrics();
std::unique_ptr<Meter> relative_error_meter();
// The same with rel_l2 the mean over the examples of |u_i - truth_i|_2 / |truth_i|_2.
std::unique_ptr<Meter> relative_error_by_example_meter();

}  // namespace basin
