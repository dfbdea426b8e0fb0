// GINE: declaration of the layers and the forward pass.
#include "basin/models/gine.h"

#include <algorithm>
#include <memory>

namespace basin {
namespace {

constexpr size_t kInputs = 6;  // without the walks

struct GineBlock {
  Own eps;  // learnt, or -1
  Linear first, second;
  BatchNorm inner, outer;
};

struct Gine {
  GineConfig config;
  Layout layout;
  std::vector<Embedding> atoms, bonds;
  BatchNorm walk_norm;
  Linear walk_map;
  std::vector<GineBlock> blocks;
  std::vector<Linear> head;  // hidden maps and the last one; with levels one per level
};

std::vector<Embedding> declare_tables(Layout& layout, const std::string& name,
                                      const std::vector<int64_t>& sizes, int64_t channels,
                                      bool normal) {
  std::vector<Embedding> out;
  for (size_t f = 0; f < sizes.size(); ++f) {
    out.push_back(layout.embedding(str(name, ".", f), sizes[f], channels,
                                   normal ? normal_init() : xavier_uniform(channels, sizes[f])));
  }
  return out;
}

GineBlock declare_block(Layout& layout, int64_t number, const GineConfig& config) {
  const std::string conv = str("gnn_layers.", number, ".model.");
  const int64_t d = config.hidden;
  const bool norms = config.layer == GineLayer::batch_norm;
  const auto map = [&](int place) {
    return layout.linear(str(conv, "nn.", place), d, d, Role::matrix, torch_linear_init(d));
  };
  GineBlock block;
  if (norms) block.eps = layout.own(conv + "eps", 1, Role::gain, constant_init(0));
  block.first = map(0);
  if (norms) block.inner = layout.batch_norm(conv + "nn.1", d);
  block.second = map(config.layer == GineLayer::relu ? 2 : 3);
  if (norms) block.outer = layout.batch_norm(str("batch_norms.", number), d);
  return block;
}

void declare_head(Gine& net) {
  const GineConfig& config = net.config;
  const int64_t d = config.hidden;
  Layout& layout = net.layout;
  const auto last = [&](const std::string& name) {
    net.head.push_back(layout.linear(name, d, config.outputs, Role::head, torch_linear_init(d)));
  };
  if (config.readout == GineReadout::levels) {
    for (int64_t l = 0; l <= config.layers; ++l) last(str("linears_prediction.", l));
    return;
  }
  // Modules in front of a map: dropout; behind a hidden one gelu. The plain head is the map alone.
  for (int64_t l = 0; l < config.head_layers; ++l) {
    net.head.push_back(
        layout.linear(str("post_mp.", 3 * l + 1), d, d, Role::matrix, torch_linear_init(d)));
  }
  last(str("post_mp.", config.head_layers > 0 ? 3 * config.head_layers + 1 : 0));
}

std::shared_ptr<const Gine> declare(const GineConfig& config) {
  auto net = std::make_shared<Gine>();
  net->config = config;
  Layout& layout = net->layout;
  const bool walks = config.walk_steps > 0;
  net->atoms =
      declare_tables(layout, "atom_encoder.atom_embedding_list", config.atoms,
                     config.hidden - (walks ? config.walk_channels : 0), config.normal_tables);
  if (walks) {
    net->walk_norm = layout.batch_norm("rwse.raw_norm", config.walk_steps);
    net->walk_map = layout.linear("rwse.pe_encoder", config.walk_steps, config.walk_channels,
                                  Role::first, torch_linear_init(config.walk_steps));
  }
  net->bonds = declare_tables(layout, "bond_encoder.bond_embedding_list", config.bonds,
                              config.hidden, config.normal_tables);
  for (int64_t l = 0; l < config.layers; ++l) {
    net->blocks.push_back(declare_block(layout, l, config));
  }
  declare_head(*net);
  return net;
}

// The features stand beside those of the walks, which other maps make: two groups that do not mix.
HiddenUnits stream_units(const Gine& net, const std::string& name, int64_t count, int64_t offset) {
  HiddenUnits h{name, count};
  for (const Embedding& t : net.bonds) h.also({.tensor = t.table, .axis = 1, .offset = offset});
  for (const GineBlock& block : net.blocks) {
    h.read_by(block.first, offset);
    h.also({.tensor = block.second.weight, .offset = offset});
    h.also({.tensor = block.second.bias, .offset = offset});
    if (net.config.layer != GineLayer::batch_norm) continue;
    h.also({.tensor = block.outer.gamma, .offset = offset});
    h.also({.tensor = block.outer.beta, .offset = offset});
    for (const int statistic : {0, 1}) {
      h.also({.buffer = true, .tensor = 3 * block.outer.layer + statistic, .offset = offset});
    }
  }
  const bool levels = net.config.readout == GineReadout::levels;
  for (size_t l = 0; l < (levels ? net.head.size() : 1); ++l) h.read_by(net.head[l], offset);
  return h;
}

std::vector<HiddenUnits> hidden_units(const Gine& net) {
  const int64_t d = net.config.hidden;
  const int64_t walks = net.config.walk_steps > 0 ? net.config.walk_channels : 0;
  std::vector<HiddenUnits> out{stream_units(net, "features", d - walks, 0)};
  for (const Embedding& t : net.atoms) out.front().also({.tensor = t.table, .axis = 1});
  if (walks > 0) {
    out.push_back(stream_units(net, "walk_features", walks, d - walks).made_by(net.walk_map));
  }
  for (size_t l = 0; l < net.blocks.size(); ++l) {
    const GineBlock& block = net.blocks[l];
    HiddenUnits inner{str("gnn_layers.", l), d};
    inner.made_by(block.first).read_by(block.second);
    if (net.config.layer == GineLayer::batch_norm) inner.normed_by(block.inner);
    out.push_back(std::move(inner));
  }
  if (net.config.readout == GineReadout::levels) return out;
  for (size_t l = 0; l + 1 < net.head.size(); ++l) {
    HiddenUnits head{str("post_mp.", l), d};
    out.push_back(head.made_by(net.head[l]).read_by(net.head[l + 1]));
  }
  return out;
}

class GineForward {
 public:
  GineForward(const Gine& net, const Tensors& params, const Tensors& buffers, const Tensors& in,
              const ForwardOptions& options)
      : net_(net),
        options_(options),
        pass_(net.layout, params, buffers, options.batch_statistics),
        graph_(in[4].to(DType::i32)),
        graphs_(in[5].numel()),
        nodes_(in[5].to(params.front().dtype()).view({graphs_, 1})) {
    const GineConfig& c = net.config;
    h_ = matmul(multi_hot(in[0], c.atoms, params.front().dtype()), stacked(net.atoms));
    if (c.walk_steps > 0) {
      h_ = concat({h_, pass_.apply(net.walk_map, pass_.apply(net.walk_norm, in[6], Act::none))}, 1);
    }
    kinds_ = combined(net.bonds);
    edges_ = edge_lists(in[2], in[3], mixed_radix(in[1], c.bonds), in[0].size(0));
  }

  ForwardResult run() {
    const bool levels = net_.config.readout == GineReadout::levels;
    Tensor y = levels ? pass_.apply(net_.head[0], pooled()) : Tensor();
    for (size_t l = 0; l < net_.blocks.size(); ++l) {
      h_ = h_ + phi(net_.blocks[l], l);
      if (levels) y = y + pass_.apply(net_.head[l + 1], pooled());
      keep(str("features", l + 1), h_, Rows::node);
    }
    const Tensor graphs = levels && !options_.keep_activations ? Tensor() : pooled();
    keep("graph_feature", graphs, Rows::example);
    result_.outputs = {levels ? y : head(graphs)};
    result_.batch_stats = pass_.take_stats();
    return std::move(result_);
  }

 private:
  Tensor stacked(const std::vector<Embedding>& tables) const {
    Tensors rows;
    for (const Embedding& t : tables) rows.push_back(pass_.table(t));
    return rows.size() == 1 ? rows.front() : concat(rows, 0);
  }

  // One row per combination of kinds, the last column counting fastest.
  Tensor combined(const std::vector<Embedding>& tables) const {
    Tensor all = pass_.table(tables.front());
    const int64_t d = all.size(1);
    for (size_t g = 1; g < tables.size(); ++g) {
      const Tensor& next = pass_.table(tables[g]);
      const int64_t rows = all.size(0), more = next.size(0);
      all = reshape(reshape(all, {rows, 1, d}) + reshape(next, {1, more, d}), {rows * more, d});
    }
    return all;
  }

  // (1 + eps) h and the messages.
  Tensor gathered(const GineBlock& block) const {
    const bool plain = block.eps.value < 0;  // eps = 0
    const Tensor own = plain ? h_ : h_ * (pass_.value(block.eps) + 1.0);
    if (net_.config.fused) {
      const Tensor sum = gine_message(h_, kinds_, edges_, plain);
      return plain ? sum : own + sum;
    }
    return own + segment_sum(relu(gather(h_, edges_.in_node) + gather(kinds_, edges_.in_kind)),
                             edges_.in_start);
  }

  Tensor phi(const GineBlock& block, size_t number) {
    const double p = net_.config.dropout;
    const auto drop_after = [&](const Tensor& x, const char* what) {
      return drop(x, p, options_, str("dropout/", number, what));
    };
    Tensor y = gathered(block);
    switch (net_.config.layer) {
      case GineLayer::relu:
        y = pass_.apply_relu(block.first, y, net_.config.fused);
        y = pass_.apply_relu(block.second, y, net_.config.fused);
        return drop_after(y, "");
      case GineLayer::gelu:
        y = drop_after(gelu(pass_.apply(block.first, y)), "/inner");
        return drop_after(pass_.apply(block.second, y), "");
      case GineLayer::batch_norm:
        y = pass_.apply(block.inner, pass_.apply(block.first, y), Act::relu);
        y = pass_.apply(block.outer, pass_.apply(block.second, y), Act::relu);
        return drop_after(y, "");
    }
    return y;
  }

  // [V, d] -> [B, d]
  Tensor pooled() const {
    const Tensor sums = scatter_sum(h_, graph_, graphs_);
    return net_.config.readout == GineReadout::mean ? sums / nodes_ : sums;
  }

  Tensor head(Tensor y) const {
    for (size_t l = 0; l < net_.head.size(); ++l) {
      y = pass_.apply(net_.head[l],
                      drop(y, net_.config.dropout, options_, str("dropout/head/", l)));
      if (l + 1 < net_.head.size()) y = gelu(y);
    }
    return y;
  }

  void keep(const std::string& name, const Tensor& value, Rows rows) {
    if (options_.keep_activations) result_.activations.push_back({name, value, rows});
  }

  const Gine& net_;
  const ForwardOptions& options_;
  Pass pass_;
  Tensor graph_;  // [V] i32
  int64_t graphs_;
  Tensor nodes_;  // [B, 1]
  Tensor h_;      // [V, d]
  Tensor kinds_;  // [K, d]
  EdgeLists edges_;
  ForwardResult result_;
};

void check_inputs(const Gine& net, const Tensors& in) {
  const size_t count = kInputs + (net.config.walk_steps > 0 ? 1 : 0);
  check(in.size() == count, "gine: expects ", count, " inputs, got ", in.size());
  const int64_t nodes = in[0].rank() > 0 ? in[0].size(0) : 0;
  check(in[0].rank() == 2 && nodes > 0, "gine: expects atoms [V, F], got ", in[0].shape());
  check(
      in[1].rank() == 2 && in[2].shape() == Shape{in[1].size(0)} && in[3].shape() == in[2].shape(),
      "gine: expects bonds [E, G], sender and receiver [E], got ", in[1].shape(), ", ",
      in[2].shape(), " and ", in[3].shape());
  check(in[4].shape() == Shape{nodes} && in[5].rank() == 1 && in[5].numel() > 0,
        "gine: expects graph [V] and nodes [B] of ", nodes, " nodes, got ", in[4].shape(), " and ",
        in[5].shape());
  check(count == kInputs || in[6].shape() == Shape{nodes, net.config.walk_steps},
        "gine: expects walks [V, ", net.config.walk_steps, "], got ", in.back().shape());
}

Model gine_from_options(const ModelConfig& config, const OptionReader& options) {
  const auto list = [&](const char* name) {
    const std::string& text = options.text(name);
    return options.sizes(name, 1 + static_cast<size_t>(std::count(text.begin(), text.end(), ',')));
  };
  GineConfig net;
  net.outputs = config.outputs;
  net.atoms = list("atoms");
  net.bonds = list("bonds");
  net.hidden = options.sizes("hidden", 1)[0];
  net.layers = options.sizes("layers", 1)[0];
  net.layer = static_cast<GineLayer>(options.choice("layer", {"relu", "gelu", "batch_norm"}));
  net.readout = static_cast<GineReadout>(options.choice("readout", {"mean", "sum", "levels"}));
  net.head_layers = options.integer_in("head_layers", 0, 16);
  net.walk_steps = options.integer_in("walk_steps", 0, 256);
  net.walk_channels = options.sizes("walk_channels", 1)[0];
  net.dropout = options.number_in("dropout", 0, 0.99);
  net.normal_tables = options.choice("tables", {"xavier", "normal"}) == 1;
  net.fused = options.flag("fused");
  return make_gine(net);
}

}  // namespace

Model make_gine(const GineConfig& config) {
  const auto positive = [](const std::vector<int64_t>& sizes) {
    return !sizes.empty() && *std::min_element(sizes.begin(), sizes.end()) > 0;
  };
  check(std::min({config.outputs, config.hidden, config.layers, config.walk_channels}) > 0 &&
            positive(config.atoms) && positive(config.bonds),
        "gine: outputs, hidden, layers, walk_channels and all kinds must be positive");
  check(config.dropout >= 0 && config.dropout < 1, "gine: dropout must be in [0, 1), got ",
        config.dropout);
  check(config.walk_steps == 0 || config.walk_channels < config.hidden,
        "gine: walk_channels = ", config.walk_channels,
        " must be less than hidden = ", config.hidden);
  check(config.head_layers == 0 || config.readout != GineReadout::levels,
        "gine: head_layers goes with the read-outs mean and sum");
  const std::shared_ptr<const Gine> net = declare(config);
  Model model;
  model.name = "gine";
  model.preset = "lrgb";
  model.outputs = config.outputs;
  model.layout = net->layout;
  model.hidden = hidden_units(*net);
  model.inputs = {
      {"atoms", Rows::node, SlotKind::feature}, {"bonds", Rows::edge, SlotKind::feature},
      {"sender", Rows::edge, SlotKind::index},  {"receiver", Rows::edge, SlotKind::index},
      {"graph", Rows::node, SlotKind::owner},   {"nodes", Rows::example, SlotKind::feature}};
  if (config.walk_steps > 0) model.inputs.push_back({"walks", Rows::node, SlotKind::feature});
  model.symmetries = {SymmetryKind::permutation};
  model.forward = [net](const Tensors& params, const Tensors& buffers, const Tensors& inputs,
                        const ForwardOptions& options) {
    check_inputs(*net, inputs);
    return GineForward(*net, params, buffers, inputs, options).run();
  };
  return model;
}

ModelInfo gine_info() {
  ModelInfo info;
  info.name = "gine";
  info.summary = "GINE: graphs with features of nodes and edges, invariant under permutations";
  info.presets = {
      {"lrgb", "Peptides-func as LRGB has it: 5 layers, 208 channels, mean, linear head"},
      {"tuned",
       "Peptides-func re-evaluated: 8 layers, 160 channels, random walks, head of 3 maps",
       {{"hidden", "160"},
        {"layers", "8"},
        {"layer", "gelu"},
        {"head_layers", "2"},
        {"walk_steps", "20"},
        {"dropout", "0.1"}}},
      {"zinc",
       "ZINC at 100k parameters: 4 layers, 110 channels, batch norm, all levels read out",
       {{"atoms", "28"},
        {"bonds", "4"},
        {"hidden", "110"},
        {"layers", "4"},
        {"layer", "batch_norm"},
        {"readout", "levels"},
        {"tables", "normal"}}},
      {"zinc_500k",
       "ZINC at 500k parameters: 16 layers, 124 channels",
       {{"atoms", "28"},
        {"bonds", "4"},
        {"hidden", "124"},
        {"layers", "16"},
        {"layer", "batch_norm"},
        {"readout", "levels"},
        {"tables", "normal"}}},
  };
  info.options = {
      {"atoms", "119,5,12,12,10,6,6,2,2", "kinds per feature of a node; a task sets it"},
      {"bonds", "5,6,2", "kinds per feature of an edge; a task sets it"},
      {"hidden", "208", "channels", OptionKind::integer},
      {"layers", "5", "message passing layers", OptionKind::integer},
      {"layer", "relu", "map of a layer: relu, gelu (with dropout inside) or batch_norm"},
      {"readout", "mean", "over the nodes: mean, sum, or levels: the sums of all layers"},
      {"head_layers", "0", "hidden maps of the head", OptionKind::integer},
      {"walk_steps", "0", "return probabilities of random walks as node features",
       OptionKind::integer},
      {"walk_channels", "28", "channels of those", OptionKind::integer},
      {"dropout", "0", "probability of zeroing a unit, in layers and head", OptionKind::number},
      {"tables", "xavier", "start of the tables: xavier or normal"},
      {"fused", "true", "false: plain ops instead of fused messages and layers", OptionKind::flag},
  };
  info.make = gine_from_options;
  return info;
}

}  // namespace basin
