// Three passes: directions of every matrix parameter, updates of all logical matrices at once (they
// share the threads; on a GPU equal shapes share launches), decay and step. Then the auxiliary
// AdamW.
#include "basin/optim/detail/matrix_optimizer.h"

#include <cstring>

#include "basin/core/parallel.h"
#include "basin/kernels/launch.h"

namespace basin {

MatrixOptimizer::MatrixOptimizer(std::string_view name, const MatrixRules& rules,
                                 const ParamList& params, const std::vector<GroupRule>& groups)
    : name_(name), signature_(name, params) {
  check(rules.auxiliary.decoupled, name, ": the auxiliary Adam decays decoupled, as ", name,
        " does");
  device_ = signature_.device();
  check_rules_used(params, groups);
  check_routing_used(params, rules.routing);
  std::vector<ParamSettings> others;
  for (size_t i = 0; i < params.size(); ++i) {
    const Param& p = params[i];
    Route r = route(p, rules.routing);
    const AdamConfig& aux = rules.auxiliary;
    ParamSettings s =
        r.matrix ? resolve_settings(params, i, rules.lr, rules.weight_decay, true, groups)
                 : resolve_settings(params, i, aux.lr, aux.weight_decay, aux.decay_vectors, groups);
    rows_.push_back({p.name, p.value.shape(), view_text(r.matrix ? r.blocks : p.view),
                     r.matrix ? name_ : "adamw", r.why, s.group, s.lr, s.weight_decay});
    if (!r.matrix) {
      others.push_back(std::move(s));
      continue;
    }
    std::vector<double> scales(r.blocks.size(), 1.0);
    matrices_.push_back({std::move(s), std::move(r.blocks), std::move(scales), p.name,
                         p.value.shape(), p.value.dtype()});
  }
  auxiliary_.emplace(rules.auxiliary, params, std::move(others));
}

void MatrixOptimizer::keep(std::string name, Tensor& state) {
  kept_.emplace_back(std::move(name), &state);
}

std::string MatrixOptimizer::block_name(size_t matrix, size_t block) const {
  const Matrix& m = matrices_[matrix];
  return m.blocks.size() == 1 ? m.name : str(m.name, ".", block);
}

Tensor MatrixOptimizer::zeros_like_matrix(size_t matrix) const {
  const Matrix& m = matrices_[matrix];
  return Tensor::zeros(m.shape, m.dtype, device_);
}

Tensors MatrixOptimizer::matrix_gradients(const Tensors& grads) const {
  Tensors out;
  out.reserve(matrices_.size());
  for (const Matrix& m : matrices_) out.push_back(grads[m.settings.index]);
  return out;
}

Tensors MatrixOptimizer::momentum_step(const Tensors& values, std::vector<Tensor>& buffers,
                                       const MomentumNumbers& numbers) const {
  Tensors out;
  out.reserve(values.size());
  std::vector<MomentumItem> items;
  for (size_t i = 0; i < values.size(); ++i) {
    out.push_back(Tensor::empty(matrices_[i].shape, matrices_[i].dtype, device_));
    items.push_back({buffers[i], values[i], out.back()});
  }
  launch<MomentumUpdate>(device_, std::span<MomentumItem>(items), numbers);
  return out;
}

Tensors MatrixOptimizer::map_blocks(const Tensors& values, const BlockMap& map) const {
  struct Place {
    size_t matrix, block;
  };
  std::vector<Place> places;
  Tensors in, out;
  std::vector<double*> to;
  for (size_t i = 0; i < values.size(); ++i) {
    const Matrix& m = matrices_[i];
    const bool given = values[i].defined();
    in.push_back(given ? values[i].to(Device::cpu).to(DType::f64)
                       : Tensor::zeros(m.shape, DType::f64));
    out.push_back(Tensor::empty(m.shape, DType::f64));
    to.push_back(out.back().mutable_data<double>());
    for (size_t k = 0; k < m.blocks.size(); ++k) places.push_back({i, k});
  }
  parallel_tiles(static_cast<int64_t>(places.size()), [&](int64_t tile) {
    const auto [i, k] = places[static_cast<size_t>(tile)];
    const MatrixBlock& b = matrices_[i].blocks[k];
    const std::span<const double> source(in[i].data<double>() + b.offset,
                                         static_cast<size_t>(b.rows * b.cols));
    const Tensor got = map(i, k, Tensor::from(source, {b.rows, b.cols}));
    std::memcpy(to[i] + b.offset, got.raw(), got.bytes());
  });
  for (size_t i = 0; i < out.size(); ++i) out[i] = out[i].to(matrices_[i].dtype).to(device_);
  return out;
}

UpdateRecord MatrixOptimizer::record_of(size_t i, const ParamList& params, const Tensors& grads,
                                        const Tensor& direction) const {
  const ParamSettings& s = matrices_[i].settings;
  return {.stage = UpdateStage::before,
          .index = s.index,
          .param = &params[s.index],
          .rule = name_,
          .group = s.group,
          .lr = rate(i),
          .step = info_->step,
          .loss = info_->loss,
          .gradient = grads[s.index],
          .momentum = direction,
          .orthogonalised = {},
          .change = {}};
}

void MatrixOptimizer::step(ParamList& params, const Tensors& grads, const StepInfo& info) {
  signature_.check_step(params, grads, info);
  info_ = &info;
  const Tensors moved = directions(params, grads);
  for (size_t i = 0; observer() && i < matrices_.size(); ++i) {
    observer()(record_of(i, params, grads, moved[i]));
  }
  const Tensors found = updates(moved);
  std::vector<StepItem> items;
  const auto update = [&] {
    launch<StepUpdate>(device_, std::span<StepItem>(items));
    items.clear();
  };
  for (size_t i = 0; i < matrices_.size(); ++i) {
    add_items(i, params, found[i], info.lr_scale, items);
    if (!observer()) continue;
    const Tensor before = params[matrices_[i].settings.index].value.clone();
    update();
    UpdateRecord record = record_of(i, params, grads, moved[i]);
    record.orthogonalised = found[i];
    describe(i, record);
    report_applied(observer(), std::move(record), before);
  }
  update();
  auxiliary_->step(params, grads, info, observer());
  info_ = nullptr;
}

void MatrixOptimizer::add_items(size_t i, const ParamList& params, const Tensor& update,
                                double lr_scale, std::vector<StepItem>& items) const {
  const Matrix& matrix = matrices_[i];
  const double lr = matrix.settings.lr * lr_scale;
  for (size_t k = 0; k < matrix.blocks.size(); ++k) {
    const MatrixBlock& b = matrix.blocks[k];
    items.push_back({params[matrix.settings.index].value, update, b.offset, b.rows * b.cols,
                     1 - lr * matrix.settings.weight_decay, lr * matrix.scales[k]});
  }
}

void MatrixOptimizer::prepare(const ParamList& params, const StepInfo& info) {
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

void MatrixOptimizer::apply(ParamList& params, const Tensors& grads) {
  const Tensors found = updates(directions(params, grads));
  std::vector<StepItem> items;
  for (size_t i = 0; i < matrices_.size(); ++i) add_items(i, params, found[i], 1, items);
  launch<StepUpdate>(device_, std::span<StepItem>(items), live_);
  auxiliary_->apply(params, grads);
}

OptimizerState MatrixOptimizer::save() const {
  OptimizerState state = begin_state(name());
  for (const auto& [name, tensor] : kept_) state.tensors.emplace_back(name, host_copy(*tensor));
  auxiliary_->save(state);
  return state;
}

void MatrixOptimizer::load(const OptimizerState& state) {
  StateReader reader(state, name());
  Tensors fresh;
  for (const auto& [name, tensor] : kept_) fresh.push_back(reader.tensor(name, *tensor));
  auxiliary_->load(reader);
  reader.finish();
  auxiliary_->commit();
  for (size_t i = 0; i < kept_.size(); ++i) *kept_[i].second = std::move(fresh[i]);
}

}  // namespace basin
