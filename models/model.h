// Model: a network as plain data, without inheritance and without global mode.
//   forward(params, buffers, points, options) -> logits, penalty, batch statistics
// is a pure function of its arguments; parameters live in a ModelState that the caller owns. Models
// are made by name through a registry; the options a model declares give parser, errors and --help
// text.
//
//   Model model = make_model({.name = "pointnet", .preset = "port", .classes = 40});
//   ModelState state = init_model(model, seed, DType::f32);
//   Fn loss = classification_loss(model, state.buffers.values(), points, labels,
//                                 ForwardOptions::training(seed, step), smoothing);
//   ValueGrad vg = value_and_grad(loss)(state.params.values());  // aux: logits, batch statistics
//   update_running_stats(state.buffers, batch_stats_of(vg.aux), model.bn_momentum(samples_seen));
#pragma once
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "basin/autograd/transform.h"
#include "basin/nn/layers.h"
#include "basin/nn/state.h"

namespace basin {

// The default is evaluation: running statistics, no dropout. The two switches are separate because
// probes of the training loss want batch statistics without dropout.
struct ForwardOptions {
  bool batch_statistics = false;  // normalise with the statistics of this batch
  bool dropout = false;
  uint64_t seed = 0;  // the masks are a pure function of (seed, step, layer, element)
  uint64_t step = 0;
  bool keep_activations = false;  // fill ForwardResult::activations
  Tensor step_there = {};         // [] i64 beside the points; defined: read instead of `step`

  static ForwardOptions evaluation() { return {}; }
  static ForwardOptions training(uint64_t seed, uint64_t step) { return {true, true, seed, step}; }
};

// Dropout of one layer as the options say: x itself, or with the mask of (seed, step, layer).
Tensor drop(const Tensor& x, double p, const ForwardOptions& options, std::string_view layer);

struct ForwardResult {
  Tensor logits;        // [B, classes]
  Tensor penalty;       // [], already weighted, to be added to the loss; undefined if there is none
  Tensors batch_stats;  // mean, unbiased variance of each batch norm in the order of the buffers,
                        // constants; empty with running statistics
  std::vector<std::pair<std::string, Tensor>> activations;  // [B, ..]; on request
};

struct ModelConfig {
  std::string name = "pointnet";
  std::string preset = {};  // empty: the model's first preset
  int64_t classes = 40;
  std::map<std::string, std::string> options = {};
};

struct Model {
  using Forward = std::function<ForwardResult(const Tensors& params, const Tensors& buffers,
                                              const Tensor& points, const ForwardOptions&)>;
  std::string name;
  std::string preset;
  int64_t classes = 0;
  std::map<std::string, std::string> options;  // resolved: every option with its value
  Layout layout;                               // parameters, buffers and their initial values
  Forward forward;                             // points [B, N, 3]
  // Momentum of the running statistics after so many training samples.
  std::function<double(int64_t samples)> bn_momentum = [](int64_t) { return 0.1; };
};

struct ModelPreset {
  std::string name;
  std::string summary;
  std::map<std::string, std::string> defaults = {};  // where they differ from the option's own
};

struct ModelOption {
  std::string name;
  std::string default_value;
  std::string help;
};

struct ModelInfo {
  std::string name;
  std::string summary;
  std::vector<ModelPreset> presets;
  std::vector<ModelOption> options;
  std::function<Model(const ModelConfig&)> make;  // receives preset and options fully resolved
};

std::vector<std::string> model_names();
const ModelInfo& model_info(const std::string& name);  // usage error with the nearest name
std::string model_help();  // every model with presets, options and defaults, for --help

// usage error for an unknown name, preset or option (with the nearest one) and for a bad value.
Model make_model(const ModelConfig& config);
ModelState init_model(const Model& model, uint64_t seed, DType dtype);

// params -> {loss, logits, batch statistics...}: the form value_and_grad and grad take.
//   loss = cross_entropy(logits, labels, smoothing) + penalty.   labels [B] i64
Fn classification_loss(const Model& model, Tensors buffers, Tensor points, Tensor labels,
                       const ForwardOptions& options, double smoothing = 0);
// The batch statistics among the aux outputs of classification_loss (all but the logits).
Tensors batch_stats_of(const Tensors& aux);

}  // namespace basin
