// Parameters of an EGNN layer and their use.
#include "basin/models/detail/egnn_layer.h"

namespace basin {
namespace {

// Maps with one output have rank 1: as `head` they stay with the element-wise optimizer, which
// keeps the near-zero start of phi_x (an orthogonalised update would undo it in a few steps).
constexpr Role kOneOutput = Role::head;
constexpr double kCoordinateGain = 0.001;

}  // namespace

EgnnLayer declare_egnn_layer(Layout& layout, const std::string& prefix, int64_t d, bool attention,
                             bool moves, bool framed) {
  const auto map = [&](const char* name, int64_t in, int64_t more = 0) {
    return layout.linear(prefix + name, in + more, d, Role::matrix, torch_linear_init(in));
  };
  EgnnLayer layer;
  layer.edge.first = map("edge_mlp.0", 2 * d + 1, framed ? kFrame : 0);
  layer.edge.second = map("edge_mlp.2", d);
  layer.node.first = map("node_mlp.0", 2 * d);
  layer.node.second = map("node_mlp.2", d);
  layer.moves = moves;
  if (moves) {
    layer.coordinate.first = map("coord_mlp.0", d);
    layer.coordinate.second = layout.weight_only(prefix + "coord_mlp.2", d, 1, kOneOutput,
                                                 xavier_uniform(d, 1, kCoordinateGain));
  }
  layer.attends = attention;
  if (attention) {
    layer.attention = layout.linear(prefix + "att_mlp.0", d, 1, kOneOutput, torch_linear_init(d));
  }
  return layer;
}

void add_egnn_units(const EgnnLayer& layer, const std::string& prefix, int64_t d, HiddenUnits& h,
                    std::vector<HiddenUnits>& own) {
  h.read_by(layer.edge.first).read_by(layer.edge.first, d);
  h.read_by(layer.node.first).made_by(layer.node.second);
  HiddenUnits edge{prefix + "edge_mlp.0", d}, message{prefix + "edge_mlp.2", d},
      node{prefix + "node_mlp.0", d};
  own.push_back(edge.made_by(layer.edge.first).read_by(layer.edge.second));
  message.made_by(layer.edge.second).read_by(layer.node.first, d);
  if (layer.attends) message.read_by(layer.attention);
  if (layer.moves) message.read_by(layer.coordinate.first);
  own.push_back(std::move(message));
  if (layer.moves) {
    HiddenUnits coordinate{prefix + "coord_mlp.0", d};
    own.push_back(coordinate.made_by(layer.coordinate.first).read_by(layer.coordinate.second));
  }
  own.push_back(node.made_by(layer.node.first).read_by(layer.node.second));
}

Tensor apply(const Pass& pass, const Perceptron& p, const Tensor& x) {
  return pass.apply(p.second, silu(pass.apply(p.first, x)));
}

EgnnEdges egnn_edges(const Pass& pass, const EgnnLayer& layer, const Tensor& h, bool move,
                     const Tensor& frame) {
  const int64_t d = h.size(1);
  const Tensor& w = pass.weight(layer.edge.first);
  EgnnEdges out;
  out.centre = linear(h, slice(w, 1, 0, d), pass.bias(layer.edge.first));
  out.neighbour = linear(h, slice(w, 1, d, 2 * d), {});
  if (frame.defined()) {  // W (c_i - c_j), made per node too
    const Tensor seen = linear(frame, slice(w, 1, 2 * d + 1, 2 * d + 1 + kFrame), {});
    out.centre = out.centre + seen;
    out.neighbour = out.neighbour - seen;
  }
  EnMessageWeights& weights = out.weights;
  weights.w_s = reshape(slice(w, 1, 2 * d, 2 * d + 1), {d});
  weights.w2 = pass.weight(layer.edge.second);
  weights.b2 = pass.bias(layer.edge.second);
  if (layer.attends) {
    weights.w_a = reshape(pass.weight(layer.attention), {d});
    weights.b_a = pass.bias(layer.attention);
  }
  if (move && layer.moves) {
    weights.w_c = pass.weight(layer.coordinate.first);
    weights.b_c = pass.bias(layer.coordinate.first);
    weights.w_x = reshape(pass.weight(layer.coordinate.second), {d});
  }
  return out;
}

Tensor egnn_node_update(const Pass& pass, const EgnnLayer& layer, const Tensor& h, const Tensor& m,
                        bool cut) {
  if (!cut) return apply(pass, layer.node, concat({h, m}, 1));
  const int64_t d = h.size(1);
  const Tensor& w = pass.weight(layer.node.first);
  const Tensor of_features = linear(h, slice(w, 1, 0, d), pass.bias(layer.node.first));
  const Tensor z = matmul_add(m, slice(w, 1, d, 2 * d), of_features, false, true);
  return pass.apply(layer.node.second, silu(z));
}

}  // namespace basin
