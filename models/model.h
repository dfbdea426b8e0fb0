// Model: a network as plain data, without inheritance and without global mode.
//   forward(params, buffers, inputs, options) -> outputs, penalty, batch statistics
// is a pure function of its arguments; parameters live in a ModelState that the caller owns. Models
// are made by name through a registry that is open to other programs (register_model); the options
// a model declares give parser, errors and --help text.
//
//   Model model = make_model({.name = "pointnet", .preset = "port", .outputs = 40});
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
#include "basin/core/options.h"
#include "basin/nn/activation.h"
#include "basin/nn/hidden_units.h"
#include "basin/nn/jet.h"
#include "basin/nn/layers.h"
#include "basin/nn/objective.h"
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
  Tensors outputs;      // [0] [B, outputs]: logits of a classifier, values of a regression
  Tensor penalty;       // [], already weighted, to be added to the loss; undefined: none
  Tensors batch_stats;  // mean, unbiased variance of each batch norm in the order of the
                        // buffers, constants; empty with running statistics
  std::vector<Activation> activations;  // on request, in the order of the network
};

struct ModelConfig {
  std::string name = "pointnet";
  std::string preset = {};  // empty: the model's first preset
  int64_t outputs = 40;     // per example: classes, or 1 of a regression; a task sets it
  OptionValues options = {};
  std::string output_name = "logits";  // of the outputs in reports; a regression: "prediction"
};

// A transformation of the input under which a network promises to be equivariant: each activation
// follows it as its own fields say (nn/activation.h), the outputs as features of degree 0.
enum class SymmetryKind : uint8_t { rotation, reflection, translation, permutation };
inline constexpr SymmetryKind kSymmetryKinds[] = {SymmetryKind::rotation, SymmetryKind::reflection,
                                                  SymmetryKind::translation,
                                                  SymmetryKind::permutation};
std::string_view name_of(SymmetryKind kind);

struct Model {
  using Forward = std::function<ForwardResult(const Tensors& params, const Tensors& buffers,
                                              const Tensors& inputs, const ForwardOptions&)>;
  std::string name;
  std::string preset;
  int64_t outputs = 0;
  std::string output_name = "logits";    // what reports call the outputs
  OptionValues options;                  // resolved: every option with its value
  Layout layout;                         // parameters, buffers and their initial values
  std::vector<Slot> inputs;              // what forward takes, e.g. points [B, N, 3]
  std::vector<SymmetryKind> symmetries;  // promised by the architecture
  bool penalty = false;                  // whether forward gives one
  // From the inputs to the outputs: what may change places without changing the function. Empty:
  // not declared, and nothing can be aligned.
  std::vector<HiddenUnits> hidden = {};
  // k of a graph made of the input coordinates (and directions, beside them); 0: there is none.
  int64_t neighbours = 0;
  Forward forward;
  // The first output with its derivatives in the last input [.., d], for networks of coordinates
  // that have a faster way than nested_jet; may be absent. See jet_of.
  using JetForward =
      std::function<Jet(const Tensors& params, const Tensors& buffers, const Tensors& inputs,
                        const JetOrders&, const ForwardOptions&)>;
  JetForward jet = {};
  // Momentum of the running statistics after so many training samples.
  std::function<double(int64_t samples)> bn_momentum = [](int64_t) { return 0.1; };

  bool declares(SymmetryKind kind) const;
};

struct ModelPreset {
  std::string name;
  std::string summary;
  OptionValues defaults = {};  // where they differ from the option's own
};

struct ModelInfo {
  using Make = std::function<Model(const ModelConfig&, const OptionReader&)>;
  std::string name;
  std::string summary;
  std::vector<ModelPreset> presets;  // at least one
  std::vector<OptionInfo> options;
  // Preset and options of the configuration are resolved when it is called. Name, preset, options
  // and outputs of the result are set by make_model.
  Make make;
};

// usage error when the name is taken, or there is no preset or no factory. Returns true, so that a
// namespace-scope constant can call it.
bool register_model(ModelInfo info);
std::vector<std::string> model_names();
const ModelInfo& model_info(const std::string& name);  // usage error with the nearest name
std::string model_help();  // every model with presets, options and defaults, for --help

// usage error for an unknown name, preset or option (with the nearest one) and for a bad value.
Model make_model(const ModelConfig& config);
ModelState init_model(const Model& model, uint64_t seed, DType dtype);

// The first output of the network and its derivatives in its last input x [B, d], a function of row
// b for row b: model.jet where there is one, else nested forward mode.
Jet jet_of(const Model& model, const Tensors& params, const Tensors& buffers, const Tensors& inputs,
           const JetOrders& orders, const ForwardOptions& options);

// What a network's output is compared with.
struct Loss {
  std::vector<std::string> names;  // one per term
  Fn terms;                        // {output} -> {term [] ..}, each a weighted mean over examples
};
// The objective of a network of one output: its forward pass on `inputs`, then the loss.
Objective supervised(const Model& model, Tensors buffers, Tensors inputs,
                     const ForwardOptions& options, Loss loss, int64_t examples);
// mean cross-entropy with label smoothing.   labels [B] i64
Loss cross_entropy_loss(Tensor labels, double smoothing = 0);

// params -> {loss, logits, batch statistics...}: the training loss of a classifier of one input.
//   loss = cross_entropy(logits, labels, smoothing) + penalty.   labels [B] i64
Fn classification_loss(const Model& model, Tensors buffers, Tensor points, Tensor labels,
                       const ForwardOptions& options, double smoothing = 0);
// The batch statistics among the aux outputs of classification_loss (all but the logits).
Tensors batch_stats_of(const Tensors& aux);

}  // namespace basin
