// DGCNN: declaration of the layers in the order of the reference code, and the forward pass.
#include "basin/models/dgcnn.h"

#include <algorithm>
#include <array>
#include <memory>

#include "basin/kernels/edge_conv.h"
#include "basin/models/detail/point_graph.h"
#include "basin/models/detail/points.h"

namespace basin {
namespace {

constexpr double kSlope = 0.2;  // of every leaky ReLU

struct Block {  // linear map and batch norm
  Linear map;
  BatchNorm norm;
};

struct Dgcnn {
  DgcnnConfig config;
  Layout layout;
  std::array<Block, 4> edges;  // maps [out, 2 in]: columns of x_j - x_i, then of x_i
  Block points, fc1, fc2;
  Linear fc3;
};

std::shared_ptr<const Dgcnn> declare(const DgcnnConfig& config) {
  auto net = std::make_shared<Dgcnn>();
  net->config = config;
  const DgcnnWidths& w = config.widths;
  const int64_t in[] = {config.normals ? 6 : 3, w.edge1, w.edge2, w.edge3};
  const int64_t out[] = {w.edge1, w.edge2, w.edge3, w.edge4};
  Layout& layout = net->layout;
  for (size_t i = 0; i < 4; ++i) {
    net->edges[i].norm = layout.batch_norm(str("bn", i + 1), out[i]);
  }
  net->points.norm = layout.batch_norm("bn5", w.points);
  for (size_t i = 0; i < 4; ++i) {
    net->edges[i].map =
        layout.weight_only(str("conv", i + 1, ".0"), 2 * in[i], out[i],
                           i == 0 ? Role::first : Role::matrix, torch_init(2 * in[i]), 2);
  }
  const int64_t joined = w.edge1 + w.edge2 + w.edge3 + w.edge4;
  net->points.map =
      layout.weight_only("conv5.0", joined, w.points, Role::matrix, torch_init(joined), 1);
  net->fc1.map =
      layout.weight_only("linear1", 2 * w.points, w.fc1, Role::matrix, torch_init(2 * w.points));
  net->fc1.norm = layout.batch_norm("bn6", w.fc1);
  net->fc2.map = layout.linear("linear2", w.fc1, w.fc2, Role::matrix, torch_linear_init(w.fc1));
  net->fc2.norm = layout.batch_norm("bn7", w.fc2);
  net->fc3 = layout.linear("linear3", w.fc2, config.classes, Role::head, torch_linear_init(w.fc2));
  return net;
}

// A level of points is read by the next edge convolution twice, as x_j - x_i and as x_i, and beside
// the other levels by the map that joins them.
std::vector<HiddenUnits> hidden_units(const Dgcnn& net) {
  const DgcnnWidths& w = net.config.widths;
  const int64_t widths[] = {w.edge1, w.edge2, w.edge3, w.edge4};
  std::vector<HiddenUnits> out;
  int64_t offset = 0;
  for (size_t i = 0; i < 4; ++i) {
    HiddenUnits& units = out.emplace_back(HiddenUnits{str("edge", i + 1), widths[i]});
    units.made_by(net.edges[i].map).normed_by(net.edges[i].norm);
    if (i < 3) units.read_by(net.edges[i + 1].map).read_by(net.edges[i + 1].map, widths[i]);
    units.read_by(net.points.map, offset);
    offset += widths[i];
  }
  out.push_back({"point_features", w.points});  // the maximum and the mean of each
  out.back().made_by(net.points.map).normed_by(net.points.norm);
  out.back().read_by(net.fc1.map).read_by(net.fc1.map, w.points);
  out.push_back({"fc1", w.fc1});
  out.back().made_by(net.fc1.map).normed_by(net.fc1.norm).read_by(net.fc2.map);
  out.push_back({"fc2", w.fc2});
  out.back().made_by(net.fc2.map).normed_by(net.fc2.norm).read_by(net.fc3);
  return out;
}

class Forward {
 public:
  Forward(const Dgcnn& net, const Tensors& params, const Tensors& buffers,
          const ForwardOptions& options)
      : net_(net),
        options_(options),
        pass_(net.layout, params, buffers, options.batch_statistics) {}

  ForwardResult run(Tensor x) {  // [B, N, 3 or 6]
    Tensors levels;
    for (size_t i = 0; i < 4; ++i) {
      x = edge_convolution(net_.edges[i], x);
      keep(str("edge", i + 1), x, Rows::point);
      levels.push_back(x);
    }
    x = concat(levels, 2);
    if (net_.config.fused && !options_.keep_activations) {
      x = pass_.apply_max_mean(net_.points.map, net_.points.norm, x, Act::leaky_relu, kSlope);
    } else {  // the features of the points are asked for
      x = activate(net_.points, x);
      keep("point_features", x, Rows::point);
      x = concat({max(x, 1), mean(x, 1)}, 1);
    }
    keep("global_feature", x, Rows::example);
    x = activate(net_.fc1, x);
    keep("fc1", x, Rows::example);
    x = activate(net_.fc2, drop(x, "dropout/fc1"));
    keep("fc2", x, Rows::example);
    result_.outputs = {pass_.apply(net_.fc3, drop(x, "dropout/fc2"))};
    result_.batch_stats = pass_.take_stats();
    return std::move(result_);
  }

 private:
  Tensor edge_convolution(const Block& block, const Tensor& x) {  // [B, N, C] -> [B, N, out]
    const int64_t nodes = x.size(0) * x.size(1), k = net_.config.k;
    const Tensor& w = pass_.weight(block.map);
    const int64_t out = w.size(0);
    const EdgeMap map = split_edge_map(w);
    const Tensor neighbour = linear(x, map.neighbour, {}), centre = linear(x, map.centre, {});
    if (net_.config.fused) {
      return pass_.apply_edge_max(block.norm, centre, neighbour, knn(x, k, true), Act::leaky_relu,
                                  kSlope);
    }
    const Tensor around = gather(reshape(neighbour, {nodes, out}), neighbour_rows(x, k, true));
    const Tensor z = reshape(around, {nodes, k, out}) + reshape(centre, {nodes, 1, out});
    const Tensor y = pass_.apply(block.norm, z, Act::leaky_relu, kSlope);
    return reshape(max(y, 1), {x.size(0), x.size(1), out});
  }

  Tensor activate(const Block& block, const Tensor& x) {
    return pass_.apply(block.norm, pass_.apply(block.map, x), Act::leaky_relu, kSlope);
  }

  Tensor drop(const Tensor& x, std::string_view layer) const {
    return basin::drop(x, net_.config.dropout, options_, layer);
  }

  void keep(const std::string& name, const Tensor& value, Rows rows) {
    if (options_.keep_activations) result_.activations.push_back({name, value, rows});
  }

  const Dgcnn& net_;
  const ForwardOptions& options_;
  Pass pass_;
  ForwardResult result_;
};

Model dgcnn_from_options(const ModelConfig& config, const OptionReader& options) {
  const std::vector<int64_t> w = options.sizes("widths", 7);
  DgcnnConfig net;
  net.classes = config.outputs;
  net.k = options.sizes("k", 1)[0];
  net.widths = {w[0], w[1], w[2], w[3], w[4], w[5], w[6]};
  net.normals = takes_normals(options);
  net.dropout = options.number_in("dropout", 0, 0.99);
  net.fused = options.flag("fused");
  return make_dgcnn(net);
}

}  // namespace

Model make_dgcnn(const DgcnnConfig& config) {
  const DgcnnWidths& w = config.widths;
  check(std::min({config.classes, config.k, w.edge1, w.edge2, w.edge3, w.edge4, w.points, w.fc1,
                  w.fc2}) > 0,
        "dgcnn: classes, k and widths must be positive");
  check(!config.fused || config.k <= kMaxEdgeNeighbours, "dgcnn: k is at most ", kMaxEdgeNeighbours,
        " with fused edge convolutions, got ", config.k, "; set fused=false");
  check(config.dropout >= 0 && config.dropout < 1, "dgcnn: dropout must be in [0, 1), got ",
        config.dropout);
  const std::shared_ptr<const Dgcnn> net = declare(config);
  Model model;
  model.name = "dgcnn";
  model.preset = "official";
  model.outputs = config.classes;
  model.layout = net->layout;
  model.hidden = hidden_units(*net);
  model.inputs = cloud_inputs(config.normals);
  model.symmetries = {SymmetryKind::permutation};
  model.neighbours = config.k;
  model.forward = [net](const Tensors& params, const Tensors& buffers, const Tensors& inputs,
                        const ForwardOptions& options) {
    const Tensor& points = points_of("dgcnn", inputs, net->config.normals ? 2 : 1);
    const Tensor normals = normals_of("dgcnn", inputs);
    check(points.size(1) >= net->config.k, "dgcnn: needs at least k = ", net->config.k,
          " points per cloud, got ", points.size(1), "; lower the option k");
    return Forward(*net, params, buffers, options)
        .run(normals.defined() ? concat({points, normals}, 2) : points);
  };
  return model;
}

ModelInfo dgcnn_info() {
  ModelInfo info;
  info.name = "dgcnn";
  info.summary = "DGCNN: edge convolutions on neighbour graphs of the current features";
  info.presets = {{"official", "the authors' PyTorch code"}};
  info.options = {
      {"k", "20", "neighbours of a point, itself among them (authors: 40 for 2048 points)",
       OptionKind::integer},
      features_option(),
      {"dropout", "0.5", "probability of zeroing a hidden unit of the classifier",
       OptionKind::number},
      {"widths", "64,64,128,256,1024,512,256",
       "channels per edge (four), per point and per cloud (two)"},
      {"fused", "true", "false: plain ops instead of the fused edge convolution", OptionKind::flag},
  };
  info.make = dgcnn_from_options;
  return info;
}

}  // namespace basin
