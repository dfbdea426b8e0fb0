// Registry: every optimizer by name, its options, help and error sentences; group rules.
#include "basin/optim/registry.h"

#include "basin/tests/optim/optim_fixtures.h"

using namespace basin;
using namespace basin::optim_test;

namespace {

std::string make_error(const OptimizerConfig& config) {
  const ParamList p = small_model(DType::f32);
  return error_of([&] { make_optimizer(config, p); }, ErrorKind::usage);
}

}  // namespace

TEST_CASE("registry: the built-in optimizers train by name") {
  for (const std::string& name : optimizer_names()) {
    CAPTURE(name);
    ParamList p = small_model(DType::f32);
    const auto optimizer = make_optimizer({.name = name}, p);
    CHECK(optimizer->name() == name);
    CHECK(optimizer->routing().size() == p.size());
    const ParamList before = p.clone();
    const Tensors g = random_gradients(p, 1);
    const EvaluateAt slope = [&](const Tensors& at, bool) {  // the linear function with gradient g
      LossAndGrads out{10, g};
      for (size_t i = 0; i < at.size(); ++i) {
        for (int64_t j = 0; j < g[i].numel(); ++j) {
          out.loss += g[i].at(j) * (at[i].at(j) - before[i].value.at(j));
        }
      }
      return out;
    };
    for (int64_t t = 0; t < 2; ++t) {  // SOAP's first step moves no matrix
      optimizer->look_ahead(p);
      optimizer->step(p, g, {.step = t, .loss = 10, .evaluate = slope});
    }
    for (size_t i = 0; i < p.size(); ++i) CHECK_FALSE(same_bits(p[i].value, before[i].value));
  }
}

TEST_CASE("registry: options reach the optimizer") {
  const ParamList p = small_model(DType::f64);
  OptimizerConfig config{.name = "muon", .lr = 0.1, .weight_decay = 0.01};
  config.options = {
      {"view", "torch"}, {"aux_lr", "0.007"}, {"muon_head", "true"}, {"force_aux", "hidden.*"}};
  config.groups = parse_group_rules("*.bias wd=0 ; role:gain lr=0.5");
  const auto rows = make_optimizer(config, p)->routing();
  CHECK(rows[7].optimizer == "muon");
  CHECK(rows[7].lr == 0.1);
  CHECK(rows[4].why == "named in force_aux");
  CHECK(rows[2].optimizer == "adamw");
  CHECK(rows[2].lr == 0.007);
  CHECK(rows[2].weight_decay == 0.01);
  CHECK(rows[1].weight_decay == 0);
  CHECK(rows[1].group == "*.bias");
  CHECK(rows[3].lr == 0.5);
  config.options["aux_wd"] = "0.3";
  CHECK(make_optimizer(config, p)->routing()[2].weight_decay == 0.3);
  CHECK(make_optimizer({.name = "adamw"}, p)->routing()[0].weight_decay == 0.01);
}

TEST_CASE("registry: every switch of muon is accepted") {
  const std::vector<std::pair<std::string, std::vector<std::string>>> values = {
      {"ns_set",
       {"jordan", "higham", "classic", "tuned5", "cans", "polar_express", "minimax4", "relaxed",
        "jordan8+2"}},
      {"ns_steps", {"0", "3", "8"}},
      {"ns_norm", {"add", "max", "relative"}},
      {"exact", {"true", "off"}},
      {"precision", {"same", "f32", "f64", "bf16"}},
      {"scale", {"original", "match_rms_adamw", "spectral", "sqrt_max", "none"}},
      {"form", {"ema", "sum"}},
      {"nesterov", {"0", "on"}},
      {"view", {"matrix", "reference", "torch"}},
      {"legacy_conv_scale", {"auto", "true", "false"}},
      {"muon_first", {"true"}},
      {"muon_embedding", {"true"}},
      {"min_side", {"1"}},
      {"decay_vectors", {"false"}},
  };
  for (const auto& row : values) {
    const auto& option = row.first;
    for (const std::string& value : row.second) {
      CAPTURE(option);
      CAPTURE(value);
      ParamList p = small_model(DType::f32);
      const auto optimizer = make_optimizer({.name = "muon", .options = {{option, value}}}, p);
      optimizer->step(p, random_gradients(p, 1), {});
      CHECK(std::isfinite(max_abs(p.at("hidden.weight").value)));
    }
  }
}

TEST_CASE("registry: error sentences") {
  CHECK(make_error({.name = "muno"}) == "optimizer: no optimizer 'muno'; did you mean 'muon'?");
  CHECK(make_error({.name = "zzzzzzzzz"}).find("known: adam adamw") != std::string::npos);
  CHECK(make_error({.name = "adam", .options = {{"beta", "1"}}}) ==
        "adam: no option 'beta'; did you mean 'beta1'?");
  CHECK(make_error({.name = "adam", .options = {{"eps", "small"}}}) ==
        "adam: option 'eps' must be a number, got 'small'");
  CHECK(make_error({.name = "adam", .options = {{"amsgrad", "maybe"}}}) ==
        "adam: option 'amsgrad' must be true or false, got 'maybe'");
  CHECK(make_error({.name = "muon", .options = {{"scale", "orginal"}}}) ==
        "muon: option 'scale' has no choice 'orginal'; did you mean 'original'?");
  CHECK(make_error({.name = "muon", .options = {{"ns_set", "polar"}}}).find("no coefficient set") !=
        std::string::npos);
  CHECK(make_error({.name = "muon", .options = {{"ns_steps", "100"}}}) ==
        "muon: option 'ns_steps' must be an integer from -1 to 99, got '100'");
  CHECK(make_error({.name = "adam", .lr = -1}) == "adam: lr must be at least 0, got -1");
  CHECK(make_error({.name = "adam", .groups = {{"nothing*", 1.0, {}}}}) ==
        "groups: the rule 'nothing*' matches no parameter");
  const auto taken = [] {
    OptimizerInfo info;
    info.name = "adam";
    info.make = [](const OptimizerConfig&, const OptionReader&, const ParamList&) {
      return std::unique_ptr<Optimizer>();
    };
    register_optimizer(info);
  };
  CHECK(error_of(taken, ErrorKind::usage) == "registry: the optimizer 'adam' exists already");
}

TEST_CASE("registry: help lists every option with its default") {
  const std::string help = optimizer_help();
  for (const std::string& name : optimizer_names()) {
    CHECK(help.find(name + ": ") != std::string::npos);
    for (const OptionInfo& o : optimizer_info(name).options) {
      CAPTURE(o.name);
      CHECK(help.find("  " + o.name + "=" + o.default_value) != std::string::npos);
      CHECK_FALSE(o.help.empty());
    }
  }
}

TEST_CASE("groups: patterns and syntax") {
  CHECK(glob_match("feat.*", "feat.conv1.weight"));
  CHECK(glob_match("*.bias", "a.b.bias"));
  CHECK(glob_match("*", ""));
  CHECK(glob_match("a*b*c", "aXbYbZc"));
  CHECK_FALSE(glob_match("a*b", "abc"));
  CHECK_FALSE(glob_match("", "a"));
  const auto rules = parse_group_rules("role:head lr=0.22; feat.* wd=0;");
  REQUIRE(rules.size() == 2);
  CHECK(rules[0].lr == 0.22);
  CHECK_FALSE(rules[0].weight_decay.has_value());
  CHECK(rules[1].weight_decay == 0.0);
  CHECK(error_of([] { parse_group_rules("role:heads lr=1"); }, ErrorKind::usage)
            .find("no role 'heads'") != std::string::npos);
  CHECK(error_of([] { parse_group_rules("a.* rate=1"); }, ErrorKind::usage) ==
        "groups: expects lr=NUMBER or wd=NUMBER after 'a.*', got 'rate=1'");
  CHECK_THROWS_AS(parse_group_rules("a.*"), Error);
  CHECK_THROWS_AS(parse_group_rules("a.* lr=-1"), Error);
}
