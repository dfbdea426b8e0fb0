// The fully connected network, for values and for jets by the same code.
#include "basin/models/mlp.h"

#include <cmath>
#include <optional>

#include "basin/autograd/ops.h"

namespace basin {
namespace {

LinearInit glorot(const MlpConfig& config, int64_t in, int64_t out) {
  const double deviation = std::sqrt(2.0 / static_cast<double>(in + out));
  return {config.uniform ? xavier_uniform(in, out) : normal_init(deviation), constant_init(0)};
}

Jet linear(const Pass& pass, const Linear& layer, const Jet& x) {
  return basin::linear(x, pass.weight(layer), pass.bias(layer));
}
Tensor linear(const Pass& pass, const Linear& layer, const Tensor& x) {
  return pass.apply(layer, x);
}

// h U + (1 - h) V
template <class Value>
Value gated(const Value& h, const Value& u, const Value& v) {
  return v + h * (u - v);
}

Tensor sines(const Tensor& x) { return concat({cos(x), sin(x)}, 1); }
Jet sines(const Jet& x) { return beside({cos(x), sin(x)}); }

Tensor product(const Tensor& x, const Tensor& w) { return basin::linear(x, w, {}); }
Jet product(const Jet& x, const Tensor& w) { return basin::linear(x, w, {}); }

const Tensor& value_of(const Tensor& x) { return x; }
const Tensor& value_of(const Jet& x) { return x.value; }

// phi as the fused op knows it.
std::optional<JetActivation> fused_activation(Nonlinearity phi) {
  switch (phi) {
    case Nonlinearity::tanh: return JetActivation::tanh;
    case Nonlinearity::sin: return JetActivation::sin;
    case Nonlinearity::silu: return JetActivation::silu;
    default: return {};
  }
}

Model mlp_from_options(const ModelConfig& config, const OptionReader& options) {
  MlpConfig net;
  net.outputs = config.outputs;
  net.inputs = options.sizes("inputs", 1)[0];
  net.width = options.sizes("width", 1)[0];
  net.depth = options.integer_in("depth", 1, 64);
  const std::vector<std::string> names(std::begin(kNonlinearities), std::end(kNonlinearities));
  net.phi = static_cast<Nonlinearity>(options.choice("activation", names));
  net.modified = options.choice("variant", {"plain", "modified"}) == 1;
  net.fourier = options.integer_in("fourier", 0, 4096);
  net.fourier_sigma = options.number_in("fourier_sigma", 1e-6, 1e6);
  net.fourier_seed = static_cast<uint64_t>(options.integer_in("fourier_seed", 0, 1 << 30));
  net.fused = options.flag("fused");
  net.uniform = options.choice("init", {"glorot_normal", "glorot_uniform"}) == 1;
  return make_mlp(net);
}

}  // namespace

MlpPart::MlpPart(Layout& layout, const std::string& prefix, const MlpConfig& config, bool phi_last)
    : config_(config), phi_last_(phi_last) {
  check(std::min({config.inputs, config.outputs, config.width, config.depth}) > 0,
        "mlp: inputs, outputs, width and depth must be positive");
  if (config.fourier > 0) {
    frequencies_ =
        draw(normal_init(2 * M_PI * config.fourier_sigma), {config.fourier, config.inputs},
             DType::f64, config.fourier_seed, prefix + "fourier");
  }
  const int64_t first = config.fourier > 0 ? 2 * config.fourier : config.inputs;
  for (int64_t l = 0; l <= config.depth; ++l) {
    const int64_t in = l == 0 ? first : config.width;
    const int64_t out = l == config.depth ? config.outputs : config.width;
    const Role role = l == 0 ? Role::first : l == config.depth ? Role::head : Role::matrix;
    layers_.push_back(
        layout.linear(str(prefix, "linears.", l), in, out, role, glorot(config, in, out)));
  }
  for (int64_t g = 0; config.modified && g < 2; ++g) {
    gates_.push_back(layout.linear(str(prefix, "gates.", g), first, config.width, Role::first,
                                   glorot(config, first, config.width)));
  }
}

std::vector<HiddenUnits> MlpPart::hidden() const {
  std::vector<HiddenUnits> out;
  for (size_t l = 0; l + 1 < layers_.size(); ++l) {
    if (out.empty() || gates_.empty()) out.push_back({str("linears.", l), config_.width});
    out.back().made_by(layers_[l]).read_by(layers_[l + 1]);
  }
  for (const Linear& gate : gates_) out.back().made_by(gate);
  return out;
}

Tensor MlpPart::frequencies(const Tensor& like) const {
  return frequencies_.to(like.dtype()).to(like.device());
}

template <class Value>
Value MlpPart::run(const Pass& pass, Value x) const {
  if (frequencies_.defined()) x = sines(product(x, frequencies(value_of(x))));
  std::vector<Value> gates;
  for (const Linear& gate : gates_) gates.push_back(apply(config_.phi, linear(pass, gate, x)));
  for (size_t l = 0; l + 1 < layers_.size(); ++l) {
    x = apply(config_.phi, linear(pass, layers_[l], x));
    if (!gates.empty()) x = gated(x, gates[0], gates[1]);
  }
  x = linear(pass, layers_.back(), x);
  return phi_last_ ? apply(config_.phi, x) : x;
}

Tensor MlpPart::forward(const Pass& pass, const Tensor& x) const {
  check(x.rank() == 2 && x.size(1) == config_.inputs, "mlp: expects points [B, ", config_.inputs,
        "], got ", x.shape());
  return run(pass, x);
}

Jet MlpPart::jet(const Pass& pass, const Tensor& x, const JetOrders& orders) const {
  const bool plain = config_.fourier == 0 && !config_.modified && layers_.size() <= kMlpJetLayers &&
                     config_.inputs <= kMlpJetCoordinates;
  if (config_.fused && plain && fused_activation(config_.phi)) return fused_jet(pass, x, orders);
  return run(pass, jet_seed(x, orders));
}

Jet MlpPart::jet(const Pass& pass, const Jet& x) const { return run(pass, x); }

Jet MlpPart::fused_jet(const Pass& pass, const Tensor& x, const JetOrders& orders) const {
  Tensors weights, biases;
  for (const Linear& layer : layers_) {
    weights.push_back(pass.weight(layer));
    biases.push_back(pass.bias(layer));
  }
  const Tensor slots = mlp_jet(x, weights, biases, *fused_activation(config_.phi), orders);
  int64_t next = 0;
  const auto take = [&] {
    const Tensor slot = slice(slots, 0, next, next + 1);
    ++next;
    return reshape(slot, {slots.size(1), slots.size(2)});
  };
  Jet out = jet_constant(take(), orders);
  for (size_t i = 0; i < orders.size(); ++i) {
    if (orders[i] > 0) out.first[i] = take();
    if (orders[i] > 1) out.second[i] = take();
  }
  return phi_last_ ? apply(config_.phi, out) : out;
}

Model make_mlp(const MlpConfig& config) {
  Layout layout;
  const auto net = std::make_shared<const MlpPart>(layout, "", config);
  Model model;
  model.name = "mlp";
  model.preset = "plain";
  model.outputs = config.outputs;
  model.output_name = "u";
  model.layout = layout;
  model.hidden = net->hidden();
  model.inputs = {{"points", Rows::example, SlotKind::feature}};
  model.forward = [net, layout](const Tensors& params, const Tensors& buffers,
                                const Tensors& inputs, const ForwardOptions& options) {
    check(inputs.size() == 1, "mlp: expects one input, got ", inputs.size());
    const Pass pass(layout, params, buffers, options.batch_statistics);
    ForwardResult result;
    result.outputs = {net->forward(pass, inputs[0])};
    return result;
  };
  model.jet = [net, layout](const Tensors& params, const Tensors& buffers, const Tensors& inputs,
                            const JetOrders& orders, const ForwardOptions& options) {
    check(inputs.size() == 1, "mlp: expects one input, got ", inputs.size());
    const Pass pass(layout, params, buffers, options.batch_statistics);
    return net->jet(pass, inputs[0], orders);
  };
  return model;
}

ModelInfo mlp_info() {
  ModelInfo info;
  info.name = "mlp";
  info.summary = "fully connected network of coordinates, with derivatives in them";
  info.presets = {{"plain", "tanh, 3 hidden layers of 20"},
                  {"modified", "gates beside every hidden layer", {{"variant", "modified"}}}};
  info.options = {
      {"inputs", "2", "coordinates; a task sets it", OptionKind::integer},
      {"width", "20", "units of a hidden layer", OptionKind::integer},
      {"depth", "3", "hidden layers", OptionKind::integer},
      {"activation", "tanh", "tanh, sin, silu, gelu, softplus or relu"},
      {"variant", "plain", "plain, or modified: two gates"},
      {"fourier", "0", "random Fourier features before the first layer; 0: none",
       OptionKind::integer},
      {"fourier_sigma", "1", "their standard deviation of frequencies", OptionKind::number},
      {"fourier_seed", "0", "their seed", OptionKind::integer},
      {"init", "glorot_normal", "glorot_normal or glorot_uniform"},
      {"fused", "true", "derivatives by one kernel where there is one", OptionKind::flag},
  };
  info.make = mlp_from_options;
  return info;
}

}  // namespace basin
