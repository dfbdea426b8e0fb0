// Counting and summing predictions, row by row in f64.
#include "basin/train/meters.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace basin {
namespace {

struct Row {
  int64_t best = 0;  // -1: a logit is no number
  double loss = 0;   // -log softmax at the label
};

template <class T>
Row read_row(const T* logits, int64_t classes, int64_t label) {
  Row row;
  for (int64_t c = 1; c < classes; ++c) {
    if (logits[c] > logits[row.best]) row.best = c;
  }
  const double top = static_cast<double>(logits[row.best]);
  double sum = 0;
  for (int64_t c = 0; c < classes; ++c) sum += std::exp(static_cast<double>(logits[c]) - top);
  row.loss = std::log(sum) + top - static_cast<double>(logits[label]);
  if (std::any_of(logits, logits + classes, [](T x) { return std::isnan(x); })) row.best = -1;
  return row;
}

class ClassificationMeter : public Meter {
 public:
  explicit ClassificationMeter(int64_t classes) : tally_(classes) {}
  void add(const Batch& batch, const Tensors& predictions) override {
    tally_.add(predictions.front(), batch.tensors.back());
  }
  std::vector<double> result() const override {
    return {tally_.overall_accuracy(), tally_.mean_class_accuracy(), tally_.loss()};
  }

 private:
  Tally tally_;
};

class AccuracyMeter : public Meter {
 public:
  explicit AccuracyMeter(int64_t classes) : classes_(classes) {}
  void add(const Batch& batch, const Tensors& predictions) override {
    Tally tally(classes_);
    tally.add(predictions.front(), batch.tensors.back());
    correct_ += tally.correct();
    seen_ += tally.total();
  }
  std::vector<double> result() const override {
    return {static_cast<double>(correct_) / static_cast<double>(seen_)};
  }
  Record save() const override { return Record().add("correct", correct_).add("seen", seen_); }
  void load(const RecordFields& in, const std::string& prefix) override {
    correct_ = in.integer(prefix + "correct");
    seen_ = in.integer(prefix + "seen");
  }

 private:
  int64_t classes_, correct_ = 0, seen_ = 0;
};

class RegressionMeter : public Meter {
 public:
  void add(const Batch& batch, const Tensors& predictions) override {
    const std::vector<double> given = predictions.front().to_vector<double>();
    const std::vector<double> wanted = batch.tensors.back().to_vector<double>();
    check(given.size() == wanted.size(), "regression meter: ", given.size(), " predictions for ",
          wanted.size(), " targets");
    for (size_t i = 0; i < given.size(); ++i) {
      const double gap = given[i] - wanted[i];
      absolute_ += std::abs(gap);
      square_ += gap * gap;
    }
    count_ += static_cast<int64_t>(given.size());
  }
  std::vector<double> result() const override {
    const auto n = static_cast<double>(count_);
    return {absolute_ / n, std::sqrt(square_ / n)};
  }
  Record save() const override {
    return Record().add("absolute", absolute_).add("square", square_).add("count", count_);
  }
  void load(const RecordFields& in, const std::string& prefix) override {
    absolute_ = in.number(prefix + "absolute");
    square_ = in.number(prefix + "square");
    count_ = in.integer(prefix + "count");
  }

 private:
  double absolute_ = 0, square_ = 0;
  int64_t count_ = 0;
};

// The sums over all elements, or the mean over the examples of the error of each.
class RelativeErrorMeter : public Meter {
 public:
  explicit RelativeErrorMeter(bool by_example) : by_example_(by_example) {}
  void add(const Batch& batch, const Tensors& predictions) override {
    const Tensor u = predictions.front().to(DType::f64), &truth = batch.tensors.back();
    if (truth.numel() == 0) return;  // points of a residual: nothing to compare with
    check(u.shape() == truth.shape(), "relative error: expects predictions ", truth.shape(),
          ", got ", u.shape());
    const double *a = u.data<double>(), *b = truth.data<double>();
    const int64_t row = by_example_ ? u.numel() / u.size(0) : u.numel();
    for (int64_t first = 0; first < u.numel(); first += row) {
      double errors = 0, truths = 0;
      for (int64_t i = first; i < first + row; ++i) {
        const double error = a[i] - b[i];
        errors += error * error;
        truths += b[i] * b[i];
        largest_ = std::isnan(error) ? error : std::max(largest_, std::abs(error));
      }
      if (by_example_) {
        errors = std::sqrt(errors / truths);
        truths = 1;
      }
      errors_ += errors;
      truths_ += truths;
    }
  }
  std::vector<double> result() const override {
    const double ratio = errors_ / truths_;
    return {by_example_ ? ratio : std::sqrt(ratio), largest_};
  }
  Record save() const override {
    Record out;
    return out.add("errors", errors_).add("truths", truths_).add("largest", largest_);
  }
  void load(const RecordFields& in, const std::string& prefix) override {
    errors_ = in.number(prefix + "errors");
    truths_ = in.number(prefix + "truths");
    largest_ = in.number(prefix + "largest");
  }

 private:
  bool by_example_;
  double errors_ = 0, truths_ = 0, largest_ = 0;
};

}  // namespace

void Tally::add(const Tensor& logits, const Tensor& labels) {
  const int64_t classes = logits.size(1);
  const Tensor here = logits.to(Device::cpu);
  const auto* label = labels.data<int64_t>();
  dispatch_float(logits.dtype(), "tally", [&](auto zero) {
    using T = decltype(zero);
    const T* values = here.data<T>();
    for (int64_t i = 0; i < labels.numel(); ++i) {
      const Row row = read_row(values + i * classes, classes, label[i]);
      const auto c = static_cast<size_t>(label[i]);
      ++total_[c];
      if (row.best == label[i]) ++correct_[c];
      loss_sum_ += row.loss;
    }
  });
}

int64_t Tally::correct() const {
  return std::accumulate(correct_.begin(), correct_.end(), int64_t{0});
}

int64_t Tally::total() const { return std::accumulate(total_.begin(), total_.end(), int64_t{0}); }

double Tally::loss() const { return loss_sum_ / static_cast<double>(total()); }

double Tally::overall_accuracy() const {
  return static_cast<double>(correct()) / static_cast<double>(total());
}

std::vector<double> Tally::recall() const {
  std::vector<double> out;
  for (size_t c = 0; c < total_.size(); ++c) {
    out.push_back(static_cast<double>(correct_[c]) / static_cast<double>(total_[c]));
  }
  return out;
}

double Tally::mean_class_accuracy() const {
  int64_t present = 0;
  double recalls = 0;
  for (size_t c = 0; c < total_.size(); ++c) {
    if (total_[c] == 0) continue;
    recalls += static_cast<double>(correct_[c]) / static_cast<double>(total_[c]);
    ++present;
  }
  return recalls / static_cast<double>(present);
}

std::vector<Metric> classification_metrics() {
  return {{"overall_accuracy", "%", true}, {"mean_class_accuracy", "%", true}, {"loss"}};
}

std::unique_ptr<Meter> classification_meter(int64_t classes) {
  return std::make_unique<ClassificationMeter>(classes);
}

std::vector<Metric> accuracy_metrics() { return {{"accuracy", "%", true}}; }

std::unique_ptr<Meter> accuracy_meter(int64_t classes) {
  return std::make_unique<AccuracyMeter>(classes);
}

std::vector<Metric> regression_metrics(const std::string& unit) {
  return {{"mae", unit}, {"rmse", unit}};
}

std::unique_ptr<Meter> regression_meter() { return std::make_unique<RegressionMeter>(); }

std::vector<Metric> relative_error_metrics() { return {{"rel_l2"}, {"max_error"}}; }
std::unique_ptr<Meter> relative_error_meter() {
  return std::make_unique<RelativeErrorMeter>(false);
}
std::unique_ptr<Meter> relative_error_by_example_meter() {
  return std::make_unique<RelativeErrorMeter>(true);
}

}  // namespace basin
