// Momentum of every matrix parameter, orthogonalisation of all logical matrices at once; the rest
// is in matrix_optimizer.cpp.
#include "basin/optim/detail/muon.h"

#include <algorithm>
#include <cmath>

#include "basin/kernels/launch.h"
#include "basin/optim/detail/spectral.h"

namespace basin {
namespace {

MomentumNumbers momentum_numbers(const MuonConfig& c) {
  const double intake = c.form == MomentumForm::ema ? 1 - c.momentum : 1;
  return {c.momentum, intake, c.nesterov ? intake : 0, c.nesterov ? c.momentum : 1};
}

const MuonConfig& valid(const MuonConfig& c) {
  check(c.momentum >= 0 && c.momentum < 1, "muon: expects momentum from 0 to below 1, got ",
        c.momentum);
  check(std::isfinite(c.scale_factor) && c.scale_factor > 0,
        "muon: expects scale_factor above 0, got ", c.scale_factor);
  check(c.power >= 0 && c.power <= 1, "muon: expects power from 0 to 1, got ", c.power);
  check(c.magnitude == Magnitude::keep || c.power > 0,
        "muon: magnitude=polar is that of power 0; it needs a power above 0");
  validate(c.orthogonalise);
  return c;
}

std::vector<double> block_scales(const Param& param, const std::vector<MatrixBlock>& blocks,
                                 const MuonConfig& c) {
  const bool legacy = c.legacy_conv_scale.value_or(c.routing.view == MatrixView::reference);
  const Shape& reference = param.reference_shape;
  std::vector<double> scales;
  for (const MatrixBlock& b : blocks) {
    const bool last_two = legacy && reference.rank() >= 2;
    const int64_t rows = last_two ? reference[-2] : b.rows;
    const int64_t cols = last_two ? reference[-1] : b.cols;
    scales.push_back(c.scale_factor * muon_scale(c.scale, rows, cols));
  }
  return scales;
}

}  // namespace

double muon_scale(MuonScale mode, int64_t rows, int64_t cols) {
  const double ratio = static_cast<double>(rows) / static_cast<double>(cols);
  const double longest = static_cast<double>(std::max(rows, cols));
  switch (mode) {
    case MuonScale::original: return std::sqrt(std::max(1.0, ratio));
    case MuonScale::match_rms_adamw: return 0.2 * std::sqrt(longest);
    case MuonScale::spectral: return std::sqrt(ratio);
    case MuonScale::sqrt_max: return std::sqrt(longest);
    case MuonScale::none: break;
  }
  return 1;
}

PolarOptimizer::PolarOptimizer(std::string_view name, const MuonConfig& config,
                               const ParamList& params, const std::vector<GroupRule>& groups)
    : MatrixOptimizer(name,
                      {valid(config).lr, config.weight_decay, config.routing, config.auxiliary},
                      params, groups),
      config_(config) {
  for (Matrix& m : matrices()) {
    m.scales = block_scales(params[m.settings.index], m.blocks, config_);
  }
}

Muon::Muon(std::string_view name, const MuonConfig& config, const ParamList& params,
           const std::vector<GroupRule>& groups)
    : PolarOptimizer(name, config, params, groups), buffers_(matrices().size()) {
  for (size_t i = 0; i < matrices().size(); ++i) {
    buffers_[i] = zeros_like_matrix(i);
    keep("muon.b." + matrices()[i].name, buffers_[i]);
  }
}

Tensors Muon::directions(const ParamList&, const Tensors& grads) {
  return momentum_step(matrix_gradients(grads), buffers_, momentum_numbers(config()));
}

Tensors PolarOptimizer::updates(const Tensors& directions) {
  if (config_.power > 0) {
    const bool polar = config_.magnitude == Magnitude::polar;
    return map_blocks(directions, [&](size_t, size_t, const Tensor& m) {
      return spectral_power(m, config_.power, polar);
    });
  }
  Tensors out;
  out.reserve(directions.size());
  std::vector<MatrixTask> tasks[2];  // f32, f64
  for (size_t i = 0; i < directions.size(); ++i) {
    const Tensor& m = directions[i];
    out.push_back(Tensor::empty(m.shape(), m.dtype(), m.device()));
    const char* in = static_cast<const char*>(m.raw());
    char* to = static_cast<char*>(out.back().mutable_raw());
    for (const MatrixBlock& b : matrices()[i].blocks) {
      const int64_t at = b.offset * static_cast<int64_t>(size_of(m.dtype()));
      tasks[m.dtype() == DType::f64].push_back({in + at, to + at, b.rows, b.cols});
    }
  }
  orthogonalise(tasks[0], DType::f32, config_.orthogonalise, device());
  orthogonalise(tasks[1], DType::f64, config_.orthogonalise, device());
  return out;
}

// Decompositions run on the CPU.
bool Muon::recordable() const {
  return on_device_unwatched() && !config().orthogonalise.exact && config().power == 0;
}

}  // namespace basin
