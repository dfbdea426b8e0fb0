// Three passes: momentum of every matrix parameter, orthogonalisation of all logical matrices at
// once (they share the threads; on a GPU equal shapes share launches), decay and step. Then the
// auxiliary AdamW.
#include "basin/optim/detail/muon.h"

#include <algorithm>
#include <cmath>

#include "basin/kernels/launch.h"

namespace basin {
namespace {

MomentumNumbers momentum_numbers(const MuonConfig& c) {
  const double intake = c.form == MomentumForm::ema ? 1 - c.momentum : 1;
  return {c.momentum, intake, c.nesterov ? intake : 0, c.nesterov ? c.momentum : 1};
}

void validate(const MuonConfig& c) {
  check(c.momentum >= 0 && c.momentum < 1, "muon: expects momentum from 0 to below 1, got ",
        c.momentum);
  check(std::isfinite(c.scale_factor) && c.scale_factor > 0,
        "muon: expects scale_factor above 0, got ", c.scale_factor);
  check(c.auxiliary.decoupled, "muon: the auxiliary Adam decays decoupled, as Muon does");
  validate(c.orthogonalise);
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

Muon::Muon(const MuonConfig& config, const ParamList& params, const std::vector<GroupRule>& groups)
    : config_(config), signature_("muon", params) {
  validate(config_);
  if (params.size() > 0) device_ = params[0].value.device();
  check_rules_used(params, groups);
  std::vector<ParamSettings> others;
  for (size_t i = 0; i < params.size(); ++i) {
    const Param& p = params[i];
    Route r = route(p, config_.routing);
    const AdamConfig& aux = config_.auxiliary;
    ParamSettings s =
        r.matrix ? resolve_settings(params, i, config_.lr, config_.weight_decay, true, groups)
                 : resolve_settings(params, i, aux.lr, aux.weight_decay, aux.decay_vectors, groups);
    rows_.push_back({p.name, p.value.shape(), view_text(r.matrix ? r.blocks : p.view),
                     r.matrix ? "muon" : "adamw", r.why, s.group, s.lr, s.weight_decay});
    if (!r.matrix) {
      others.push_back(std::move(s));
      continue;
    }
    std::vector<double> scales = block_scales(p, r.blocks, config_);
    matrices_.push_back(
        {std::move(s), std::move(r.blocks), std::move(scales), p.name, zeros_like(p.value)});
  }
  auxiliary_.emplace(config_.auxiliary, params, std::move(others));
}

Tensors Muon::momentum_step(const ParamList& params, const Tensors& grads) {
  Tensors out;
  out.reserve(matrices_.size());
  std::vector<MomentumItem> items;
  for (const Matrix& matrix : matrices_) {
    const Tensor& w = params[matrix.settings.index].value;
    out.push_back(Tensor::empty(w.shape(), w.dtype(), w.device()));
    items.push_back({matrix.buffer, grads[matrix.settings.index], out.back()});
  }
  launch<MomentumUpdate>(device_, std::span<MomentumItem>(items), momentum_numbers(config_));
  return out;
}

Tensors Muon::orthogonalised(const Tensors& directions) const {
  Tensors out;
  out.reserve(directions.size());
  std::vector<MatrixTask> tasks[2];  // f32, f64
  for (size_t i = 0; i < directions.size(); ++i) {
    const Tensor& m = directions[i];
    out.push_back(Tensor::empty(m.shape(), m.dtype(), m.device()));
    const char* in = static_cast<const char*>(m.raw());
    char* to = static_cast<char*>(out.back().mutable_raw());
    for (const MatrixBlock& b : matrices_[i].blocks) {
      const int64_t at = b.offset * static_cast<int64_t>(size_of(m.dtype()));
      tasks[m.dtype() == DType::f64].push_back({in + at, to + at, b.rows, b.cols});
    }
  }
  orthogonalise(tasks[0], DType::f32, config_.orthogonalise, device_);
  orthogonalise(tasks[1], DType::f64, config_.orthogonalise, device_);
  return out;
}

void Muon::step(ParamList& params, const Tensors& grads, const StepInfo& info) {
  signature_.check_step(params, grads, info);
  const Tensors directions = momentum_step(params, grads);
  const auto record_of = [&](size_t i) {
    const ParamSettings& s = matrices_[i].settings;
    return UpdateRecord{.stage = UpdateStage::before,
                        .index = s.index,
                        .param = &params[s.index],
                        .rule = "muon",
                        .group = s.group,
                        .lr = s.lr * info.lr_scale,
                        .step = info.step,
                        .loss = info.loss,
                        .gradient = grads[s.index],
                        .momentum = directions[i],
                        .orthogonalised = {},
                        .change = {}};
  };
  for (size_t i = 0; observer() && i < matrices_.size(); ++i) observer()(record_of(i));
  const Tensors updates = orthogonalised(directions);
  std::vector<StepItem> items;
  const auto update = [&] {
    launch<StepUpdate>(device_, std::span<StepItem>(items));
    items.clear();
  };
  for (size_t i = 0; i < matrices_.size(); ++i) {
    add_items(i, params, updates[i], info.lr_scale, items);
    if (!observer()) continue;
    const Tensor before = params[matrices_[i].settings.index].value.clone();
    update();
    UpdateRecord record = record_of(i);
    record.orthogonalised = updates[i];
    report_applied(observer(), std::move(record), before);
  }
  update();
  auxiliary_->step(params, grads, info, observer());
}

void Muon::add_items(size_t i, const ParamList& params, const Tensor& update, double lr_scale,
                     std::vector<StepItem>& items) const {
  const Matrix& matrix = matrices_[i];
  const double lr = matrix.settings.lr * lr_scale;
  for (size_t k = 0; k < matrix.blocks.size(); ++k) {
    const MatrixBlock& b = matrix.blocks[k];
    items.push_back({params[matrix.settings.index].value, update, b.offset, b.rows * b.cols,
                     1 - lr * matrix.settings.weight_decay, lr * matrix.scales[k]});
  }
}

// The exact factor is computed on the CPU.
bool Muon::recordable() const {
  return device_ != Device::cpu && !observer() && !config_.orthogonalise.exact;
}

void Muon::prepare(const ParamList& params, const StepInfo& info) {
  signature_.check_step(params, Tensors(params.size()), info);
  std::vector<StepItem> items;
  for (size_t i = 0; i < matrices_.size(); ++i) {
    add_items(i, params, Tensor(), info.lr_scale, items);
  }
  const Tensor live = StepUpdate::live_numbers(items);
  if (!live_.defined()) live_ = Tensor::empty(live.shape(), live.dtype(), device_);
  live_.copy_from(live);
  auxiliary_->prepare(params, info);
}

void Muon::apply(ParamList& params, const Tensors& grads) {
  const Tensors updates = orthogonalised(momentum_step(params, grads));
  std::vector<StepItem> items;
  for (size_t i = 0; i < matrices_.size(); ++i) add_items(i, params, updates[i], 1, items);
  launch<StepUpdate>(device_, std::span<StepItem>(items), live_);
  auxiliary_->apply(params, grads);
}

OptimizerState Muon::save() const {
  OptimizerState state = begin_state(name());
  for (const Matrix& m : matrices_)
    state.tensors.emplace_back("muon.b." + m.name, host_copy(m.buffer));
  auxiliary_->save(state);
  return state;
}

void Muon::load(const OptimizerState& state) {
  StateReader reader(state, name());
  std::vector<Tensor> buffers;
  for (const Matrix& m : matrices_) buffers.push_back(reader.tensor("muon.b." + m.name, m.buffer));
  auxiliary_->load(reader);
  reader.finish();
  auxiliary_->commit();
  for (size_t i = 0; i < matrices_.size(); ++i) matrices_[i].buffer = std::move(buffers[i]);
}

}  // namespace basin
