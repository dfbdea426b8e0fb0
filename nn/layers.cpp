// Declaration and application of layers, and the running statistics of batch norms.
#include "basin/nn/layers.h"

#include "basin/kernels/launch.h"
#include "basin/kernels/running_stats.h"

namespace basin {

LinearInit torch_linear_init(int64_t in) { return {torch_init(in), torch_init(in)}; }

LinearInit xavier_linear_init(int64_t in, int64_t out) {
  return {xavier_uniform(in, out), constant_init(0)};
}

// --- Layout
// ------------------------------------------------------------------------------------------

Linear Layout::declare(const std::string& name, int64_t in, int64_t out, Role role,
                       const LinearInit& init, bool conv) {
  const Shape reference = conv ? Shape{out, in, 1} : Shape{out, in};
  const int index = static_cast<int>(params_.size());
  params_.push_back({name + ".weight", {out, in}, reference, role, init.weight});
  params_.push_back({name + ".bias", {out}, {out}, Role::bias, init.bias});
  return {index, index + 1};
}

Linear Layout::linear(const std::string& name, int64_t in, int64_t out, Role role,
                      const LinearInit& init) {
  return declare(name, in, out, role, init, false);
}

Linear Layout::conv1d(const std::string& name, int64_t in, int64_t out, Role role,
                      const LinearInit& init) {
  return declare(name, in, out, role, init, true);
}

Linear Layout::weight_only(const std::string& name, int64_t in, int64_t out, Role role,
                           const Init& init, int kernel_axes) {
  Shape reference{out, in};
  for (int axis = 0; axis < kernel_axes; ++axis) reference.push_back(1);
  params_.push_back({name + ".weight", {out, in}, reference, role, init});
  return {static_cast<int>(params_.size()) - 1, -1};
}

int Layout::declare_norm(const std::string& name, int64_t channels) {
  params_.push_back({name + ".weight", {channels}, {channels}, Role::gain, constant_init(1)});
  params_.push_back({name + ".bias", {channels}, {channels}, Role::bias, constant_init(0)});
  return static_cast<int>(params_.size()) - 2;
}

BatchNorm Layout::batch_norm(const std::string& name, int64_t channels, double eps) {
  const int gain = declare_norm(name, channels);
  batch_norms_.push_back({name, channels});
  return {gain, gain + 1, batch_norms() - 1, eps};
}

LayerNorm Layout::layer_norm(const std::string& name, int64_t channels, double eps) {
  const int gain = declare_norm(name, channels);
  return {gain, gain + 1, eps};
}

Embedding Layout::embedding(const std::string& name, int64_t rows, int64_t channels,
                            const Init& init) {
  check(rows > 0 && channels > 0, "embedding '", name,
        "': rows and channels must be positive, got ", rows, " and ", channels);
  params_.push_back({name + ".weight", {rows, channels}, {rows, channels}, Role::embedding, init});
  return {static_cast<int>(params_.size()) - 1};
}

Own Layout::own(const std::string& name, int64_t size, Role role, const Init& init) {
  params_.push_back({name, {size}, {size}, role, init});
  return {static_cast<int>(params_.size()) - 1};
}

int64_t Layout::total_elements() const {
  int64_t total = 0;
  for (const ParamSpec& spec : params_) total += spec.shape.numel();
  return total;
}

ModelState Layout::init(uint64_t seed, DType dtype) const {
  ModelState state;
  for (const ParamSpec& spec : params_) {
    Param param{spec.name,
                draw(spec.init, spec.shape, dtype, seed, spec.name),
                spec.role,
                {},
                spec.reference_shape};
    if (spec.shape.rank() == 2) param.view = {{0, spec.shape[0], spec.shape[1]}};
    state.params.add(std::move(param));
  }
  const auto add_buffer = [&](const std::string& name, Tensor value) {
    const Shape shape = value.shape();
    state.buffers.add({name, std::move(value), Role::gain, {}, shape});
  };
  for (const Normalised& norm : batch_norms_) {
    add_buffer(norm.name + ".running_mean", Tensor::zeros({norm.channels}, dtype));
    add_buffer(norm.name + ".running_var", Tensor::full({norm.channels}, dtype, 1));
    add_buffer(norm.name + ".num_batches_tracked", Tensor::zeros({}, DType::i64));
  }
  return state;
}

// --- Pass
// --------------------------------------------------------------------------------------------

Pass::Pass(const Layout& layout, const Tensors& params, const Tensors& buffers,
           bool batch_statistics)
    : params_(params), buffers_(buffers), batch_statistics_(batch_statistics) {
  const size_t norms = static_cast<size_t>(layout.batch_norms());
  check(params.size() == layout.params().size(), "forward: the model has ", layout.params().size(),
        " parameters, got ", params.size(), "; pass state.params.values()");
  check(buffers.size() == 3 * norms, "forward: the model has ", 3 * norms, " buffers, got ",
        buffers.size(), "; pass state.buffers.values()");
  if (!batch_statistics) return;
  stats_.resize(2 * norms);
  unbiased_.resize(norms);
}

Tensor Pass::apply(const Linear& layer, const Tensor& x) const {
  return linear(x, params_[layer.weight], bias(layer));
}

Tensor Pass::apply_relu(const Linear& layer, const Tensor& x, bool fused) const {
  return fused && layer.bias >= 0 ? linear_relu(x, params_[layer.weight], params_[layer.bias])
                                  : relu(apply(layer, x));
}

Tensor Pass::bias(const Linear& layer) const {
  return layer.bias < 0 ? Tensor() : params_[layer.bias];
}

Tensor Pass::apply(const BatchNorm& layer, const Tensor& x, Act act, double slope) {
  const int64_t channels = x.size(-1);
  const Tensor rows = x.rank() == 2 ? x : reshape(x, {x.numel() / channels, channels});
  const Tensor& gamma = params_[layer.gamma];
  const Tensor& beta = params_[layer.beta];
  Tensor y;
  if (batch_statistics_) {
    check_rows(rows.size(0));
    BatchNormResult result = batch_norm(rows, gamma, beta, layer.eps, act, slope);
    keep_stats(layer, result, rows.size(0));
    y = std::move(result.y);
  } else {
    y = batch_norm_frozen(rows, gamma, beta, buffers_[3 * layer.layer],
                          buffers_[3 * layer.layer + 1], layer.eps, act, slope);
  }
  return x.rank() == 2 ? y : reshape(y, x.shape());
}

Tensor Pass::apply(const LayerNorm& layer, const Tensor& x) const {
  return layer_norm(x, params_[layer.gamma], params_[layer.beta], layer.eps);
}

Tensor Pass::apply(const Embedding& layer, const Tensor& index) const {
  const Tensor& table = params_[layer.table];
  check(index.defined() && !is_float(index.dtype()), "embedding: the index must be i32 or i64");
  if (index.device() == Device::cpu) {  // before 64 bits become 32
    for (int64_t i = 0; i < index.numel(); ++i) {
      const double row = index.at(i);
      check(row >= 0 && row < static_cast<double>(table.size(0)), "embedding: the index ", row,
            " is outside the ", table.size(0), " rows of the table");
    }
  }
  Shape shape = index.shape();
  shape.push_back(table.size(1));
  return reshape(gather(table, index.to(DType::i32).view({index.numel()})), shape);
}

Tensor Pass::apply_max(const Linear& layer, const BatchNorm& norm, const Tensor& x, Act act,
                       bool fused, double slope) {
  if (!fused) return max(apply(norm, apply(layer, x), act, slope), 1);
  const Tensor& w = params_[layer.weight];
  const Tensor& bias = params_[layer.bias];
  const Tensor& gamma = params_[norm.gamma];
  const Tensor& beta = params_[norm.beta];
  if (!batch_statistics_) {
    return linear_bn_act_max_frozen(x, w, bias, gamma, beta, buffers_[3 * norm.layer],
                                    buffers_[3 * norm.layer + 1], norm.eps, act, slope);
  }
  const int64_t rows = x.size(0) * x.size(1);
  check_rows(rows);
  BatchNormResult result = linear_bn_act_max(x, w, bias, gamma, beta, norm.eps, act, slope);
  keep_stats(norm, result, rows);
  return result.y;
}

Tensor Pass::apply_max_mean(const Linear& layer, const BatchNorm& norm, const Tensor& x, Act act,
                            double slope) {
  const Tensor& w = params_[layer.weight];
  const Tensor& gamma = params_[norm.gamma];
  const Tensor& beta = params_[norm.beta];
  if (!batch_statistics_) {
    return linear_bn_act_max_mean_frozen(x, w, bias(layer), gamma, beta, buffers_[3 * norm.layer],
                                         buffers_[3 * norm.layer + 1], norm.eps, act, slope);
  }
  const int64_t rows = x.size(0) * x.size(1);
  check_rows(rows);
  BatchNormResult result =
      linear_bn_act_max_mean(x, w, bias(layer), gamma, beta, norm.eps, act, slope);
  keep_stats(norm, result, rows);
  return result.y;
}

Tensor Pass::apply_edge_max(const BatchNorm& norm, const Tensor& u, const Tensor& v,
                            const Tensor& index, Act act, double slope) {
  const Tensor& gamma = params_[norm.gamma];
  const Tensor& beta = params_[norm.beta];
  if (!batch_statistics_) {
    return edge_bn_act_max_frozen(u, v, index, gamma, beta, buffers_[3 * norm.layer],
                                  buffers_[3 * norm.layer + 1], norm.eps, act, slope);
  }
  check_rows(index.numel());
  BatchNormResult result = edge_bn_act_max(u, v, index, gamma, beta, norm.eps, act, slope);
  keep_stats(norm, result, index.numel());
  return result.y;
}

void Pass::check_rows(int64_t rows) const {
  check(rows > 1, "batch norm: batch statistics need at least 2 rows, got ", rows,
        "; use a larger batch or running statistics");
}

void Pass::keep_stats(const BatchNorm& layer, const BatchNormResult& result, int64_t rows) {
  const double unbiased = static_cast<double>(rows) / static_cast<double>(rows - 1);
  stats_[2 * layer.layer] = result.mean.detach();
  stats_[2 * layer.layer + 1] = result.var.detach();
  unbiased_[layer.layer] = unbiased;
}

Tensors Pass::take_stats() {
  std::vector<ScaleItem> items;
  for (size_t layer = 0; layer < unbiased_.size(); ++layer) {
    Tensor& var = stats_[2 * layer + 1];
    if (!var.defined()) continue;
    Tensor scaled = Tensor::empty(var.shape(), var.dtype(), var.device());
    items.push_back({var, scaled, unbiased_[layer]});
    var = std::move(scaled);
  }
  if (!items.empty()) launch<ScaleEach>(items.front().to.device(), std::span(items));
  return std::move(stats_);
}

// --- running statistics
// --------------------------------------------------------------------------------

namespace {

BlendItem blend_item(const Tensor& running, const Tensor& batch, const std::string& name) {
  check(batch.defined(), "update_running_stats: the batch statistic of '", name, "' is undefined");
  check(batch.shape() == running.shape() && batch.dtype() == running.dtype(),
        "update_running_stats: '", name, "' is ", running, ", the batch statistic is ", batch);
  return {batch, running};
}

}  // namespace

void update_running_stats(ParamList& buffers, const Tensors& batch_stats, double momentum) {
  check(momentum >= 0 && momentum <= 1, "update_running_stats: momentum must be in [0, 1], got ",
        momentum);
  check(buffers.size() % 3 == 0 && batch_stats.size() == buffers.size() / 3 * 2,
        "update_running_stats: ", buffers.size(), " buffers need ", buffers.size() / 3 * 2,
        " batch statistics, got ", batch_stats.size(),
        "; was the forward pass run with batch statistics?");
  if (buffers.size() == 0) return;
  std::vector<BlendItem> blends;
  Tensors counters;
  for (size_t layer = 0; layer < buffers.size() / 3; ++layer) {
    for (size_t k = 0; k < 2; ++k) {
      const Param& buffer = buffers[3 * layer + k];
      blends.push_back(blend_item(buffer.value, batch_stats[2 * layer + k], buffer.name));
    }
    counters.push_back(buffers[3 * layer + 2].value);
  }
  const Device device = buffers[0].value.device();
  launch<Blend>(device, std::span(blends), momentum);
  launch<CountUp>(device, std::span(counters));
}

}  // namespace basin
