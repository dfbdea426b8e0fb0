// Presets as recipes: what they set for each network, who wins over whom, what goes with the
// optimizer, the neighbours k, and that a recorded run resolves to itself.
#include "basin/tools/shell/recipes.h"

#include "basin/tests/tools/helpers.h"
#include "basin/train/tasks/point_clouds.h"

namespace basin::tools {
namespace {

using Flags = std::vector<std::pair<std::string, std::string>>;

Config config_with(const Flags& flags) {
  Config config = modelnet_settings();
  for (const auto& [key, value] : flags) config.set(key, value, Layer::flag, "--" + key);
  return config;
}

RunSettings resolved(const Flags& flags) {
  Config config = config_with(flags);
  return run_settings_from(config);
}

CloudSettings clouds_of(const RunSettings& settings) {
  return cloud_settings(settings.task.options, settings.task.seed);
}

std::string option(const RunSettings& settings, const std::string& name) {
  return make_model(settings.task.model).options.at(name);
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
    const RunSettings t = resolved({{"preset", c.preset}, {"model", c.model}});
    CHECK(t.train.optimizer.name == c.optimizer);
    CHECK(*t.train.optimizer.lr == c.lr);
    CHECK(*t.train.optimizer.weight_decay == c.wd);
    CHECK(t.train.schedule == c.schedule);
    CHECK(clouds_of(t).label_smoothing == c.smoothing);
    CHECK(clouds_of(t).points == c.points);
    CHECK(t.train.batch == 32);
    CHECK(t.train.epochs == 250);
    CHECK(t.task.model.preset == c.variant);
    CHECK(clouds_of(t).augment.to_string() == parse_augment(c.augment).to_string());
    CHECK(t.notes.empty());
    if (std::string(c.model) != "pointnet") CHECK(option(t, "k") == "20");
  }
  CHECK(resolved({{"preset", "official"}, {"model", "dgcnn"}})
            .train.optimizer.options.at("momentum") == "0.9");
}

TEST_CASE("recipes: a variant of a network brings its augmentation and smoothing along") {
  const RunSettings t = resolved({{"preset", "trainable"}, {"model", "egnn"}});
  CHECK(option(t, "moments") == "both");
  CHECK(option(t, "embedding") == "256");
  CHECK(option(t, "k") == "10");
  CHECK(clouds_of(t).augment.to_string() == parse_augment("iso_scale,shift,shuffle").to_string());
  CHECK(clouds_of(t).label_smoothing == 0.2);
  CHECK(*t.train.optimizer.lr == 1e-3);  // rates are the optimizer's
  CHECK(option(resolved({{"preset", "trainable"}, {"model", "egnn"}, {"k", "20"}}), "k") == "20");
}

TEST_CASE("recipes: precedence") {
  const auto lr = [](Flags flags) {
    flags.insert(flags.end(), {{"preset", "official"}, {"model", "dgcnn"}});
    return *resolved(flags).train.optimizer.lr;
  };
  CHECK(lr({}) == 0.1);
  CHECK(lr({{"lr", "0.05"}}) == 0.05);
  CHECK(lr({{"optimizer", "sgd"}}) == 0.1);
  CHECK(lr({{"optimizer", "muon"}}) == 0.02);
  // Another optimizer takes neither rate nor decay nor options of the recipe along.
  const RunSettings other =
      resolved({{"preset", "official"}, {"model", "dgcnn"}, {"optimizer", "adam"}});
  CHECK(*other.train.optimizer.lr == 1e-3);
  CHECK(*other.train.optimizer.weight_decay == 0);
  CHECK(other.train.optimizer.options.empty());
  CHECK(clouds_of(other).label_smoothing == 0.2);
  // A file wins over a recipe, a flag over the file.
  const TempDir dir;
  write_file_atomic(dir / "a.toml", std::string_view("epochs = 7\npoints = 256\n"));
  Config config = config_with({{"preset", "paper300"}, {"points", "128"}});
  config.load_toml(dir / "a.toml");
  const RunSettings t = run_settings_from(config);
  CHECK(t.train.epochs == 7);
  CHECK(clouds_of(t).points == 128);
  CHECK(config.source("batch") == Layer::preset);
  CHECK(config.origin("batch") == "preset paper300");
  CHECK(config.origin("lr") == "optimizer adamw");
}

TEST_CASE("recipes: lists combine variants and recipes, the later recipe wins") {
  CHECK(resolved({{"preset", "official,port"}}).task.model.preset == "port");
  CHECK(resolved({{"preset", "port, official"}}).task.model.preset == "port");
  CHECK(clouds_of(resolved({{"preset", "official,paper300"}})).points == 300);
  CHECK(clouds_of(resolved({{"preset", "paper300,official"}})).points == 1024);
  CHECK(option(resolved({{"preset", "wide,paper300"}, {"model", "egnn"}}), "hidden") == "128");
  CHECK(clouds_of(resolved({{"preset", "original"}})).augment.to_string() ==
        parse_augment("pointnet_original").to_string());
  // Without --preset no recipe is meant, although DGCNN's network is called `official` too.
  CHECK(resolved({{"model", "dgcnn"}}).train.optimizer.name == "adamw");
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
    const RunSettings t = resolved({{"model", model}, {"points", "128"}, {"k", "10"}});
    CHECK(option(t, "k") == "10");
    CHECK(t.notes.empty());
    CHECK(option(resolved({{"model", model}, {"k", "7"}, {"preset", "paper300"}}), "k") == "7");
    // One identity, however it was said.
    CHECK(resolved({{"model", model}, {"k", "10"}}).train.config_hash ==
          resolved({{"model", model}, {"model.k", "10"}}).train.config_hash);
  }
  const RunSettings t = resolved({{"model", "pointnet"}, {"points", "128"}, {"k", "10"}});
  CHECK(t.notes == std::vector<std::string>{"--k 10 has no effect: pointnet has no neighbours"});
  CHECK(t.train.config_hash ==
        resolved({{"model", "pointnet"}, {"points", "128"}}).train.config_hash);
  CHECK(resolved({{"model", "pointnet"}, {"preset", "paper300"}}).notes.empty());
  const auto error = error_of([] { resolved({{"k", "0"}}); });
  CHECK(error.second == "--k: k is expected to be at least 1, given 0");
  // A file's k yields to --set model.k.
  Config config = config_with({{"model", "egnn"}});
  config.set("k", "30", Layer::file, "a.toml:1");
  config.set("model.k", "5", Layer::set, "--set");
  CHECK(option(run_settings_from(config), "k") == "5");
}

TEST_CASE("recipes: a recorded run resolves to itself") {
  const TempDir dir;
  for (const Flags& flags :
       {Flags{{"preset", "official"}, {"model", "dgcnn"}},
        Flags{{"preset", "official"}, {"model", "dgcnn"}, {"optimizer", "muon"}},
        Flags{{"preset", "wide,paper300"}, {"model", "egnn"}, {"k", "9"}},
        Flags{{"preset", "official"}, {"lr", "0.5"}}, Flags{}}) {
    Config config = config_with(flags);
    const RunSettings first = run_settings_from(config);
    CHECK(run_settings_from(config).train.config_hash == first.train.config_hash);
    write_file_atomic(dir / "config.toml", config.to_toml());
    Config again = modelnet_settings();
    again.load_toml(dir / "config.toml");
    const RunSettings second = run_settings_from(again);
    CHECK(second.train.config_hash == first.train.config_hash);
    CHECK(again.first_difference(config).empty());
    CHECK(second.task.model.preset == first.task.model.preset);
    CHECK(make_model(second.task.model).options == make_model(first.task.model).options);
  }
}

TEST_CASE("recipes: help and --print-config name everything that can be set") {
  const std::string help = train_help("modelnet");
  for (const Recipe& r : task_info("modelnet").recipes) CHECK(contains(help, r.name + ": "));
  CHECK(contains(help, "dgcnn: optimizer.name=sgd [sgd: lr=0.1 wd=0.0001"));
  // What no recipe asks for is said too, and rows of an optimizer name it.
  CHECK(contains(help, "all: [muon: optimizer.aux_lr=0.001] [sgd: lr=0.1 optimizer.momentum=0.9]"));
  CHECK(contains(train_help("graph"),
                 "optimizer.name=adamw [adam: lr=0.001 wd=0] [adamw: lr=0.001 wd=0]"));
  for (const std::string& name : model_names()) {
    Config config = config_with({{"model", name}});
    const RunSettings train = run_settings_from(config);
    const std::string text = describe_settings(config, train);
    for (const OptionInfo& o : model_info(name).options) {
      CHECK_MESSAGE(contains(text, "model." + o.name + " = " + o.default_value), name, o.name);
    }
    CHECK(contains(text, "optimizer.beta1 = 0.9"));
    for (const ModelPreset& p : model_info(name).presets) {
      CHECK(resolved({{"model", name}, {"preset", p.name}}).task.model.preset == p.name);
    }
  }
  Config wide = config_with({{"model", "egnn"}, {"preset", "wide"}, {"k", "9"}});
  const RunSettings train = run_settings_from(wide);
  CHECK(contains(describe_settings(wide, train), "model.hidden = 128"));
  CHECK(contains(describe_settings(wide, train), "model.k = 9"));
}

}  // namespace basin::tools
