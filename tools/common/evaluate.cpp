// Evaluation: see evaluate.h.
#include "basin/tools/common/evaluate.h"

#include <cmath>
#include <numeric>

namespace basin::tools {
namespace {

struct Row {
  int64_t best = 0;
  double loss = 0;  // -log softmax at the label
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
  return row;
}

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

Evaluation Tally::result() const {
  Evaluation out;
  out.examples = total();
  const auto n = static_cast<double>(out.examples);
  out.loss = loss_sum_ / n;
  out.overall_accuracy = static_cast<double>(correct()) / n;
  int64_t present = 0;
  double recalls = 0;
  for (size_t c = 0; c < total_.size(); ++c) {
    const double recall = static_cast<double>(correct_[c]) / static_cast<double>(total_[c]);
    out.recall.push_back(recall);
    if (total_[c] == 0) continue;
    recalls += recall;
    ++present;
  }
  out.mean_class_accuracy = recalls / static_cast<double>(present);
  return out;
}

std::optional<Evaluation> evaluate(const Model& model, const ModelState& state,
                                   const PointCloudSet& set, const LoaderOptions& options,
                                   const std::function<bool()>& stop) {
  const PointCloudLoader loader(set, options);
  const Tensors params = state.params.values();
  const Tensors buffers = state.buffers.values();
  const DType dtype = params.front().dtype();
  const Device device = params.front().device();
  Tally tally(model.classes);
  for (int64_t i = 0; i < loader.batches_per_epoch(); ++i) {
    if (stop && stop()) return std::nullopt;
    const PointBatch batch = loader.batch(0, i);
    const ForwardResult result = model.forward(params, buffers, batch.points.to(device).to(dtype),
                                               ForwardOptions::evaluation());
    tally.add(result.logits, batch.labels);
  }
  return tally.result();
}

}  // namespace basin::tools
