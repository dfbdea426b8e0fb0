// Loading and naming what is probed.
#include "basin/tools/landscape_probe/probed.h"

#include <cmath>

#include "basin/tools/landscape_probe/settings.h"

namespace basin::tools {
namespace {

// `*` stands for any characters.
bool matches(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern.front() != '*') {
    return !text.empty() && pattern.front() == text.front() &&
           matches(pattern.substr(1), text.substr(1));
  }
  return matches(pattern.substr(1), text) || (!text.empty() && matches(pattern, text.substr(1)));
}

std::string options_text(const Model& model) {
  std::string out;
  for (const auto& [name, value] : model.options) {
    out += str(out.empty() ? "" : ", ", name, "=", value);
  }
  return out;
}

}  // namespace

bool is_weights(const std::string& path) { return fs::is_regular_file(path); }

Trained load_probed(const std::string& path, const Config& config) {
  if (!is_weights(path)) return load_trained_run(path, config.text("data"), config.origin("data"));
  Config training = training_settings_of(config);
  const RunSettings settings = run_settings_from(training);
  return load_trained_weights(path, settings, training);
}

void check_one_kind(const char* action, const Trained& a, const Trained& b) {
  check(a.task.name == b.task.name && a.task.model.name == b.task.model.name, action,
        ": expects networks of one kind and one task, given ", a.name(), " (", a.task.name, ", ",
        a.task.model.name, ") and ", b.name(), " (", b.task.name, ", ", b.task.model.name, ")");
}

std::string short_name(const Trained& trained) {
  const fs::path& at = trained.checkpoint ? trained.run : trained.file;
  const fs::path named = at.has_filename() ? at : at.parent_path();
  return trained.checkpoint ? named.filename().string() : named.stem().string();
}

std::string layer_of(const std::string& parameter) {
  const size_t dot = parameter.rfind('.');
  return dot == parameter.npos ? parameter : parameter.substr(0, dot);
}

Record facts_of(const Trained& trained) {
  const Task& task = trained.task;
  const TrainOptions& train = trained.settings.train;
  const DataFacts data = task.data();
  Record out;
  if (trained.checkpoint) {
    out.add("run", trained.run.filename().string())
        .add("checkpoint", trained.checkpoint->path.filename().string())
        .add("step", trained.checkpoint->step);
  } else {
    out.add("run", trained.file.filename().string())
        .add("checkpoint", "weights")
        .add("model_options", std::string_view(options_text(task.model)));
  }
  out.add("task", std::string_view(task.name))
      .add("example", std::string_view(task.example))
      .add("metric", std::string_view(task.metrics.front().name))
      .add("metric_unit", std::string_view(task.metrics.front().unit))
      .add("model", task.model.name)
      .add("model_preset", task.model.preset)
      .add("optimizer", trained.optimizer())
      .add("parameters", trained.state.params.total_elements())
      .add("weights_sha256", sha256_hex_of_file(trained.file))
      .add("data", data.source)
      .add("data_hash", data.hash)
      .add("same_data_as_training", trained.same_data_as_training());
  out.append(task.facts);
  if (!trained.checkpoint) return out;
  out.add("lr", train.optimizer.lr.value_or(NAN))
      .add("train_seed", static_cast<int64_t>(train.seed));
  const std::string& metric = task.metrics.front().name;
  if (trained.checkpoint->state.has("test_" + metric)) {
    out.add("test_" + metric_key(metric), trained.checkpoint->state.number("test_" + metric));
  }
  return out;
}

std::vector<int> parameters_in(const ProbeContext& context, const std::string& subset) {
  std::vector<int> out;
  if (subset == "all") return out;
  const size_t colon = subset.find(':');
  const std::string kind = subset.substr(0, colon);
  const std::string name = colon == subset.npos ? "" : subset.substr(colon + 1);
  check(kind == "layer" || kind == "role" || kind == "group", "--subset: expected all, ",
        "layer:PATTERN, role:ROLE or group:RULE, given '", subset, "'");
  const ParamList& params = context.state.params;
  for (size_t i = 0; i < params.size(); ++i) {
    const Param& p = params[i];
    const bool in = kind == "layer" ? matches(name, layer_of(p.name)) || matches(name, p.name)
                    : kind == "role"
                        ? name_of(p.role) == name
                        : i < context.routing.size() && context.routing[i].optimizer == name;
    if (in) out.push_back(static_cast<int>(i));
  }
  check(!out.empty(), "--subset: no parameter of ", context.label(), " is in '", subset,
        "'; --dry-run of the training program lists names, roles and rules");
  return out;
}

}  // namespace basin::tools
