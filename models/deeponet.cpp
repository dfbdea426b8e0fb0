// Branch and trunk, for values and for jets in the place.
#include "basin/models/deeponet.h"

#include <cmath>

#include "basin/autograd/ops.h"

namespace basin {
namespace {

MlpConfig part_of(const DeepOnetConfig& c, int64_t inputs, int64_t depth) {
  MlpConfig out;
  out.inputs = inputs;
  out.outputs = c.products;
  out.width = c.width;
  out.depth = depth;
  out.phi = c.phi;
  out.modified = c.modified;
  out.uniform = c.uniform;
  return out;
}

int64_t trunk_inputs(const DeepOnetConfig& c) { return c.coordinates + (c.periodic ? 3 : 0); }

// [x, rest] -> [cos 2 pi x, sin 2 pi x, cos 4 pi x, sin 4 pi x, rest]
Jet periodic_features(const Jet& y) {
  const Jet x = columns(y, 0, 1), once = scale(x, 2 * M_PI), twice = scale(x, 4 * M_PI);
  std::vector<Jet> parts{cos(once), sin(once), cos(twice), sin(twice)};
  const auto d = static_cast<int64_t>(y.orders.size());
  if (d > 1) parts.push_back(columns(y, 1, d));
  return beside(parts);
}

struct Net {
  explicit Net(const DeepOnetConfig& c)
      : config(c),
        branch(layout, "branch.", part_of(c, c.sensors, c.branch_depth)),
        trunk(layout, "trunk.", part_of(c, trunk_inputs(c), c.trunk_depth), !c.trunk_linear),
        shift(layout.own("b", 1, Role::bias, constant_init(0))) {}

  // functions [N, m], points [P, d] -> the products with one part of the trunk's jet
  Tensor product(const Tensor& b, const Tensor& t) const {
    return config.aligned ? sum(b * t, 1, true) : matmul(b, t, false, true);
  }

  void check_inputs(const Tensors& in) const {
    check(in.size() == 2, "deeponet: expects functions and points, got ", in.size(), " inputs");
    check(in[0].rank() == 2 && in[0].size(1) == config.sensors, "deeponet: expects functions [N, ",
          config.sensors, "], got ", in[0].shape());
    check(in[1].rank() == 2 && in[1].size(1) == config.coordinates, "deeponet: expects points [P, ",
          config.coordinates, "], got ", in[1].shape());
    check(!config.aligned || in[0].size(0) == in[1].size(0),
          "deeponet: aligned, one point per function, got ", in[0].size(0), " and ", in[1].size(0));
  }

  Layout layout;
  DeepOnetConfig config;
  MlpPart branch, trunk;
  Own shift;
};

Model deeponet_from_options(const ModelConfig&, const OptionReader& options) {
  DeepOnetConfig net;
  net.sensors = options.sizes("sensors", 1)[0];
  net.coordinates = options.sizes("coordinates", 1)[0];
  net.width = options.sizes("width", 1)[0];
  net.branch_depth = options.integer_in("branch_depth", 1, 64);
  net.trunk_depth = options.integer_in("trunk_depth", 1, 64);
  net.products = options.sizes("products", 1)[0];
  const std::vector<std::string> names(std::begin(kNonlinearities), std::end(kNonlinearities));
  net.phi = static_cast<Nonlinearity>(options.choice("activation", names));
  net.trunk_linear = options.choice("trunk_last", {"activated", "linear"}) == 1;
  net.modified = options.choice("variant", {"plain", "modified"}) == 1;
  net.periodic = options.flag("periodic");
  net.aligned = options.flag("aligned");
  net.uniform = options.choice("init", {"glorot_normal", "glorot_uniform"}) == 1;
  return make_deeponet(net);
}

}  // namespace

Model make_deeponet(const DeepOnetConfig& config) {
  check(std::min({config.sensors, config.coordinates, config.width, config.products,
                  config.branch_depth, config.trunk_depth}) > 0,
        "deeponet: sensors, coordinates, width, products and depths must be positive");
  const auto net = std::make_shared<const Net>(config);
  Model model;
  model.name = "deeponet";
  model.preset = "plain";
  model.outputs = 1;
  model.output_name = "u";
  model.layout = net->layout;
  model.inputs = {{"functions", Rows::example, SlotKind::feature},
                  {"points", Rows::example, SlotKind::feature}};
  const auto place = [net](const Pass& pass, const Tensor& points, const JetOrders& orders) {
    if (!net->config.periodic) return net->trunk.jet(pass, points, orders);
    return net->trunk.jet(pass, periodic_features(jet_seed(points, orders)));
  };
  model.forward = [net, place](const Tensors& params, const Tensors& buffers, const Tensors& inputs,
                               const ForwardOptions& options) {
    net->check_inputs(inputs);
    const Pass pass(net->layout, params, buffers, options.batch_statistics);
    const Tensor b = net->branch.forward(pass, inputs[0]);
    const JetOrders none(static_cast<size_t>(net->config.coordinates), 0);
    const Tensor t = place(pass, inputs[1], none).value;
    ForwardResult result;
    if (options.keep_activations) result.activations.push_back({"branch", b});
    result.outputs = {net->product(b, t) + pass.value(net->shift)};
    return result;
  };
  model.jet = [net, place](const Tensors& params, const Tensors& buffers, const Tensors& inputs,
                           const JetOrders& orders, const ForwardOptions& options) {
    net->check_inputs(inputs);
    const Pass pass(net->layout, params, buffers, options.batch_statistics);
    const Tensor b = net->branch.forward(pass, inputs[0]);
    Jet out = map_parts(place(pass, inputs[1], orders), [&](const Tensor& t) {
      return net->product(b, broadcast_to(t, {inputs[1].size(0), t.size(1)}));
    });
    out.value = out.value + pass.value(net->shift);
    return out;
  };
  return model;
}

ModelInfo deeponet_info() {
  ModelInfo info;
  info.name = "deeponet";
  info.summary = "DeepONet: an operator as products of a branch and a trunk network";
  info.presets = {{"plain", "ReLU, one hidden layer of 40 each, 40 products"},
                  {"tanh",
                   "tanh, 3 layers of 128, 128 products",
                   {{"activation", "tanh"},
                    {"width", "128"},
                    {"branch_depth", "2"},
                    {"trunk_depth", "2"},
                    {"products", "128"}}},
                  {"modified",
                   "modified networks, tanh, 6 hidden layers of 100, linear trunk",
                   {{"variant", "modified"},
                    {"activation", "tanh"},
                    {"width", "100"},
                    {"branch_depth", "6"},
                    {"trunk_depth", "6"},
                    {"products", "100"},
                    {"trunk_last", "linear"}}}};
  info.options = {
      {"sensors", "100", "values of a function; a task sets it", OptionKind::integer},
      {"coordinates", "1", "of a place; a task sets it", OptionKind::integer},
      {"width", "40", "units of a hidden layer", OptionKind::integer},
      {"branch_depth", "1", "hidden layers of the branch", OptionKind::integer},
      {"trunk_depth", "1", "hidden layers of the trunk", OptionKind::integer},
      {"products", "40", "outputs of branch and trunk", OptionKind::integer},
      {"activation", "relu", "tanh, sin, silu, gelu, softplus or relu"},
      {"trunk_last", "activated", "last layer of the trunk: activated or linear"},
      {"variant", "plain", "plain, or modified: two gates in each network"},
      {"periodic", "false", "the first coordinate as cos, sin of 2 pi x and 4 pi x",
       OptionKind::flag},
      {"aligned", "false", "function i at point i alone", OptionKind::flag},
      {"init", "glorot_normal", "glorot_normal or glorot_uniform"},
  };
  info.make = deeponet_from_options;
  return info;
}

}  // namespace basin
