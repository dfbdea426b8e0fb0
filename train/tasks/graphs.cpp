// Task "graph": targets of whole graphs, from any layout that datasets/graphs.h reads or the
// embedded graphs.
//   batch       train/tasks/graph_source.h
//   loss        over the known targets: mean binary cross-entropy of logits for labels, mean
//               absolute error for numbers
//   fitted      names of the targets, whether they are labels, kinds of features, so that trained
//               weights need no training data
#include <algorithm>
#include <cmath>

#include "basin/autograd/ops.h"
#include "basin/core/io.h"
#include "basin/train/meters.h"
#include "basin/train/tasks/graph_source.h"
#include "basin/train/tasks/tasks.h"

namespace basin {
namespace {

std::string list_text(const std::vector<int64_t>& values) {
  std::string out;
  for (const int64_t v : values) out += (out.empty() ? "" : ",") + str(v);
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

void check_targets(const GraphSet& set, const std::vector<int64_t>& rows) {
  const size_t count =
      set.graphs() > 0 ? set.targets.size() / static_cast<size_t>(set.graphs()) : 0;
  const bool known = std::any_of(rows.begin(), rows.end(), [&](int64_t row) {
    const auto first = set.targets.begin() + static_cast<std::ptrdiff_t>(row * count);
    return std::any_of(first, first + static_cast<std::ptrdiff_t>(count),
                       [](double t) { return !std::isnan(t); });
  });
  if (!known) fail(ErrorKind::data, set.source, ": no target of the graphs to train on is known");
}

std::shared_ptr<const Source> split_source(std::shared_ptr<const GraphData> data,
                                           int64_t walk_steps, const SourceRequest& request,
                                           uint64_t seed) {
  const std::vector<int64_t>& all = data->set().splits[static_cast<size_t>(request.split)];
  if (all.empty()) {
    fail(ErrorKind::data, data->set().source, ": there are no ", name_of(request.split), " graphs");
  }
  std::vector<int64_t> rows;
  for (const int64_t i :
       drawn_rows(static_cast<int64_t>(all.size()), request.limit, request.seed)) {
    rows.push_back(all[static_cast<size_t>(i)]);
  }
  if (request.training) check_targets(data->set(), rows);
  std::string text = str(rows.size(), " of ", all.size(), " ", name_of(request.split), " graphs",
                         rows.size() < all.size() ? str(" (seed ", request.seed, ")") : "");
  return std::make_shared<GraphSource>(
      std::move(data), GraphSelection{std::move(rows), walk_steps, true, request.batch,
                                      request.training, seed, std::move(text)});
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
  out.source = std::make_shared<GraphSource>(
      std::make_shared<const GraphData>(std::move(set)),
      GraphSelection{std::move(rows), walk_steps, false, batch, false, 0, std::move(text)});
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
  if (labels) task.train_metrics.pop_back();  // the loss
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
