// Values of every kind as they may be spelled, the names that the environment may hold, and how the
// result is described.
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <utility>

#include "basin/tests/tools/helpers.h"
#include "basin/tools/shell/config.h"

namespace basin::tools {
namespace {

Config settings() {
  return Config({{"lr", Kind::number, "", "rate"},
                 {"epochs", Kind::integer, "20", "passes"},
                 {"eval_only", Kind::flag, "false", "no training"},
                 {"name", Kind::text, "", "name"},
                 {"threads", Kind::integer, "0", "", Purpose::record, "workers", "BASIN_CORES"},
                 {"loss.eps", Kind::number, "0", ""}},
                {"model."});
}

std::pair<ErrorKind, std::string> refused(const std::string& key, const std::string& value) {
  Config config = settings();
  return error_of([&] { config.set(key, value, Layer::set, "--set"); });
}

// Set while it lives; afterwards what was there before.
class Variables {
 public:
  explicit Variables(const std::vector<std::pair<std::string, std::string>>& set) {
    for (const auto& [name, value] : set) {
      const char* old = std::getenv(name.c_str());
      before_.emplace_back(name, old ? std::optional<std::string>(old) : std::nullopt);
      ::setenv(name.c_str(), value.c_str(), 1);
    }
  }
  ~Variables() {
    for (const auto& [name, old] : before_) {
      old ? ::setenv(name.c_str(), old->c_str(), 1) : ::unsetenv(name.c_str());
    }
  }
  Variables(const Variables&) = delete;
  Variables& operator=(const Variables&) = delete;

 private:
  std::vector<std::pair<std::string, std::optional<std::string>>> before_;
};

}  // namespace

TEST_CASE("config values: every spelling of a flag, and numbers that are none") {
  Config config = settings();
  for (const char* yes : {"true", "on", "1", "yes"}) {
    config.set("eval_only", yes, Layer::set, "--set");
    CHECK_MESSAGE(config.flag("eval_only"), yes);
    for (const char* no : {"false", "off", "0", "no"}) {
      config.set("eval-only", no, Layer::set, "--set");
      CHECK_MESSAGE(!config.flag("eval_only"), no);
    }
  }
  for (const char* bad : {"", "maybe", "True", "2"}) {
    CHECK(refused("eval_only", bad).second ==
          str("--set: eval_only is expected to be true or false, given '", bad, "'"));
  }
  for (const char* bad : {"", "fast", "1e", "1,5"}) {
    CHECK(refused("lr", bad).second ==
          str("--set: lr is expected to be a number, given '", bad, "'"));
  }
  CHECK(refused("model.", "1").first == ErrorKind::usage);  // a prefix is no name
  CHECK(error_of([&] { config.text("nothing"); }).first == ErrorKind::internal);
  CHECK(config.has("lr"));
  CHECK(!config.has("nothing"));
}

TEST_CASE("config values: names of the environment") {
  const Variables set({{"BASIN_CORES", "3"},
                       {"BASIN_LOSS_EPS", "0.5"},
                       {"BASIN_DATA", "/data"},
                       {"BASIN_SYNC", "1"},
                       {"BASIN_EMULATION_ORDER", "x"},
                       {"BASIN_QQQQQQQQQQQQQQQQ", "x"},
                       {"BASINET", "x"}});
  Config config = settings();
  const CaughtWarnings caught;
  config.load_environment();
  CHECK(config.integer("threads") == 3);
  CHECK(config.number("loss.eps") == 0.5);
  CHECK(config.origin("threads") == "BASIN_CORES");
  CHECK(config.origin("epochs") == "default of epochs");
  CHECK(config.origin("model.none") == "default of model.none");
  CHECK(caught.texts.empty());  // of Basin's own names, and of those that resemble none
}

TEST_CASE("config values: an entry of the environment that is no pair") {
  char lone[] = "BASIN_EPOCHS";
  char* entries[] = {lone, nullptr};
  char** const before = std::exchange(environ, entries);
  Config config = settings();
  config.load_environment();
  environ = before;
  CHECK(config.integer("epochs") == 20);
}

TEST_CASE("config values: unset, long and open values are described and recorded") {
  const TempDir dir;
  Config config = settings();
  config.set("name", std::string(60, 'n'), Layer::flag, "--name");
  config.set("model.depth", "3", Layer::set, "--set");
  config.set("model.rate", "nan", Layer::set, "--set");
  config.set("model.share", "0.25", Layer::set, "--set");
  config.set("model.on", "true", Layer::set, "--set");
  config.set("model.a{b", "", Layer::set, "--set");
  const std::string toml = config.to_toml();
  CHECK(!contains(toml, "lr ="));
  CHECK(contains(toml, "\n[loss]\neps = 0\n"));
  CHECK(contains(
      toml, "\n[model]\n\"a{b\" = \"\"\ndepth = 3\non = \"true\"\nrate = \"nan\"\nshare = 0.25\n"));
  const std::string text = config.describe();
  CHECK(contains(text, "name = \"" + std::string(60, 'n') + "\" # flag\n"));
  CHECK(contains(text, "# default\n"));
  CHECK(contains(text, "# --set: --set\n"));

  write_file_atomic(dir / "run.toml", std::string_view("eval_only = true\nlr = 0.5\n"
                                                       "[model]\nlist = [true, 1, 0.5, \"x\"]\n"));
  Config file = settings();
  file.load_toml(dir / "run.toml");
  CHECK(file.flag("eval_only"));
  CHECK(file.under("model.").at("list") == "true,1,0.5,x");
  CHECK(file.first_difference(config) == "lr");
  Config without = settings();
  without.set("eval_only", "true", Layer::set, "--set");
  without.set("lr", "0.5", Layer::set, "--set");
  CHECK(file.first_difference(without) == "model.list");
  CHECK(without.first_difference(file) == "model.list");
  file.set("lr", "0.1", Layer::preset, "preset");  // a layer below stays below
  CHECK(file.number("lr") == 0.5);
}

}  // namespace basin::tools
