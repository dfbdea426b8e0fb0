// RMS and spectral norm of weight changes.
#include "basin/optim/diagnostics.h"

#include <algorithm>
#include <cmath>

#include "basin/kernels/linalg.h"
#include "basin/optim/newton_schulz.h"

namespace basin {
namespace {

// Decompositions run on the CPU.
double spectral_norm(const Tensor& change, const MatrixBlock& b) {
  Tensor block = Tensor::empty({b.rows, b.cols}, change.dtype());
  dispatch_float(change.dtype(), "diagnostics", [&](auto t) {
    using T = decltype(t);
    std::copy_n(change.data<T>() + b.offset, b.rows * b.cols, block.mutable_data<T>());
  });
  return SingularValues::cpu(block).at(0);
}

}  // namespace

UpdateObserver UpdateMeter::observer() {
  return [this](const UpdateRecord& record) {
    if (record.stage == UpdateStage::applied) add(record);
  };
}

void UpdateMeter::add(const UpdateRecord& record) {
  const bool repeated =
      std::any_of(parameters_.begin(), parameters_.end(),
                  [&](const UpdateSize& p) { return p.name == record.param->name; });
  if (record.step != step_ || repeated) {
    parameters_.clear();
    group_of_.clear();
    step_ = record.step;
  }
  UpdateSize size{.name = record.param->name,
                  .rule = std::string(record.rule),
                  .elements = record.change.numel(),
                  .numbers = record.numbers,
                  .spectrum = record.spectrum};
  const Tensor change = record.change.to(Device::cpu);
  size.rms =
      frobenius_norm(change) / std::sqrt(static_cast<double>(std::max<int64_t>(1, size.elements)));
  for (const MatrixBlock& b : record.param->view) {
    size.spectral = std::max(size.spectral, spectral_norm(change, b));
  }
  parameters_.push_back(std::move(size));
  group_of_.emplace_back(record.group);
}

std::vector<UpdateSize> UpdateMeter::groups() const {
  std::map<std::string, UpdateSize> by_name;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const UpdateSize& p = parameters_[i];
    const std::string name = p.rule + "/" + group_of_[i];
    UpdateSize& g =
        by_name.try_emplace(name, UpdateSize{.name = name, .rule = p.rule}).first->second;
    g.rms += p.rms * p.rms * static_cast<double>(p.elements);  // sum of squares until the end
    g.spectral = std::max(g.spectral, p.spectral);
    g.elements += p.elements;
  }
  std::vector<UpdateSize> out;
  for (auto& [name, g] : by_name) {
    g.rms = std::sqrt(g.rms / static_cast<double>(std::max<int64_t>(1, g.elements)));
    out.push_back(g);
  }
  return out;
}

}  // namespace basin
