// Presets as recipes: what they set for each network, who wins over whom, what goes with the
// optimizer, the neighbours k, and that a recorded run resolves to itself.
#include "basin/tools/shell/recipes.h"

#include "basin/tests/tools/helpers.h"

namespace basin::tools {
namespace {

using Flags = std::vector<std::pair<std::string, std::string>>;

Config config_with(const Flags& flags) {
  Config config = train_settings();
  for (const auto& [key, value] : flags) config.set(key, value, Layer::flag, "--" + key);
  return config;
}

TrainConfig resolved(const Flags& flags) {
  Config config = config_with(flags);
  return train_config_from(config);
}

std::string option(const TrainConfig& config, const std::string& name) {
  return make_model(config.model).options.at(name);
}

}  // namespace

TEST_CASE("recipes: what each says for each network") {
  struct Case {
    const char *preset, *model, *optimizer;
    double lr, wd;
    const char* schedule;
    double smoothing;
    int64_t points;
    const char *variant, *augment;
  };
  const Case cases[] = {
      {"official", "dgcnn", "sgd", 0.1, 1e-4, "cosine:floor=0.01", 0.2, 1024, "official", "dgcnn"},
      {"official", "pointnet", "adam", 1e-3, 0, "step:gamma=0.7,period=6250", 0, 1024, "original",
       "pointnet_original"},
      {"official", "egnn", "adam", 1e-3, 0, "cosine", 0.2, 1024, "", "dgcnn"},
      {"paper300", "dgcnn", "adamw", 1e-3, 0.01, "cosine", 0.2, 300, "", "dgcnn"},
      {"paper300", "egnn", "adamw", 1e-3, 0.01, "cosine", 0.2, 300, "", "dgcnn"},
      {"paper300", "pointnet", "adamw", 1e-3, 0.01, "cosine", 0, 300, "port", "dgcnn"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.preset);
    CAPTURE(c.model);
    const TrainConfig t = resolved({{"preset", c.preset}, {"model", c.model}});
    CHECK(t.optimizer.name == c.optimizer);
    CHECK(*t.optimizer.lr == c.lr);
    CHECK(*t.optimizer.weight_decay == c.wd);
    CHECK(t.schedule == c.schedule);
    CHECK(t.label_smoothing == c.smoothing);
    CHECK(t.points == c.points);
    CHECK(t.batch == 32);
    CHECK(t.epochs == 250);
    CHECK(t.model.preset == c.variant);
    CHECK(t.augment.to_string() == parse_augment(c.augment).to_string());
    CHECK(t.notes.empty());
    if (std::string(c.model) != "pointnet") CHECK(option(t, "k") == "20");
  }
  CHECK(resolved({{"preset", "official"}, {"model", "dgcnn"}}).optimizer.options.at("momentum") ==
        "0.9");
}

TEST_CASE("recipes: precedence") {
  const auto lr = [](Flags flags) {
    flags.insert(flags.end(), {{"preset", "official"}, {"model", "dgcnn"}});
    return *resolved(flags).optimizer.lr;
  };
  CHECK(lr({}) == 0.1);
  CHECK(lr({{"lr", "0.05"}}) == 0.05);
  CHECK(lr({{"optimizer", "sgd"}}) == 0.1);
  CHECK(lr({{"optimizer", "muon"}}) == 0.02);
  // Another optimizer takes neither rate nor decay nor options of the recipe along.
  const TrainConfig other =
      resolved({{"preset", "official"}, {"model", "dgcnn"}, {"optimizer", "adam"}});
  CHECK(*other.optimizer.lr == 1e-3);
  CHECK(*other.optimizer.weight_decay == 0);
  CHECK(other.optimizer.options.empty());
  CHECK(other.label_smoothing == 0.2);
  // A file wins over a recipe, a flag over the file.
  const TempDir dir;
  write_file_atomic(dir / "a.toml", std::string_view("epochs = 7\npoints = 256\n"));
  Config config = config_with({{"preset", "paper300"}, {"points", "128"}});
  config.load_toml(dir / "a.toml");
  const TrainConfig t = train_config_from(config);
  CHECK(t.epochs == 7);
  CHECK(t.points == 128);
  CHECK(config.source("batch") == Layer::preset);
  CHECK(config.origin("batch") == "preset paper300");
  CHECK(config.origin("lr") == "optimizer adamw");
}

TEST_CASE("recipes: lists combine variants and recipes, the later recipe wins") {
  CHECK(resolved({{"preset", "official,port"}}).model.preset == "port");
  CHECK(resolved({{"preset", "port, official"}}).model.preset == "port");
  CHECK(resolved({{"preset", "official,paper300"}}).points == 300);
  CHECK(resolved({{"preset", "paper300,official"}}).points == 1024);
  CHECK(option(resolved({{"preset", "wide,paper300"}, {"model", "egnn"}}), "hidden") == "128");
  CHECK(resolved({{"preset", "original"}}).augment.to_string() ==
        parse_augment("pointnet_original").to_string());
  // Without --preset no recipe is meant, although DGCNN's network is called `official` too.
  CHECK(resolved({{"model", "dgcnn"}}).optimizer.name == "adamw");
  for (const auto& wrong : std::vector<std::pair<std::string, std::string>>{
           {"paper30",
            "--preset: no preset of pointnet is called 'paper30'; there is port, "
            "original, paper300, official; did you mean 'paper300'?"},
           {"wide", "--preset: no preset of pointnet is called 'wide'"},
           {"port,", "--preset: no preset of pointnet is called ''"}}) {
    const auto error = error_of([&] { resolved({{"preset", wrong.first}}); });
    CHECK(error.first == ErrorKind::usage);
    CHECK_MESSAGE(contains(error.second, wrong.second), error.second);
  }
}

TEST_CASE("recipes: k is model.k where there is one, and said to be idle elsewhere") {
  for (const char* model : {"dgcnn", "egnn"}) {
    const TrainConfig t = resolved({{"model", model}, {"points", "128"}, {"k", "10"}});
    CHECK(option(t, "k") == "10");
    CHECK(t.notes.empty());
    CHECK(option(resolved({{"model", model}, {"k", "7"}, {"preset", "paper300"}}), "k") == "7");
    // One identity, however it was said.
    CHECK(resolved({{"model", model}, {"k", "10"}}).config_hash ==
          resolved({{"model", model}, {"model.k", "10"}}).config_hash);
  }
  const TrainConfig t = resolved({{"model", "pointnet"}, {"points", "128"}, {"k", "10"}});
  CHECK(t.notes == std::vector<std::string>{"--k 10 has no effect: pointnet has no neighbours"});
  CHECK(t.config_hash == resolved({{"model", "pointnet"}, {"points", "128"}}).config_hash);
  CHECK(resolved({{"model", "pointnet"}, {"preset", "paper300"}}).notes.empty());
  const auto error = error_of([] { resolved({{"k", "0"}}); });
  CHECK(error.second == "--k: k is expected to be at least 1, given 0");
  // A file's k yields to --set model.k.
  Config config = config_with({{"model", "egnn"}});
  config.set("k", "30", Layer::file, "a.toml:1");
  config.set("model.k", "5", Layer::set, "--set");
  CHECK(option(train_config_from(config), "k") == "5");
}

TEST_CASE("recipes: a recorded run resolves to itself") {
  const TempDir dir;
  for (const Flags& flags :
       {Flags{{"preset", "official"}, {"model", "dgcnn"}},
        Flags{{"preset", "official"}, {"model", "dgcnn"}, {"optimizer", "muon"}},
        Flags{{"preset", "wide,paper300"}, {"model", "egnn"}, {"k", "9"}},
        Flags{{"preset", "official"}, {"lr", "0.5"}}, Flags{}}) {
    Config config = config_with(flags);
    const TrainConfig first = train_config_from(config);
    CHECK(train_config_from(config).config_hash == first.config_hash);
    write_file_atomic(dir / "config.toml", config.to_toml());
    Config again = train_settings();
    again.load_toml(dir / "config.toml");
    const TrainConfig second = train_config_from(again);
    CHECK(second.config_hash == first.config_hash);
    CHECK(again.first_difference(config).empty());
    CHECK(second.model.preset == first.model.preset);
    CHECK(make_model(second.model).options == make_model(first.model).options);
  }
}

TEST_CASE("recipes: help and --print-config name everything that can be set") {
  const std::string help = train_help();
  for (const Recipe& r : recipes()) CHECK(contains(help, r.name + ": "));
  CHECK(contains(help, "dgcnn: optimizer.name=sgd lr=0.1 wd=0.0001"));
  for (const std::string& name : model_names()) {
    Config config = config_with({{"model", name}});
    const TrainConfig train = train_config_from(config);
    const std::string text = describe_settings(config, train);
    for (const ModelOption& o : model_info(name).options) {
      CHECK_MESSAGE(contains(text, "model." + o.name + " = " + o.default_value), name, o.name);
    }
    CHECK(contains(text, "optimizer.beta1 = 0.9"));
    for (const ModelPreset& p : model_info(name).presets) {
      CHECK(resolved({{"model", name}, {"preset", p.name}}).model.preset == p.name);
    }
  }
  Config wide = config_with({{"model", "egnn"}, {"preset", "wide"}, {"k", "9"}});
  const TrainConfig train = train_config_from(wide);
  CHECK(contains(describe_settings(wide, train), "model.hidden = 128"));
  CHECK(contains(describe_settings(wide, train), "model.k = 9"));
}

}  // namespace basin::tools
