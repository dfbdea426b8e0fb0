// The string-keyed configuration of SpecMuon. A preset gives the defaults of what is not set.
#include "basin/optim/detail/builtin.h"
#include "basin/optim/detail/matrix_options.h"
#include "basin/optim/detail/specmuon.h"

namespace basin {
namespace {

const std::vector<std::string> kPresets{"robust", "paper"};
const std::vector<std::string> kForms{"norm", "squared"};
const std::vector<std::string> kRelaxations{"printed", "lazy", "extra_forward", "none"};
const std::vector<std::string> kTails{"gradient", "muon", "zero"};
const std::vector<std::string> kPlaces{"post", "pre"};
const std::vector<std::string> kSvds{"auto", "full", "top"};
constexpr const char* kPreset = "preset";  // the value of an option that the preset decides

struct Preset {
  SavForm form;
  Relaxation relaxation;
  double smoothing;
};
constexpr Preset kChoices[] = {{SavForm::squared, Relaxation::lazy, 0.95},
                               {SavForm::norm, Relaxation::printed, 0.2}};

std::vector<std::string> with_preset(std::vector<std::string> choices) {
  choices.emplace_back(kPreset);
  return choices;
}

template <class Choice>
Choice chosen(const OptionReader& o, const std::string& name,
              const std::vector<std::string>& choices, Choice by_preset) {
  const size_t at = o.choice(name, with_preset(choices));
  return at == choices.size() ? by_preset : static_cast<Choice>(at);
}

std::vector<OptionInfo> own_options() {
  return {
      {"preset", "robust", alternatives("defaults of form, relax and xi", kPresets)},
      {"form", kPreset, alternatives("decay of the energy variables", with_preset(kForms))},
      {"relax", kPreset, alternatives("their relaxation", with_preset(kRelaxations))},
      {"xi", kPreset, "smoothing of the relaxation, from 0 to 1: 0.95 (robust), 0.2 (paper)"},
      {"modes", "6", "leading singular modes with an energy variable; 0: none"},
      {"energy_share", "0", "0, or the share of the squared gradient that the modes taken hold"},
      {"momentum", "0.9", "heavy-ball coefficient"},
      {"nesterov", "false", "step along o + momentum * b"},
      {"momentum_at", "post", alternatives("momentum of the update or of the gradient", kPlaces)},
      {"tail", "gradient", alternatives("update of the other modes", kTails)},
      {"sigma_power", "1", "step size lr / s^power of a mode with singular value s"},
      {"eps", "1e-8", "added to denominators; 1e-12 late in f64 runs"},
      {"kappa", "0", "added to the loss, which must be above 0"},
      {"reset", "0", "r = E where r / E falls below; 0: never"},
      {"svd", "auto", alternatives("decomposition: all triples or the leading ones", kSvds)},
  };
}

SpecMuonConfig read_config(const OptimizerConfig& given, const OptionReader& o) {
  const Preset& preset = kChoices[o.choice("preset", kPresets)];
  SpecMuonConfig c;
  static_cast<MatrixRules&>(c) = read_rules(given, o);
  c.form = chosen(o, "form", kForms, preset.form);
  c.relaxation = chosen(o, "relax", kRelaxations, preset.relaxation);
  c.smoothing = o.text("xi") == kPreset ? preset.smoothing : o.number("xi");
  c.modes = o.integer_in("modes", 0, int64_t{1} << 20);
  c.energy_share = o.number("energy_share");
  c.momentum = o.number("momentum");
  c.nesterov = o.flag("nesterov");
  c.place = static_cast<MomentumPlace>(o.choice("momentum_at", kPlaces));
  c.tail = static_cast<Tail>(o.choice("tail", kTails));
  c.sigma_power = o.number("sigma_power");
  c.eps = o.number("eps");
  c.kappa = o.number("kappa");
  c.reset = o.number("reset");
  c.svd = static_cast<SvdChoice>(o.choice("svd", kSvds));
  return c;
}

}  // namespace

OptimizerInfo specmuon_info() {
  OptimizerInfo info;
  info.name = "specmuon";
  info.summary = "Muon with an energy variable per leading singular mode; wants a rate that decays";
  info.default_lr = 0.02;
  info.options = joined({own_options(), routing_options(false), auxiliary_options("1e-3")});
  info.make = [](const OptimizerConfig& c, const OptionReader& o, const ParamList& params) {
    return std::make_unique<SpecMuon>(read_config(c, o), params, c.groups);
  };
  return info;
}

}  // namespace basin
