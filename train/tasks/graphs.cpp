// Task "graph": targets of whole graphs, from any layout that datasets/graphs.h reads or the
// embedded graphs.
//   batch       what GINE takes (models/gine.h): atoms, bonds, sender, receiver, graph, nodes and,
//               where the network wants them, walks; then target [B, T] f64 and known [B, T] f64,
//               1 where the target is known, else 0 (and the target 0)
//   loss        over the known targets: mean binary cross-entropy of logits for labels, mean
//               absolute error for numbers
//   fitted      names of the targets, whether they are labels, kinds of features, so that trained
//               weights need no training data
#include <algorithm>
#include <cmath>
#include <mutex>

#include "basin/autograd/ops.h"
#include "basin/core/io.h"
#include "basin/core/random.h"
#include "basin/datasets/graphs.h"
#include "basin/train/meters.h"
#include "basin/train/tasks/tasks.h"

namespace basin {
namespace {

constexpr size_t kGraphInputs = 6;  // before the walks

std::string list_text(const std::vector<int64_t>& values) {
  std::string out;
  for (const int64_t v : values) out += (out.empty() ? "" : ",") + std::to_string(v);
  return out;
}

Fitted fitted_of(const GraphSet& set) {
  Fitted out{{"labels", set.labels ? "true" : "false"},
             {"atoms", list_text(set.node_kinds)},
             {"bonds", list_text(set.edge_kinds)}};
  for (size_t t = 0; t < set.target_names.size(); ++t) {
    out[str("target.", t)] = set.target_names[t];
  }
  return out;
}

const std::string& fitted_text(const Fitted& fitted, const std::string& key) {
  const auto found = fitted.find(key);
  if (found == fitted.end()) {
    fail(ErrorKind::data, "graph: the weights do not say the ", key, " they were trained on");
  }
  return found->second;
}

std::vector<std::string> target_names(const Fitted& fitted) {
  std::vector<std::string> out;
  while (fitted.contains(str("target.", out.size()))) {
    out.push_back(fitted.at(str("target.", out.size())));
  }
  if (out.empty()) fail(ErrorKind::data, "graph: the weights do not name their targets");
  return out;
}

// Whether every category has a row in tables of so many kinds ("119,5,12").
void check_kinds(const GraphSet& set, const char* what, const std::vector<int64_t>& kinds,
                 const std::string& trained) {
  const OptionReader reader("graph", {{what, "", ""}}, {{what, trained}});
  const auto columns = 1 + static_cast<size_t>(std::count(trained.begin(), trained.end(), ','));
  const std::vector<int64_t> most = reader.sizes(what, columns);
  bool fits = most.size() == kinds.size();
  for (size_t f = 0; fits && f < kinds.size(); ++f) fits = kinds[f] <= most[f];
  if (!fits) {
    fail(ErrorKind::data, set.source, ": ", what, " have ", list_text(kinds),
         " kinds of features, the network knows ", trained);
  }
}

// The set, read at the first request, and its walks.
class GraphData {
 public:
  GraphData(std::string data, fs::path split, int64_t limit, uint64_t seed)
      : data_(std::move(data)), split_(std::move(split)), limit_(limit), seed_(seed) {}
  // Graphs to be predicted.
  explicit GraphData(GraphSet set) : set_(std::move(set)) {
    std::call_once(read_, [] {});
  }

  const GraphSet& set() const {
    std::call_once(read_, [this] {
      set_ = load_graphs(data_, {.split = split_});
      for (std::vector<int64_t>& rows : set_.splits) {
        std::vector<int64_t> kept;
        for (const int64_t i : drawn_rows(static_cast<int64_t>(rows.size()), limit_, seed_)) {
          kept.push_back(rows[static_cast<size_t>(i)]);
        }
        rows = std::move(kept);
      }
    });
    return set_;
  }
  // [nodes, steps]; steps are those of the first call
  const std::vector<float>& walks(int64_t steps) const {
    std::call_once(walked_, [this, steps] { walks_ = random_walks(set(), steps); });
    return walks_;
  }

 private:
  std::string data_;
  fs::path split_;
  int64_t limit_ = 0;
  uint64_t seed_ = 0;
  mutable std::once_flag read_, walked_;
  mutable GraphSet set_;
  mutable std::vector<float> walks_;
};

std::vector<Slot> graph_slots(bool walks) {
  std::vector<Slot> out{
      {"atoms", Rows::node, SlotKind::feature}, {"bonds", Rows::edge, SlotKind::feature},
      {"sender", Rows::edge, SlotKind::index},  {"receiver", Rows::edge, SlotKind::index},
      {"graph", Rows::node, SlotKind::owner},   {"nodes", Rows::example, SlotKind::feature}};
  if (walks) out.push_back({"walks", Rows::node, SlotKind::feature});
  out.push_back({"target", Rows::example, SlotKind::target});
  out.push_back({"known", Rows::example, SlotKind::target});
  return out;
}

// The inputs of some graphs, one after the other.
Tensors joined(const GraphData& data, const std::vector<int64_t>& rows, int64_t walk_steps) {
  const GraphSet& set = data.set();
  const size_t atom_columns = set.node_kinds.size(), bond_columns = set.edge_kinds.size();
  std::vector<int64_t> atoms, bonds, owner, nodes;
  std::vector<int32_t> sender, receiver;
  std::vector<float> walks;
  for (const int64_t g : rows) {
    const auto i = static_cast<size_t>(g);
    const auto base = static_cast<int32_t>(owner.size());
    const auto first = static_cast<size_t>(set.node_start[i]),
               last = first + static_cast<size_t>(set.nodes_of(g));
    const auto begin = static_cast<size_t>(set.edge_start[i]),
               end = static_cast<size_t>(set.edge_start[i + 1]);
    const auto node = set.node_features.begin(), edge = set.edge_features.begin();
    atoms.insert(atoms.end(), node + static_cast<std::ptrdiff_t>(first * atom_columns),
                 node + static_cast<std::ptrdiff_t>(last * atom_columns));
    bonds.insert(bonds.end(), edge + static_cast<std::ptrdiff_t>(begin * bond_columns),
                 edge + static_cast<std::ptrdiff_t>(end * bond_columns));
    for (size_t e = begin; e < end; ++e) {
      sender.push_back(base + set.sender[e]);
      receiver.push_back(base + set.receiver[e]);
    }
    owner.insert(owner.end(), last - first, static_cast<int64_t>(nodes.size()));
    nodes.push_back(set.nodes_of(g));
    if (walk_steps > 0) {
      const auto from = data.walks(walk_steps).begin();
      walks.insert(walks.end(), from + set.node_start[i] * walk_steps,
                   from + set.node_start[i + 1] * walk_steps);
    }
  }
  const auto v = static_cast<int64_t>(owner.size()), e = static_cast<int64_t>(sender.size());
  Tensors out{Tensor::from(atoms, {v, static_cast<int64_t>(atom_columns)}),
              Tensor::from(bonds, {e, static_cast<int64_t>(bond_columns)}),
              Tensor::from(sender, {e}),
              Tensor::from(receiver, {e}),
              Tensor::from(owner, {v}),
              Tensor::from(nodes, {static_cast<int64_t>(rows.size())})};
  if (walk_steps > 0) out.push_back(Tensor::from(walks, {v, walk_steps}));
  return out;
}

class GraphSource : public Source {
 public:
  GraphSource(std::shared_ptr<const GraphData> data, std::vector<int64_t> rows, int64_t walk_steps,
              bool targets, int64_t batch, bool training, uint64_t seed, std::string description)
      : data_(std::move(data)),
        rows_(std::move(rows)),
        slots_(graph_slots(walk_steps > 0)),
        walk_steps_(walk_steps),
        batch_(batch),
        targets_(targets),
        training_(training),
        seed_(seed),
        description_(std::move(description)) {
    if (!targets) slots_.resize(slots_.size() - 2);
  }
  const std::vector<Slot>& slots() const override { return slots_; }
  int64_t examples() const override { return static_cast<int64_t>(rows_.size()); }
  int64_t batches() const override {
    const int64_t whole = examples() / batch_;  // a training of less than a batch has that one
    return training_ && whole > 0 ? whole : (examples() + batch_ - 1) / batch_;
  }
  Batch batch(int64_t epoch, int64_t index) const override;
  std::string description() const override { return description_; }
  std::string content_hash() const override { return data_->set().content_hash; }

 private:
  std::shared_ptr<const GraphData> data_;
  std::vector<int64_t> rows_;
  std::vector<Slot> slots_;
  int64_t walk_steps_, batch_;
  bool targets_, training_;
  uint64_t seed_;
  std::string description_;
};

Batch GraphSource::batch(int64_t epoch, int64_t index) const {
  check(epoch >= 0 && index >= 0 && index < batches(), "graph: expected a batch from 0 to ",
        batches() - 1, ", got ", index, " of epoch ", epoch);
  std::vector<int64_t> order = rows_;
  if (training_) {
    Rng(seed_, stream_id("graph order", static_cast<uint64_t>(epoch)))
        .shuffle(std::span<int64_t>(order));
  }
  const int64_t begin = index * batch_, end = std::min(begin + batch_, examples());
  Batch out;
  out.rows.assign(order.begin() + begin, order.begin() + end);
  out.examples = end - begin;
  out.tensors = joined(*data_, out.rows, walk_steps_);
  if (!targets_) return out;
  const GraphSet& set = data_->set();
  const auto columns = static_cast<int64_t>(set.target_names.size());
  std::vector<double> target, known;
  for (const int64_t g : out.rows) {
    for (int64_t t = 0; t < columns; ++t) {
      const double value = set.targets[static_cast<size_t>(g * columns + t)];
      known.push_back(std::isnan(value) ? 0 : 1);
      target.push_back(std::isnan(value) ? 0 : value);
    }
  }
  out.tensors.push_back(Tensor::from(target, {out.examples, columns}));
  out.tensors.push_back(Tensor::from(known, {out.examples, columns}));
  return out;
}

std::shared_ptr<const Source> split_source(std::shared_ptr<const GraphData> data,
                                           int64_t walk_steps, const SourceRequest& request,
                                           uint64_t seed) {
  const std::vector<int64_t>& all = data->set().splits[static_cast<size_t>(request.split)];
  check(!all.empty(), "graph: there are no ", name_of(request.split), " graphs");
  std::vector<int64_t> rows;
  for (const int64_t i :
       drawn_rows(static_cast<int64_t>(all.size()), request.limit, request.seed)) {
    rows.push_back(all[static_cast<size_t>(i)]);
  }
  std::string text = str(rows.size(), " of ", all.size(), " ", name_of(request.split), " graphs",
                         rows.size() < all.size() ? str(" (seed ", request.seed, ")") : "");
  return std::make_shared<GraphSource>(std::move(data), std::move(rows), walk_steps, true,
                                       request.batch, request.training, seed, std::move(text));
}

Unlabelled unlabelled_graphs(const std::vector<std::string>& paths, const Fitted& fitted,
                             int64_t walk_steps, int64_t batch) {
  check(paths.size() == 1, "graph: predicts one folder of graphs at a time, given ", paths.size());
  GraphSet set = load_graphs(paths.front(), {.targets = false});
  check_kinds(set, "atoms", set.node_kinds, fitted_text(fitted, "atoms"));
  check_kinds(set, "bonds", set.edge_kinds, fitted_text(fitted, "bonds"));
  std::vector<int64_t> rows;
  Unlabelled out;
  for (int64_t g = 0; g < set.graphs(); ++g) {
    rows.push_back(g);
    out.names.push_back(str(paths.front(), "#", g));
  }
  std::string text = str(rows.size(), " graphs");
  out.source = std::make_shared<GraphSource>(std::make_shared<const GraphData>(std::move(set)),
                                             std::move(rows), walk_steps, false, batch, false, 0,
                                             std::move(text));
  return out;
}

// Of [B, T]: over the known ones.
Loss masked_loss(const Tensor& target, const Tensor& known, bool labels) {
  return {{labels ? "bce" : "mae"}, [=](const Tensors& outputs) {
            const Tensor& y = outputs.front();
            const Tensor each = labels ? softplus(y) - y * target : abs(y - target);
            // At least one, so that a batch without any has loss 0.
            const Tensor count = maximum(sum(known), Tensor::full({}, y.dtype(), 1, y.device()));
            return Tensors{sum(each * known) / count};
          }};
}

// Shares of one: a cell per target.
std::vector<std::vector<std::string>> prediction_cells(const Tensor& outputs, bool labels) {
  std::vector<std::vector<std::string>> out;
  const int64_t columns = outputs.size(1);
  for (int64_t i = 0; i < outputs.size(0); ++i) {
    std::vector<std::string> cells;
    for (int64_t t = 0; t < columns; ++t) {
      const double value = outputs.at(i * columns + t);
      cells.push_back(number_text(labels ? 1 / (1 + std::exp(-value)) : value));
    }
    out.push_back(std::move(cells));
  }
  return out;
}

ModelConfig network_of(const TaskConfig& config, const Fitted& fitted) {
  const std::vector<std::string> names = target_names(fitted);
  ModelConfig network = config.model;
  network.outputs = static_cast<int64_t>(names.size());
  network.output_name = fitted_text(fitted, "labels") == "true" ? "logits" : "prediction";
  for (const OptionInfo& option : model_info(network.name).options) {
    for (const char* kinds : {"atoms", "bonds"}) {
      if (option.name == kinds) network.options.try_emplace(kinds, fitted_text(fitted, kinds));
    }
  }
  return network;
}

int64_t walk_steps_of(const Model& model) {
  const auto wanted = std::find_if(model.inputs.begin(), model.inputs.end(),
                                   [](const Slot& s) { return s.name == "walks"; });
  if (wanted == model.inputs.end()) return 0;
  const auto steps = model.options.find("walk_steps");
  int64_t count = 0;
  check(steps != model.options.end() && parse_int64(steps->second, count) && count > 0,
        "graph: the network ", model.name, " takes walks and has no option walk_steps");
  return count;
}

Task make_graphs(const TaskConfig& config, const OptionReader& options) {
  const auto data = std::make_shared<const GraphData>(
      options.text("data"), options.text("split"), options.integer_in("limit", 0, int64_t{1} << 40),
      config.seed);
  Task task;
  task.fitted = config.fitted.empty() ? fitted_of(data->set()) : config.fitted;
  const bool labels = fitted_text(task.fitted, "labels") == "true";
  task.model = make_model(network_of(config, task.fitted));
  const int64_t steps = walk_steps_of(task.model);
  require_inputs(task.model, graph_slots(steps > 0), "graph");
  task.source = [data, steps, fitted = task.fitted, seed = config.seed](const SourceRequest& r) {
    const GraphSet& set = data->set();
    check_kinds(set, "atoms", set.node_kinds, fitted_text(fitted, "atoms"));
    check_kinds(set, "bonds", set.edge_kinds, fitted_text(fitted, "bonds"));
    if (set.target_names != target_names(fitted)) {
      fail(ErrorKind::data, set.source, ": has other targets than the network was trained on");
    }
    return split_source(data, steps, r, seed);
  };
  task.data = [data] {
    const GraphSet& set = data->set();
    const auto count = [&](size_t s) { return static_cast<int64_t>(set.splits[s].size()); };
    return DataFacts{set.source, set.description, set.content_hash, count(0), count(1), count(2)};
  };
  const size_t inputs = task.model.inputs.size();
  task.objective = [model = task.model, inputs, labels](const Tensors& buffers, const Batch& batch,
                                                        const ForwardOptions& mode) {
    const auto first = batch.tensors.begin();
    Loss loss;
    if (batch.tensors.size() >= inputs + 2) {
      loss = masked_loss(*(batch.tensors.end() - 2), batch.tensors.back(), labels);
    }
    return supervised(model, buffers, Tensors(first, first + static_cast<std::ptrdiff_t>(inputs)),
                      mode, std::move(loss), batch.examples);
  };
  const auto columns = task.model.outputs;
  task.metrics = labels ? multi_label_metrics() : masked_error_metrics();
  task.meter = [labels, columns] {
    return labels ? multi_label_meter(columns) : masked_error_meter();
  };
  task.train_metrics = task.metrics;
  task.train_meter = task.meter;
  task.unlabelled = [fitted = task.fitted, steps](const std::vector<std::string>& paths,
                                                  int64_t batch) {
    return unlabelled_graphs(paths, fitted, steps, batch);
  };
  task.prediction_columns = target_names(task.fitted);
  task.prediction_rows = [labels](const Tensors& predictions) {
    return prediction_cells(predictions.front(), labels);
  };
  task.likelihood = labels ? Likelihood::bernoulli : Likelihood::none;
  task.example = "graph";
  return task;
}

// Sources: models/gine.h. Plateau's floor is relative: 1e-5 of 1e-3. Muon has no published recipe:
// its rate is that of the house, the auxiliary Adam has the recipe's.
std::vector<RecipeRow> graph_recipe_rows() {
  std::vector<RecipeRow> rows{
      {"lrgb", "gine", "", "batch", "128"},
      {"lrgb", "gine", "", "epochs", "500"},
      {"lrgb", "gine", "", "schedule", "plateau:factor=0.5,patience=20,min_scale=0.01"},
      {"tuned", "gine", "", "batch", "200"},
      {"tuned", "gine", "", "epochs", "250"},
      {"tuned", "gine", "", "schedule", "cosine"},
      {"tuned", "gine", "", "warmup", "5e"},
      {"tuned", "gine", "", "clip", "1"},
  };
  for (const char* name : {"lrgb", "tuned"}) {
    rows.push_back({name, "gine", "", "optimizer.name", "adamw"});
  }
  for (const char* name : {"zinc", "zinc_500k"}) {
    rows.push_back({name, "gine", "", "batch", "128"});
    rows.push_back({name, "gine", "", "epochs", "1000"});
    rows.push_back({name, "gine", "", "schedule", "plateau:factor=0.5,patience=10,min_scale=0.01"});
    rows.push_back({name, "gine", "", "optimizer.name", "adam"});
  }
  for (const char* name : {"lrgb", "tuned", "zinc", "zinc_500k"}) {
    for (const char* optimizer : {"adam", "adamw"}) {
      rows.push_back({name, "gine", optimizer, "lr", "0.001"});
      rows.push_back({name, "gine", optimizer, "wd", "0"});
    }
    rows.push_back({name, "gine", "muon", "lr", "0.02"});
    rows.push_back({name, "gine", "muon", "wd", "0"});
    rows.push_back({name, "gine", "muon", "optimizer.aux_lr", "0.001"});
  }
  return rows;
}

}  // namespace

void register_graphs() {
  using enum OptionKind;
  TaskInfo info;
  info.name = "graph";
  info.summary = "targets of whole graphs: ZINC-12k, Peptides-func, edge lists, or embedded graphs";
  info.options = {
      {"data", "embedded",
       "Folder with ZINC-12k, Peptides-func or edge lists; or 'embedded', 'embedded_labels'", text},
      {"split", "", "File that says which graphs are train, val and test (.npz or text)", text},
      {"limit", "0", "Graphs per split, drawn by the seed; 0: all", integer},
  };
  info.models = {"gine"};
  info.recipes = {
      {"lrgb", "Peptides-func as LRGB trains it: AdamW, plateau, 500 epochs"},
      {"tuned", "Peptides-func re-evaluated: AdamW, warm-up and cosine, clipping, 250 epochs"},
      {"zinc", "ZINC-12k at 100k parameters: Adam, plateau, at most 1,000 epochs"},
      {"zinc_500k", "ZINC-12k at 500k parameters: the same"},
  };
  info.recipe_rows = graph_recipe_rows();
  info.make = make_graphs;
  register_task(std::move(info));
}

}  // namespace basin
