// PointNet: declaration of the layers and the forward pass, both presets.
#include "basin/models/pointnet.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

#include "basin/kernels/copy.h"
#include "basin/kernels/launch.h"
#include "basin/models/detail/points.h"

namespace basin {
namespace {

struct Block {  // linear map and batch norm
  Linear map;
  BatchNorm norm;
};

struct TNet {
  std::vector<Block> points;  // channels -> w1 -> w2 -> w3, the last one under the maximum
  std::vector<Block> cloud;   // w3 -> fc1 -> fc2
  Linear output;              // fc2 -> K^2
  int64_t k = 0;
};

struct PointNet {
  PointNetConfig config;
  Layout layout;
  std::optional<TNet> input_transform;
  std::optional<TNet> feature_transform;
  std::vector<Block> before;  // the feature transform
  std::vector<Block> after;   // the last one under the maximum
  Block fc1, fc2;
  Linear fc3;
};

// Declares layers in the order of the reference code: the linear maps of a module, then its norms.
class Builder {
 public:
  Builder(PointNet& net, std::string prefix) : net_(net), prefix_(std::move(prefix)) {}

  LinearInit init(int64_t in, int64_t out) const {
    return net_.config.original ? xavier_linear_init(in, out) : torch_linear_init(in);
  }
  Linear map(const std::string& name, int64_t in, int64_t out, Role role,
             const LinearInit& init) const {
    const std::string full = prefix_ + name;
    const bool conv = name.starts_with("conv");
    return conv ? net_.layout.conv1d(full, in, out, role, init)
                : net_.layout.linear(full, in, out, role, init);
  }
  Linear map(const std::string& name, int64_t in, int64_t out, Role role) const {
    return map(name, in, out, role, init(in, out));
  }
  BatchNorm norm(const std::string& name, int64_t channels) const {
    return net_.layout.batch_norm(prefix_ + name, channels, net_.config.bn_eps);
  }

 private:
  PointNet& net_;
  std::string prefix_;
};

int64_t input_channels(const PointNetConfig& config) { return config.normals ? 6 : 3; }

// From `channels` per point to a k x k matrix.
TNet declare_tnet(PointNet& net, const std::string& prefix, int64_t channels, int64_t k,
                  Role first_role) {
  const PointNetWidths& w = net.config.widths;
  const Builder b(net, prefix);
  const Linear conv1 = b.map("conv1", channels, w.w1, first_role);
  const Linear conv2 = b.map("conv2", w.w1, w.w2, Role::matrix);
  const Linear conv3 = b.map("conv3", w.w2, w.w3, Role::matrix);
  const Linear fc1 = b.map("fc1", w.w3, w.fc1, Role::matrix);
  const Linear fc2 = b.map("fc2", w.fc1, w.fc2, Role::matrix);
  // The original starts at the exact identity.
  const LinearInit output_init =
      net.config.original ? LinearInit{constant_init(0), constant_init(0)} : b.init(w.fc2, k * k);
  const Linear fc3 = b.map("fc3", w.fc2, k * k, net.config.tnet_output_role, output_init);
  TNet tnet;
  tnet.k = k;
  tnet.output = fc3;
  tnet.points = {
      {conv1, b.norm("bn1", w.w1)}, {conv2, b.norm("bn2", w.w2)}, {conv3, b.norm("bn3", w.w3)}};
  tnet.cloud = {{fc1, b.norm("bn4", w.fc1)}, {fc2, b.norm("bn5", w.fc2)}};
  return tnet;
}

void declare_trunk(PointNet& net) {
  const PointNetWidths& w = net.config.widths;
  const bool original = net.config.original;
  const int64_t in = input_channels(net.config);
  const std::vector<int64_t> channels = original
                                            ? std::vector<int64_t>{in, w.w1, w.w1, w.w1, w.w2, w.w3}
                                            : std::vector<int64_t>{in, w.w1, w.w2, w.w3};
  const size_t layers = channels.size() - 1, split = original ? 2 : 1;
  const Builder b(net, "feat.");
  std::vector<Block> blocks(layers);
  for (size_t i = 0; i < layers; ++i) {
    const Role role = i == 0 ? Role::first : Role::matrix;
    blocks[i].map = b.map(str("conv", i + 1), channels[i], channels[i + 1], role);
  }
  for (size_t i = 0; i < layers; ++i) blocks[i].norm = b.norm(str("bn", i + 1), channels[i + 1]);
  net.before.assign(blocks.begin(), blocks.begin() + static_cast<std::ptrdiff_t>(split));
  net.after.assign(blocks.begin() + static_cast<std::ptrdiff_t>(split), blocks.end());
}

void declare_head(PointNet& net) {
  const PointNetWidths& w = net.config.widths;
  const Builder b(net, "");
  net.fc1.map = b.map("fc1", w.w3, w.fc1, Role::matrix);
  net.fc2.map = b.map("fc2", w.fc1, w.fc2, Role::matrix);
  net.fc3 = b.map("fc3", w.fc2, net.config.classes, Role::head);
  net.fc1.norm = b.norm("bn1", w.fc1);
  net.fc2.norm = b.norm("bn2", w.fc2);
}

std::shared_ptr<const PointNet> declare(const PointNetConfig& config) {
  auto net = std::make_shared<PointNet>();
  net->config = config;
  if (config.input_transform) {
    net->input_transform = declare_tnet(*net, "feat.stn.", input_channels(config), 3, Role::first);
  }
  declare_trunk(*net);
  if (config.feature_transform) {
    const int64_t k = config.widths.w1;
    net->feature_transform = declare_tnet(*net, "feat.fstn.", k, k, Role::matrix);
  }
  declare_head(*net);
  return net;
}

HiddenUnits units_of(const std::string& name, int64_t count, const Block& block) {
  HiddenUnits out{name, count};
  out.made_by(block.map).normed_by(block.norm);
  return out;
}

void add_tnet_units(const PointNetWidths& w, const TNet& tnet, const std::string& name,
                    std::vector<HiddenUnits>& out) {
  std::vector<Block> blocks = tnet.points;
  blocks.insert(blocks.end(), tnet.cloud.begin(), tnet.cloud.end());
  const int64_t widths[] = {w.w1, w.w2, w.w3, w.fc1, w.fc2};
  for (size_t i = 0; i < blocks.size(); ++i) {
    out.push_back(units_of(str(name, ".", i + 1), widths[i], blocks[i]));
    out.back().read_by(i + 1 < blocks.size() ? blocks[i + 1].map : tnet.output);
  }
}

// The features under the feature transform T enter and leave it: rows and columns of T, which are
// the outputs of its T-Net, change places with them. The identity that T starts from stays.
std::vector<HiddenUnits> hidden_units(const PointNet& net) {
  const PointNetWidths& w = net.config.widths;
  std::vector<HiddenUnits> out;
  if (net.input_transform) add_tnet_units(w, *net.input_transform, "input_transform", out);
  std::vector<Block> trunk = net.before;
  trunk.insert(trunk.end(), net.after.begin(), net.after.end());
  for (size_t i = 0; i < trunk.size(); ++i) {
    const int64_t count = i + 1 == trunk.size() ? w.w3 : i + 2 == trunk.size() ? w.w2 : w.w1;
    out.push_back(units_of(str("trunk.", i + 1), count, trunk[i]));
    out.back().read_by(i + 1 < trunk.size() ? trunk[i + 1].map : net.fc1.map);
    if (i + 1 != net.before.size() || !net.feature_transform) continue;
    const TNet& tnet = *net.feature_transform;
    HiddenUnits& features = out.back().read_by(tnet.points.front().map);
    for (const int axis : {0, 1}) {
      const int64_t k = tnet.k;
      features.also({.tensor = tnet.output.weight, .axis = axis, .view = {k, k, w.fc2}});
      features.also({.tensor = tnet.output.bias, .axis = axis, .view = {k, k}});
    }
    add_tnet_units(w, tnet, "feature_transform", out);
  }
  out.push_back(units_of("fc1", w.fc1, net.fc1));
  out.back().read_by(net.fc2.map);
  out.push_back(units_of("fc2", w.fc2, net.fc2));
  out.back().read_by(net.fc3);
  return out;
}

Tensor identity(int64_t k, const Tensor& like) {  // [K, K]
  Tensor out = Tensor::empty({k, k}, like.dtype(), like.device());
  launch<Identity>(like.device(), out);
  return out;
}

// x through all blocks but the last with ReLU, then the last under the maximum.
Tensor pooled(Pass& pass, const std::vector<Block>& blocks, Tensor x, Act last, bool fused) {
  for (size_t i = 0; i + 1 < blocks.size(); ++i) {
    x = pass.apply(blocks[i].norm, pass.apply(blocks[i].map, x), Act::relu);
  }
  return pass.apply_max(blocks.back().map, blocks.back().norm, x, last, fused);
}

Tensor transform(Pass& pass, const TNet& tnet, const Tensor& x, bool fused) {  // -> [B, K, K]
  Tensor h = pooled(pass, tnet.points, x, Act::relu, fused);
  for (const Block& block : tnet.cloud) {
    h = pass.apply(block.norm, pass.apply(block.map, h), Act::relu);
  }
  const Tensor flat = pass.apply(tnet.output, h);
  return reshape(flat, {x.size(0), tnet.k, tnet.k}) + identity(tnet.k, flat);
}

class Forward {
 public:
  Forward(const PointNet& net, const Tensors& params, const Tensors& buffers,
          const ForwardOptions& options)
      : net_(net),
        options_(options),
        pass_(net.layout, params, buffers, options.batch_statistics) {}

  ForwardResult run(Tensor x, const Tensor& normals) {  // [B, N, 3], the same or undefined
    const PointNetConfig& config = net_.config;
    const auto beside = [&](const Tensor& points) {
      return normals.defined() ? concat({points, normals}, 2) : points;
    };
    if (net_.input_transform) {
      const Tensor t = transform(pass_, *net_.input_transform, beside(x), config.fused);
      keep("input_transform", t, Rows::example);
      x = matmul(x, t);
    }
    x = beside(x);
    for (const Block& block : net_.before) {
      x = pass_.apply(block.norm, pass_.apply(block.map, x), Act::relu);
    }
    if (net_.feature_transform) {
      const Tensor t = transform(pass_, *net_.feature_transform, x, config.fused);
      keep("feature_transform", t, Rows::example);
      if (config.penalty > 0) {
        result_.penalty = scale(config.original ? orthogonality_half_sum(t) : orthogonality_norm(t),
                                config.penalty);
      }
      x = matmul(x, t);
    }
    keep("point_features", x, Rows::point);
    x = pooled(pass_, net_.after, x, config.original ? Act::relu : Act::none, config.fused);
    keep("global_feature", x, Rows::example);
    result_.outputs = {classify(std::move(x))};
    result_.batch_stats = pass_.take_stats();
    return std::move(result_);
  }

 private:
  Tensor classify(Tensor x) {  // [B, w3] -> [B, classes]
    const bool original = net_.config.original;
    x = pass_.apply(net_.fc1.norm, pass_.apply(net_.fc1.map, x), Act::relu);
    keep("fc1", x, Rows::example);
    if (original) x = drop(x, "dropout/fc1");
    x = pass_.apply(net_.fc2.map, x);
    if (!original) x = drop(x, "dropout/fc2");
    x = pass_.apply(net_.fc2.norm, x, Act::relu);
    keep("fc2", x, Rows::example);
    if (original) x = drop(x, "dropout/fc2");
    return pass_.apply(net_.fc3, x);
  }

  Tensor drop(const Tensor& x, std::string_view layer) const {
    return basin::drop(x, net_.config.dropout, options_, layer);
  }

  void keep(const char* name, const Tensor& value, Rows rows) {
    if (options_.keep_activations) result_.activations.push_back({name, value, rows});
  }

  const PointNet& net_;
  const ForwardOptions& options_;
  Pass pass_;
  ForwardResult result_;
};

// The original lowers the momentum of its running statistics from 0.5 by half every 200 000
// samples, down to 0.01.
double original_bn_momentum(int64_t samples) {
  constexpr int64_t kPeriod = 200000;
  const int64_t periods = samples / kPeriod;
  return std::max(0.01, 0.5 * std::pow(0.5, static_cast<double>(periods)));
}

Tensor orthogonality_defect(const Tensor& a) {  // A A^T - I
  check(a.rank() == 3 && a.size(1) == a.size(2),
        "orthogonality penalty: expects square matrices [B, K, K], got ", a.shape());
  return matmul(a, a, false, true) - identity(a.size(1), a);
}

Model pointnet_from_options(const ModelConfig& config, const OptionReader& options) {
  const std::vector<int64_t> w = options.sizes("widths", 5);
  PointNetConfig net;
  net.original = config.preset == "original";
  net.classes = config.outputs;
  net.widths = {w[0], w[1], w[2], w[3], w[4]};
  net.normals = takes_normals(options);
  net.input_transform = options.flag("input_transform");
  net.feature_transform = options.flag("feature_transform");
  net.dropout = options.number_in("dropout", 0, 0.99);
  net.penalty = options.number_in("penalty", 0, 1e6);
  net.bn_eps = options.number_in("bn_eps", 1e-12, 1);
  net.tnet_output_role =
      options.choice("tnet_output", {"matrix", "head"}) == 0 ? Role::matrix : Role::head;
  net.fused = options.flag("fused");
  return make_pointnet(net);
}

}  // namespace

Tensor orthogonality_norm(const Tensor& a) {
  const Tensor defect = orthogonality_defect(a);
  return mean(safe_norm(reshape(defect, {a.size(0), a.size(1) * a.size(2)}), 1));
}

Tensor orthogonality_half_sum(const Tensor& a) {
  return scale(sum(square(orthogonality_defect(a))), 0.5);
}

Model make_pointnet(const PointNetConfig& config) {
  const PointNetWidths& w = config.widths;
  check(std::min({config.classes, w.w1, w.w2, w.w3, w.fc1, w.fc2}) > 0,
        "pointnet: classes and widths must be positive");
  check(config.dropout >= 0 && config.dropout < 1, "pointnet: dropout must be in [0, 1), got ",
        config.dropout);
  const std::shared_ptr<const PointNet> net = declare(config);
  Model model;
  model.name = "pointnet";
  model.preset = config.original ? "original" : "port";
  model.outputs = config.classes;
  model.layout = net->layout;
  model.hidden = hidden_units(*net);
  model.inputs = cloud_inputs(config.normals);
  model.symmetries = {SymmetryKind::permutation};
  model.penalty = config.feature_transform && config.penalty > 0;
  model.forward = [net](const Tensors& params, const Tensors& buffers, const Tensors& inputs,
                        const ForwardOptions& options) {
    const Tensor& points = points_of("pointnet", inputs, net->config.normals ? 2 : 1);
    return Forward(*net, params, buffers, options).run(points, normals_of("pointnet", inputs));
  };
  if (config.original) model.bn_momentum = original_bn_momentum;
  return model;
}

ModelInfo pointnet_info() {
  ModelInfo info;
  info.name = "pointnet";
  info.summary = "PointNet: shared map per point, maximum over the points, T-Nets";
  info.presets = {
      {"port", "the common PyTorch ports"},
      {"original", "the TensorFlow code of the paper", {{"bn_eps", "1e-3"}}},
  };
  info.options = {
      features_option(),
      {"input_transform", "true", "3x3 T-Net on the points", OptionKind::flag},
      {"feature_transform", "true", "T-Net on the point features, with its penalty",
       OptionKind::flag},
      {"dropout", "0.3", "probability of zeroing a hidden unit of the classifier",
       OptionKind::number},
      {"penalty", "0.001", "weight of the orthogonality penalty", OptionKind::number},
      {"bn_eps", "1e-5", "epsilon of the batch norms (preset original: 1e-3)", OptionKind::number},
      {"tnet_output", "matrix", "role of the T-Nets' last layers: matrix or head"},
      {"widths", "64,128,1024,512,256", "channels per point (three) and per cloud (two)"},
      {"fused", "true", "false: plain ops instead of the fused linear-norm-max layer",
       OptionKind::flag},
  };
  info.make = pointnet_from_options;
  return info;
}

}  // namespace basin
