// The table of recipes: see recipes.h. Sources: DGCNN, the authors' PyTorch code (Wang et al., ACM
// TOG 2019); PointNet, the authors' TensorFlow code (Qi et al., CVPR 2017), whose rate falls by 0.7
// every 200,000 samples = 6,250 steps of 32; its floor of 1e-5 is not reached in 250 epochs.
#include "basin/tools/shell/recipes.h"

#include <algorithm>

#include "basin/models/model.h"
#include "basin/optim/registry.h"

namespace basin::tools {
namespace {

// One default. Empty `recipe`: always; empty `model`, `optimizer`: for all of them.
struct Row {
  std::string_view recipe;
  std::string_view model;
  std::string_view optimizer;  // the row belongs to this optimizer and goes with it
  std::string_view key;
  std::string_view value;
};

constexpr std::string_view kModelPreset = "model preset";  // no setting: the variant of the network

constexpr Row kRows[] = {
    // Where the programs depart from the optimizer's own default. Muon's auxiliary Adam gets the
    // rate that Adam alone would have, so that the two optimizers differ in the matrices only.
    {"", "", "muon", "optimizer.aux_lr", "0.001"},
    {"", "", "sgd", "lr", "0.1"},
    {"", "", "sgd", "optimizer.momentum", "0.9"},

    {"paper300", "", "", "points", "300"},
    {"paper300", "", "", "k", "20"},
    {"paper300", "", "", "batch", "32"},
    {"paper300", "", "", "epochs", "250"},
    {"paper300", "", "", "schedule", "cosine"},
    {"paper300", "", "", "augment", "dgcnn"},
    {"paper300", "dgcnn", "", "label_smoothing", "0.2"},
    {"paper300", "egnn", "", "label_smoothing", "0.2"},
    {"paper300", "pointnet", "", "label_smoothing", "0"},
    {"paper300", "pointnet", "", kModelPreset, "port"},

    {"official", "", "", "points", "1024"},
    {"official", "", "", "batch", "32"},
    {"official", "", "", "epochs", "250"},
    {"official", "dgcnn", "", "optimizer.name", "sgd"},
    {"official", "dgcnn", "sgd", "lr", "0.1"},
    {"official", "dgcnn", "sgd", "wd", "0.0001"},
    {"official", "dgcnn", "sgd", "optimizer.momentum", "0.9"},
    {"official", "dgcnn", "", "schedule", "cosine:floor=0.01"},
    {"official", "dgcnn", "", "label_smoothing", "0.2"},
    {"official", "dgcnn", "", "augment", "dgcnn"},
    {"official", "pointnet", "", kModelPreset, "original"},
    {"official", "pointnet", "", "optimizer.name", "adam"},
    {"official", "pointnet", "adam", "lr", "0.001"},
    {"official", "pointnet", "adam", "wd", "0"},
    {"official", "pointnet", "", "schedule", "step:gamma=0.7,period=6250"},
    {"official", "pointnet", "", "label_smoothing", "0"},
    {"official", "egnn", "", "optimizer.name", "adam"},
    {"official", "egnn", "adam", "lr", "0.001"},
    {"official", "egnn", "adam", "wd", "0"},
    {"official", "egnn", "", "schedule", "cosine"},
    {"official", "egnn", "", "label_smoothing", "0.2"},
    {"official", "egnn", "", "augment", "dgcnn"},
};

std::vector<std::string> split_names(const std::string& list) {
  std::vector<std::string> names;
  for (size_t begin = 0; begin <= list.size() && !list.empty();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    const size_t first = std::min(list.find_first_not_of(' ', begin), end);
    const size_t last = list.find_last_not_of(' ', end - 1);
    names.push_back(first < end ? list.substr(first, last + 1 - first) : "");
    begin = end + 1;
  }
  return names;
}

bool is_recipe(const std::string& name) {
  return std::any_of(recipes().begin(), recipes().end(),
                     [&](const Recipe& r) { return r.name == name; });
}

bool is_variant(const ModelInfo& model, const std::string& name) {
  return std::any_of(model.presets.begin(), model.presets.end(),
                     [&](const ModelPreset& p) { return p.name == name; });
}

void check_name(const Config& config, const ModelInfo& model, const std::string& name) {
  if (is_recipe(name) || is_variant(model, name)) return;
  std::vector<std::string> known;
  for (const ModelPreset& p : model.presets) known.push_back(p.name);
  for (const Recipe& r : recipes()) {
    if (!is_variant(model, r.name)) known.push_back(r.name);
  }
  std::string list;
  for (const std::string& k : known) list += (list.empty() ? "" : ", ") + k;
  const std::string near = nearest_name(name, known);
  fail(ErrorKind::usage, config.origin("preset"), ": no preset of ", model.name, " is called '",
       name, "'; there is ", list, near.empty() ? "" : "; did you mean '" + near + "'?");
}

std::string origin_of(const Row& row) {
  return row.recipe.empty() ? str("optimizer ", row.optimizer) : str("preset ", row.recipe);
}

// The rows of one recipe ("": of none) for this network and this optimizer. Rows that belong to an
// optimizer wait until it is known: `optimizer` is empty before.
void apply_rows(Config& config, std::string_view recipe, const ModelInfo& model,
                const std::string& optimizer, std::string& model_preset) {
  for (const Row& row : kRows) {
    if (row.recipe != recipe || row.optimizer != optimizer) continue;
    if (!row.model.empty() && row.model != model.name) continue;
    if (row.key == kModelPreset) {
      model_preset = row.value;
    } else {
      config.set(row.key, row.value, Source::preset, origin_of(row));
    }
  }
}

void apply_optimizer(Config& config, const ModelInfo& model,
                     const std::vector<std::string>& names) {
  const std::string optimizer = config.text("optimizer.name");
  const std::string origin = "optimizer " + optimizer;
  try {
    const OptimizerInfo& info = optimizer_info(optimizer);
    config.set("lr", str(info.default_lr), Source::preset, origin);
    config.set("wd", str(info.default_weight_decay), Source::preset, origin);
  } catch (const Error& e) {
    fail(e.kind(), config.origin("optimizer.name"), ": ", e.what());
  }
  std::string unused;
  apply_rows(config, "", model, optimizer, unused);
  for (const std::string& name : names) {
    if (is_recipe(name)) apply_rows(config, name, model, optimizer, unused);
  }
}

// k is short for model.k. Networks without neighbours take it too, so that one command line serves
// a whole comparison.
void apply_neighbours(Config& config, const ModelInfo& model, ResolvedPreset& out) {
  if (!config.given("k")) return;
  check(config.integer("k") > 0, config.origin("k"), ": k is expected to be at least 1, given ",
        config.text("k"));
  const bool has_k = std::any_of(model.options.begin(), model.options.end(),
                                 [](const ModelOption& o) { return o.name == "k"; });
  if (has_k) {
    config.set("model.k", config.text("k"), config.source("k"), config.origin("k"));
  } else if (config.source("k") > Source::preset) {
    out.notes.push_back(str(config.origin("k"), " ", config.text("k"),
                            " has no effect: ", model.name, " has no neighbours"));
  }
}

const ModelInfo& chosen_model(const Config& config) {
  try {
    return model_info(config.text("model.name"));
  } catch (const Error& e) {
    fail(e.kind(), config.origin("model.name"), ": ", e.what());
  }
}

}  // namespace

const std::vector<Recipe>& recipes() {
  static const std::vector<Recipe> all{
      {"paper300",
       "300 points, 20 neighbours, 250 epochs, cosine: comparisons of optimizers on one footing"},
      {"official",
       "each architecture's own training at 1,024 points. EGNN has no published recipe for point\n"
       "    clouds: Adam, cosine and the smoothing of DGCNN stand in"},
  };
  return all;
}

ResolvedPreset apply_presets(Config& config) {
  const ModelInfo& model = chosen_model(config);
  const std::vector<std::string> names = split_names(config.text("preset"));
  ResolvedPreset out;
  for (const std::string& name : names) {
    check_name(config, model, name);
    if (is_recipe(name)) apply_rows(config, name, model, "", out.model_preset);
  }
  for (const std::string& name : names) {
    if (is_variant(model, name)) out.model_preset = name;
  }
  if (model.name == "pointnet" && out.model_preset == "original") {
    config.set("augment", "pointnet_original", Source::preset, "preset original");
  }
  apply_optimizer(config, model, names);
  apply_neighbours(config, model, out);
  return out;
}

std::string recipe_help() {
  std::string text;
  for (const Recipe& recipe : recipes()) {
    text += recipe.name + ": " + recipe.summary + "\n";
    std::string owner = "-";
    for (const Row& row : kRows) {
      if (row.recipe != recipe.name) continue;
      if (row.model != owner) {
        if (owner != "-") text += "\n";
        owner = row.model;
        text += "  " + (owner.empty() ? std::string("all") : owner) + ":";
      }
      text += str(" ", row.key == kModelPreset ? "preset" : row.key, "=", row.value);
    }
    text += "\n";
  }
  return text;
}

}  // namespace basin::tools
