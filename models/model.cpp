// The registry of models, and the loss of a classifier.
#include "basin/models/model.h"

#include <algorithm>

#include "basin/core/random.h"
#include "basin/models/dgcnn.h"
#include "basin/models/egnn.h"
#include "basin/models/pointnet.h"

namespace basin {
namespace {

const std::vector<ModelInfo>& registry() {
  static const std::vector<ModelInfo> models{pointnet_info(), dgcnn_info(), egnn_info()};
  return models;
}

template <class Items>
std::vector<std::string> names_of(const Items& items) {
  std::vector<std::string> names;
  for (const auto& item : items) names.push_back(item.name);
  return names;
}

// The item called `name`; `what` is "model", "preset of pointnet", ...
template <class Items>
const auto& find_named(const Items& items, const std::string& name, const std::string& what) {
  const auto found =
      std::find_if(items.begin(), items.end(), [&](const auto& item) { return item.name == name; });
  if (found == items.end()) {
    const std::vector<std::string> names = names_of(items);
    std::string known;
    for (const std::string& n : names) known += (known.empty() ? "" : ", ") + n;
    const std::string near = nearest_name(name, names);
    fail(ErrorKind::usage, "no ", what, " is called '", name, "'; there is ", known,
         near.empty() ? "" : "; did you mean '" + near + "'?");
  }
  return *found;
}

}  // namespace

std::vector<std::string> model_names() { return names_of(registry()); }

const ModelInfo& model_info(const std::string& name) {
  return find_named(registry(), name, "model");
}

std::string model_help() {
  std::string text;
  for (const ModelInfo& info : registry()) {
    text += info.name + ": " + info.summary + "\n";
    for (const ModelPreset& preset : info.presets) {
      text += "  preset " + preset.name + ": " + preset.summary + "\n";
    }
    for (const ModelOption& option : info.options) {
      text += "  " + option.name + "=" + option.default_value + "  " + option.help + "\n";
    }
  }
  return text;
}

Model make_model(const ModelConfig& config) {
  const ModelInfo& info = model_info(config.name);
  check(config.classes > 0, config.name, ": the number of classes must be positive, got ",
        config.classes);
  ModelConfig resolved = config;
  if (resolved.preset.empty()) resolved.preset = info.presets.front().name;
  const ModelPreset& preset = find_named(info.presets, resolved.preset, "preset of " + info.name);
  for (const auto& [name, value] : config.options) {
    find_named(info.options, name, "option of " + info.name);
  }
  resolved.options.insert(preset.defaults.begin(), preset.defaults.end());
  for (const ModelOption& option : info.options) {
    resolved.options.emplace(option.name, option.default_value);
  }
  Model model = info.make(resolved);
  model.options = resolved.options;
  return model;
}

ModelState init_model(const Model& model, uint64_t seed, DType dtype) {
  return model.layout.init(seed, dtype);
}

Tensor drop(const Tensor& x, double p, const ForwardOptions& options, std::string_view layer) {
  if (!options.dropout || p == 0) return x;
  if (options.step_there.defined()) return dropout(x, p, options.seed, layer, options.step_there);
  return dropout(x, p, options.seed, stream_id(layer, options.step));
}

Fn classification_loss(const Model& model, Tensors buffers, Tensor points, Tensor labels,
                       const ForwardOptions& options, double smoothing) {
  return [forward = model.forward, buffers = std::move(buffers), points = std::move(points),
          labels = std::move(labels), options, smoothing](const Tensors& params) {
    ForwardResult result = forward(params, buffers, points, options);
    Tensor loss = cross_entropy(result.logits, labels, smoothing);
    if (result.penalty.defined()) loss = loss + result.penalty;
    Tensors out{std::move(loss), std::move(result.logits)};
    out.insert(out.end(), result.batch_stats.begin(), result.batch_stats.end());
    return out;
  };
}

Tensors batch_stats_of(const Tensors& aux) {
  check(!aux.empty(), "batch_stats_of: expects the aux outputs of classification_loss, got none");
  return {aux.begin() + 1, aux.end()};
}

}  // namespace basin
