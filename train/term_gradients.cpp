// One recording of all terms, a cotangent of 1 at one of them after the other.
#include "basin/train/term_gradients.h"

#include <cmath>

#include "basin/analysis/curvature.h"

namespace basin {
namespace {

double product(const Tensor& rows, size_t i, size_t j) {
  const int64_t n = rows.size(1);
  const double *a = rows.data<double>() + static_cast<int64_t>(i) * n,
               *b = rows.data<double>() + static_cast<int64_t>(j) * n;
  double sum = 0;
  for (int64_t k = 0; k < n; ++k) sum += a[k] * b[k];
  return sum;
}

Tensors cotangents_of(const Tensors& terms, size_t one) {
  Tensors out(terms.size());
  out[one] = Tensor::full({}, terms[one].dtype(), 1);
  return out;
}

}  // namespace

double TermGradients::norm(size_t i) const { return std::sqrt(product(gradients, i, i)); }

double TermGradients::cosine(size_t i, size_t j) const {
  const double lengths = norm(i) * norm(j);
  return lengths > 0 ? product(gradients, i, j) / lengths : NAN;
}

double TermGradients::alignment() const {
  double sum = 0;
  for (size_t i = 0; i < names.size(); ++i) {
    for (size_t j = 0; j < names.size(); ++j) sum += cosine(i, j);
  }
  const auto count = static_cast<double>(names.size());
  return 2 * sum / (count * count) - 1;
}

TermGradients term_gradients(const Task& task, const ModelState& state, const ProbeData& data) {
  const Tensors params = state.params.values(), buffers = state.buffers.values();
  const ParameterSpace space(state.params);
  TermGradients out;
  for (const Batch& batch : data.batches) {
    const Objective objective =
        task.objective(buffers, batch.to(params.front().dtype()), ForwardOptions::evaluation());
    if (objective.term_names.size() < 2) return {};
    if (out.names.empty()) {
      out.names = objective.term_names;
      out.gradients = Tensor::zeros({std::ssize(out.names), space.size()}, DType::f64);
    }
    const Fn terms = [&](const Tensors& p) { return objective.terms(outputs_only(objective)(p)); };
    const Tape tape = record(terms, params);
    const double share = static_cast<double>(batch.examples) / static_cast<double>(data.examples);
    double* to = out.gradients.mutable_data<double>();
    for (size_t t = 0; t < out.names.size(); ++t) {
      const Tensor g = space.flatten(pull(tape, cotangents_of(tape.outputs, t)));
      for (int64_t k = 0; k < space.size(); ++k) *to++ += share * g.data<double>()[k];
    }
  }
  return out;
}

}  // namespace basin
