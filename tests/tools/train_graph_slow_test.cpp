// train_graph from the command line: recipes, resume to the same bits, predictions, and probes of
// what it trained.
#include <algorithm>

#include "basin/tests/datasets/graph_files.h"
#include "basin/tests/tools/helpers.h"
#include "basin/tools/shell/recipes.h"

namespace basin::tools {
namespace {

Config graph_config(const std::vector<std::pair<std::string, std::string>>& flags) {
  register_builtin_tasks();
  Config config = train_settings("graph");
  for (const auto& [key, value] : flags) config.set(key, value, Layer::flag, key);
  apply_presets(config);
  return config;
}

const std::string kTinyGraph =
    "--threads 1 --batch 32 --limit 100 --set model.hidden=8 --set model.layers=2 ";

TEST_CASE("train_graph: the recipes are the published ones, Muon has the house's rate") {
  const Config lrgb = graph_config({{"preset", "lrgb"}});
  CHECK(lrgb.text("optimizer.name") == "adamw");
  CHECK(lrgb.number("lr") == 1e-3);
  CHECK(lrgb.number("wd") == 0);
  CHECK(lrgb.integer("batch") == 128);
  CHECK(lrgb.integer("epochs") == 500);
  CHECK(lrgb.text("schedule") == "plateau:factor=0.5,patience=20,min_scale=0.01");
  const Config tuned = graph_config({{"preset", "tuned"}});
  CHECK(tuned.integer("batch") == 200);
  CHECK(tuned.number("clip") == 1);
  CHECK(tuned.text("warmup") == "5e");
  CHECK(tuned.text("schedule") == "cosine");
  const Config zinc = graph_config({{"preset", "zinc"}});
  CHECK(zinc.text("optimizer.name") == "adam");
  CHECK(zinc.integer("epochs") == 1000);
  const Config muon = graph_config({{"preset", "zinc"}, {"optimizer.name", "muon"}});
  CHECK(muon.number("lr") == 0.02);
  CHECK(muon.text("optimizer.aux_lr") == "0.001");
  CHECK(muon.integer("batch") == 128);
}

TEST_CASE("train_graph: trains, resumes to the same bits, is measured and probed") {
  const TempDir dir;
  const auto graph = [&](const std::string& arguments) {
    return run_built(dir, "train_graph", arguments);
  };
  const Finished whole = graph(kTinyGraph + "--optimizer muon --epochs 2 --checkpoint-every 2 " +
                               "--keep 0 --probe every=1,examples=16 --out a");
  REQUIRE_MESSAGE(whole.code == 0, whole.err);
  const Finished again = graph("--resume a/ckpt/step-2 --out b");
  REQUIRE_MESSAGE(again.code == 0, again.err);
  CHECK(sha256_hex_of_file(dir / "a/ckpt/step-6/model.safetensors") ==
        sha256_hex_of_file(dir / "b/ckpt/step-6/model.safetensors"));
  CHECK(contains(read_text_file(dir / "a/metrics.jsonl"), "\"nuclear_over_input_rank\": "));
  const Finished measured = graph("--resume a --eval-only --equivariance");
  CHECK_MESSAGE(measured.code == 0, measured.err);
  const Finished other = graph(kTinyGraph + "--epochs 2 --out c");
  REQUIRE_MESSAGE(other.code == 0, other.err);
  const std::string probe = " --examples 24 --parts ranks,curvature --lanczos-steps 6 --probes 2";
  const Finished compared = run_built(dir, "landscape_probe", "compare a c" + probe);
  CHECK_MESSAGE(compared.code == 0, compared.err);
  CHECK(contains(read_text_file(dir / "runs/compare-a-c/report.html"),
                 "gradient nuclear rank / input stable rank"));
  const Finished refused =
      run_built(dir, "landscape_probe", "run a --out d --parts curvature --curvature gauss_newton");
  CHECK(refused.code == 2);
  CHECK(contains(refused.err, "the loss of the task graph"));
}

TEST_CASE("train_graph: edge lists and their predictions; data that do not fit are refused") {
  const TempDir dir;
  test::write_lists(dir / "lists");
  const auto graph = [&](const std::string& arguments) {
    return run_built(dir, "train_graph", arguments);
  };
  const Finished trained = graph(
      "--data lists --threads 1 --batch 1 --epochs 1 --set "
      "model.hidden=4 --set model.layers=1 --out a");
  REQUIRE_MESSAGE(trained.code == 0, trained.err);
  const Finished predicted = graph("predict --resume a lists");
  REQUIRE_MESSAGE(predicted.code == 0, predicted.err);
  CHECK(predicted.out.starts_with("file,a,b\nlists#0,"));
  CHECK(std::count(predicted.out.begin(), predicted.out.end(), '\n') == 4);
  test::write_text(dir / "lists/nodes.csv", "graph,kind\n0,x\n");
  const Finished broken = graph("--data lists --out b");
  CHECK(broken.code == 3);
  CHECK(contains(broken.err, "nodes.csv: line 2: expected kind as a whole number"));
}

TEST_CASE("train_graph: labels have one loss a line, and the last one is told") {
  const TempDir dir;
  const Finished f =
      run_built(dir, "train_graph", "--data embedded_labels " + kTinyGraph + "--epochs 2 --out a");
  REQUIRE_MESSAGE(f.code == 0, f.err);
  TextReader lines(read_text_file(dir / "a/metrics.jsonl"));
  int told = 0;
  for (std::string line; std::getline(lines, line);) {
    const size_t first = line.find("\"train_loss\": ");
    if (first == line.npos) continue;
    CHECK(line.find("\"train_loss\": ", first + 1) == line.npos);
    ++told;
  }
  CHECK(told == 2);
  const std::string result = read_text_file(dir / "a/result.json");
  CHECK(result.find("\"train_loss\"") == result.rfind("\"train_loss\""));
  // The rows "best on test" and "last epoch" have both of their numbers.
  const std::string table = f.out.substr(f.out.find("last epoch"));
  CHECK(table.substr(0, table.find('\n')).find('-') == table.npos);
  const Finished compared = run_built(dir, "train_graph", "compare a");
  CHECK_MESSAGE(contains(compared.out, "last test loss"), compared.out);
}

TEST_CASE("train_graph: a step that cannot be recorded leaves no run in the way") {
  const TempDir dir;
  const auto graph = [&](const char* mode) {
    return run_built(dir, "train_graph", str(kTinyGraph, "--epochs 1 --out a --graph ", mode));
  };
  const Finished refused = graph("on");
  CHECK(refused.code == 2);
  CHECK(contains(refused.err, "cannot be recorded on the CPU"));
  CHECK(!fs::exists(dir / "a"));
  CHECK(graph("off").code == 0);
}

}  // namespace
}  // namespace basin::tools
