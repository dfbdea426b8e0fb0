// Layers of the configuration, their order, the sentences for what is wrong, and the round trip
// through the recorded file.
#include "basin/tools/shell/config.h"

#include <algorithm>

#include "basin/tests/tools/helpers.h"
#include "basin/tools/shell/cli.h"

namespace basin::tools {
namespace {

Config small() {
  return Config({{"lr", Kind::number, "0.001", "rate"},
                 {"label_smoothing", Kind::number, "0", "smoothing"},
                 {"epochs", Kind::integer, "20", "passes"},
                 {"eval_only", Kind::flag, "false", "no training"},
                 {"optimizer.name", Kind::text, "adamw", "rule", Purpose::result, "optimizer"},
                 {"threads", Kind::integer, "0", "threads", Purpose::record},
                 {"out", Kind::text, "", "folder", Purpose::action}},
                {"optimizer."});
}

struct Variable {
  explicit Variable(std::string name, const std::string& value) : name(std::move(name)) {
    ::setenv(this->name.c_str(), value.c_str(), 1);
  }
  ~Variable() { ::unsetenv(name.c_str()); }
  std::string name;
};

}  // namespace

TEST_CASE("config: flag > --set > environment > file > preset > default") {
  const TempDir dir;
  write_file_atomic(dir / "run.toml", std::string_view("lr = 0.3\nepochs = 3\n"));
  const Variable variable("BASIN_LR", "0.4");
  const Layer order[] = {Layer::builtin,     Layer::preset, Layer::file,
                         Layer::environment, Layer::set,    Layer::flag};
  const double expected[] = {0.001, 0.2, 0.3, 0.4, 0.5, 0.6};
  // Whatever the order in which the layers arrive.
  for (const bool reversed : {false, true}) {
    for (int last = 0; last < 6; ++last) {
      Config config = small();
      for (int i = 1; i <= last; ++i) {
        const int layer = reversed ? last + 1 - i : i;
        if (order[layer] == Layer::file) {
          config.load_toml(dir / "run.toml");
        } else if (order[layer] == Layer::environment) {
          config.load_environment();
        } else {
          config.set("lr", str(expected[layer]), order[layer], "test");
        }
      }
      CHECK(config.number("lr") == expected[last]);
      CHECK(config.source("lr") == order[last]);
    }
  }
}

TEST_CASE("config: command line fills the layers") {
  const TempDir dir;
  const std::string file = (dir / "run.toml").string();
  write_file_atomic(dir / "run.toml",
                    std::string_view("epochs = 3\nlabel-smoothing = 0.1\n[optimizer]\nname = "
                                     "\"muon\"\nns_steps = 4\ncoefficients = [1.5, -0.5]\n"));
  Config config = small();
  const char* argv[] = {"prog",     "--config", file.c_str(),           "--set",
                        "epochs=5", "--set",    "optimizer.ns_steps=6", "--eval-only",
                        "--lr",     "1e-2"};
  parse_command_line({"prog", "test"}, config, 10, argv);
  CHECK(config.integer("epochs") == 5);
  CHECK(config.number("lr") == 0.01);
  CHECK(config.number("label_smoothing") == 0.1);
  CHECK(config.flag("eval_only"));
  CHECK(config.text("optimizer.name") == "muon");
  const std::map<std::string, std::string> options{{"coefficients", "1.5,-0.5"}, {"ns_steps", "6"}};
  CHECK(config.under("optimizer.") == options);
  CHECK(contains(config.describe(), "# --set"));
  CHECK(contains(config.describe(), "# file: " + file + ":2"));
}

TEST_CASE("config: unknown keys name the nearest known one and where they stand") {
  const TempDir dir;
  Config config = small();
  const auto by_set = error_of([&] { config.set("epoch", "3", Layer::set, "--set"); });
  CHECK(by_set.first == ErrorKind::usage);
  CHECK(by_set.second == "--set: unknown key 'epoch'; did you mean 'epochs'?");

  const std::string file = (dir / "run.toml").string();
  write_file_atomic(dir / "run.toml", std::string_view("lr = 1\n\nlabel_smothing = 0.1\n"));
  const auto by_file = error_of([&] { config.load_toml(dir / "run.toml"); });
  CHECK(by_file.first == ErrorKind::usage);
  CHECK(by_file.second ==
        file + ":3: unknown key 'label_smothing'; did you mean 'label_smoothing'?");

  const char* argv[] = {"prog", "--epoch", "3"};
  const auto by_flag = error_of([&] { parse_command_line({"prog", "test"}, config, 3, argv); });
  CHECK(by_flag.first == ErrorKind::usage);
  CHECK(by_flag.second == "unknown option '--epoch'; did you mean --epochs?");
}

TEST_CASE("config: files as other systems save them, and files of another kind") {
  const TempDir dir;
  Config config = small();
  write_file_atomic(dir / "a.toml",
                    std::string_view("\xEF\xBB\xBFlr = 0.3\r\n# c\r\nepochs = 3\r\n"));
  config.load_toml(dir / "a.toml");
  CHECK((config.number("lr") == 0.3 && config.integer("epochs") == 3));
  write_file_atomic(dir / "b.toml", std::string_view("\xFF\xFEl\0r\0", 6));
  const auto wide = error_of([&] { config.load_toml(dir / "b.toml"); });
  CHECK(wide.first == ErrorKind::usage);
  CHECK(contains(wide.second, "b.toml"));
  CHECK(contains(wide.second, "this is a text in UTF-16, which must be saved as UTF-8"));
  write_file_atomic(dir / "c.toml", std::string_view("<!DOCTYPE html>\n"));
  CHECK(contains(error_of([&] { config.load_toml(dir / "c.toml"); }).second, "this is a web page"));
}

TEST_CASE("config: a bad TOML file is a usage error with file and line") {
  const TempDir dir;
  Config config = small();
  const std::string file = (dir / "bad.toml").string();
  const auto load = [&](std::string_view text) {
    write_file_atomic(dir / "bad.toml", text);
    return error_of([&] { config.load_toml(dir / "bad.toml"); });
  };
  const auto syntax = load("epochs = 3\nlr = = 1\n");
  CHECK(syntax.first == ErrorKind::usage);
  CHECK(contains(syntax.second, file + ":2: column "));
  const auto type = load("epochs = 1.5\n");
  CHECK(type.first == ErrorKind::usage);
  CHECK(type.second == file + ":1: epochs is expected to be an integer, given '1.5'");
  CHECK(contains(load("lr = 2026-01-01\n").second, file + ":1: lr is expected to be a string"));
  // Letters that the parser's table of white space once called unreachable.
  for (const char* letter : {"\xc2\xa1", "\xc3\xa9", "\xd2\x96", "\xd2\x99"}) {
    const auto foreign = load(str("lr = 1\na", letter, "b = 2\n"));
    CHECK(foreign.first == ErrorKind::usage);
    CHECK(contains(foreign.second, file + ":2: "));
  }
  const auto missing = error_of([&] { config.load_toml(dir / "none.toml"); });
  CHECK(missing.first == ErrorKind::usage);
}

TEST_CASE("config: the recorded file reads back as itself, actions are left out") {
  const TempDir dir;
  Config config = small();
  config.set("lr", "0.1", Layer::flag, "--lr");
  config.set("out", "somewhere", Layer::flag, "--out");
  config.set("optimizer.name", "muon", Layer::set, "--set");
  config.set("optimizer.view", "reference \"x\"", Layer::set, "--set");
  config.set("optimizer.ns_steps", "7", Layer::set, "--set");
  write_file_atomic(dir / "config.toml", config.to_toml());
  CHECK(!contains(config.to_toml(), "somewhere"));
  Config again = small();
  again.load_toml(dir / "config.toml");
  CHECK(again.to_toml() == config.to_toml());
  CHECK(again.first_difference(config).empty());
  CHECK(again.hash() == config.hash());
  again.set("threads", "2", Layer::flag, "--threads");
  CHECK(again.hash() == config.hash());  // does not decide the numbers
  again.set("epochs", "21", Layer::flag, "--epochs");
  CHECK(again.hash() != config.hash());
  CHECK(again.first_difference(config) == "epochs");
}

TEST_CASE("config: a setting that came later leaves the hash alone at its default") {
  const auto hash_with = [](bool added, const char* value) {
    std::vector<Setting> settings{{"lr", Kind::number, "0.001", "rate"}};
    if (added) settings.push_back({.name = "later", .initial = "keep", .help = "", .added = true});
    Config config(std::move(settings), {});
    if (added) config.set("later", value, Layer::flag, "--later");
    return config.hash();
  };
  CHECK(hash_with(true, "keep") == hash_with(false, ""));
  CHECK(hash_with(true, "drop") != hash_with(false, ""));
}

TEST_CASE("config: options of a task that came later are marked as such") {
  // A training from before --test-repeats goes on.
  Config config = modelnet_settings();
  const std::string hash = config.hash();
  config.set("test_repeats", "keep", Layer::flag, "--test-repeats");
  CHECK(config.hash() == hash);
  const std::vector<OptionInfo>& options = task_info("modelnet").options;
  const auto repeats = std::ranges::find(options, "test_repeats", &OptionInfo::name);
  REQUIRE(repeats != options.end());
  CHECK(repeats->added);
  config.set("test_repeats", "drop", Layer::flag, "--test-repeats");
  CHECK(config.hash() != hash);
}

TEST_CASE("config: a near miss in the environment draws a warning") {
  const Variable variable("BASIN_EPOCH", "3");
  Config config = small();
  const CaughtWarnings caught;
  config.load_environment();
  REQUIRE(caught.texts.size() == 1);
  CHECK(caught.texts[0] == "environment: BASIN_EPOCH is not known; did you mean BASIN_EPOCHS?");
}

TEST_CASE("config: defaults of the optimizers") {
  const auto resolved = [](const std::string& optimizer) {
    Config config = modelnet_settings();
    config.set("optimizer", optimizer, Layer::flag, "--optimizer");
    return run_settings_from(config).train;
  };
  CHECK(*resolved("adam").optimizer.lr == 1e-3);
  CHECK(*resolved("adamw").optimizer.lr == 1e-3);
  CHECK(*resolved("sgd").optimizer.lr == 0.1);
  const TrainOptions muon = resolved("muon");
  CHECK(*muon.optimizer.lr == 0.02);
  CHECK(muon.optimizer.options.at("aux_lr") == "0.001");
  CHECK(muon.schedule == "cosine");

  const auto wrong = error_of([&] { resolved("moun"); });
  CHECK(wrong.first == ErrorKind::usage);
  CHECK(contains(wrong.second, "--optimizer: "));
  CHECK(contains(wrong.second, "muon"));
  Config config = tiny_settings("muon");
  config.set("optimizer.ns_step", "3", Layer::set, "--set");
  const auto option = error_of([&] { run_settings_from(config); });
  CHECK(option.second == "--set: optimizer muon has no option 'ns_step'; did you mean 'ns_steps'?");
}

TEST_CASE("config: warm-up joins the schedule, ranges are checked") {
  Config config = tiny_settings("adamw");
  config.set("warmup", "2e", Layer::flag, "--warmup");
  CHECK(run_settings_from(config).train.schedule == "cosine:warmup=2e");
  for (const auto& wrong : std::map<std::string, std::string>{{"batch", "0"},
                                                              {"val_fraction", "1"},
                                                              {"label_smoothing", "-0.1"},
                                                              {"dtype", "i32"},
                                                              {"schedule", "cosin"},
                                                              {"augment", "sclae"},
                                                              {"pose", "z/y"},
                                                              {"up_axis", "w"},
                                                              {"selection", "last"},
                                                              {"normalise", "sphere"},
                                                              {"eval_every", "2x"},
                                                              {"checkpoint_every", "0e"},
                                                              {"probe", "every=0"},
                                                              {"graph", "maybe"},
                                                              {"on_nonfinite", "go"},
                                                              {"points", "0"},
                                                              {"limit", "-1"},
                                                              {"preset", "por"}}) {
    Config bad = tiny_settings("adamw");
    const std::string& key = wrong.first;
    bad.set(key, wrong.second, Layer::flag, "--" + key);
    const auto error = error_of([&] { task_from(run_settings_from(bad), bad); });
    CHECK_MESSAGE(error.first == ErrorKind::usage, key, ": ", error.second);
    CHECK_MESSAGE(error.second.starts_with("--" + key), error.second);
  }
}

}  // namespace basin::tools
