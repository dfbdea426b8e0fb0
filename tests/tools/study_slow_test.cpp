// What a study of many jobs costs besides the jobs: claims, records, status, report, each held
// against a tenth of the jobs, so that nothing grows faster than their number. 10,000 jobs, or as
// many as BASIN_STUDY_JOBS says.
#include <cmath>

#include "basin/core/clock.h"
#include "basin/core/random.h"
#include "basin/tests/tools/helpers.h"
#include "basin/tools/study/report.h"
#include "basin/tools/study/status.h"

namespace basin::tools {
namespace {

// 10 networks, 10 optimizers, cells + 5 seeds each.
Study large_study(int64_t cells) {
  std::string text = "program = \"none\"\n[search]\nseed = 9\n[final]\nseeds = [0, 1, 2, 3, 4]\n";
  for (int i = 0; i < 10; ++i) {
    text += str("[models.m", i, "]\nmodel = \"m", i, "\"\n[optimizers.o", i, "]\noptimizer = \"o",
                i, "\"\n[grid.o", i, "]\nlr = [1");
    for (int64_t c = 1; c < cells; ++c) text += str(", ", c + 1);
    text += "]\n";
  }
  text += "[metrics.accuracy]\nvalue = \"accuracy\"\n";
  return study_from_text(text, "large.toml");
}

struct Costs {
  int64_t jobs = 0;
  double plan = 0, work = 0, again = 0, status = 0, report = 0, bytes = 0;
};

Costs costs_of(int64_t cells) {
  const test::TempDir dir;
  const Study study = large_study(cells);
  Costs out;
  double begun = seconds_now();
  const auto lap = [&begun] {
    const double now = seconds_now();
    return now - std::exchange(begun, now);
  };
  {
    Ledger ledger(dir / "out", {});
    Schedule schedule(study, ledger);
    out.plan = lap();
    Rng rng(5, 0);
    while (const auto job = schedule.next()) {
      REQUIRE(ledger.claim(*job));
      const double value = rng.uniform();
      ledger.write(*job, Record()
                             .add("completed", true)
                             .add("best_val_value", value)
                             .add("accuracy", value)
                             .add("steps", 1)
                             .add("job_seconds", 1));
      ledger.release(*job);
      schedule.done(*job);
      ++out.jobs;
    }
    CHECK(schedule.finished() == schedule.expected());
  }
  out.work = lap();
  Ledger ledger(dir / "out", {});
  const Schedule schedule(study, ledger);
  CHECK(schedule.finished() == out.jobs);
  out.again = lap();
  CHECK(contains(status_text(study, schedule, ledger), str(out.jobs, " of ", out.jobs)));
  out.status = lap();
  write_study_report(dir / "out", study, schedule, ledger, "study report");
  out.report = lap();
  for (const auto& entry : fs::directory_iterator(dir / "out" / "records")) {
    out.bytes += static_cast<double>(entry.file_size());
  }
  CHECK(fs::is_empty(dir / "out" / "claims"));
  return out;
}

}  // namespace

TEST_CASE("study: ten times the jobs cost ten times as much") {
  const char* given = std::getenv("BASIN_STUDY_JOBS");
  int64_t jobs = 10000;
  if (given != nullptr) REQUIRE(parse_int64(given, jobs));
  const Costs small = costs_of(jobs / 1000 - 5), large = costs_of(jobs / 100 - 5);
  for (const Costs& c : {small, large}) {
    MESSAGE(c.jobs, " jobs: plan ", c.plan, " s, claims and records ", c.work, " s, reading them ",
            c.again, " s, status ", c.status, " s, report ", c.report, " s, records ",
            c.bytes / 1e6, " MB");
  }
  CHECK(large.jobs == jobs);
  const double ratio = static_cast<double>(large.jobs) / static_cast<double>(small.jobs);
  // Twice the share, for a machine that does other things; a square would be ten times.
  CHECK(large.work < 2 * ratio * small.work + 1);
  CHECK(large.again < 2 * ratio * small.again + 1);
  CHECK(large.status < 2 * ratio * small.status + 1);
  CHECK(large.report < 2 * ratio * small.report + 1);
}

}  // namespace basin::tools
