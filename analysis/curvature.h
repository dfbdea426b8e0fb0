// Hessian and generalised Gauss-Newton matrix of a mean loss over data that is cut into batches,
//   L(w) = sum_b share_b L_b(w),  H v = sum_b share_b H_b v,  G v = sum_b share_b J_b^T H_l J_b v,
// as a SymmetricOperator over any subset of the parameters (Pearlmutter 1994; Schraudolph 2002 for
// G). A batch is recorded once for all vectors of one apply(); with a memory budget recordings are
// kept between calls, as many batches as fit. Batches are summed in their order, in f64.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "basin/analysis/operator.h"
#include "basin/autograd/transform.h"
#include "basin/core/params.h"

namespace basin {

// One batch of the data, as functions of ALL parameters in the order of their ParamList. Everything
// that fixes the mode (batch norm statistics, dropout off, which shapes) is inside.
struct LossBatch {
  Fn loss;               // params -> {mean loss over the batch [], ...}
  Fn outputs;            // params -> {outputs [B, ..]}, all of which the loss takes; needed by
  Fn loss_of_outputs;    //   gauss_newton only, as is {outputs} -> {mean loss []}, convex
  int64_t examples = 0;  // share_b = examples / total
};

enum class CurvatureKind : uint8_t { hessian, gauss_newton };
std::string_view name_of(CurvatureKind kind);

// Which parameters, and how a subset of them is laid out as one vector.
class ParameterSpace {
 public:
  // indices: positions in `params`, ascending; empty: all of them. usage error when out of range.
  ParameterSpace(const ParamList& params, std::vector<int> indices = {});
  int64_t size() const { return size_; }  // n
  const std::vector<int>& indices() const { return indices_; }
  const std::vector<std::string>& names() const { return names_; }
  int64_t offset(size_t i) const { return offsets_[i]; }  // of the i-th member in the vector
  // The members of a list that follows the ParamList (values, gradients), joined.   [n] f64
  Tensor flatten(const Tensors& all) const;
  // A vector as tensors of the parameters' shapes and dtype, one per parameter of the ParamList;
  // undefined (= zero) outside the subset.   v [n]
  Tensors unflatten(const Tensor& v) const;
  // Row `row` of several vectors, the members of the subset only.   v [lanes, n]
  Tensors members_of(const Tensor& v, int64_t row) const;

 private:
  std::vector<int> indices_;
  std::vector<std::string> names_;
  std::vector<Shape> shapes_;  // of the members
  std::vector<int64_t> offsets_;
  DType dtype_ = DType::f32;
  Device device_ = Device::cpu;
  size_t total_ = 0;  // parameters in the ParamList
  int64_t size_ = 0;
};

struct CurvatureOptions {
  CurvatureKind kind = CurvatureKind::hessian;
  std::vector<int> indices = {};  // empty: all parameters
  int64_t keep_bytes = 0;         // budget of kept recordings; 0: record anew at each apply()
};

// The parameters are copied: the operator stays that of the point where it was made. One thread at
// a time may use it (the work inside is parallel).
class CurvatureOperator : public SymmetricOperator {
 public:
  // usage error without batches or examples; numerical error naming the batch when a product is not
  // finite.
  CurvatureOperator(std::vector<LossBatch> batches, const ParamList& params,
                    CurvatureOptions options = {});
  int64_t size() const override { return space_.size(); }
  Tensor apply(const Tensor& v) const override;
  const ParameterSpace& space() const { return space_; }
  double loss() const;                                // L(w)
  Tensor gradient() const;                            // [n] f64
  int64_t products() const { return products_; }      // H_b v made so far, for reports of the cost
  int64_t kept_bytes() const { return kept_bytes_; }  // held by kept recordings

 private:
  struct Recording;
  double share(size_t batch) const;
  std::string describe(size_t batch) const;
  Tensors members() const;  // the values of the subset
  std::shared_ptr<const Recording> recorded(size_t index) const;
  void add_product(size_t batch, const Tensors& product, double* to) const;
  void evaluate() const;  // loss_ and gradient_, once

  std::vector<LossBatch> batches_;
  Tensors values_;
  ParameterSpace space_;
  CurvatureOptions options_;
  int64_t examples_ = 0;
  mutable std::vector<std::shared_ptr<const Recording>> kept_;  // per batch, null: not kept
  mutable int64_t kept_bytes_ = 0, products_ = 0;
  mutable double loss_ = 0;
  mutable Tensor gradient_;
};

}  // namespace basin
