// The order of a study's work: what follows what, which cells go on, failures, claims of jobs.
#include <utime.h>

#include <cmath>

#include "basin/tests/tools/study_file.h"
#include "basin/tools/shell/environment.h"
#include "basin/tools/study/report.h"

namespace basin::tools {

TEST_CASE("study: an optimizer like another takes its cell, and follows what a third recorded") {
  const test::TempDir dir;
  const std::string more = std::string(kFile) +
                           "[optimizers.forced]\nlike = \"adam\"\n"
                           "\"optimizer.spectrum\" = \"stable_rank={metrics muon},every=5\"\n"
                           "[optimizers.shadow]\nlike = \"adam\"\n"
                           "\"optimizer.spectrum\" = \"turn={metrics forced}\"\n";
  const Study study = study_from_text(more, "two.toml");
  Ledger ledger(dir / "out", {});
  Schedule schedule(study, ledger);
  std::map<std::string, size_t> order;  // of the trainings as they were given
  while (const auto job = schedule.next()) {
    order.emplace(job->hash, order.size());
    ledger.write(*job, job->optimizer == "muon" && job->stage == Stage::final && job->seed == 2
                           ? Record().add("completed", false).add("job_seconds", 1)
                           : stub_result(*job));
    schedule.done(*job);
  }
  CHECK(schedule.finished() == schedule.expected());
  for (size_t m = 0; m < 2; ++m) {
    const StudyPair& adam = schedule.pairs()[4 * m];
    const StudyPair& forced = schedule.pairs()[4 * m + 1];
    const StudyPair& muon = schedule.pairs()[4 * m + 2];
    CHECK(forced.rounds.empty());
    CHECK(forced.chosen == adam.chosen);
    REQUIRE(forced.runs.size() == 3);  // what failed cannot be followed, nor what was left out
    CHECK(schedule.pairs()[4 * m + 3].runs.size() == 3);
    for (const StudyRun& run : forced.runs) {
      CHECK(run.job.settings.at("optimizer.name") == "adam");
      CHECK(run.job.settings.at("lr") == adam.chosen->at("lr"));
      const auto followed =
          std::ranges::find(muon.runs, run.job.seed, [](const StudyRun& r) { return r.job.seed; });
      CHECK(run.job.reads == followed->job.hash);
      CHECK(run.job.settings.at("optimizer.spectrum") ==
            "stable_rank={metrics " + followed->job.hash + "},every=5");
      CHECK(shard_of(run.job, 7) == shard_of(followed->job, 7));
      CHECK(order.at(followed->job.hash) < order.at(run.job.hash));
    }
  }
  const auto refused = [&](const std::string& text) {
    try {
      study_from_text(std::string(kFile) + text, "two.toml");
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  CHECK(contains(refused("[optimizers.x]\nlike = \"y\"\n"), "given 'y'"));
  CHECK(contains(refused("[optimizers.x]\nlike = \"x\"\n"), "given 'x'"));
  CHECK(contains(refused("[optimizers.x]\nfile = \"{metrics nobody}\"\n"), "given 'nobody'"));
  CHECK(contains(refused("[optimizers.x]\nfile = \"{metrics y}\"\n"
                         "[optimizers.y]\nfile = \"{metrics x}\"\n"),
                 "wait for it"));
  CHECK(contains(refused("[optimizers.x]\nfile = \"{metrics adam}\"\n[grid.x]\nlr = [1, 2]\n"),
                 "is not searched"));
  CHECK(contains(refused("[optimizers.x]\nlike = \"adam\"\n[grid.x]\nlr = [1, 2]\n"),
                 "is not searched"));
}

TEST_CASE("study: over several seeds of a search the mean decides, and a failed one counts") {
  const test::TempDir dir;
  const Study study = study_from_text(replaced(kFile, "seed = 9", "seeds = [9, 10]"), "two.toml");
  Ledger ledger(dir / "out", {});
  Schedule schedule(study, ledger);
  CHECK(schedule.expected() == 4 * (2 * 4 + 4 + 4));
  // Cells a, b, c, d in the order of the grid: the best run is b's, whose other is bad; the best
  // mean c's; d would be better than all, but for a failure.
  const double values[2][4] = {{0.5, 0.9, 0.6, 0.95}, {0.5, 0.1, 0.7, 0.95}};
  int64_t searched = 0;
  while (const auto job = schedule.next()) {
    Record out;
    if (job->stage == Stage::search) {
      ++searched;
      const auto& cells = study.grid.at(job->optimizer);
      const auto cell = std::ranges::find(cells, job->cell) - cells.begin();
      const bool failed = cell == 3 && job->seed == 10;
      ledger.write(
          *job, out.add("completed", !failed).add("best_val_value", values[job->seed - 9][cell]));
    } else {
      ledger.write(*job, stub_result(*job));
    }
    schedule.done(*job);
  }
  CHECK(searched == 4 * 8);
  CHECK(schedule.finished() == schedule.expected());
  for (const StudyPair& pair : schedule.pairs()) {
    CHECK(pair.chosen == study.grid.at(pair.optimizer->name)[2]);
    const std::vector<CellScore> scores = scores_of(pair.rounds.front());
    REQUIRE(scores.size() == 4);
    CHECK(scores[1].judged == doctest::Approx(0.5));
    CHECK(scores[2].judged == doctest::Approx(0.65));
    CHECK(std::isnan(scores[3].judged));
  }
  CHECK(contains(error_of([] {
                   study_from_text(replaced(kFile, "seed = 9", "seeds = [9, 9]"), "two.toml");
                 }).second,
                 "[search] seeds are expected to differ"));
}

TEST_CASE("study: halving keeps the best of every round") {
  const test::TempDir dir;
  const Study study = study_from_text(
      std::string(kFile) + "[search.halving]\nepochs = [1, 2]\nshare = 0.5\n", "two.toml");
  Ledger ledger(dir / "out", {});
  Schedule schedule(study, ledger);
  do_all(schedule, ledger);
  CHECK(schedule.finished() == schedule.expected());
  for (const StudyPair& pair : schedule.pairs()) {
    REQUIRE(pair.rounds.size() == 2);
    CHECK(pair.rounds[1].size() == 2);
    double worst_kept = INFINITY;
    for (const StudyTrial& kept : pair.rounds[1]) {
      for (const StudyTrial& t : pair.rounds[0]) {
        if (t.job.cell == kept.job.cell) worst_kept = std::min(worst_kept, *t.judged);
      }
    }
    int64_t better = 0;
    for (const StudyTrial& t : pair.rounds[0]) better += *t.judged >= worst_kept;
    CHECK(better == 2);
  }
}

TEST_CASE("study: a failed training counts and is not run again") {
  const test::TempDir dir;
  const Study study = study_from_text(kFile, "two.toml");
  Ledger ledger(dir / "out", {});
  Schedule schedule(study, ledger);
  while (const auto job = schedule.next()) {
    const bool fails = job->stage == Stage::search ? job->settings.at("lr") == "0.1"
                                                   : job->parents.empty() && job->seed == 2;
    ledger.write(
        *job,
        fails ? Record().add("completed", false).add("failure", "loss is nan").add("job_seconds", 1)
              : stub_result(*job));
    schedule.done(*job);
  }
  const StudyResults results = results_of(study, schedule, ledger);
  for (const PairValues& v : results.values) {
    CHECK(v.failed == 1);
    CHECK(v.present.size() == 3);
    CHECK(std::isnan(v.values[2]));
  }
  Schedule again(study, ledger);
  CHECK_FALSE(again.next().has_value());
}

TEST_CASE("study: a job has one owner, a dead one loses it") {
  const test::TempDir dir;
  const Study study = study_from_text(kFile, "two.toml");
  Ledger one(dir / "out", {}), two(dir / "out", {});
  const Job job = final_job(study, study.models[0], study.optimizers[0], {}, 0);
  CHECK(one.claim(job));
  CHECK_FALSE(two.claim(job));
  CHECK(one.heartbeat(job));
  one.release(job);
  CHECK(two.claim(job));
  // Without a heartbeat for long it is free, and its owner learns of it.
  struct utimbuf old {};
  old.actime = old.modtime = ::time(nullptr) - 1000;
  REQUIRE(::utime((dir / "out" / "claims" / (job.hash + ".0")).c_str(), &old) == 0);
  CHECK(two.claim_of(job.hash)->stale);
  CHECK(one.claim(job));
  CHECK_FALSE(two.heartbeat(job));
  CHECK(one.heartbeat(job));
  CHECK(one.claim_of(job.hash)->generation == 1);
  two.release(job);  // of a lost claim: nothing
  CHECK_FALSE(two.claim(job));
  one.release(job);
  CHECK(fs::is_empty(dir / "out" / "claims"));
  // A process of this host that is gone.
  write_file_atomic(dir / "out" / "claims" / (job.hash + ".0"),
                    str(one.claim_of(job.hash) ? "" : host_name(), " 999999999\n"));
  CHECK(two.claim(job));
}

}  // namespace basin::tools
