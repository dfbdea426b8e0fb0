// The registry of models, and the objectives of networks that are compared with targets.
#include "basin/models/model.h"

#include <algorithm>
#include <deque>
#include <mutex>

#include "basin/core/random.h"
#include "basin/models/dgcnn.h"
#include "basin/models/egnn.h"
#include "basin/models/egnn_molecules.h"
#include "basin/models/gine.h"
#include "basin/models/gotennet.h"
#include "basin/models/mlp.h"
#include "basin/models/pointnet.h"

namespace basin {
namespace {

struct Registry {
  std::mutex mutex;
  // A deque, so that references to entries survive later registrations. Basin's own come first.
  std::deque<ModelInfo> entries{
      pointnet_info(), dgcnn_info(),    egnn_info(), egnn_molecules_info(),
      gine_info(),     gotennet_info(), mlp_info()};
};

Registry& registry() {
  static Registry instance;
  return instance;
}

template <class Items>
const auto* find_named(const Items& items, const std::string& name) {
  const auto found =
      std::find_if(items.begin(), items.end(), [&](const auto& item) { return item.name == name; });
  return found == items.end() ? nullptr : &*found;
}

template <class Items>
std::vector<std::string> names_of(const Items& items) {
  std::vector<std::string> names;
  for (const auto& item : items) names.push_back(item.name);
  return names;
}

}  // namespace

bool register_model(ModelInfo info) {
  check(!info.name.empty() && info.make && !info.presets.empty(),
        "registry: a model needs a name, a preset and a factory");
  Registry& r = registry();
  std::lock_guard lock(r.mutex);
  check(!find_named(r.entries, info.name), "registry: the model '", info.name, "' exists already");
  r.entries.push_back(std::move(info));
  return true;
}

std::vector<std::string> model_names() {
  Registry& r = registry();
  std::lock_guard lock(r.mutex);
  return names_of(r.entries);
}

const ModelInfo& model_info(const std::string& name) {
  {
    Registry& r = registry();
    std::lock_guard lock(r.mutex);
    if (const ModelInfo* info = find_named(r.entries, name)) return *info;
  }
  fail(ErrorKind::usage, "model: no model '", name, "'", name_suggestion(name, model_names()));
}

std::string model_help() {
  std::string text;
  for (const std::string& name : model_names()) {
    const ModelInfo& info = model_info(name);
    text += info.name + ": " + info.summary + "\n";
    for (const ModelPreset& preset : info.presets) {
      text += "  preset " + preset.name + ": " + preset.summary + "\n";
    }
    text += option_help(info.options);
  }
  return text;
}

Model make_model(const ModelConfig& config) {
  const ModelInfo& info = model_info(config.name);
  check(config.outputs > 0, "model ", config.name, ": the number of outputs must be positive, got ",
        config.outputs);
  ModelConfig resolved = config;
  if (resolved.preset.empty()) resolved.preset = info.presets.front().name;
  const ModelPreset* preset = find_named(info.presets, resolved.preset);
  check(preset, "model ", info.name, ": no preset '", resolved.preset, "'",
        name_suggestion(resolved.preset, names_of(info.presets)));
  resolved.options.insert(preset->defaults.begin(), preset->defaults.end());
  const OptionReader options("model " + info.name, info.options, resolved.options);
  resolved.options = options.values();
  Model model = info.make(resolved, options);
  model.name = info.name;
  model.preset = resolved.preset;
  model.outputs = resolved.outputs;
  model.output_name = resolved.output_name;
  model.options = resolved.options;
  return model;
}

Jet jet_of(const Model& model, const Tensors& params, const Tensors& buffers, const Tensors& inputs,
           const JetOrders& orders, const ForwardOptions& options) {
  check(!inputs.empty(), model.name, ": no input to take derivatives in");
  if (model.jet) return model.jet(params, buffers, inputs, orders, options);
  const Fn value = [&](const Tensors& x) {
    Tensors all = inputs;
    all.back() = x.front();
    return Tensors{model.forward(params, buffers, all, options).outputs.front()};
  };
  return nested_jet(value, inputs.back(), orders);
}

ModelState init_model(const Model& model, uint64_t seed, DType dtype) {
  return model.layout.init(seed, dtype);
}

std::string_view name_of(SymmetryKind kind) {
  constexpr std::string_view names[] = {"rotation", "reflection", "translation", "permutation"};
  return names[static_cast<int>(kind)];
}

bool Model::declares(SymmetryKind kind) const {
  return std::find(symmetries.begin(), symmetries.end(), kind) != symmetries.end();
}

Tensor drop(const Tensor& x, double p, const ForwardOptions& options, std::string_view layer) {
  if (!options.dropout || p == 0) return x;
  if (options.step_there.defined()) return dropout(x, p, options.seed, layer, options.step_there);
  return dropout(x, p, options.seed, stream_id(layer, options.step));
}

Objective supervised(const Model& model, Tensors buffers, Tensors inputs,
                     const ForwardOptions& options, Loss loss, int64_t examples) {
  Objective objective;
  objective.outputs = [forward = model.forward, name = model.name, penalty = model.penalty,
                       buffers = std::move(buffers), inputs = std::move(inputs),
                       options](const Tensors& params) {
    ForwardResult result = forward(params, buffers, inputs, options);
    check(result.outputs.size() == 1, "supervised: expects a network of one output, ", name,
          " gave ", result.outputs.size());
    check(result.penalty.defined() == penalty, "supervised: ", name, " gave ",
          penalty ? "no penalty" : "a penalty", ", its Model::penalty says otherwise");
    Tensors out = std::move(result.outputs);
    if (penalty) out.push_back(std::move(result.penalty));
    out.insert(out.end(), result.batch_stats.begin(), result.batch_stats.end());
    return out;
  };
  objective.penalty = model.penalty;
  objective.terms = std::move(loss.terms);
  objective.term_names = std::move(loss.names);
  objective.examples = examples;
  return objective;
}

Loss cross_entropy_loss(Tensor labels, double smoothing) {
  return {{"cross_entropy"}, [labels = std::move(labels), smoothing](const Tensors& outputs) {
            return Tensors{cross_entropy(outputs.front(), labels, smoothing)};
          }};
}

Fn classification_loss(const Model& model, Tensors buffers, Tensor points, Tensor labels,
                       const ForwardOptions& options, double smoothing) {
  const int64_t examples = labels.numel();
  return training_loss(supervised(model, std::move(buffers), {std::move(points)}, options,
                                  cross_entropy_loss(std::move(labels), smoothing), examples));
}

Tensors batch_stats_of(const Tensors& aux) {
  check(!aux.empty(), "batch_stats_of: expects the aux outputs of classification_loss, got none");
  return {aux.begin() + 1, aux.end()};
}

}  // namespace basin
