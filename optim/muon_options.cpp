// The string-keyed configuration of Muon: every switch of muon.h, newton_schulz.h and routing.h.

#include "basin/optim/detail/builtin.h"
#include "basin/optim/detail/muon.h"

namespace basin {
namespace {

const std::vector<std::string> kForms{"ema", "sum"};
const std::vector<std::string> kNorms{"add", "max", "relative"};
const std::vector<std::string> kPrecisions{"same", "f32", "f64", "bf16"};
const std::vector<std::string> kScales{"original", "match_rms_adamw", "spectral", "sqrt_max",
                                       "none"};
const std::vector<std::string> kViews{"matrix", "reference", "torch"};
const std::vector<std::string> kAutoFlags{"auto", "true", "false"};

std::string alternatives(const std::string& what, const std::vector<std::string>& choices) {
  std::string text = what + ": ";
  for (size_t i = 0; i < choices.size(); ++i) text += (i ? "|" : "") + choices[i];
  return text;
}

std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> out;
  TextReader in(text);
  for (std::string word; std::getline(in, word, ',');) {
    if (!word.empty()) out.push_back(word);
  }
  return out;
}

std::vector<OptionInfo> options() {
  return {
      {"momentum", "0.95", "decay of the momentum buffer"},
      {"form", "ema", alternatives("momentum form", kForms)},
      {"nesterov", "true", "orthogonalise the look-ahead instead of the buffer"},
      {"ns_set", "jordan", alternatives("coefficients", coefficient_set_names())},
      {"ns_steps", "-1", "iterations, 0 only normalises, -1 takes the set's own number"},
      {"ns_safety", "1.01", "safety factor of polar_express"},
      {"ns_eps", "1e-7", "eps of the normaliser"},
      {"ns_norm", "add", alternatives("how eps enters the normaliser", kNorms)},
      {"exact", "false", "exact U V^T by SVD instead of the iteration"},
      {"precision", "same", alternatives("arithmetic of the orthogonalisation", kPrecisions)},
      {"scale", "original", alternatives("shape factor of the update", kScales)},
      {"scale_factor", "1", "multiplies the shape factor"},
      {"legacy_conv_scale", "auto",
       "shape factor from the last two axes of the reference shape; auto: with view=reference"},
      {"view", "matrix", alternatives("what counts as the matrix", kViews)},
      {"muon_first", "false", "orthogonalise layers that read raw inputs"},
      {"muon_head", "false", "orthogonalise output layers"},
      {"muon_embedding", "false", "orthogonalise embeddings"},
      {"min_side", "2", "smallest min(rows, cols) that is orthogonalised"},
      {"force_muon", "", "comma-separated name patterns that Muon takes in any case"},
      {"force_aux", "", "comma-separated name patterns that the auxiliary AdamW takes"},
      {"aux_lr", "3e-4", "learning rate of the auxiliary AdamW"},
      {"aux_wd", "same", "its weight decay; same: that of Muon"},
      {"aux_beta1", "0.9", "its decay of the first moment"},
      {"aux_beta2", "0.95", "its decay of the second moment"},
      {"aux_eps", "1e-10", "its eps"},
      {"decay_vectors", "true", "false: no decay on biases and gains"},
  };
}

constexpr double kUnlimited = 1e300;

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

MuonConfig read_config(const OptimizerConfig& given, const OptionReader& o) {
  MuonConfig c;
  c.lr = *given.lr;
  c.weight_decay = *given.weight_decay;
  c.momentum = o.number("momentum");
  c.form = static_cast<MomentumForm>(o.choice("form", kForms));
  c.nesterov = o.flag("nesterov");
  c.orthogonalise = read_orthogonalise(o);
  c.scale = static_cast<MuonScale>(o.choice("scale", kScales));
  c.scale_factor = o.number("scale_factor");
  const size_t legacy = o.choice("legacy_conv_scale", kAutoFlags);
  if (legacy > 0) c.legacy_conv_scale = legacy == 1;
  c.routing = read_routing(o);
  c.auxiliary.lr = o.number_in("aux_lr", 0, kUnlimited);
  c.auxiliary.weight_decay =
      o.text("aux_wd") == "same" ? c.weight_decay : o.number_in("aux_wd", 0, kUnlimited);
  c.auxiliary.beta1 = o.number("aux_beta1");
  c.auxiliary.beta2 = o.number("aux_beta2");
  c.auxiliary.eps = o.number("aux_eps");
  c.auxiliary.decay_vectors = o.flag("decay_vectors");
  return c;
}

}  // namespace

OptimizerInfo muon_info() {
  OptimizerInfo info;
  info.name = "muon";
  info.summary = "orthogonalised momentum for matrices, auxiliary AdamW for the rest";
  info.default_lr = 0.02;
  info.options = options();
  info.make = [](const OptimizerConfig& c, const OptionReader& o, const ParamList& params) {
    return std::make_unique<Muon>(read_config(c, o), params, c.groups);
  };
  return info;
}

}  // namespace basin
