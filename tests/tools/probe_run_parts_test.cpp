// Parts of reports that read what runs recorded: optimizers over seeds, SpecMuon's modes, terms of
// the loss; and maps of what was learned, of a task that draws a known field.
#include <algorithm>
#include <cmath>

#include "basin/tests/tools/helpers.h"
#include "basin/tools/landscape_probe/part.h"

namespace basin::tools {
namespace {

const PartInfo& part_named(const std::string& name) {
  const auto at = std::find_if(parts().begin(), parts().end(),
                               [&](const PartInfo& p) { return p.name == name; });
  REQUIRE(at != parts().end());
  return *at;
}

LoadedProbe probe_in(const fs::path& run, const std::string& optimizer, int64_t seed) {
  LoadedProbe out;
  out.dir = run / "probe";
  out.run = run;
  out.network = "mlp";
  out.optimizer = str(optimizer, " (", run.filename().string(), ")");
  out.metric = {"rel_l2"};
  Record facts;
  facts.add("optimizer", std::string_view(optimizer)).add("train_seed", seed);
  out.facts = parse_record(facts.line(), "facts");
  return out;
}

// A run of two evaluations that ends at this loss.
LoadedProbe recorded(const fs::path& run, const std::string& optimizer, int64_t seed, double loss,
                     const std::string& more = {}, const std::string& settings = {}) {
  fs::create_directories(run / "probe");
  const auto line = [](int64_t step, double at) {
    Record r;
    r.add("event", "epoch").add("step", step).add("train_loss", at).add("test_rel_l2", at / 2);
    return r.add("seconds", 0.5).line() + "\n";
  };
  write_file_atomic(run / "metrics.jsonl", line(10, 1.0) + line(20, loss) + more);
  write_file_atomic(
      run / "config.toml",
      str("lr = 0.1\nseed = ", seed, "\n\n[optimizer]\nname = \"", optimizer, "\"\n", settings));
  return probe_in(run, optimizer, seed);
}

}  // namespace

TEST_CASE("part optimizers: seeds stand together, other settings apart, failures are counted") {
  const TempDir dir;
  const std::vector<LoadedProbe> probes{
      recorded(dir / "a0", "adam", 0, 0.01),
      recorded(dir / "m0", "specmuon", 0, 0.1),
      recorded(dir / "a1", "adam", 1, 0.0001),
      recorded(dir / "m1", "specmuon", 1, 0.2, "", "form = \"norm\"\n"),
      recorded(dir / "a2", "adam", 2, 0.5, "{\"event\": \"failed_step\", \"step\": 21}\n"),
      recorded(dir / "a0", "adam", 0, 0.01)};  // once more
  const PartReport report = part_named("optimizers").report(probes, "command");
  REQUIRE(report.sections.size() == 1);
  REQUIRE(report.sections[0].tables.size() == 1);
  const NamedTable& table = report.sections[0].tables[0];
  REQUIRE(table.page.rows.size() == 3);
  CHECK(table.page.rows[0][0].text == "adam");
  CHECK(table.page.rows[0][1].text == "3");
  CHECK(table.page.rows[0][2].text == "1");
  CHECK(table.page.rows[1][0].text == "specmuon");
  CHECK(table.page.rows[2][0].text == "specmuon, form=norm");
  // Geometric mean of the two that did not fail; L is the largest of the groups' means, 0.2.
  CHECK(contains(table.csv, "mlp,adam,final training loss,0.001"));
  CHECK(table.page.rows[0][7].text == "2 of 3");
  CHECK(contains(table.csv, "mlp,adam,seconds to tolerance,1,1,1,0.95,2,3,1,0.2"));
  REQUIRE(report.sections[0].figures.size() == 1);
  CHECK(report.sections[0].figures[0].name == "optimizers-mlp");
  CHECK(part_named("optimizers").report({probes[0]}, "").sections[0].figures.empty());
}

TEST_CASE("parts modes and training: what the steps and probes of a run recorded") {
  const TempDir dir;
  const std::string more =
      "{\"event\": \"step\", \"step\": 10, \"loss\": 3, \"loss_initial\": 1, \"loss_pde\": 2}\n"
      "{\"event\": \"probe\", \"step\": 10, \"gradient_norm\": 5, \"gradient_norm_pde\": 4, "
      "\"gradient_cosine_initial_pde\": -0.25, \"gradient_alignment\": -0.25}\n"
      "{\"event\": \"probe_matrix\", \"step\": 10, \"name\": \"w\", \"specmuon_s_1\": 0.5, "
      "\"specmuon_r_1\": 1, \"specmuon_r_over_e_1\": 1, \"specmuon_scale_1\": 1, "
      "\"specmuon_s_2\": 0.25, \"specmuon_r_2\": 3, \"specmuon_r_over_e_2\": 3, "
      "\"specmuon_scale_2\": 1}\n";
  const std::vector<LoadedProbe> probes{recorded(dir / "m", "specmuon", 0, 0.1, more),
                                        recorded(dir / "a", "adam", 0, 0.1)};
  const PartReport modes = part_named("modes").report(probes, "command");
  REQUIRE(modes.sections[0].figures.size() == 2);  // Adam has none
  CHECK(contains(modes.sections[0].figures[0].csv, "w,10,2,3,3,0.25,1\n"));
  CHECK(contains(modes.sections[0].figures[1].csv, "specmuon (m),w,10,1,0\n"));
  const PartReport training = part_named("training").report(probes, "command");
  REQUIRE(training.sections[0].figures.size() == 3);
  const Figure& terms = training.sections[0].figures[1];
  CHECK(terms.name == "loss-terms-mlp");
  CHECK(contains(terms.csv, "loss: pde,specmuon (m),value,10,2,,"));
  const Figure& gradients = training.sections[0].figures[2];
  CHECK(gradients.name == "term-gradients-mlp");
  for (const char* row : {"cosine of the gradients: initial_pde,specmuon (m),value,10,-0.25,,",
                          "alignment of the gradients,specmuon (m),value,10,-0.25,,",
                          "gradient norm: pde,specmuon (m),value,10,4,,"}) {
    CHECK(contains(gradients.csv, row));
  }
  CHECK_FALSE(contains(gradients.csv, ",5,"));  // of the whole loss
}

TEST_CASE("part solution: maps of a task's fields, their errors in a table; none without") {
  const TempDir dir;
  LoadedProbe probe = recorded(dir / "run", "adam", 0, 0.1);
  Trained trained;
  trained.state.params.add_vector("w", Tensor::full({1}, DType::f64, 2), Role::bias);
  trained.task.fields = [](const Tensors& params, const Tensors&) {
    const double w = params.at(0).at(0);
    const auto field = [&](const char* name, double value) {
      return Field{name, "x", "t", {0, 1, 2}, {0, 1}, Tensor::full({2, 3}, DType::f64, value)};
    };
    return std::vector<Field>{field("truth", 4), field("network", w), field("error", w - 4)};
  };
  const Config config({}, {});
  const ProbeContext context{
      .trained = trained, .config = config, .dir = probe.dir, .state = {}, .routing = {}};
  const PartInfo& part = part_named("solution");
  part.measure(context, PartFiles(probe.dir), Record());
  const PartReport report = part.report({probe}, "command");
  REQUIRE(report.sections[0].tables.size() == 1);
  CHECK(contains(report.sections[0].tables[0].csv, "mlp,adam (run),error,6,2,2,0.5\n"));
  REQUIRE(report.sections[0].figures.size() == 2);
  CHECK(contains(report.sections[0].figures[0].csv, "x,t,truth,network,|error|\n0,0,4,2,2\n"));
  // A record that was made by nobody is refused.
  const std::string file = read_text_file(probe.dir / "solution.json");
  std::string broken = file;
  broken.replace(broken.find("truth"), 5, "trust");
  broken.replace(broken.find("4"), 1, "[4]");
  write_file_atomic(probe.dir / "solution.json", broken);
  CHECK(error_of([&] {
          LoadedProbe again = probe_in(dir / "run", "adam", 0);
          part.report({again}, "");
        }).first == ErrorKind::data);
  // A task that draws nothing: an empty record, no figure.
  trained.task.fields = {};
  fs::remove(probe.dir / "solution.json");
  part.measure(context, PartFiles(probe.dir), Record());
  const PartReport none = part.report({probe_in(dir / "run", "adam", 0)}, "");
  CHECK(none.sections[0].figures.empty());
  CHECK(none.sections[0].tables[0].page.rows.empty());
}

}  // namespace basin::tools
