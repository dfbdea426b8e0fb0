// Loading of what is probed: see subject.h.
#include "basin/tools/landscape_probe/subject.h"

#include <cmath>

#include "basin/core/io.h"
#include "basin/optim/registry.h"
#include "basin/tools/shell/run_place.h"

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

ModelConfig with_classes(ModelConfig model, int64_t classes) {
  model.classes = classes;
  return model;
}

}  // namespace

std::string layer_of(const std::string& parameter) {
  const size_t dot = parameter.rfind('.');
  return dot == parameter.npos ? parameter : parameter.substr(0, dot);
}

Subject::Subject(const std::string& path, const Config& probe) {
  Config config = train_settings();
  config.set("resume", path, Layer::flag, "landscape_probe");
  run_ = resumed_run(config);
  load_resumed_settings(config, run_);
  if (const std::string& data = probe.text("data"); !data.empty()) {
    config.set("data", data, Layer::flag, probe.origin("data"));
  }
  train_ = train_config_from(config);
  const Place place = find_place(config, train_, true);
  check(place.checkpoint.has_value(), path, ": holds no complete checkpoint (ckpt/step-N/DONE)");
  checkpoint_ = *place.checkpoint;
  data_ = load_train_data(train_);
  model_ = make_model(with_classes(train_.model, data_.train.classes()));
  initial_ = init_model(model_, train_.seed, train_.dtype);
  state_ = initial_.clone();
  load_state(checkpoint_.model, checkpoint_.path.string(), state_);
  routing_ = make_optimizer(train_.optimizer, state_.params)->routing();
}

std::string Subject::label() const { return train_.model.name + " " + train_.optimizer.name; }

Record Subject::facts() const {
  Record out;
  out.add("run", run_.filename().string())
      .add("checkpoint", checkpoint_.path.filename().string())
      .add("step", checkpoint_.step)
      .add("model", model_.name)
      .add("model_preset", model_.preset)
      .add("optimizer", train_.optimizer.name)
      .add("lr", train_.optimizer.lr.value_or(NAN))
      .add("train_seed", static_cast<int64_t>(train_.seed))
      .add("points", train_.points)
      .add("label_smoothing", train_.label_smoothing)
      .add("parameters", state_.params.total_elements())
      .add("weights_sha256", sha256_hex_of_file(checkpoint_.path / "model.safetensors"))
      .add("data", data_.train.source)
      .add("data_hash", data_.hash)
      .add("same_data_as_training", checkpoint_.state.text("data_hash") == data_.hash)
      .add("test_accuracy", checkpoint_.state.number("test_overall_accuracy"));
  return out;
}

std::vector<int> Subject::subset(const std::string& text) const {
  std::vector<int> out;
  if (text == "all") return out;
  const size_t colon = text.find(':');
  const std::string kind = text.substr(0, colon);
  const std::string name = colon == text.npos ? "" : text.substr(colon + 1);
  check(kind == "layer" || kind == "role" || kind == "group", "--subset: expected all, ",
        "layer:PATTERN, role:ROLE or group:RULE, given '", text, "'");
  for (size_t i = 0; i < state_.params.size(); ++i) {
    const Param& p = state_.params[i];
    const bool in = kind == "layer"  ? matches(name, layer_of(p.name)) || matches(name, p.name)
                    : kind == "role" ? name_of(p.role) == name
                                     : i < routing_.size() && routing_[i].optimizer == name;
    if (in) out.push_back(static_cast<int>(i));
  }
  check(!out.empty(), "--subset: no parameter of ", label(), " is in '", text,
        "'; train_modelnet --dry-run lists names, roles and rules");
  return out;
}

}  // namespace basin::tools
