// Studies: the names of jobs, a whole study on a program that only reports, its results and
// reports. Their files: study_file_test.cpp; the order of the work: study_schedule_test.cpp; the
// program itself: study_program_test.cpp.
#include <cmath>

#include "basin/analysis/hypothesis_tests.h"
#include "basin/analysis/statistics.h"
#include "basin/figures/figure.h"
#include "basin/figures/table_text.h"
#include "basin/tests/tools/study_file.h"
#include "basin/tools/study/report.h"
#include "basin/tools/study/sections.h"
#include "basin/tools/study/status.h"
#include "basin/tools/study/tables.h"

namespace basin::tools {

TEST_CASE("study: a job is named by what it computes") {
  const Study study = study_from_text(kFile, "two.toml");
  const auto job = [&](const Study& s, uint64_t seed) {
    return final_job(s, s.models[0], s.optimizers[0], s.grid.at("adam")[0], seed).hash;
  };
  CHECK(job(study, 0) == job(study, 0));
  CHECK(job(study, 0) != job(study, 1));
  const Study longer = study_from_text(replaced(kFile, "epochs = 8", "epochs = 9"), "two.toml");
  CHECK(job(longer, 0) != job(study, 0));
  // Words of reports are no part of it.
  const Study renamed = study_from_text(replaced(kFile, "Two and two", "Other"), "other.toml");
  CHECK(job(renamed, 0) == job(study, 0));
  for (uint64_t seed = 0; seed < 4; ++seed) {
    const Job training = final_job(study, study.models[0], study.optimizers[0], {}, seed);
    const Job measurement = measure_job(study.measurements[0], training);
    CHECK(shard_of(training, 3) == shard_of(measurement, 3));
  }
}

TEST_CASE("study: a metric that the program does not report is refused at the first result") {
  const test::TempDir dir;
  std::string text = kFile;
  text.replace(text.find("best_val_accuracy"), 17, "best_val_acuracy");
  const Study study = study_from_text(text, "two.toml");
  Ledger ledger(dir / "out", {});
  Schedule schedule(study, ledger);
  test::check_error(ErrorKind::usage,
                    {"two.toml", "[metrics.accuracy]", "best_val_acuracy", "no number that stub"},
                    [&] { do_all(schedule, ledger); });
}

TEST_CASE("study: search, choice, seeds, measurements, each when it can") {
  const test::TempDir dir;
  const Study study = study_from_text(kFile, "two.toml");
  Ledger ledger(dir / "out", {});
  Schedule schedule(study, ledger);
  CHECK(schedule.expected() == 4 * (4 + 4 + 4));
  // A pair whose search is done goes on while another has not begun.
  std::vector<Job> held;
  std::vector<Job> given;
  while (const auto job = schedule.next()) {
    if (job->model == "wide" && held.size() < 8) {
      held.push_back(*job);
      continue;
    }
    ledger.write(*job, stub_result(*job));
    schedule.done(*job);
    given.push_back(*job);
  }
  CHECK(given.size() == 2 * (4 + 4 + 4));
  CHECK(held.size() == 8);
  for (const Job& job : held) {
    ledger.write(job, stub_result(job));
    schedule.done(job);
  }
  do_all(schedule, ledger);
  CHECK(schedule.finished() == schedule.expected());
  for (const StudyPair& pair : schedule.pairs()) {
    REQUIRE(pair.chosen.has_value());
    CHECK(pair.chosen->at("lr") == "0.01");
    double best = 0;
    for (const StudyTrial& t : pair.rounds.front()) best = std::max(best, *t.judged);
    for (const StudyTrial& t : pair.rounds.front()) {
      if (t.job.cell == *pair.chosen) CHECK(*t.judged == best);
    }
    CHECK(pair.runs.size() == 4);
    for (const StudyRun& run : pair.runs) CHECK(run.measured.contains("probe"));
  }
  // 0.01 is Adam's largest rate and Muon's smallest.
  const auto warnings = edge_warnings(study, schedule);
  int64_t rates = 0;
  for (const std::string& w : warnings) rates += contains(w, "lr = 0.01 is the ");
  CHECK(rates == 4);

  SUBCASE("records alone are enough, and do nothing again") {
    fs::remove_all(dir / "out" / "runs");
    Ledger again(dir / "out", {});
    Schedule second(study, again);
    CHECK_FALSE(second.next().has_value());
    CHECK(second.finished() == second.expected());
  }
  SUBCASE("another setting is another job") {
    const Study longer = study_from_text(replaced(kFile, "epochs = 2", "epochs = 3"), "two.toml");
    Schedule second(longer, ledger);
    int64_t searched = 0;
    while (const auto job = second.next()) {
      searched += job->stage == Stage::search;
      ledger.write(*job, stub_result(*job));
      second.done(*job);
    }
    CHECK(searched == 16);
  }
  SUBCASE("results") {
    const StudyResults results = results_of(study, schedule, ledger);
    CHECK(results.values.size() == 8);
    CHECK(results.contrasts.size() == 4);
    std::vector<double> p;
    for (const Contrast& c : results.contrasts) {
      const TestResult expected = welch_test(c.with->present, c.baseline->present);
      CHECK(c.welch_p == expected.p);
      p.push_back(c.welch_p);
      const bool ratio = c.with->metric->logarithmic;
      CHECK(c.low == (ratio ? std::exp(expected.lower) : expected.lower));
      CHECK(c.floor_p == doctest::Approx(2.0 / 70));
    }
    const std::vector<double> adjusted = holm(p);
    for (size_t i = 0; i < p.size(); ++i) CHECK(results.contrasts[i].holm_p == adjusted[i]);
    const PairValues& v = results.values.front();
    CHECK(v.mean.value == mean(v.values));
    CHECK(v.values[0] ==
          100 * ledger.record(v.pair->runs[0].job.hash)->number("best_val_accuracy"));
    const Contrast& small = results.contrasts.front();
    CHECK(*small.published == doctest::Approx(5.2));
    CHECK(small.verdict == (small.low > 0    ? "agrees"
                            : small.high < 0 ? "contradicts"
                                             : "undecided"));
    CHECK(small.excluded == (small.low > 5.2 || small.high < 5.2));
    CHECK(small.sought == *small.published);
    const double da = std::sqrt(variance(small.with->present)),
                 db = std::sqrt(variance(small.baseline->present));
    CHECK(small.power == welch_power(*small.published, da, db, 4));
    CHECK(small.seeds_needed == welch_sample_size(*small.published, da, db));
    const Contrast& ratio = results.contrasts.back();  // of a logarithmic metric, not published
    CHECK(ratio.sought == ratio.difference);
    CHECK(ratio.power == welch_power(std::log(ratio.difference),
                                     std::sqrt(variance(ratio.with->present)),
                                     std::sqrt(variance(ratio.baseline->present)), 4));
    const std::string words = write_study_report(dir / "out", study, schedule, ledger, "study run");
    CHECK(contains(words, "On small muon"));
    for (const char* file : {"report.html", "tables/results.md", "tables/contrasts.tex",
                             "tables/power.md", "tables/runs.csv", "figures/seeds-accuracy.svg"}) {
      INFO(file);
      CHECK(fs::exists(dir / "out" / file));
    }
    CHECK(contains(status_text(study, schedule, ledger), "48 of 48 jobs done"));
  }
  SUBCASE("a picture says how many runs it has, and has no panel of none") {
    const auto lambda_max = [&] {
      Ledger now(dir / "out", {});
      Schedule then(study, now);
      write_study_report(dir / "report", study, then, now, "study run");
      return read_text_file(dir / "report" / "figures" / "seeds-lambda.svg");
    };
    const auto drop = [&](const std::string& model, size_t runs) {
      for (const StudyPair& pair : schedule.pairs()) {
        if (pair.model->name != model) continue;
        for (size_t i = 0; i < runs; ++i) {
          fs::remove(dir / "out" / "records" / (pair.runs[i].measured.at("probe").hash + ".json"));
        }
      }
    };
    CHECK(contains(lambda_max(), "n = 4 runs each (seeds 0, 1, 2, 3)"));
    drop("small", 1);
    const std::string some = lambda_max();
    CHECK(contains(some, "n = 3 to 4 runs each;"));
    CHECK(contains(some, "small"));
    drop("small", 4);
    const std::string none = lambda_max();
    CHECK(contains(none, "n = 4 runs each"));
    CHECK_FALSE(contains(none, "small"));
    CHECK(contains(none, "wide"));
    // Nor do tables have rows of none; the CSV files do.
    const auto table = [&](const char* name) {
      return read_text_file(dir / "report" / "tables" / name);
    };
    CHECK_FALSE(contains(table("contrasts.md"), "no value"));
    CHECK(contains(table("contrasts.csv"), "small,muon,adam,lambda,"));
    CHECK_FALSE(contains(table("results.md"), "| lambda | 0 |"));
    const std::string page = read_text_file(dir / "report" / "report.html");
    CHECK(contains(page, "Left out, since nothing of them is measured: 2 rows, which the CSV"));
    CHECK(contains(page, "Left out, since nothing of them is measured: 1 row, which the CSV"));
  }
}

TEST_CASE("study: a measurement of the search is set out over the grid") {
  const test::TempDir dir;
  const std::string text = replaced(
      std::string(kFile) +
          "\n[metrics.sharp]\nfrom = \"cells\"\nvalue = \"lambda_max\"\n"
          "logarithmic = true\n",
      "[metrics.accuracy]",
      "[measure.cells]\nprogram = \"stub_probe\"\narguments = \"run {run}\"\nof = \"search\"\n"
      "[metrics.accuracy]");
  const auto refused = [&](const std::string& what, const std::string& by,
                           const std::vector<std::string>& words) {
    test::check_error(ErrorKind::usage, words,
                      [&] { study_from_text(replaced(text, what, by), "two.toml"); });
  };
  refused("of = \"search\"", "of = \"grid\"", {"[measure.cells] of", "search", "'grid'"});
  refused("from = \"cells\"", "from = \"cells\"\nleads = true", {"[metrics.sharp]", "lead"});

  const Study study = study_from_text(text, "two.toml");
  CHECK(study.metrics.size() == 2);
  CHECK(study.grid_metrics.size() == 1);
  Ledger ledger(dir / "out", {});
  Schedule schedule(study, ledger);
  CHECK(schedule.expected() == 4 * (4 + 4 + 4 + 4));
  do_all(schedule, ledger);
  CHECK(schedule.finished() == schedule.expected());
  const NamedTable table = grid_table(study, schedule, ledger);
  REQUIRE(table.page.rows.size() == 16);
  for (const StudyPair& pair : schedule.pairs()) {
    for (const StudyTrial& t : pair.rounds.front()) {
      const Job& job = t.measured.at("cells");
      CHECK(job.parents == std::vector<std::string>{t.job.hash});
      CHECK(metric_of(study.grid_metrics.front(), t, ledger) ==
            ledger.record(job.hash)->number("lambda_max"));
    }
    for (const StudyRun& run : pair.runs) CHECK_FALSE(run.measured.contains("cells"));
  }
  write_study_report(dir / "out", study, schedule, ledger, "study run");
  const std::string page = read_text_file(dir / "out" / "report.html");
  CHECK(contains(page, "by the choice of a cell of each"));
  CHECK(fs::exists(dir / "out" / "tables" / "grid.csv"));
  CHECK(contains(read_text_file(dir / "out" / "figures" / "grid-sharp.csv"), "lr=0.01 wd=0.1"));
  CHECK(contains(status_text(study, schedule, ledger), "64 of 64 jobs done"));

  SUBCASE("a cell that failed is not measured, nor waited for") {
    const test::TempDir other;
    Ledger with(other / "out", {});
    Schedule second(study, with);
    while (const auto job = second.next()) {
      const bool fails = job->stage == Stage::search && job->cell.at("lr") == "0.1";
      with.write(
          *job, fails ? Record().add("completed", false).add("failure", "nan") : stub_result(*job));
      second.done(*job);
    }
    CHECK(second.finished() == second.expected());
    CHECK(second.expected() == 64 - 4);  // two of Muon's four cells on each network
  }
}

TEST_CASE("study: core hours of a stage, where each of its jobs says all of its time") {
  const test::TempDir dir;
  const Study study = study_from_text(kFile, "two.toml");
  Ledger ledger(dir / "out", {});
  Schedule schedule(study, ledger);
  while (const auto job = schedule.next()) {
    Record record = stub_result(*job);  // of 2 seconds
    if (job->stage != Stage::measure) {
      // One training began in an earlier job, whose processors nobody counted.
      const bool resumed = job->model == "wide" && job->stage == Stage::final && job->seed == 1;
      record.add("seconds", resumed ? 3.0 : 2.0).add("job_cpu_seconds", 900.0);
    }
    ledger.write(*job, record);
    schedule.done(*job);
  }
  const std::string text = markdown_table(cost_table(schedule, ledger).page);
  INFO(text);
  CHECK(contains(text, "| small | adam | final | 4 | 0.002 | 1.000 |"));
  CHECK(contains(text, "| small | adam | measure | 4 | 0.001 | - |"));
  CHECK(contains(text, "| wide | adam | search | 4 | 0.002 | 1.000 |"));
  CHECK(contains(text, "| wide | adam | final | 4 | 0.003 | - |"));
}

TEST_CASE("study: cells of the search that lie as close as seeds do are told") {
  const Study study = study_from_text(kFile, "two.toml");
  // Of adam two cells are 0.01 apart, of muon all 0.1 or more; seeds of 0.60, 0.61, 0.60, 0.61 have
  // a deviation of 0.00577, so that two of them lie within 0.016.
  const auto warnings_for = [&](double seed_step) {
    const test::TempDir dir;
    Ledger ledger(dir / "out", {});
    Schedule schedule(study, ledger);
    while (const auto job = schedule.next()) {
      double value = 0.6 + seed_step * static_cast<double>(job->seed % 2);
      if (job->stage == Stage::search) {
        const double rate = job->cell.at("lr") == "0.01" ? 0 : 0.1;
        const double decay = job->cell.at("wd") == "0" ? 0 : job->optimizer == "adam" ? 0.01 : 0.2;
        value = 0.5 - rate - decay;
      }
      Record out;
      ledger.write(*job, job->parents.empty() ? out.add("completed", true)
                                                    .add("best_val_value", value)
                                                    .add("best_val_accuracy", value)
                                              : out.add("lambda_max", 1.0));
      schedule.done(*job);
    }
    return tie_warnings(study, schedule, ledger);
  };
  const auto told = warnings_for(0.01);
  REQUIRE(told.size() == 2);
  CHECK(contains(told[0], "small adam: 2 of 4 cells lie within 0.016 of the best"));
  CHECK(contains(told[1], "wide adam: 2 of 4 cells"));
  CHECK(warnings_for(0.001).empty());
}

}  // namespace basin::tools
