// Displacements from coordinates: with D = W X, <G, W X> = <W^T G, X>, so the adjoint is W^T G;
// with D = X W it is G W^T.
#include "basin/analysis/ball_chart.h"

#include <cmath>

#include "basin/core/error.h"
#include "basin/kernels/gemm.h"

namespace basin {

std::string_view name_of(BallShape shape) {
  constexpr std::string_view names[] = {"plain", "elementwise", "right_product", "left_product"};
  return names[static_cast<int>(shape)];
}

BallChart::BallChart(const LossSurface& surface, BallShape shape)
    : shape_(shape), weights_(surface.weights().clone()), size_(surface.size()) {
  if (shape == BallShape::plain) return;
  if (shape == BallShape::elementwise) {
    double* w = weights_.mutable_data<double>();
    for (int64_t i = 0; i < size_; ++i) w[i] = std::abs(w[i]);
    return;
  }
  size_ = 0;
  const ParameterSpace& space = surface.space();
  auto add = [&](int64_t at, int64_t rows, int64_t cols) {
    blocks_.push_back({at, rows, cols, size_});
    size_ += right() ? cols * cols : rows * rows;
  };
  for (size_t m = 0; m < space.indices().size(); ++m) {
    const Param& p = surface.params()[space.indices()[m]];
    if (p.view.empty()) add(space.offset(m), p.value.numel(), 1);
    for (const MatrixBlock& b : p.view) add(space.offset(m) + b.offset, b.rows, b.cols);
  }
}

Tensor BallChart::displacement(const Tensor& u) const {
  check(u.defined() && u.dtype() == DType::f64 && u.numel() == size_, "ball chart: expects ", size_,
        " f64 coordinates, got ", u);
  if (shape_ == BallShape::plain) return u.clone();
  Tensor d = Tensor::zeros({weights_.numel()}, DType::f64);
  double* y = d.mutable_data<double>();
  const double *w = weights_.data<double>(), *x = u.data<double>();
  if (shape_ == BallShape::elementwise) {
    for (int64_t i = 0; i < size_; ++i) y[i] = w[i] * x[i];
  }
  for (const Block& b : blocks_) {
    if (right()) {
      gemm<double>(false, false, b.rows, b.cols, b.cols, 1.0, w + b.at, b.cols, x + b.from, b.cols,
                   0.0, y + b.at, b.cols);
    } else {
      gemm<double>(false, false, b.rows, b.cols, b.rows, 1.0, x + b.from, b.rows, w + b.at, b.cols,
                   0.0, y + b.at, b.cols);
    }
  }
  return d;
}

Tensor BallChart::adjoint(const Tensor& g) const {
  check(g.defined() && g.dtype() == DType::f64 && g.numel() == weights_.numel(),
        "ball chart: expects a gradient of ", weights_.numel(), " f64 numbers, got ", g);
  if (shape_ == BallShape::plain) return g.clone();
  Tensor s = Tensor::empty({size_}, DType::f64);
  double* y = s.mutable_data<double>();
  const double *w = weights_.data<double>(), *x = g.data<double>();
  if (shape_ == BallShape::elementwise) {
    for (int64_t i = 0; i < size_; ++i) y[i] = w[i] * x[i];
  }
  for (const Block& b : blocks_) {
    if (right()) {
      gemm<double>(true, false, b.cols, b.cols, b.rows, 1.0, w + b.at, b.cols, x + b.at, b.cols,
                   0.0, y + b.from, b.cols);
    } else {
      gemm<double>(false, true, b.rows, b.rows, b.cols, 1.0, x + b.at, b.cols, w + b.at, b.cols,
                   0.0, y + b.from, b.rows);
    }
  }
  return s;
}

}  // namespace basin
