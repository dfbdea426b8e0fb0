// ParameterSpace: a subset of a ParamList as one vector, and the list that holds its names.
#include <algorithm>

#include "basin/analysis/curvature.h"
#include "basin/core/parallel.h"

namespace basin {
namespace {

constexpr int64_t kCopiedPerTile = 1 << 14;

}  // namespace

ParameterSpace::ParameterSpace(const ParamList& params, std::vector<int> indices)
    : indices_(std::move(indices)), total_(params.size()) {
  check(total_ > 0, "parameter space: there are no parameters");
  if (indices_.empty()) {
    for (size_t i = 0; i < total_; ++i) indices_.push_back(static_cast<int>(i));
  }
  dtype_ = DType::f64;
  for (size_t m = 0; m < indices_.size(); ++m) {
    const int i = indices_[m];
    check(i >= 0 && static_cast<size_t>(i) < total_, "parameter space: indices are expected in 0..",
          total_ - 1, ", got ", i);
    check(m == 0 || indices_[m - 1] < i, "parameter space: indices must ascend, got ", i, " after ",
          [&] { return indices_[m - 1]; });
    const Param& p = params[static_cast<size_t>(i)];
    check(is_float(p.value.dtype()), "parameter space: ", p.name, " is ", name_of(p.value.dtype()),
          ", expected f32 or f64");
    if (m == 0) {
      dtype_ = p.value.dtype();
      device_ = p.value.device();
    }
    check(p.value.dtype() == dtype_ && p.value.device() == device_, "parameter space: ", p.name,
          " differs in type or device from ", [&] { return names_.front(); });
    names_.push_back(p.name);
    shapes_.push_back(p.value.shape());
    offsets_.push_back(size_);
    size_ += p.value.numel();
  }
  check(size_ > 0, "parameter space: the chosen parameters have no elements");
}

Tensor ParameterSpace::flatten(const Tensors& all) const {
  check(all.size() == total_, "flatten: expects ", total_, " tensors, one per parameter, got ",
        all.size());
  Tensor out = Tensor::zeros({size_}, DType::f64);
  double* to = out.mutable_data<double>();
  for (size_t m = 0; m < indices_.size(); ++m) {
    const Tensor& given = all[static_cast<size_t>(indices_[m])];
    if (!given.defined()) continue;
    check(given.shape() == shapes_[m], "flatten: ", names_[m], " is expected as ", shapes_[m],
          ", got ", given.shape());
    const Tensor host = given.to(Device::cpu);
    dispatch_float(host.dtype(), "flatten", [&](auto z) {
      const auto* from = host.data<decltype(z)>();
      double* part = to + offsets_[m];
      parallel_for(host.numel(), kCopiedPerTile, [&](int64_t begin, int64_t end) {
        std::copy(from + begin, from + end, part + begin);
      });
    });
  }
  return out;
}

Tensors ParameterSpace::unflatten(const Tensor& v) const {
  check(v.defined() && v.rank() == 1 && v.numel() == size_, "unflatten: expects a vector of ",
        size_, " elements, got ", v);
  Tensors out(total_);
  const Tensors members = members_of(v.view({1, size_}), 0);
  for (size_t m = 0; m < members.size(); ++m) out[static_cast<size_t>(indices_[m])] = members[m];
  return out;
}

Tensors ParameterSpace::members_of(const Tensor& v, int64_t row) const {
  check(v.defined() && v.rank() == 2 && v.size(1) == size_ && row >= 0 && row < v.size(0),
        "parameter space: expects row ", row, " of vectors [lanes, ", size_, "], got ", v);
  const Tensor host = v.to(Device::cpu).to(DType::f64);
  Tensors out;
  for (size_t m = 0; m < indices_.size(); ++m) {
    const double* from = host.data<double>() + row * size_ + offsets_[m];
    Tensor part = Tensor::empty(shapes_[m], dtype_);
    dispatch_float(dtype_, "parameter space", [&](auto z) {
      using T = decltype(z);
      T* to = part.mutable_data<T>();
      parallel_for(part.numel(), kCopiedPerTile, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) to[i] = static_cast<T>(from[i]);
      });
    });
    out.push_back(part.to(device_));
  }
  return out;
}

}  // namespace basin
