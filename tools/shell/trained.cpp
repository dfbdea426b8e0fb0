// Loading trained networks. What a task fitted to its training data comes with the checkpoint; of
// weights alone the last layer tells how many outputs there are.
#include "basin/tools/shell/trained.h"

namespace basin::tools {
namespace {

void start_state(Trained& out) {
  out.initial = init_model(out.task.model, out.settings.train.seed, out.settings.train.dtype);
  out.state = out.initial.clone();
}

// The weights under the names of the network that they are said to be of.
SafetensorsFile read_weights(const fs::path& file, const Model& model) {
  std::vector<std::string> known;
  for (const ParamSpec& spec : model.layout.params()) known.push_back(spec.name);
  return under_known_names(read_safetensors(file), file.string(), known);
}

// Rows of the head in a file of weights; 0: there is none under the network's names.
int64_t outputs_in(const SafetensorsFile& file, const Model& model, int64_t outputs) {
  for (const ParamSpec& spec : model.layout.params()) {
    if (spec.role != Role::head || spec.shape[0] != outputs) continue;
    const Tensor* tensor = file.find(spec.name);
    if (tensor != nullptr && tensor->rank() >= 1 && tensor->rank() == spec.reference_shape.rank()) {
      return tensor->size(0);
    }
  }
  return 0;
}

// Stand-ins for class names that a file of weights does not hold.
Fitted numbered_classes(int64_t outputs) {
  Fitted out;
  for (int64_t c = 0; c < outputs; ++c) out[str("class.", c)] = str("class_", c);
  return out;
}

}  // namespace

std::string Trained::name() const { return checkpoint ? checkpoint->path.string() : file.string(); }

std::string Trained::optimizer() const {
  return checkpoint ? settings.train.optimizer.name : "unknown";
}

std::vector<RoutingRow> Trained::routing() const {
  if (!checkpoint) return {};
  return make_optimizer(settings.train.optimizer, state.params)->routing();
}

bool Trained::same_data_as_training() const {
  return !checkpoint || checkpoint->state.text("data_hash") == task.data().hash;
}

Trained load_trained_checkpoint(Checkpoint checkpoint, const fs::path& run,
                                const RunSettings& settings, const Config& config) {
  Trained out;
  out.settings = settings;
  out.settings.task.fitted = fitted_of(checkpoint);
  out.task = task_from(out.settings, config);
  start_state(out);
  load_state(checkpoint.model, checkpoint.path.string(), out.state);
  out.run = run;
  out.file = checkpoint.path / "model.safetensors";
  out.checkpoint = std::move(checkpoint);
  return out;
}

Trained load_trained_run(const std::string& path, const std::string& data,
                         const std::string& origin) {
  const fs::path run = resumed_run(path, "");
  Config config = train_settings(task_of_run(run));
  load_resumed_settings(config, run);
  if (!data.empty()) config.set("data", data, Layer::flag, origin);
  const RunSettings settings = run_settings_from(config);
  std::optional<Checkpoint> checkpoint = named_checkpoint(path, run);
  check(checkpoint.has_value(), path, ": holds no complete checkpoint (ckpt/step-N/DONE)");
  return load_trained_checkpoint(std::move(*checkpoint), run, settings, config);
}

Trained load_trained_weights(const fs::path& file, const RunSettings& settings,
                             const Config& config) {
  Trained out;
  out.settings = settings;
  out.file = file;
  const Model model = make_model(settings.task.model);
  const SafetensorsFile weights = read_weights(file, model);
  // A task without a choice of data has them at hand.
  const bool have_data = !config.has("data") || config.given("data");
  if (!have_data) {
    out.settings.task.fitted =
        numbered_classes(outputs_in(weights, model, settings.task.model.outputs));
  }
  out.task = task_from(out.settings, config);
  start_state(out);
  load_state(weights, file.string(), out.state);
  return out;
}

}  // namespace basin::tools
