// How recipes and the optimizer's own defaults fill the layer `preset`.
#include "basin/tools/shell/recipes.h"

#include <algorithm>

#include "basin/core/lines.h"
#include "basin/models/model.h"
#include "basin/optim/registry.h"
#include "basin/train/task.h"

namespace basin::tools {
namespace {

// Where the programs depart from the optimizer's own default. Muon's auxiliary Adam gets the rate
// that Adam alone would have, so that the two optimizers differ in the matrices only.
const std::vector<RecipeRow>& optimizer_rows() {
  static const std::vector<RecipeRow> rows{
      {"", "", "muon", "optimizer.aux_lr", "0.001"},
      {"", "", "sgd", "lr", "0.1"},
      {"", "", "sgd", "optimizer.momentum", "0.9"},
  };
  return rows;
}

const TaskInfo& task_of(const Config& config) { return task_info(config.text("task")); }

std::vector<std::string> split_names(const std::string& list) {
  std::vector<std::string> names;
  for (const std::string& name : comma_list(list)) {
    const size_t first = std::min(name.find_first_not_of(' '), name.size());
    names.push_back(name.substr(first, name.find_last_not_of(' ') + 1 - first));
  }
  return names;
}

bool is_recipe(const Config& config, const std::string& name) {
  const std::vector<Recipe>& recipes = task_of(config).recipes;
  return std::any_of(recipes.begin(), recipes.end(),
                     [&](const Recipe& r) { return r.name == name; });
}

bool is_variant(const ModelInfo& model, const std::string& name) {
  return std::any_of(model.presets.begin(), model.presets.end(),
                     [&](const ModelPreset& p) { return p.name == name; });
}

void check_name(const Config& config, const ModelInfo& model, const std::string& name) {
  if (is_recipe(config, name) || is_variant(model, name)) return;
  std::vector<std::string> known;
  for (const ModelPreset& p : model.presets) known.push_back(p.name);
  for (const Recipe& r : task_of(config).recipes) {
    if (!is_variant(model, r.name)) known.push_back(r.name);
  }
  std::string list;
  for (const std::string& k : known) list += (list.empty() ? "" : ", ") + k;
  const std::string near = nearest_name(name, known);
  fail(ErrorKind::usage, config.origin("preset"), ": no preset of ", model.name, " is called '",
       name, "'; there is ", list, near.empty() ? "" : "; did you mean '" + near + "'?");
}

std::string origin_of(const Config& config, const RecipeRow& row) {
  if (!row.recipe.empty()) return str("preset ", row.recipe);
  return row.optimizer.empty() ? str("task ", config.text("task"))
                               : str("optimizer ", row.optimizer);
}

// The rows of one recipe ("": of none) for this network and this optimizer. Rows that belong to an
// optimizer wait until it is known: `optimizer` is empty before.
void apply_rows(Config& config, const std::vector<RecipeRow>& rows, const std::string& recipe,
                const ModelInfo& model, const std::string& optimizer, std::string& model_preset) {
  for (const RecipeRow& row : rows) {
    if (row.recipe != recipe || row.optimizer != optimizer) continue;
    if (!row.model.empty() && row.model != model.name) continue;
    if (row.key == kModelPresetKey) {
      model_preset = row.value;
    } else {
      config.set(row.key, row.value, Layer::preset, origin_of(config, row));
    }
  }
}

void apply_optimizer(Config& config, const ModelInfo& model,
                     const std::vector<std::string>& names) {
  const std::string optimizer = config.text("optimizer.name");
  const std::string origin = "optimizer " + optimizer;
  try {
    const OptimizerInfo& info = optimizer_info(optimizer);
    config.set("lr", str(info.default_lr), Layer::preset, origin);
    config.set("wd", str(info.default_weight_decay), Layer::preset, origin);
  } catch (const Error& e) {
    fail(e.kind(), config.origin("optimizer.name"), ": ", e.what());
  }
  std::string unused;
  apply_rows(config, optimizer_rows(), "", model, optimizer, unused);
  apply_rows(config, task_of(config).recipe_rows, "", model, optimizer, unused);
  for (const std::string& name : names) {
    if (is_recipe(config, name))
      apply_rows(config, task_of(config).recipe_rows, name, model, optimizer, unused);
  }
}

// k is short for model.k. Networks without neighbours take it too, so that one command line serves
// a whole comparison.
void apply_neighbours(Config& config, const ModelInfo& model, ResolvedPreset& out) {
  if (!config.given("k")) return;
  check(config.integer("k") > 0, config.origin("k"), ": k is expected to be at least 1, given ",
        config.text("k"));
  const bool has_k = std::any_of(model.options.begin(), model.options.end(),
                                 [](const OptionInfo& o) { return o.name == "k"; });
  if (has_k) {
    config.set("model.k", config.text("k"), config.source("k"), config.origin("k"));
  } else if (config.source("k") > Layer::preset) {
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

ResolvedPreset apply_presets(Config& config) {
  const ModelInfo& model = chosen_model(config);
  const std::vector<std::string> names = split_names(config.text("preset"));
  ResolvedPreset out;
  apply_rows(config, task_of(config).recipe_rows, "", model, "", out.model_preset);
  for (const std::string& name : names) {
    check_name(config, model, name);
    if (is_recipe(config, name))
      apply_rows(config, task_of(config).recipe_rows, name, model, "", out.model_preset);
  }
  for (const std::string& name : names) {
    if (is_variant(model, name)) out.model_preset = name;
  }
  if (!out.model_preset.empty() && !is_recipe(config, out.model_preset)) {
    std::string unused;
    apply_rows(config, task_of(config).recipe_rows, out.model_preset, model, "", unused);
  }
  apply_optimizer(config, model, names);
  apply_neighbours(config, model, out);
  // A length in epochs that somebody asked for stands before one in steps that nobody did.
  if (config.source("epochs") > Layer::preset && config.source("steps") <= Layer::preset) {
    config.set("steps", "0", Layer::preset, config.origin("epochs"));
  }
  return out;
}

std::string task_default(const std::string& task, const Setting& setting) {
  const TaskInfo& info = task_info(task);
  std::string out = setting.initial;
  for (const RecipeRow& row : info.recipe_rows) {
    const bool always = row.recipe.empty() && row.optimizer.empty();
    const bool of_model = row.model.empty() || row.model == info.models.front();
    if (always && of_model && row.key == setting.name) out = row.value;
  }
  return out;
}

// " KEY=VALUE" of the rows, those of one optimizer behind its name in brackets.
std::string rows_text(const std::vector<const RecipeRow*>& rows) {
  std::string text, optimizer;
  for (const RecipeRow* row : rows) {
    if (row->optimizer != optimizer) {
      text += optimizer.empty() ? "" : "]";
      text += row->optimizer.empty() ? "" : str(" [", row->optimizer, ":");
      optimizer = row->optimizer;
    }
    text += str(" ", row->key == kModelPresetKey ? "preset" : row->key, "=", row->value);
  }
  return text + (optimizer.empty() ? "" : "]");
}

std::string recipe_help(const std::string& task) {
  const TaskInfo& info = task_info(task);
  std::vector<Recipe> recipes = info.recipes;
  if (std::any_of(info.recipe_rows.begin(), info.recipe_rows.end(),
                  [](const RecipeRow& r) { return r.recipe.empty(); })) {
    recipes.insert(recipes.begin(), {"", "what this task sets before any recipe"});
  }
  std::vector<const RecipeRow*> house;
  for (const RecipeRow& row : optimizer_rows()) house.push_back(&row);
  std::string text =
      str("(always): where the programs depart from an optimizer's own default\n  all:",
          rows_text(house), "\n");
  for (const Recipe& recipe : recipes) {
    text += (recipe.name.empty() ? "(always)" : recipe.name) + ": " + recipe.summary + "\n";
    std::vector<const RecipeRow*> rows;  // of one network
    const auto write = [&] {
      if (rows.empty()) return;
      const std::string& owner = rows.front()->model;
      text += str("  ", owner.empty() ? "all" : owner, ":", rows_text(rows), "\n");
      rows.clear();
    };
    for (const RecipeRow& row : info.recipe_rows) {
      if (row.recipe != recipe.name) continue;
      if (!rows.empty() && rows.front()->model != row.model) write();
      rows.push_back(&row);
    }
    write();
  }
  return text;
}

}  // namespace basin::tools
