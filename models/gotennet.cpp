// GotenNet: geometry, forward pass and options; layers and heads are in sources of their own.
#include "basin/models/gotennet.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "basin/autograd/ops/gata.h"
#include "basin/models/detail/gotennet.h"
#include "basin/models/harmonics.h"

namespace basin {
namespace {

using goten::Block;
using goten::Net;
using Gate = EdgeRefinement::Gate;

constexpr int64_t kLargestElement = 99;

// What the edges j -> i are like; a function of the positions alone.
struct Geometry {
  EdgeList edges;
  Tensor other;   // [E, 1]: 0 for self loops and coinciding atoms, else 1
  Tensor cutoff;  // [E, 1]: C(r)
  Tensor radial;  // [E, n]
  Tensor y;       // [E, K]
};

// C(r) exp(-b (e^(-5 r / r_c) - m_k)^2), m from e^(-r_c) to 1, b = (2 (1 - e^(-r_c)) / n)^-2
Tensor radial_basis(const Tensor& r, const Tensor& cutoff, double reach, int64_t n) {
  const double lowest = std::exp(-reach), width = 2 * (1 - lowest) / static_cast<double>(n);
  std::vector<double> centres;
  for (int64_t k = 0; k < n; ++k) {
    const double share = n > 1 ? static_cast<double>(k) / static_cast<double>(n - 1) : 0;
    centres.push_back(lowest + (1 - lowest) * share);
  }
  const Tensor m = Tensor::from(centres, {n}).to(r.dtype()).to(r.device());
  return cutoff * exp(square(exp(r * (-5 / reach)) - m) * (-1 / (width * width)));
}

Geometry geometry_of(const Molecules& m, const GotenNetConfig& config) {
  Geometry g;
  g.edges = radius_graph(m.positions.detach(), m.offsets, config.cutoff, true);
  const Tensor between =
      gather(m.positions, g.edges.sender) - gather(m.positions, g.edges.receiver);
  const Tensor r = safe_norm(between, 1, true);
  g.other = step(r.detach(), 0);
  g.cutoff = (cos(r * (std::numbers::pi / config.cutoff)) + 1) * 0.5;
  g.radial = radial_basis(r, g.cutoff, config.cutoff, config.radial);
  g.y = harmonics(between / (r - g.other + 1), config.degree);
  return g;
}

class Forward {
 public:
  Forward(const Net& net, const Tensors& params, const Tensors& buffers, Molecules molecules,
          const ForwardOptions& options)
      : net_(net),
        config_(net.config),
        options_(options),
        pass_(net.layout, params, buffers, options.batch_statistics),
        molecules_(std::move(molecules)),
        g_(geometry_of(molecules_, config_)) {}

  ForwardResult run() {
    embed();
    for (size_t i = 0; i < net_.blocks.size(); ++i) {
      attend(net_.blocks[i], i);
      if (i + 1 < net_.blocks.size()) refine(net_.blocks[i].htr);
      feed(net_.blocks[i]);
      if (options_.keep_activations) keep(i + 1);
    }
    ForwardResult result;
    auto* kept = options_.keep_activations ? &activations_ : nullptr;
    result.outputs = {goten::apply_head(net_, pass_, molecules_, h_, x_, kept)};
    result.activations = std::move(activations_);
    return result;
  }

 private:
  Tensor perceptron(const goten::Perceptron& p, const Tensor& x) const {
    return pass_.apply(p.second, silu(pass_.apply(p.first, x)));
  }

  // h from the elements of an atom and of its neighbours, t from both ends of an edge
  void embed() {
    const Tensor own = pass_.apply(net_.atoms, molecules_.z);
    const Tensor around = gather(pass_.apply(net_.neighbours, molecules_.z), g_.edges.sender);
    const Tensor filter = pass_.apply(net_.node_radial, g_.radial) * (g_.cutoff * g_.other);
    const Tensor m = segment_sum(around * filter, g_.edges.offsets);
    const Tensor hidden = pass_.apply(net_.node.first, concat({own, m}, 1));
    h_ = pass_.apply(net_.node.second, silu(pass_.apply(net_.node_norm, hidden)));
    t_ = (gather(h_, g_.edges.receiver) + gather(h_, g_.edges.sender)) *
         pass_.apply(net_.edge_radial, g_.radial);
  }

  // Constants that multiply the attention weights, [E, heads]; undefined: 1.
  Tensor attention_factors(size_t number) const {
    if (!config_.scale_edge && (!options_.dropout || config_.dropout == 0)) return {};
    const int64_t edges = g_.edges.edges();
    const auto ones = [&](int64_t columns) {
      return Tensor::full({edges, columns}, h_.dtype(), 1, h_.device());
    };
    Tensor factor =
        drop(ones(config_.heads), config_.dropout, options_, str("dropout/gata", number));
    if (!config_.scale_edge) return factor;
    return factor * gather(sqrt(segment_sum(ones(1), g_.edges.offsets)), g_.edges.receiver);
  }

  // GATA. In the first block x is zero.
  void attend(const Block& block, size_t number) {
    GataInputs in;
    in.q = pass_.apply(block.gata.q, h_);
    in.k = pass_.apply(block.gata.k, h_);
    in.s = perceptron(block.gata.s, h_);
    in.v = perceptron(block.gata.v, h_);
    in.x = x_;
    in.a = silu(pass_.apply(block.gata.attention, t_));
    in.f = pass_.apply(block.gata.filter, t_);
    in.y = g_.y;
    in.c = reshape(g_.cutoff, {g_.edges.edges()});
    in.factor = attention_factors(number);
    const GataMessages m = config_.fused ? gata_message(in, g_.edges, config_.heads)
                                         : gata_composite(in, g_.edges, config_.heads);
    h_ = h_ + m.h;
    x_ = x_.defined() ? x_ + m.x : m.x;
  }

  // HTR
  void refine(const goten::Refinement& htr) {
    const EdgeRefinement& how = config_.htr;
    const Tensors rows = by_degree();
    Tensors keys;
    for (size_t l = 0; l < rows.size(); ++l) keys.push_back(pass_.apply(htr.keys[l], rows[l]));
    const Tensor q = pass_.apply(htr.query, x_), k = concat(keys, 1);
    const Tensor y = how.rejection ? g_.y : Tensor();
    Tensor w = config_.fused ? edge_products(q, k, y, g_.edges)
                             : edge_products_composite(q, k, y, g_.edges);
    if (how.linear) w = pass_.apply(htr.products, how.linear_after ? silu(w) : w);
    if (how.gate == Gate::sigmoid) w = sigmoid(w);
    if (how.gate == Gate::tanh) w = tanh(w);
    if (how.gate == Gate::silu) w = silu(w);
    Tensor gamma = t_;
    for (size_t i = 0; i < htr.gamma.size(); ++i) {
      gamma = pass_.apply(htr.gamma[i], gamma);
      if (how.activated || i + 1 < htr.gamma.size()) gamma = silu(gamma);
    }
    t_ = t_ + gamma * w;
  }

  // EQFF: one norm per channel over all degrees
  void feed(const Block& block) {
    const int64_t d = config_.hidden;
    const Tensor z = pass_.apply(block.mix, x_);
    const Tensor n = sqrt(sum(square(z), 1) + goten::kNormEps);
    const Tensor m = perceptron(block.feed, concat({h_, n}, 1));
    const Tensors parts = split(m, 1, {d, d});
    h_ = h_ + parts[0];
    x_ = x_ + reshape(parts[1], {molecules_.atoms(), 1, d}) * z;
  }

  Tensors by_degree() const {  // x_: rows of degree 1, of degree 2, ..
    std::vector<int64_t> sizes;
    for (int64_t l = 1; l <= config_.degree; ++l) sizes.push_back(2 * l + 1);
    return split(x_, 1, sizes);
  }

  void keep(size_t number) {
    activations_.push_back({str("h", number), h_, Rows::node});
    int degree = 0;
    for (const Tensor& rows : by_degree()) {
      ++degree;
      activations_.push_back(
          {str("x", number, "_", degree), permute(rows, {0, 2, 1}), Rows::node, degree});
    }
  }

  const Net& net_;
  const GotenNetConfig& config_;
  const ForwardOptions& options_;
  Pass pass_;
  Molecules molecules_;
  Geometry g_;
  Tensor h_, x_, t_;  // [A, d], [A, K, d] (undefined: zero), [E, d]
  std::vector<Activation> activations_;
};

const std::vector<std::string> kHeads{"scalar", "dipole", "r2"};

Model gotennet_from_options(const ModelConfig& config, const OptionReader& options) {
  GotenNetConfig net;
  net.outputs = config.outputs;
  net.head = static_cast<MoleculeHead>(options.choice("head", kHeads));
  net.hidden = options.sizes("hidden", 1)[0];
  net.blocks = options.sizes("blocks", 1)[0];
  net.radial = options.sizes("radial", 1)[0];
  net.heads = options.sizes("heads", 1)[0];
  net.degree = options.integer_in("degree", 1, kLargestDegree);
  net.head_hidden = options.sizes("head_hidden", 1)[0];
  net.hat = options.flag("hat");
  net.scale_edge = options.flag("scale_edge");
  net.htr = options.parsed("htr", parse_refinement);
  net.cutoff = options.number_in("cutoff", 0.1, 100);
  net.dropout = options.number_in("dropout", 0, 0.99);
  net.fused = options.flag("fused");
  return make_gotennet(net);
}

}  // namespace

EdgeRefinement parse_refinement(std::string_view text) {
  EdgeRefinement r;
  if (text == "default") return r;
  const std::vector<std::string> known{"norej", "gated", "gatedt", "act",
                                       "linw",  "linwa", "mlp",    "mlpa"};
  const auto set_gate = [&](Gate gate) {
    check(r.gate == Gate::none, "expected one gate, got '", text, "'");
    r.gate = gate;
  };
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('_', begin), text.size());
    const std::string part(text.substr(begin, end - begin));
    const auto found = std::find(known.begin(), known.end(), part);
    check(found != known.end(), "no part '", part, "'",
          [&] { return name_suggestion(part, known); });
    switch (found - known.begin()) {
      case 0: r.rejection = false; break;
      case 1: set_gate(Gate::sigmoid); break;
      case 2: set_gate(Gate::tanh); break;
      case 3: set_gate(Gate::silu); break;
      case 4: r.linear = true; break;
      case 5: r.linear = r.linear_after = true; break;
      case 6: r.activated = false; [[fallthrough]];
      default: r.layers = 2;
    }
    begin = end + 1;
  }
  return r;
}

Model make_gotennet(const GotenNetConfig& config) {
  check(std::min({config.outputs, config.hidden, config.blocks, config.radial, config.heads,
                  config.head_hidden}) > 0,
        "gotennet: outputs, hidden, blocks, radial, heads and head_hidden must be positive");
  check(config.hidden % config.heads == 0, "gotennet: hidden must be a multiple of heads, got ",
        config.hidden, " and ", config.heads);
  check(config.degree >= 1 && config.degree <= kLargestDegree, "gotennet: degree must be 1 to ",
        kLargestDegree, ", got ", config.degree);
  check(config.cutoff > 0, "gotennet: cutoff must be positive, got ", config.cutoff);
  check(config.dropout >= 0 && config.dropout < 1, "gotennet: dropout must be in [0, 1), got ",
        config.dropout);
  check(config.head == MoleculeHead::scalar || config.outputs == 1, "gotennet: the head ",
        kHeads[static_cast<size_t>(config.head)], " has one output, got ", config.outputs);
  const std::shared_ptr<const Net> net = goten::declare(config);
  Model model;
  model.name = "gotennet";
  model.preset = "S";
  model.outputs = config.outputs;
  model.layout = net->layout;
  model.inputs = molecule_slots();
  model.symmetries.assign(std::begin(kSymmetryKinds), std::end(kSymmetryKinds));
  model.forward = [net](const Tensors& params, const Tensors& buffers, const Tensors& inputs,
                        const ForwardOptions& options) {
    return Forward(*net, params, buffers, molecules_of("gotennet", inputs, kLargestElement),
                   options)
        .run();
  };
  return model;
}

ModelInfo gotennet_info() {
  ModelInfo info;
  info.name = "gotennet";
  info.summary = "GotenNet: attention over steerable features of molecules, invariant under O(3)";
  info.presets = {{"S", "4 blocks, 256 channels"},
                  {"B", "6 blocks", {{"blocks", "6"}}},
                  {"L", "12 blocks", {{"blocks", "12"}}},
                  {"tiny",
                   "2 blocks, 64 channels",
                   {{"hidden", "64"}, {"blocks", "2"}, {"radial", "32"}, {"head_hidden", "64"}}}};
  info.options = {
      {"head", "scalar", "scalar: sum over atoms; dipole: its length; r2: spatial extent"},
      {"hidden", "256", "channels", OptionKind::integer},
      {"blocks", "4", "interaction blocks", OptionKind::integer},
      {"radial", "64", "radial functions", OptionKind::integer},
      {"heads", "8", "attention heads, a divisor of hidden", OptionKind::integer},
      {"degree", "2", "largest degree of steerable features, 1 to 3", OptionKind::integer},
      {"head_hidden", "256", "channels of the output head", OptionKind::integer},
      {"hat", "false", "all degrees share their coefficients", OptionKind::flag},
      {"scale_edge", "false", "attention times the root of the number of edges", OptionKind::flag},
      {"htr", "default",
       "edge refinement: default, or norej, gated, gatedt, act, linw, linwa, mlp, mlpa joined by "
       "_"},
      {"cutoff", "5", "largest distance of an edge, in the unit of the positions",
       OptionKind::number},
      {"dropout", "0.1", "probability of zeroing an attention weight", OptionKind::number},
      {"fused", "true", "false: plain ops instead of the fused messages", OptionKind::flag},
  };
  info.make = gotennet_from_options;
  return info;
}

}  // namespace basin
