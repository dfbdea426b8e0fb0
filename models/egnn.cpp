// EGNN: declaration of the layers under the names of the authors' code, and the forward pass.
#include "basin/models/egnn.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "basin/autograd/ops/edge_message.h"
#include "basin/models/detail/egnn_layer.h"
#include "basin/models/detail/moments.h"
#include "basin/models/detail/points.h"

namespace basin {
namespace {

struct Egnn {
  EgnnConfig config;
  Layout layout;
  Linear embedding;
  std::vector<EgnnLayer> layers;
  Linear pooled;  // with an embedding
  Perceptron readout;
};

constexpr int64_t kMostTypes = 1000;
constexpr int64_t kMostEmbedding = 1 << 20;

bool of_cloud(EgnnMoments m) { return m == EgnnMoments::cloud || m == EgnnMoments::both; }
bool of_neighbours(EgnnMoments m) { return m == EgnnMoments::neighbours || m == EgnnMoments::both; }

// Of a node, those of the frame not counted.
int64_t node_inputs(const EgnnConfig& config) {
  return 1 + (config.radius ? 1 : 0) + (of_cloud(config.moments) ? kCloudMoments : 0) +
         (of_neighbours(config.moments) ? kNeighbourMoments : 0) + config.types;
}

std::shared_ptr<const Egnn> declare(const EgnnConfig& config) {
  auto net = std::make_shared<Egnn>();
  net->config = config;
  const bool framed = config.frame != EgnnFrame::none;
  const int64_t d = config.hidden, inputs = node_inputs(config);
  Layout& layout = net->layout;
  net->embedding = layout.linear("embedding_in", inputs + (framed ? kFrame : 0), d, Role::first,
                                 torch_linear_init(inputs));
  for (int64_t i = 0; i < config.layers; ++i) {
    const bool moves = config.last_coordinates || i + 1 < config.layers;
    net->layers.push_back(
        declare_egnn_layer(layout, str("gcl_", i, "."), d, config.attention, moves, framed));
  }
  int64_t width = d;
  if (config.embedding > 0) {
    const int64_t features = config.layers * d;
    width = config.embedding;
    net->pooled =
        layout.linear("embedding", features, width, Role::matrix, torch_linear_init(features));
  }
  net->readout.first =
      layout.linear("readout.0", 2 * width, width, Role::matrix, torch_linear_init(2 * width));
  net->readout.second =
      layout.linear("embedding_out", width, config.classes, Role::head, torch_linear_init(width));
  return net;
}

// The maximum over the points in the read-out is taken of each feature: they permute, no more.
std::vector<HiddenUnits> hidden_units(const Egnn& net) {
  const int64_t d = net.config.hidden;
  HiddenUnits h{"features", d};
  std::vector<HiddenUnits> out;
  h.made_by(net.embedding);
  for (size_t i = 0; i < net.layers.size(); ++i) {
    add_egnn_units(net.layers[i], str("gcl_", i, "."), d, h, out);
  }
  int64_t width = d;
  if (net.config.embedding > 0) {
    width = net.config.embedding;
    HiddenUnits pooled{"embedding", width};
    for (int64_t i = 0; i < net.config.layers; ++i) h.read_by(net.pooled, i * d);
    pooled.made_by(net.pooled).read_by(net.readout.first).read_by(net.readout.first, width);
    out.push_back(std::move(pooled));
  } else {
    h.read_by(net.readout.first).read_by(net.readout.first, d);
  }
  HiddenUnits readout{"readout.0", width};
  out.push_back(readout.made_by(net.readout.first).read_by(net.readout.second));
  out.insert(out.begin(), std::move(h));
  return out;
}

class Forward {
 public:
  // `types` is undefined where there are none.
  Forward(const Egnn& net, const Tensors& params, const Tensors& buffers, const Tensor& points,
          const Tensor& types, const ForwardOptions& options)
      : net_(net),
        options_(options),
        pass_(net.layout, params, buffers, options.batch_statistics),
        clouds_(points.size(0)),
        points_(points.size(1)),
        near_(neighbour_lists(knn(points, net.config.k, false))) {
    const Tensor x = net.config.scale == 1 ? points : points * net.config.scale;
    x_ = reshape(x, {clouds_ * points_, 3});
    h_ = embedded(node_inputs(x, types));
  }

  ForwardResult run() {
    Tensors behind;  // the features of every layer
    for (size_t i = 0; i < net_.layers.size(); ++i) {
      const bool last = i + 1 == net_.layers.size();
      apply(net_.layers[i], !last || options_.keep_activations);
      if (net_.config.embedding > 0) behind.push_back(h_);
      if (options_.keep_activations) {
        const std::string number = str(i + 1);
        result_.activations.push_back({"features" + number, per_point(h_), Rows::point});
        result_.activations.push_back(
            {"coordinates" + number, per_point(x_), Rows::point, 1, true, net_.config.scale});
      }
    }
    const Tensor h =
        per_point(behind.empty() ? h_ : silu(pass_.apply(net_.pooled, concat(behind, 1))));
    Tensor y = concat({mean(h, 1), max(h, 1)}, 1);
    if (options_.keep_activations) result_.activations.push_back({"global_feature", y});
    y = silu(pass_.apply(net_.readout.first, y));
    y = drop(y, net_.config.dropout, options_, "dropout/readout");
    result_.outputs = {pass_.apply(net_.readout.second, y)};
    return std::move(result_);
  }

 private:
  Tensor node_inputs(const Tensor& points, const Tensor& types) const {  // [B N, inputs]
    const int64_t nodes = clouds_ * points_;
    Tensors columns{Tensor::full({nodes, 1}, points.dtype(), 1, points.device())};
    if (net_.config.radius) {
      const Tensor square = sum(basin::square(points - mean(points, 1, true)), 2);
      columns.push_back(reshape(square, {nodes, 1}));
    }
    if (of_cloud(net_.config.moments)) {
      columns.push_back(reshape(cloud_moments(points), {nodes, kCloudMoments}));
    }
    if (of_neighbours(net_.config.moments)) {
      columns.push_back(
          reshape(neighbour_moments(points, near_.index), {nodes, kNeighbourMoments}));
    }
    if (types.defined()) {
      columns.push_back(one_hot(types.view({nodes}), net_.config.types, points.dtype()));
    }
    return columns.size() == 1 ? columns.front() : concat(columns, 1);
  }

  // r c of the coordinates as they are; undefined where phi_e and nodes see none.
  Tensor frame() const {
    if (net_.config.frame == EgnnFrame::none || net_.config.relax == 0) return {};
    if (net_.config.frame == EgnnFrame::fixed) return x_ * net_.config.relax;
    const Tensor x = per_point(x_);
    const Tensor radius = safe_norm(x - mean(x, 1, true), 2, true);
    const Tensor columns = concat({radius, radius, radius}, 2) * std::sqrt(1.0 / kFrame);
    return reshape(columns, x_.shape()) * net_.config.relax;
  }

  Tensor embedded(const Tensor& inputs) const {
    if (net_.config.frame == EgnnFrame::none) return pass_.apply(net_.embedding, inputs);
    if (const Tensor c = frame(); c.defined()) {
      return pass_.apply(net_.embedding, concat({inputs, c}, 1));
    }
    return linear(inputs, slice(pass_.weight(net_.embedding), 1, 0, inputs.size(1)),
                  pass_.bias(net_.embedding));
  }

  void apply(const EgnnLayer& layer, bool move) {
    const EgnnEdges e = egnn_edges(pass_, layer, h_, move, frame());
    const EnMessages m =
        net_.config.fused ? en_message_pass(e.centre, e.neighbour, x_, near_, e.weights)
                          : en_message_composite(e.centre, e.neighbour, x_, near_.index, e.weights);
    if (m.shift.defined()) x_ = x_ + m.shift;
    h_ = h_ + egnn_node_update(pass_, layer, h_, m.sum, net_.config.fused);
  }

  Tensor per_point(const Tensor& rows) const {  // [B N, C] -> [B, N, C]
    return reshape(rows, {clouds_, points_, rows.size(1)});
  }

  const Egnn& net_;
  const ForwardOptions& options_;
  Pass pass_;
  int64_t clouds_, points_;
  NeighbourLists near_;  // of all layers
  Tensor x_, h_;         // [B N, 3], [B N, d]
  ForwardResult result_;
};

Model egnn_from_options(const ModelConfig& config, const OptionReader& options) {
  EgnnConfig net;
  net.classes = config.outputs;
  net.hidden = options.sizes("hidden", 1)[0];
  net.layers = options.sizes("layers", 1)[0];
  net.k = options.sizes("k", 1)[0];
  net.attention = options.flag("attention");
  net.radius = options.flag("radius");
  net.moments =
      static_cast<EgnnMoments>(options.choice("moments", {"none", "cloud", "neighbours", "both"}));
  net.embedding = options.integer_in("embedding", 0, kMostEmbedding);
  net.types = options.integer_in("types", 0, kMostTypes);
  net.scale = options.number_in("scale", 1e-6, 1e6);
  net.frame = static_cast<EgnnFrame>(options.choice("frame", {"none", "fixed", "radial"}));
  net.relax = options.number_in("relax", 0, 1);
  net.last_coordinates = options.flag("last_coordinates");
  net.dropout = options.number_in("dropout", 0, 0.99);
  net.fused = options.flag("fused");
  return make_egnn(net);
}

// The second input, if the network has one. Values on a GPU are checked by one_hot with
// BASIN_SYNC=1: reading them here would wait.
Tensor types_of(const Tensors& inputs, int64_t kinds) {
  if (kinds == 0) return {};
  const Tensor &points = inputs[0], &types = inputs[1];
  check(types.dtype() == DType::i64 && types.shape() == Shape{points.size(0), points.size(1)},
        "egnn: expects types i64 [B, N] beside points ", points.shape(), ", got ",
        name_of(types.dtype()), " ", types.shape());
  if (types.device() != Device::cpu) return types;
  const int64_t* kind = types.data<int64_t>();
  for (int64_t i = 0; i < types.numel(); ++i) {
    if (kind[i] >= 0 && kind[i] < kinds) continue;
    fail(ErrorKind::data, "egnn: point ", i % types.size(1), " of example ", i / types.size(1),
         " has the type ", kind[i], ", expected 0 to ", kinds - 1, "; raise the option types?");
  }
  return types;
}

}  // namespace

Model make_egnn(const EgnnConfig& config) {
  check(std::min({config.classes, config.hidden, config.layers, config.k}) > 0,
        "egnn: classes, hidden, layers and k must be positive");
  check(config.dropout >= 0 && config.dropout < 1, "egnn: dropout must be in [0, 1), got ",
        config.dropout);
  check(config.embedding >= 0 && config.embedding <= kMostEmbedding,
        "egnn: embedding must be from 0 to ", kMostEmbedding, ", got ", config.embedding);
  check(config.scale > 0, "egnn: scale must be positive, got ", config.scale);
  check(config.types >= 0 && config.types <= kMostTypes, "egnn: types must be from 0 to ",
        kMostTypes, ", got ", config.types);
  check(config.relax >= 0 && config.relax <= 1, "egnn: relax must be from 0 to 1, got ",
        config.relax);
  check(config.relax == 0 || config.frame != EgnnFrame::none, "egnn: relax = ", config.relax,
        " weighs the coordinates of a frame; give the option frame, fixed or radial");
  const std::shared_ptr<const Egnn> net = declare(config);
  Model model;
  model.name = "egnn";
  model.preset = "cloud";
  model.outputs = config.classes;
  model.layout = net->layout;
  model.hidden = hidden_units(*net);
  model.inputs = {points_slot()};
  if (config.types > 0) model.inputs.push_back({"types", Rows::point, SlotKind::feature});
  model.symmetries.assign(std::begin(kSymmetryKinds), std::end(kSymmetryKinds));
  if (config.frame == EgnnFrame::fixed && config.relax > 0) {
    model.symmetries = {SymmetryKind::permutation};
  }
  model.neighbours = config.k;
  model.forward = [net](const Tensors& params, const Tensors& buffers, const Tensors& inputs,
                        const ForwardOptions& options) {
    const Tensor& points = points_of("egnn", inputs, net->config.types > 0 ? 2 : 1);
    check(points.size(1) > net->config.k, "egnn: needs more than k = ", net->config.k,
          " points per cloud, got ", points.size(1), "; lower the option k");
    return Forward(*net, params, buffers, points, types_of(inputs, net->config.types), options)
        .run();
  };
  return model;
}

ModelInfo egnn_info() {
  ModelInfo info;
  info.name = "egnn";
  info.summary = "EGNN: messages between nearest neighbours, invariant under O(3) and translations";
  info.presets = {{"cloud", "64 channels, 4 layers, constant node input"},
                  {"wide", "128 channels", {{"hidden", "128"}}},
                  {"trainable",
                   "10 neighbours, moments as node inputs, 256 channels pooled: fits ModelNet40",
                   {{"k", "10"}, {"scale", "4"}, {"moments", "both"}, {"embedding", "256"}}}};
  info.options = {
      {"k", "20", "neighbours of a point, without itself", OptionKind::integer},
      {"hidden", "64", "channels of nodes and messages", OptionKind::integer},
      {"layers", "4", "message passing layers", OptionKind::integer},
      {"attention", "false", "a learned gate per message", OptionKind::flag},
      {"radius", "false", "squared distance from the centroid as second node input",
       OptionKind::flag},
      {"moments", "none",
       "second and third moments as node inputs: none, cloud, neighbours (of each point), both",
       OptionKind::text, true},
      {"embedding", "0",
       "channels of a map of every layer's features before the points are pooled; 0: none",
       OptionKind::integer, true},
      {"types", "0", "kinds of points, told by a second input; 0: all are alike",
       OptionKind::integer},
      {"scale", "1", "unit of length: coordinates are multiplied by it first", OptionKind::number},
      {"last_coordinates", "true", "the last layer's coordinate map, which no output depends on",
       OptionKind::flag},
      {"frame", "none",
       "coordinates as inputs: none; fixed, weighted by relax; radial, an invariant control"},
      {"relax", "0", "relaxed equivariance with a frame: 0 exact, 1 coordinates are features",
       OptionKind::number},
      {"dropout", "0.5", "probability of zeroing a hidden unit of the read-out",
       OptionKind::number},
      {"fused", "true", "false: plain ops instead of the fused message pass", OptionKind::flag},
  };
  info.make = egnn_from_options;
  return info;
}

}  // namespace basin
