// The registry of the probe's parts and the settings around it: order, dependencies, names, earlier
// names, the settings of weights that stand alone, published ratios, words for metrics.
#include "basin/tools/landscape_probe/part.h"

#include <algorithm>
#include <cmath>

#include "basin/tests/tools/helpers.h"
#include "basin/tools/landscape_probe/detail/probe.h"
#include "basin/tools/landscape_probe/probed.h"
#include "basin/tools/landscape_probe/settings.h"

namespace basin::tools {
namespace {

Config settings_of(const std::vector<std::pair<std::string, std::string>>& values,
                   const std::string& task = "modelnet") {
  register_builtin_tasks();
  Config config = probe_settings(task);
  for (const auto& [key, value] : values) config.set(key, value, Layer::flag, "--" + key);
  return config;
}

std::vector<std::string> asked(const std::string& list) {
  std::vector<std::string> out;
  for (const PartInfo* p : parts_asked_for(settings_of({{"parts", list}}))) out.push_back(p->name);
  return out;
}

LoadedProbe probe_of(const std::string& network, const std::string& optimizer,
                     const std::string& data) {
  LoadedProbe out;
  out.network = network;
  out.optimizer = optimizer;
  Record facts;
  out.facts = parse_record(facts.add("data", std::string_view(data)).line(), "facts");
  return out;
}

// modelnet under another name, with a loss that is the logarithm of no likelihood.
const std::string& task_without_likelihood() {
  static const std::string name = [] {
    register_builtin_tasks();
    TaskInfo info = task_info("modelnet");
    info.name = "without_likelihood";
    info.make = [make = info.make](const TaskConfig& config, const OptionReader& options) {
      Task task = make(config, options);
      task.likelihood = Likelihood::none;
      return task;
    };
    register_task(info);
    return info.name;
  }();
  return name;
}

}  // namespace

TEST_CASE("probe parts: Basin's own come first, a name is taken once, dependencies before") {
  const std::vector<std::string> names = measured_part_names();
  const std::vector<std::string> own{"curvature", "spectrum",        "slices",
                                     "ranks",     "representations", "sharpness"};
  REQUIRE(names.size() >= own.size());
  CHECK(std::equal(own.begin(), own.end(), names.begin()));
  CHECK(error_of([] { register_part({.name = "curvature", .summary = ""}); }).second ==
        "registry: the part 'curvature' of the probe exists already");
  CHECK(error_of([] { register_part({}); }).first == ErrorKind::usage);
  CHECK(asked("sharpness,slices,curvature") ==
        std::vector<std::string>{"curvature", "slices", "sharpness"});
  CHECK(asked("slices") == std::vector<std::string>{"slices"});
  CHECK(asked("none").empty());
  CHECK(contains(error_of([] { asked("slicez"); }).second, "did you mean 'slices'?"));
  // Every setting that a part depends on is one of the program's.
  const Config config = settings_of({});
  for (const PartInfo& part : parts()) {
    for (const std::string& name : part.depends_on) CHECK_MESSAGE(config.has(name), name);
  }
}

TEST_CASE("probe settings: earlier names, and the keys of records that keep them") {
  const Config config = settings_of({{"shapes", "7"}, {"rank_shapes", "8"}, {"slice-shapes", "9"}});
  CHECK(config.integer("examples") == 7);
  CHECK(config.integer("rank_examples") == 8);
  CHECK(config.integer("slice_examples") == 9);
  CHECK(identity_key("rank_examples", "shape") == "probe_rank_shapes");
  CHECK(identity_key("examples", "molecule") == "probe_molecules");
  CHECK(identity_key("top", "shape") == "probe_top");
  const RecordFields id = parse_record(
      identity_of(Record(), "shape", config, {"examples", "dtype"}).line(), "identity");
  CHECK(id.text("probe_shapes") == "7");
  CHECK(id.text("probe_dtype") == "f32");
  CHECK(metric_key("overall_accuracy") == "accuracy");
  CHECK(metric_word("mean_class_accuracy") == "mean class accuracy");
  CHECK(metric_title({"overall_accuracy", "%"}) == "accuracy, %");
  CHECK(metric_title({"mae", "eV"}) == "mae, eV");
}

TEST_CASE("probe settings: what says which weights they are") {
  const Config config = settings_of({{"model", "dgcnn"},
                                     {"model.k", "4"},
                                     {"points", "24"},
                                     {"batch", "5"},
                                     {"seed", "3"},
                                     {"data", "somewhere"},
                                     {"task.limit", "12"}});
  const Config training = training_settings_of(config);
  CHECK(training.text("model.name") == "dgcnn");
  CHECK(training.under("model.").at("k") == "4");
  CHECK(training.integer("points") == 24);
  CHECK(training.text("data") == "somewhere");
  CHECK(training.integer("limit") == 12);
  CHECK(training.integer("batch") == 32);  // the probe's own meaning wins
  CHECK(training.integer("seed") == 0);
  CHECK(given_training_setting(config) != "");
  CHECK(given_training_setting(settings_of({{"batch", "5"}, {"data", "x"}})).empty());
  CHECK(given_training_setting(settings_of({{"model.k", "4"}})) == "model.k");
  CHECK(contains(error_of([] {
                   training_settings_of(settings_of({{"task.sizes", "1"}}));
                 }).second,
                 "the task modelnet has no option 'sizes'"));
}

TEST_CASE("probe parts: without a likelihood Gauss-Newton is refused by name") {
  const std::string weights =
      (fs::path(BASIN_SOURCE_DIR) / "tests/fixtures/parity/dgcnn.safetensors").string();
  const Config config = settings_of({{"model", "dgcnn"},
                                     {"model.k", "4"},
                                     {"model.widths", "6,7,8,9,14,12,10"},
                                     {"points", "16"},
                                     {"curvature", "gauss_newton"}},
                                    task_without_likelihood());
  const TempDir dir;
  const Trained trained = load_probed(weights, config);
  CHECK(trained.optimizer() == "unknown");
  CHECK(trained.task.model.outputs == 5);
  const ProbeContext context = probe_context(trained, config, dir.path());
  const PartInfo& curvature = parts().front();
  REQUIRE(curvature.name == "curvature");
  const auto [kind, sentence] =
      error_of([&] { curvature.measure(context, PartFiles(dir.path()), Record()); });
  CHECK(kind == ErrorKind::usage);
  CHECK(sentence ==
        "--curvature: the loss of the task without_likelihood is the negative logarithm of no "
        "likelihood, so there is no Gauss-Newton matrix to measure; --curvature hessian");
  CHECK(parameters_in(context, "all").empty());
  CHECK(parameters_in(context, "layer:linear3").size() >= 1);
  CHECK(contains(error_of([&] { parameters_in(context, "group:muon"); }).second,
                 "no parameter of dgcnn unknown is in 'group:muon'"));
}

TEST_CASE("published ratios: those compiled in, and those of a file") {
  const PublishedRatios built_in;
  const LoadedProbe adam = probe_of("dgcnn", "adamw", "data/modelnet40_ply"),
                    muon = probe_of("dgcnn", "muon (b)", "data/modelnet40_ply");
  CHECK(built_in.ratio(adam, muon, "λ max") == "11.22");
  CHECK(built_in.ratio(adam, muon, "trace") == "6.61");
  CHECK(built_in.ratio(adam, muon, "gradient norm").empty());
  CHECK(built_in.ratio(muon, adam, "λ max").empty());
  CHECK(built_in.ratio(probe_of("dgcnn", "adamw", "embedded"), muon, "λ max").empty());
  CHECK(built_in.ratio(probe_of("egnn", "adam", "modelnet40"), muon, "trace") == "3.66");

  const TempDir dir;
  const auto refused = [&](const std::string& text, const char* sentence) {
    write_file_atomic(dir / "own.toml", text);
    const auto [kind, words] = error_of([&] { PublishedRatios own(dir / "own.toml"); });
    CHECK(kind == ErrorKind::usage);
    CHECK_MESSAGE(contains(words, sentence), words);
    CHECK_MESSAGE(contains(words, "own"), words);
  };
  write_file_atomic(dir / "own.toml",
                    "[study.own]\ndata = \"embedded\"\nover = \"sgd\"\nunder = \"muon\"\n"
                    "[study.own.dgcnn]\ntrace = 2\n");
  const PublishedRatios own(dir / "own.toml");
  CHECK(own.ratio(probe_of("dgcnn", "muon", "embedded"), probe_of("dgcnn", "sgd", ""), "trace") ==
        "2");
  CHECK(own.ratio(adam, muon, "trace").empty());
  refused("[study.own]\nover = \"a\"\nunder = \"b\"\n", "is expected to say data, over and under");
  refused("[study.own]\nnorm = 3\n", "unknown key 'norm'");
  refused("[study.own.dgcnn]\ntrace = \"large\"\n", "is expected to be a number, given 'large'");
  refused("[own]\ndata = \"x\"\n", "unknown key 'own.data'");
}

}  // namespace basin::tools
