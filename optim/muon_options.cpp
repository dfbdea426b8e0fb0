// The string-keyed configuration of Muon and of its descendants NorMuon and PolarAdamW.

#include "basin/optim/detail/builtin.h"
#include "basin/optim/detail/matrix_options.h"
#include "basin/optim/detail/muon_family.h"

namespace basin {
namespace {

const std::vector<std::string> kForms{"ema", "sum"};
const std::vector<std::string> kMagnitudes{"keep", "polar"};
const std::vector<std::string> kRowScales{"match_rms", "preserve_norm"};
const std::vector<std::string> kScales{"original", "match_rms_adamw", "spectral", "sqrt_max",
                                       "none"};
const std::vector<std::string> kAutoFlags{"auto", "true", "false"};

std::vector<OptionInfo> momentum_options() {
  return {{"momentum", "0.95", "decay of the momentum buffer"},
          {"form", "ema", alternatives("momentum form", kForms)},
          {"nesterov", "true", "orthogonalise the look-ahead instead of the buffer"}};
}

std::vector<OptionInfo> scale_options(const std::string& scale) {
  return {{"scale", scale, alternatives("shape factor of the update", kScales)},
          {"scale_factor", "1", "multiplies the shape factor"},
          {"legacy_conv_scale", "auto",
           "shape factor from the last two axes of the reference shape; auto: with "
           "view=reference"}};
}

// What all three have.
MuonConfig read_config(const OptimizerConfig& given, const OptionReader& o) {
  MuonConfig c;
  c.lr = *given.lr;
  c.weight_decay = *given.weight_decay;
  c.orthogonalise = read_orthogonalise(o);
  c.scale = static_cast<MuonScale>(o.choice("scale", kScales));
  c.scale_factor = o.number("scale_factor");
  const size_t legacy = o.choice("legacy_conv_scale", kAutoFlags);
  if (legacy > 0) c.legacy_conv_scale = legacy == 1;
  c.routing = read_routing(o);
  c.auxiliary = read_auxiliary(o, c.weight_decay);
  return c;
}

void read_momentum(MuonConfig& c, const OptionReader& o) {
  c.momentum = o.number("momentum");
  c.form = static_cast<MomentumForm>(o.choice("form", kForms));
  c.nesterov = o.flag("nesterov");
}

}  // namespace

OptimizerInfo muon_info() {
  OptimizerInfo info;
  info.name = "muon";
  info.summary = "orthogonalised momentum for matrices, auxiliary AdamW for the rest";
  info.default_lr = 0.02;
  info.options =
      joined({momentum_options(),
              orthogonalise_options(),
              {{"power", "0", "U S^p V^T of the momentum in place of U V^T: 0 Muon, 1 SGD; by SVD"},
               {"magnitude", "keep",
                alternatives("size of the update with a power above 0", kMagnitudes)}},
              scale_options("original"),
              routing_options(false),
              auxiliary_options("3e-4")});
  info.make = [](const OptimizerConfig& c, const OptionReader& o, const ParamList& params) {
    MuonConfig config = read_config(c, o);
    read_momentum(config, o);
    config.power = o.number("power");
    config.magnitude = static_cast<Magnitude>(o.choice("magnitude", kMagnitudes));
    return std::make_unique<Muon>(config, params, c.groups);
  };
  return info;
}

OptimizerInfo normuon_info() {
  OptimizerInfo info;
  info.name = "normuon";
  info.summary = "Muon with rows of equal size, by their running second moment";
  info.default_lr = 1e-3;
  info.options =
      joined({momentum_options(),
              {{"beta2", "0.95", "decay of the rows' second moment"},
               {"row_eps", "1e-10", "added to its root"},
               {"row_scale", "match_rms",
                alternatives("size of the update: RMS 0.2, or that before the rows were scaled",
                             kRowScales)}},
              orthogonalise_options(),
              scale_options("none"),
              routing_options(false),
              auxiliary_options("1e-3")});
  info.make = [](const OptimizerConfig& c, const OptionReader& o, const ParamList& params) {
    MuonConfig config = read_config(c, o);
    read_momentum(config, o);
    const RowScaling rows{o.number("beta2"), o.number("row_eps"),
                          o.choice("row_scale", kRowScales) == 0};
    return std::make_unique<NorMuon>(config, rows, params, c.groups);
  };
  return info;
}

OptimizerInfo polar_adamw_info() {
  OptimizerInfo info;
  info.name = "polar_adamw";
  info.summary = "the orthogonalised direction of AdamW for matrices, AdamW for the rest";
  info.default_lr = 1e-3;
  info.default_weight_decay = 0.01;
  info.options = joined({{{"beta1", "0.9", "decay of the first moment"},
                          {"beta2", "0.999", "decay of the second moment"},
                          {"eps", "1e-8", "added to the root after bias correction"}},
                         orthogonalise_options(),
                         scale_options("match_rms_adamw"),
                         routing_options(false),
                         auxiliary_options("1e-3")});
  info.make = [](const OptimizerConfig& c, const OptionReader& o, const ParamList& params) {
    const MomentDecay moments{o.number("beta1"), o.number("beta2"), o.number("eps")};
    return std::make_unique<PolarAdamW>(read_config(c, o), moments, params, c.groups);
  };
  return info;
}

}  // namespace basin
