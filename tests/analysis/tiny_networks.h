// The three point-cloud networks with fewer than 300 parameters each, f64, as batches of a loss
// with running statistics, and their curvature matrices in full by other means than the operator's.
#pragma once
#include "basin/analysis/curvature.h"
#include "basin/models/dgcnn.h"
#include "basin/tests/models/egnn_loops.h"

namespace basin::testing {

inline std::vector<Model> tiny_networks() {
  DgcnnConfig dgcnn;
  dgcnn.classes = 2;
  dgcnn.k = 3;
  dgcnn.widths = {.edge1 = 2, .edge2 = 3, .edge3 = 2, .edge4 = 3, .points = 4, .fc1 = 3, .fc2 = 2};
  return {make_pointnet(tiny_config()), make_egnn(tiny_egnn()), make_dgcnn(dgcnn)};
}

struct TinyProblem {
  Model model;
  ModelState state;
  Tensor points;                // [8, 9, 3]
  std::vector<int64_t> labels;  // [8]

  explicit TinyProblem(Model network, DType dtype = DType::f64)
      : model(std::move(network)),
        state(generic_state(model, 31, dtype)),
        points(random_clouds(8, 9, 12, dtype)),
        labels{0, 1, 1, 0, 1, 0, 0, 1} {}

  // The clouds [first, last) as a batch.
  LossBatch batch(int64_t first = 0, int64_t last = 8) const {
    const std::vector<double> all = points.to_vector<double>();
    const int64_t cloud = points.numel() / 8;
    const Tensor part =
        Tensor::from(std::vector<double>(all.begin() + first * cloud, all.begin() + last * cloud),
                     {last - first, 9, 3})
            .to(points.dtype());
    const Tensor label = Tensor::from(
        std::vector<int64_t>(labels.begin() + first, labels.begin() + last), {last - first});
    LossBatch out;
    const Tensors buffers = state.buffers.values();
    const ForwardOptions eval = ForwardOptions::evaluation();
    out.loss = classification_loss(model, buffers, part, label, eval, 0.2);
    out.outputs = [forward = model.forward, buffers, part, eval](const Tensors& params) {
      return Tensors{forward(params, buffers, {part}, eval).outputs[0]};
    };
    out.loss_of_outputs = [label](const Tensors& logits) {
      return Tensors{cross_entropy(logits[0], label, 0.2)};
    };
    out.examples = last - first;
    return out;
  }

  std::vector<LossBatch> unequal_batches() const { return {batch(0, 3), batch(3, 7), batch(7, 8)}; }
};

// Reverse over reverse, row by row.   [n, n]
inline Tensor full_hessian(const LossBatch& batch, const Tensors& params) {
  const Fn scalar = [&](const Tensors& p) { return Tensors{batch.loss(p)[0]}; };
  const LinearMap h = linearize(grad(scalar), params);
  std::vector<double> all;
  const auto n = static_cast<int64_t>(flatten(params).size());
  for (int64_t i = 0; i < n; ++i) {
    const std::vector<double> row =
        flatten(h.transpose(unit(static_cast<size_t>(i), params, static_cast<size_t>(n))));
    all.insert(all.end(), row.begin(), row.end());
  }
  return Tensor::from(all, {n, n});
}

// J^T H_l J with rows of J by reverse mode and H_l = (diag(p) - p p^T) / B of the cross entropy.
inline Tensor full_gauss_newton(const LossBatch& batch, const Tensors& params) {
  const auto n = static_cast<int64_t>(flatten(params).size());
  const LinearMap jacobian = linearize(batch.outputs, params);
  const Tensor logits = jacobian.value()[0];
  const int64_t b = logits.size(0), c = logits.size(1);
  std::vector<std::vector<double>> rows;
  for (int64_t i = 0; i < b * c; ++i) {
    Tensor e = Tensor::zeros(logits.shape(), DType::f64);
    e.mutable_data<double>()[i] = 1;
    rows.push_back(flatten(jacobian.transpose({e})));
  }
  std::vector<double> out(static_cast<size_t>(n * n), 0.0);
  for (int64_t s = 0; s < b; ++s) {
    std::vector<double> p(static_cast<size_t>(c));
    double sum = 0;
    for (int64_t k = 0; k < c; ++k) sum += p[k] = std::exp(logits.at(s * c + k));
    for (double& x : p) x /= sum;
    for (int64_t k = 0; k < c; ++k) {
      for (int64_t l = 0; l < c; ++l) {
        const double h = ((k == l ? p[k] : 0) - p[k] * p[l]) / static_cast<double>(b);
        const std::vector<double>&left = rows[s * c + k], &right = rows[s * c + l];
        for (int64_t i = 0; i < n; ++i) {
          for (int64_t j = 0; j < n; ++j) out[i * n + j] += left[i] * h * right[j];
        }
      }
    }
  }
  return Tensor::from(out, {n, n});
}

inline double largest_entry(const Tensor& a) {
  double out = 0;
  for (const double x : a.to_vector<double>()) out = std::max(out, std::abs(x));
  return out;
}

}  // namespace basin::testing
