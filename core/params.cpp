// ParamList: ordered, uniquely named parameters, with "did you mean" look-ups.
#include "basin/core/params.h"

#include <algorithm>
#include <numeric>

namespace basin {

std::string_view name_of(Role role) {
  constexpr std::string_view names[] = {"matrix", "bias", "gain", "embedding", "head", "first"};
  return names[static_cast<int>(role)];
}

void ParamList::add(Param p) {
  check(!p.name.empty(), "params: a parameter needs a name");
  check(p.value.defined(), "params: '", p.name, "' has no value");
  check(p.reference_shape.numel() == p.value.numel(), "params: '", p.name, "' has shape ",
        p.value.shape(), " but reference shape ", p.reference_shape);
  for (const MatrixBlock& b : p.view) {
    check(
        b.offset >= 0 && b.rows > 0 && b.cols > 0 && b.offset + b.rows * b.cols <= p.value.numel(),
        "params: '", p.name, "': a matrix block leaves the tensor ", p.value.shape());
  }
  const bool fresh = index_.emplace(p.name, static_cast<int>(params_.size())).second;
  check(fresh, "params: the name '", p.name, "' is used twice");
  params_.push_back(std::move(p));
}

void ParamList::add_matrix(std::string name, Tensor value, Role role, Shape reference_shape) {
  check(value.rank() == 2, "params: '", name, "' must be a matrix, got ", value.shape());
  if (reference_shape.rank() == 0) reference_shape = value.shape();
  std::vector<MatrixBlock> view{{0, value.size(0), value.size(1)}};
  add({std::move(name), std::move(value), role, std::move(view), reference_shape});
}

void ParamList::add_vector(std::string name, Tensor value, Role role) {
  const Shape shape = value.shape();
  add({std::move(name), std::move(value), role, {}, shape});
}

int ParamList::find(std::string_view name) const {
  const auto it = index_.find(std::string(name));
  return it == index_.end() ? -1 : it->second;
}

const Param& ParamList::at(std::string_view name) const {
  const int i = find(name);
  if (i < 0) {
    std::vector<std::string> names;
    for (const Param& p : params_) names.push_back(p.name);
    const std::string near = nearest_name(name, names);
    fail(ErrorKind::usage, "params: no parameter '", name, "'",
         near.empty() ? "" : "; did you mean '" + near + "'?");
  }
  return params_[i];
}

int64_t ParamList::total_elements() const {
  int64_t n = 0;
  for (const Param& p : params_) n += p.value.numel();
  return n;
}

Tensors ParamList::values() const {
  Tensors out;
  out.reserve(params_.size());
  for (const Param& p : params_) out.push_back(p.value);
  return out;
}

ParamList ParamList::clone() const {
  ParamList copy = *this;
  for (Param& p : copy.params_) p.value = p.value.clone();
  return copy;
}

ParamList ParamList::to(DType dtype) const {
  ParamList copy = *this;
  for (Param& p : copy.params_) {
    p.value = p.value.dtype() == dtype || !is_float(p.value.dtype()) ? p.value.clone()
                                                                     : p.value.to(dtype);
  }
  return copy;
}

ParamList ParamList::to(Device device) const {
  ParamList copy = *this;
  for (Param& p : copy.params_) {
    p.value = p.value.device() == device ? p.value.clone() : p.value.to(device);
  }
  return copy;
}

namespace {

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replace = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({replace, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string nearest_name(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  size_t best_distance = word.size() / 2 + 1;  // farther than half the word is no suggestion
  for (const std::string& c : candidates) {
    const size_t d = edit_distance(word, c);
    if (d < best_distance) {
      best_distance = d;
      best = c;
    }
  }
  return best;
}

}  // namespace basin
