// The shared options: routing, auxiliary AdamW, orthogonalisation.
#include "basin/optim/detail/matrix_options.h"
#include "basin/core/lines.h"

namespace basin {
namespace {

const std::vector<std::string> kNorms{"add", "max", "relative"};
const std::vector<std::string> kPrecisions{"same", "f32", "f64", "bf16"};
const std::vector<std::string> kViews{"matrix", "reference", "torch"};
constexpr double kUnlimited = 1e300;

std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> out = comma_list(text);
  std::erase(out, "");
  return out;
}

}  // namespace

std::string alternatives(const std::string& what, const std::vector<std::string>& choices) {
  std::string text = what + ": ";
  for (size_t i = 0; i < choices.size(); ++i) text += (i ? "|" : "") + choices[i];
  return text;
}

std::vector<OptionInfo> routing_options(bool all) {
  const std::string yes = all ? "true" : "false";
  return {
      {"view", "matrix", alternatives("what counts as the matrix", kViews)},
      {"muon_first", yes, "take layers that read raw inputs as matrices"},
      {"muon_head", yes, "take output layers as matrices"},
      {"muon_embedding", yes, "take embeddings as matrices"},
      {"min_side", "2", "smallest min(rows, cols) of a matrix that is taken"},
      {"force_muon", "", "comma-separated name patterns that are taken as matrices in any case"},
      {"force_aux", "", "comma-separated name patterns that the auxiliary AdamW takes"},
  };
}

RoutingConfig read_routing(const OptionReader& o) {
  RoutingConfig c;
  c.view = static_cast<MatrixView>(o.choice("view", kViews));
  c.first = o.flag("muon_first");
  c.head = o.flag("muon_head");
  c.embedding = o.flag("muon_embedding");
  c.min_side = o.integer_in("min_side", 1, int64_t{1} << 30);
  c.force_matrix = words(o.text("force_muon"));
  c.force_auxiliary = words(o.text("force_aux"));
  return c;
}

std::vector<OptionInfo> auxiliary_options(const std::string& lr) {
  return {
      {"aux_lr", lr, "learning rate of the auxiliary AdamW"},
      {"aux_wd", "same", "its weight decay; same: that of the matrices"},
      {"aux_beta1", "0.9", "its decay of the first moment"},
      {"aux_beta2", "0.95", "its decay of the second moment"},
      {"aux_eps", "1e-10", "its eps"},
      {"decay_vectors", "true", "false: no decay on biases and gains"},
  };
}

AdamConfig read_auxiliary(const OptionReader& o, double weight_decay) {
  AdamConfig c = MatrixRules{}.auxiliary;
  c.lr = o.number_in("aux_lr", 0, kUnlimited);
  c.weight_decay = o.text("aux_wd") == "same" ? weight_decay : o.number_in("aux_wd", 0, kUnlimited);
  c.beta1 = o.number("aux_beta1");
  c.beta2 = o.number("aux_beta2");
  c.eps = o.number("aux_eps");
  c.decay_vectors = o.flag("decay_vectors");
  return c;
}

std::vector<OptionInfo> orthogonalise_options() {
  return {
      {"ns_set", "jordan", alternatives("coefficients", coefficient_set_names())},
      {"ns_steps", "-1", "iterations, 0 only normalises, -1 takes the set's own number"},
      {"ns_safety", "1.01", "safety factor of polar_express and minimax4"},
      {"ns_eps", "1e-7", "eps of the normaliser"},
      {"ns_norm", "add", alternatives("how eps enters the normaliser", kNorms)},
      {"exact", "false", "exact U V^T by SVD instead of the iteration"},
      {"precision", "same", alternatives("arithmetic of the orthogonalisation", kPrecisions)},
  };
}

OrthogonaliseConfig read_orthogonalise(const OptionReader& o) {
  OrthogonaliseConfig c;
  c.set = o.text("ns_set");
  c.steps = static_cast<int>(o.integer_in("ns_steps", -1, 99));
  c.safety = o.number("ns_safety");
  c.eps = o.number("ns_eps");
  c.norm = static_cast<NormMode>(o.choice("ns_norm", kNorms));
  c.exact = o.flag("exact");
  c.precision = static_cast<NsPrecision>(o.choice("precision", kPrecisions));
  return c;
}

MatrixRules read_rules(const OptimizerConfig& given, const OptionReader& o) {
  return {*given.lr, *given.weight_decay, read_routing(o), read_auxiliary(o, *given.weight_decay)};
}

std::vector<OptionInfo> joined(std::vector<std::vector<OptionInfo>> parts) {
  std::vector<OptionInfo> out;
  for (std::vector<OptionInfo>& part : parts) {
    for (OptionInfo& option : part) out.push_back(std::move(option));
  }
  return out;
}

}  // namespace basin
