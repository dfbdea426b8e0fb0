// EGNN of molecules: the layers, and the forward pass over runs of molecules of one size.
#include "basin/models/egnn_molecules.h"

#include <algorithm>
#include <memory>

#include "basin/autograd/ops/edge_message.h"
#include "basin/core/lines.h"
#include "basin/models/detail/egnn_layer.h"
#include "basin/models/detail/molecules.h"

namespace basin {
namespace {

constexpr int64_t kNumbers = 119;  // rows of the table of elements: atomic numbers 0 to 118
constexpr int64_t kPowers = 3;     // 1, q, q^2

struct MoleculeNet {
  EgnnMoleculesConfig config;
  Layout layout;
  Linear embedding;
  std::vector<EgnnLayer> layers;
  Perceptron per_atom, per_molecule;
  Tensor inputs;  // [kNumbers, 3 elements] f64: the node input of each element, zeros of others
};

std::shared_ptr<const MoleculeNet> declare_molecule_net(const EgnnMoleculesConfig& config) {
  auto net = std::make_shared<MoleculeNet>();
  net->config = config;
  const int64_t d = config.hidden;
  const int64_t width = kPowers * static_cast<int64_t>(config.elements.size());
  Layout& layout = net->layout;
  net->embedding = layout.linear("embedding", width, d, Role::first, torch_linear_init(width));
  for (int64_t i = 0; i < config.layers; ++i) {
    net->layers.push_back(
        declare_egnn_layer(layout, str("gcl_", i, "."), d, config.attention, false));
  }
  const auto map = [&](const char* name) {
    return layout.linear(name, d, d, Role::matrix, torch_linear_init(d));
  };
  net->per_atom = {map("node_dec.0"), map("node_dec.2")};
  net->per_molecule.first = map("graph_dec.0");
  net->per_molecule.second =
      layout.linear("graph_dec.2", d, config.outputs, Role::head, torch_linear_init(d));
  std::vector<double> table(static_cast<size_t>(kNumbers * width), 0.0);
  for (size_t e = 0; e < config.elements.size(); ++e) {
    const int64_t z = config.elements[e];
    const double q = static_cast<double>(z) / static_cast<double>(config.elements.back());
    double* row = table.data() + z * width + static_cast<int64_t>(e) * kPowers;
    row[0] = 1, row[1] = q, row[2] = q * q;
  }
  net->inputs = Tensor::from(table, {kNumbers, width});
  return net;
}

// The node features, and the sums over a molecule, meet linear maps alone: both rotate.
std::vector<HiddenUnits> hidden_units(const MoleculeNet& net) {
  const int64_t d = net.config.hidden;
  HiddenUnits h{"features", d, true};
  std::vector<HiddenUnits> out;
  h.made_by(net.embedding);
  for (size_t i = 0; i < net.layers.size(); ++i) {
    add_egnn_units(net.layers[i], str("gcl_", i, "."), d, h, out);
  }
  h.read_by(net.per_atom.first);
  out.insert(out.begin(), std::move(h));
  HiddenUnits atom{"node_dec.0", d}, sum{"global_feature", d, true}, molecule{"graph_dec.0", d};
  out.push_back(atom.made_by(net.per_atom.first).read_by(net.per_atom.second));
  out.push_back(sum.made_by(net.per_atom.second).read_by(net.per_molecule.first));
  out.push_back(molecule.made_by(net.per_molecule.first).read_by(net.per_molecule.second));
  return out;
}

// Consecutive molecules of one size.
struct SizeRun {
  int64_t first = 0;  // its first atom
  int64_t molecules = 0, size = 0;
  int64_t end() const { return first + molecules * size; }
};

std::vector<SizeRun> runs_of(const int64_t* atoms, int64_t molecules) {
  std::vector<SizeRun> out;
  int64_t at = 0;
  for (int64_t b = 0; b < molecules; at += atoms[b++]) {
    if (out.empty() || out.back().size != atoms[b]) out.push_back({at, 0, atoms[b]});
    ++out.back().molecules;
  }
  return out;
}

// Of every atom, the numbers of all others of its molecule: [molecules, size, size - 1] i32.
Tensor all_others(const SizeRun& run, Device device) {
  Tensor out = Tensor::empty({run.molecules, run.size, run.size - 1}, DType::i32);
  auto* next = out.mutable_data<int32_t>();
  for (int64_t b = 0; b < run.molecules; ++b) {
    for (int64_t i = 0; i < run.size; ++i) {
      for (int64_t j = 0; j < run.size; ++j) {
        if (j != i) *next++ = static_cast<int32_t>(j);
      }
    }
  }
  return out.to(device);
}

// Values on a GPU are left unread, as in molecules_of.
void check_elements(const MoleculeNet& net, const Tensor& z) {
  if (z.device() != Device::cpu) return;
  const std::vector<int64_t>& known = net.config.elements;
  for (int64_t i = 0; i < z.numel(); ++i) {
    const int64_t number = z.data<int64_t>()[i];
    if (std::binary_search(known.begin(), known.end(), number)) continue;
    fail(ErrorKind::data, "egnn-qm9: atom ", i, " has the atomic number ", number,
         ", which the option elements does not list");
  }
}

class MoleculeForward {
 public:
  MoleculeForward(const MoleculeNet& net, const Tensors& params, const Tensors& buffers,
                  const Tensors& inputs, const ForwardOptions& options)
      : net_(net),
        options_(options),
        pass_(net.layout, params, buffers, options.batch_statistics),
        molecules_(molecules_of("egnn-qm9", inputs, kNumbers - 1)) {
    check_elements(net, inputs[1]);
    const Tensor atoms = inputs[3].to(Device::cpu);
    for (const SizeRun& run : runs_of(atoms.data<int64_t>(), molecules_.count())) {
      runs_.push_back(run);
      others_.push_back(run.size > 1
                            ? neighbour_lists(all_others(run, molecules_.positions.device()))
                            : NeighbourLists{});
    }
    const Tensor elements =
        net.inputs.to(molecules_.positions.dtype()).to(molecules_.positions.device());
    h_ = gather(pass_.apply(net.embedding, elements), molecules_.z);
  }

  ForwardResult run() {
    for (size_t i = 0; i < net_.layers.size(); ++i) {
      const EgnnLayer& layer = net_.layers[i];
      h_ = h_ + egnn_node_update(pass_, layer, h_, messages(layer), net_.config.fused);
      keep({str("features", i + 1), h_, Rows::node});
    }
    const Tensor y = molecules_.sum(apply(pass_, net_.per_atom, h_));
    keep({"global_feature", y});
    result_.outputs = {apply(pass_, net_.per_molecule, y)};
    return std::move(result_);
  }

 private:
  void keep(Activation activation) {
    if (options_.keep_activations) result_.activations.push_back(std::move(activation));
  }

  // The sum of messages that each atom receives: [A, d].
  Tensor messages(const EgnnLayer& layer) const {
    const EgnnEdges e = egnn_edges(pass_, layer, h_, false);
    Tensors sums;
    for (size_t i = 0; i < runs_.size(); ++i) {
      const SizeRun& run = runs_[i];
      const auto rows = [&](const Tensor& t) {
        return runs_.size() == 1 ? t : slice(t, 0, run.first, run.end());
      };
      if (run.size == 1) {
        sums.push_back(Tensor::zeros({run.molecules, h_.size(1)}, h_.dtype(), h_.device()));
        continue;
      }
      const Tensor p = rows(e.centre), r = rows(e.neighbour), x = rows(molecules_.positions);
      const EnMessages m = net_.config.fused
                               ? en_message_pass(p, r, x, others_[i], e.weights)
                               : en_message_composite(p, r, x, others_[i].index, e.weights);
      sums.push_back(m.sum);
    }
    return sums.size() == 1 ? sums.front() : concat(sums, 0);
  }

  const MoleculeNet& net_;
  const ForwardOptions& options_;
  Pass pass_;
  Molecules molecules_;
  std::vector<SizeRun> runs_;
  std::vector<NeighbourLists> others_;  // of each run
  Tensor h_;                            // [A, d]
  ForwardResult result_;
};

std::vector<int64_t> elements_from(const std::string& list) {
  std::vector<int64_t> out;
  for (const std::string_view text : split(list, ',')) {
    int64_t z = 0;
    const bool number = parse_int64(text, z);
    check(number && z >= 1 && z < kNumbers && (out.empty() || z > out.back()),
          "expected rising atomic numbers from 1 to ", kNumbers - 1, ", given '", list, "'");
    out.push_back(z);
  }
  return out;
}

Model egnn_molecules_from_options(const ModelConfig& config, const OptionReader& options) {
  EgnnMoleculesConfig net;
  net.outputs = config.outputs;
  net.hidden = options.sizes("hidden", 1)[0];
  net.layers = options.sizes("layers", 1)[0];
  net.attention = options.flag("attention");
  net.elements = options.parsed("elements", elements_from);
  net.fused = options.flag("fused");
  return make_egnn_molecules(net);
}

}  // namespace

Model make_egnn_molecules(const EgnnMoleculesConfig& config) {
  check(std::min({config.outputs, config.hidden, config.layers}) > 0,
        "egnn-qm9: outputs, hidden and layers must be positive");
  const std::vector<int64_t>& z = config.elements;
  check(!z.empty() && z.front() > 0 && z.back() < kNumbers && std::is_sorted(z.begin(), z.end()) &&
            std::adjacent_find(z.begin(), z.end()) == z.end(),
        "egnn-qm9: expects rising atomic numbers from 1 to ", kNumbers - 1, " as elements");
  const std::shared_ptr<const MoleculeNet> net = declare_molecule_net(config);
  Model model;
  model.name = "egnn-qm9";
  model.preset = "qm9";
  model.outputs = config.outputs;
  model.layout = net->layout;
  model.hidden = hidden_units(*net);
  model.inputs = molecule_slots();
  model.symmetries.assign(std::begin(kSymmetryKinds), std::end(kSymmetryKinds));
  model.forward = [net](const Tensors& params, const Tensors& buffers, const Tensors& inputs,
                        const ForwardOptions& options) {
    return MoleculeForward(*net, params, buffers, inputs, options).run();
  };
  return model;
}

ModelInfo egnn_molecules_info() {
  ModelInfo info;
  info.name = "egnn-qm9";
  info.summary = "EGNN of molecules: messages between all pairs of atoms, summed over the atoms";
  info.presets = {{"qm9", "the authors' network for QM9: 128 channels, 7 layers"},
                  {"small", "64 channels, 4 layers", {{"hidden", "64"}, {"layers", "4"}}}};
  info.options = {
      {"hidden", "128", "channels of atoms and messages", OptionKind::integer},
      {"layers", "7", "message passing layers", OptionKind::integer},
      {"attention", "true", "a learned gate per message", OptionKind::flag},
      {"elements", "1,6,7,8,9", "atomic numbers that the node inputs tell apart"},
      {"fused", "true", "false: plain ops instead of the fused message pass", OptionKind::flag},
  };
  info.make = egnn_molecules_from_options;
  return info;
}

}  // namespace basin
