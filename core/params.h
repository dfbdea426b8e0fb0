// Parameters: named tensors with a role, a logical matrix view and the layout of the reference
// PyTorch code. Optimizers, checkpoints and probes all read this one description (it stands in
// core/ so that optim/, which knows no tape, can use it).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "basin/core/tensor.h"

namespace basin {

// What a parameter is for. Matrix-optimizer routing depends on it (optim/routing.h).
//   matrix: hidden weight; bias; gain: scale of a normalisation layer; embedding: look-up table;
//   head: the last layer that gives the outputs; first: the layer that reads raw inputs.
enum class Role : uint8_t { matrix, bias, gain, embedding, head, first };
std::string_view name_of(Role role);

// One logical matrix inside a parameter: rows = fan-out, cols = fan-in, row-major at `offset`
// elements.
struct MatrixBlock {
  int64_t offset = 0;
  int64_t rows = 0;
  int64_t cols = 0;
};

struct Param {
  std::string name;  // as in the reference PyTorch code, e.g. "feat.conv1.weight"
  Tensor value;      // shape as Basin computes with it, e.g. [64, 3]
  Role role = Role::matrix;
  std::vector<MatrixBlock> view;  // logical matrices; empty for vectors and scalars
  Shape reference_shape;          // shape in the PyTorch file, e.g. [64, 3, 1]; same numel
};

// An ordered list with unique names. Buffers (running statistics) are a ParamList of their own.
class ParamList {
 public:
  // usage error on a repeated name or when reference_shape and value disagree in element count
  void add(Param p);
  // A weight [rows, cols] with one matrix block; reference_shape defaults to the value's shape.
  void add_matrix(std::string name, Tensor value, Role role, Shape reference_shape = {});
  void add_vector(std::string name, Tensor value, Role role);

  size_t size() const { return params_.size(); }
  Param& operator[](size_t i) { return params_[i]; }
  const Param& operator[](size_t i) const { return params_[i]; }
  int find(std::string_view name) const;         // index or -1
  const Param& at(std::string_view name) const;  // usage error naming the nearest known name
  auto begin() { return params_.begin(); }
  auto end() { return params_.end(); }
  auto begin() const { return params_.begin(); }
  auto end() const { return params_.end(); }

  int64_t total_elements() const;
  Tensors values() const;             // handles, in order
  ParamList clone() const;            // deep copy
  ParamList to(DType dtype) const;    // deep copy in another precision
  ParamList to(Device device) const;  // deep copy there

 private:
  std::vector<Param> params_;
  std::unordered_map<std::string, int> index_;
};

// The candidate closest to `word` (Levenshtein), for "did you mean" hints; empty if none is near.
std::string nearest_name(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace basin
