// Files of studies: what they say, what is wrong with them, those of the repository and the pages
// that were published from their records.
#include "basin/tests/tools/study_file.h"
#include "basin/tools/study/report.h"

namespace basin::tools {

TEST_CASE("study file: what it says") {
  const Study study = study_from_text(kFile, "two.toml");
  CHECK(study.models.size() == 2);
  CHECK(study.grid.at("adam").size() == 4);
  CHECK(study.grid.at("adam")[1] == StudySettings{{"lr", "0.001"}, {"wd", "0.1"}});
  CHECK(study.rounds.at("muon").size() == 1);
  CHECK(study.rounds.at("muon")[0].cells == 4);
  CHECK(study.metrics.front().name == "accuracy");
  CHECK(study.seeds == std::vector<uint64_t>{0, 1, 2, 3});
  CHECK(study.published.at("small.muon.accuracy") == 82.1);
  const Study halved = study_from_text(
      std::string(kFile) + "[search.halving]\nepochs = [1, 2, 4]\nshare = 0.5\n", "two.toml");
  const auto& rounds = halved.rounds.at("adam");
  REQUIRE(rounds.size() == 3);
  CHECK(rounds[1].cells == 2);
  CHECK(rounds[2].cells == 1);
  CHECK(rounds[2].settings.at("epochs") == "4");
}

TEST_CASE("study file: one sentence per fault, with its line") {
  const auto refused = [](const std::string& text, const std::vector<std::string>& words) {
    test::check_error(ErrorKind::usage, words, [&] { study_from_text(text, "two.toml"); });
  };
  const std::string text = kFile;
  refused(replaced(text, "program = \"stub\"\n", ""), {"two.toml", "program"});
  refused(replaced(text, "seeds = [0, 1, 2, 3]", "seeds = [0, 1, 1]"), {"differ", "0,1,1"});
  refused(replaced(text, "seeds = [0, 1, 2, 3]", "seeds = [0, -1]"), {"seed", "'-1'"});
  refused(replaced(text, "seed = 9", "seed = 9\njugde = \"loss\""),
          {"two.toml:28", "search.jugde"});
  refused(replaced(text, "[grid.muon]", "[grid.moun]"), {"[grid.moun]"});
  refused(replaced(text, "lr = [1e-2, 1e-1]", "lr = []"), {"[grid.muon] lr", "at least one"});
  refused(replaced(text, "lr = [1e-2, 1e-1]", "lr = [0.1, 0.1]"), {"[grid.muon] lr", "differ"});
  refused(replaced(text, "scale = 100", "scale = 0"), {"[metrics.accuracy]", "other than 0"});
  refused(replaced(text, "[models.wide]", "[models.\"../wide\"]"), {"two.toml", "[models.NAME]"});
  refused(replaced(text, "baseline = \"adam\"", "baseline = \"sgd\""), {"two.toml:3", "sgd"});
  refused(replaced(text, "from = \"probe\"", "from = \"prob\""), {"lambda", "prob"});
  refused(replaced(text, "logarithmic = true", "logarithmic = 1"),
          {"two.toml:46", "true or false"});
  refused(replaced(text, "[published.small.adam]", "[published.small.sgd]"),
          {"small.sgd.accuracy"});
  refused(replaced(text, "arguments = \"run {run}\"", "arguments = \"run\""), {"[measure.probe]"});
  refused(replaced(text, "title =", "titel ="), {"two.toml:1", "title"});
  refused(text + "[search.halving]\nepochs = [1]\nsteps = [2]\n", {"one setting"});
  refused(text + "lambda_mix = 3\n", {"small.muon.lambda_mix"});
  // What probes along the trainings know may be published without a metric of that name.
  const Study known = study_from_text(text + "lambda_max = 3\n", "two.toml");
  CHECK(known.published.at("small.muon.lambda_max") == 3);
  refused("title = [", {"two.toml:1", "TOML"});
}

TEST_CASE("study file: those of the repository are read, and plan what they say") {
  for (const auto& [name, jobs] :
       std::vector<std::pair<std::string, int64_t>>{{"quick", 48},
                                                    {"paper_table1", 108},
                                                    {"paper_hessian", 195},
                                                    {"paper_qm9", 60},
                                                    {"paper_graphs", 10},
                                                    {"specmuon_burgers", 63},
                                                    {"stable_rank", 60},
                                                    {"equivariance_dial", 110},
                                                    {"paper_rates", 8},
                                                    {"paper_rates_dgcnn", 8},
                                                    {"paper_seconds", 8}}) {
    INFO(name);
    const test::TempDir dir;
    const Study study = read_study(fs::path(BASIN_SOURCE_DIR) / "studies" / (name + ".toml"));
    Ledger ledger(dir / "out", {});
    CHECK(Schedule(study, ledger).expected() == jobs);
  }
}

TEST_CASE("study results: the tables of the repository follow from its records") {
  const fs::path results = fs::path(BASIN_SOURCE_DIR) / "studies" / "results";
  const test::TempDir dir;
  // The page of `records` that a study makes of those networks (empty: of all).
  const auto follow = [&](const std::string& records, const std::string& page,
                          const std::string& file, const std::string& models, int64_t jobs,
                          const std::vector<std::string>& tables) {
    const fs::path out = dir / records;
    if (!fs::exists(out)) {
      fs::create_directories(out);
      fs::copy(results / records / "records", out / "records", fs::copy_options::recursive);
    }
    Study study = read_study(fs::path(BASIN_SOURCE_DIR) / "studies" / file);
    if (!models.empty()) keep_models(study, models);
    Ledger ledger(out, {});
    Schedule schedule(study, ledger);
    while (schedule.next()) {
    }
    CHECK(schedule.finished() == jobs);
    const fs::path anew = dir / file;
    fs::create_directories(anew);
    write_study_report(anew, study, schedule, ledger, "study report");
    for (const std::string& table : tables) {
      const std::string name = str("tables/", table, ".md");
      INFO(file, " ", name);
      CHECK(read_text_file(anew / name) == read_text_file(results / records / page / name));
    }
  };
  const std::string clouds = "2026-11-29-modelnet40", molecules = "2026-11-30-qm9";
  // Of each network 12 cells, 8 trainings, and these without repeated test clouds; of PointNet and
  // EGNN on corrupted ones.
  follow(clouds, "", "paper_table1.toml", "", 108,
         {"results", "contrasts", "matched", "power", "cost"});
  // Of PointNet four measurements of each training and the barriers between them, of DGCNN three,
  // of EGNN slices and, of two trainings, two more; the curvature of all cells of DGCNN and EGNN,
  // and of half of PointNet's.
  follow(clouds, "hessian", "paper_hessian.toml", "", 159,
         {"results", "contrasts", "grid", "power"});
  follow(clouds, "rates", "paper_rates.toml", "", 8, {"results", "contrasts", "matched"});
  follow(clouds, "rates-dgcnn", "paper_rates_dgcnn.toml", "", 8,
         {"results", "contrasts", "matched"});
  follow(clouds, "seconds", "paper_seconds.toml", "", 8, {"results", "contrasts", "matched"});
  // Of each target six cells and four trainings.
  follow(molecules, "", "paper_qm9.toml", "egnn_mu,egnn_r2,gotennet_r2", 30,
         {"results", "contrasts", "matched", "power"});
}

TEST_CASE("study file: the table and the Hessian study of the paper share their trainings") {
  const fs::path folder = fs::path(BASIN_SOURCE_DIR) / "studies";
  const Study table = read_study(folder / "paper_table1.toml");
  const Study hessian = read_study(folder / "paper_hessian.toml");
  REQUIRE(table.models.size() == hessian.models.size());
  for (size_t m = 0; m < table.models.size(); ++m) {
    for (size_t o = 0; o < table.optimizers.size(); ++o) {
      const auto& cells = table.grid.at(table.optimizers[o].name);
      CHECK(table.search_seeds == hessian.search_seeds);
      CHECK(cells == hessian.grid.at(hessian.optimizers[o].name));
      for (const StudySettings& cell : cells) {
        CHECK(final_job(table, table.models[m], table.optimizers[o], cell, 0).hash ==
              final_job(hessian, hessian.models[m], hessian.optimizers[o], cell, 0).hash);
        CHECK(search_job(table, table.models[m], table.optimizers[o], cell, 0, 100).hash ==
              search_job(hessian, hessian.models[m], hessian.optimizers[o], cell, 0, 100).hash);
      }
    }
  }
}

}  // namespace basin::tools
