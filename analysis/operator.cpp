// Operators whose matrix is known: dense rows and diagonals. A row of the result is a sum in the
// order of the columns, whatever the number of threads.
#include "basin/analysis/operator.h"

#include <algorithm>

#include "basin/core/parallel.h"

namespace basin {
namespace {

constexpr int64_t kMostDense = 4096;
constexpr int64_t kElementsPerTile = 4096;

Tensor check_vectors(const Tensor& v, int64_t n) {
  check(v.defined() && v.rank() == 2 && v.size(1) == n && v.dtype() == DType::f64 &&
            v.device() == Device::cpu,
        "operator: expects vectors [lanes, ", n, "] in f64 on the CPU, got ", v);
  return Tensor::empty(v.shape(), DType::f64);
}

class DenseOperator final : public SymmetricOperator {
 public:
  explicit DenseOperator(Tensor a) : a_(std::move(a)) {}
  int64_t size() const override { return a_.size(0); }
  Tensor apply(const Tensor& v) const override {
    const int64_t n = size(), lanes = v.rank() == 2 ? v.size(0) : 0;
    Tensor out = check_vectors(v, n);
    const double* a = a_.data<double>();
    const double* x = v.data<double>();
    double* y = out.mutable_data<double>();
    parallel_for(n, std::max<int64_t>(1, kElementsPerTile / n), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        for (int64_t l = 0; l < lanes; ++l) {
          double sum = 0;
          for (int64_t j = 0; j < n; ++j) sum += a[i * n + j] * x[l * n + j];
          y[l * n + i] = sum;
        }
      }
    });
    return out;
  }

 private:
  Tensor a_;
};

class DiagonalOperator final : public SymmetricOperator {
 public:
  explicit DiagonalOperator(Tensor d) : d_(std::move(d)) {}
  int64_t size() const override { return d_.numel(); }
  Tensor apply(const Tensor& v) const override {
    Tensor out = check_vectors(v, size());
    const double* d = d_.data<double>();
    const double* x = v.data<double>();
    double* y = out.mutable_data<double>();
    const int64_t n = size(), lanes = v.size(0);
    parallel_for(n, kElementsPerTile, [&](int64_t begin, int64_t end) {
      for (int64_t l = 0; l < lanes; ++l) {
        for (int64_t j = begin; j < end; ++j) y[l * n + j] = d[j] * x[l * n + j];
      }
    });
    return out;
  }

 private:
  Tensor d_;
};

}  // namespace

std::unique_ptr<SymmetricOperator> dense_operator(const Tensor& a) {
  check(a.defined() && a.rank() == 2 && a.size(0) == a.size(1) && a.size(0) > 0 &&
            is_float(a.dtype()),
        "dense_operator: expects a square matrix of f32 or f64, got ", a);
  return std::make_unique<DenseOperator>(a.to(Device::cpu).to(DType::f64).clone());
}

std::unique_ptr<SymmetricOperator> diagonal_operator(const Tensor& d) {
  check(d.defined() && d.rank() == 1 && d.numel() > 0 && is_float(d.dtype()),
        "diagonal_operator: expects a vector of f32 or f64, got ", d);
  return std::make_unique<DiagonalOperator>(d.to(Device::cpu).to(DType::f64).clone());
}

Tensor dense_matrix(const SymmetricOperator& a) {
  const int64_t n = a.size();
  check(n <= kMostDense, "dense_matrix: expects at most ", kMostDense, " rows, the operator has ",
        n, "; use an estimator");
  // Columns in blocks: an operator makes several products at once for less than one by one.
  constexpr int64_t kBlock = 64;
  Tensor out = Tensor::zeros({n, n}, DType::f64);
  double* to = out.mutable_data<double>();
  for (int64_t first = 0; first < n; first += kBlock) {
    const int64_t lanes = std::min(kBlock, n - first);
    Tensor units = Tensor::zeros({lanes, n}, DType::f64);
    for (int64_t l = 0; l < lanes; ++l) units.mutable_data<double>()[l * n + first + l] = 1;
    const Tensor columns = a.apply(units);
    const double* from = columns.data<double>();
    for (int64_t l = 0; l < lanes; ++l) {
      for (int64_t i = 0; i < n; ++i) to[i * n + first + l] = from[l * n + i];
    }
  }
  return out;
}

}  // namespace basin
