// What a study measures between the trainings of a network: when the job may run, what it is called
// with, what becomes of trainings that are missing, and what the report says.
#include <algorithm>
#include <cmath>

#include "basin/figures/figure.h"
#include "basin/tests/tools/helpers.h"
#include "basin/tools/landscape_probe/barriers.h"
#include "basin/tools/study/report.h"
#include "basin/tools/study/status.h"

namespace basin::tools {
namespace {

const char* const kBetween = R"(title = "Between"
program = "train_stub"
baseline = "adam"
[models.small]
width = 1
[models.wide]
width = 2
[optimizers.adam]
o = "adam"
[optimizers.muon]
o = "muon"
[grid.adam]
lr = [1, 2]
[search]
seed = 9
[final]
seeds = [0, 1, 2]
[between.barriers]
program = "between_stub"
arguments = "barriers {runs} --seen {out}"
[between.barriers.settings]
align = true
[metrics.accuracy]
value = "accuracy"
)";

using Fails = std::function<bool(const Job&)>;

// Every job in the order of the schedule, but those held back; returns the order of the labels.
std::vector<Job> do_jobs(Schedule& schedule, Ledger& ledger, const Fails& fails) {
  std::vector<Job> out;
  while (const auto job = schedule.next()) {
    Record record;
    record.add("completed", !fails(*job)).add("job_seconds", 1);
    if (!fails(*job)) record.add("best_val_value", 0.5).add("accuracy", 0.5 + 0.01 * job->seed);
    ledger.write(*job, record);
    schedule.done(*job);
    out.push_back(*job);
  }
  return out;
}

bool never(const Job&) { return false; }

std::vector<std::string> warnings_of(const Schedule& schedule) {
  std::vector<std::string> out;
  for (const StudyBetween& b : schedule.between()) out.push_back(b.warning());
  return out;
}

}  // namespace

TEST_CASE("study between: one job per network, after all its trainings") {
  const test::TempDir dir;
  const Study study = study_from_text(kBetween, "between.toml");
  Ledger ledger(dir / "out", {});
  Schedule schedule(study, ledger);
  CHECK(schedule.expected() == 2 * (2 + 6 + 1));
  const std::vector<Job> jobs = do_jobs(schedule, ledger, never);
  CHECK(schedule.finished() == schedule.expected());
  REQUIRE(std::ssize(jobs) == schedule.expected());
  REQUIRE(schedule.between().size() == 2);
  for (const StudyBetween& b : schedule.between()) {
    REQUIRE(b.job.has_value());
    CHECK(b.done);
    CHECK(b.warning().empty());
    CHECK(b.job->parents.size() == 6);
    CHECK(b.job->label() == str("barriers ", b.model->name, ", 6 runs"));
    CHECK(b.job->settings == StudySettings{{"align", "true"}});
    CHECK(shard_of(*b.job, 5) == shard_of(b.runs.front()->job, 5));
    const auto at = [&](const std::string& hash) {
      return std::ranges::find(jobs, hash, &Job::hash) - jobs.begin();
    };
    for (size_t r = 0; r < b.runs.size(); ++r) {
      CHECK(b.runs[r]->job.optimizer == (r < 3 ? "adam" : "muon"));
      CHECK(b.runs[r]->job.seed == r % 3);
      CHECK(b.job->parents[r] == b.runs[r]->job.hash);
      CHECK(at(b.job->parents[r]) < at(b.job->hash));
    }
  }
  CHECK(schedule.between()[0].job->hash != schedule.between()[1].job->hash);
  Ledger again(dir / "out", {});
  Schedule second(study, again);
  CHECK_FALSE(second.next().has_value());
  const std::string status = status_text(study, second, again);
  CHECK_MESSAGE(contains(status, "\nbetween "), status);
  // Of a program that leaves no parts, the report says the numbers of its record.
  write_study_report(dir / "out", study, second, again, "study run");
  CHECK(contains(read_text_file(dir / "out" / "report.html"), "barriers of wide"));
  CHECK(contains(read_text_file(dir / "out" / "tables/cost.csv"), "small,all,between,1"));
}

TEST_CASE("study between: it is measured without the trainings that are missing, and says so") {
  const test::TempDir dir;
  const Study study = study_from_text(kBetween, "between.toml");
  Ledger ledger(dir / "out", {});
  Schedule schedule(study, ledger);
  SUBCASE("one failed") {
    do_jobs(schedule, ledger, [](const Job& j) {
      return j.stage == Stage::final && j.model == "wide" && j.optimizer == "muon" && j.seed == 1;
    });
    CHECK(schedule.between()[1].job->parents.size() == 5);
    CHECK(warnings_of(schedule) ==
          std::vector<std::string>{"", "barriers of wide is without muon seed 1 (failed)"});
  }
  SUBCASE("a search found no cell") {
    do_jobs(schedule, ledger,
            [](const Job& j) { return j.stage == Stage::search && j.model == "small"; });
    CHECK(schedule.between()[0].job->parents.size() == 3);
    CHECK(warnings_of(schedule)[0] ==
          "barriers of small is without adam seed 0 (not trained), adam seed 1 (not trained), "
          "adam seed 2 (not trained)");
  }
  SUBCASE("one is left") {
    do_jobs(schedule, ledger, [](const Job& j) {
      return j.stage == Stage::final && j.model == "small" &&
             !(j.optimizer == "adam" && j.seed == 2);
    });
    CHECK_FALSE(schedule.between()[0].job.has_value());
    CHECK(contains(warnings_of(schedule)[0],
                   "is not measured: two trainings at least are expected, there is 1; without "
                   "adam seed 0 (failed)"));
    write_study_report(dir / "out", study, schedule, ledger, "study run");
    CHECK(contains(read_text_file(dir / "out" / "report.html"), "two trainings at least"));
  }
  CHECK(schedule.finished() == schedule.expected());
}

TEST_CASE("study: the jobs that are expected are those that can be done") {
  const test::TempDir dir;
  const std::string file = str(kBetween, "[optimizers.like_adam]\nlike = \"adam\"\nw = 1\n",
                               "[optimizers.follows]\nf = \"{metrics like_adam}\"\n",
                               "[measure.near]\nprogram = \"p\"\narguments = \"{run}\"\n",
                               "of = \"nearest\"\n[measure.each]\nprogram = \"p\"\n",
                               "arguments = \"{run}\"\n[search.halving]\nepochs = [1, 2]\n");
  const Study study = study_from_text(file, "between.toml");
  for (const std::string fails : {"nothing", "search", "trials", "adam", "like_adam", "measure"}) {
    CAPTURE(fails);
    const fs::path out = dir / fails;
    Ledger ledger(out, {});
    Schedule schedule(study, ledger);
    do_jobs(schedule, ledger, [&](const Job& j) {
      if (fails == "search") return j.stage == Stage::search;
      if (fails == "trials") return j.stage == Stage::search && j.cell.at("lr") == "1";
      if (fails == "measure") return j.stage == Stage::measure;
      return j.stage == Stage::final && j.optimizer == fails;
    });
    CHECK(schedule.finished() == schedule.expected());
    CHECK(schedule.between()[0].job.has_value());
  }
}

TEST_CASE("study between: faults of the file") {
  const auto refused = [](const std::string& table, const std::string& words) {
    const std::string file = std::string(kBetween) + table;
    test::check_error(ErrorKind::usage, {words}, [&] { study_from_text(file, "b.toml"); });
  };
  refused("[between.x]\nprogram = \"p\"\narguments = \"{run}\"\n", "{runs} or {best_val}");
  refused("[between.x]\narguments = \"{runs}\"\n", "[between.x]");
  refused("[between.x]\nprogram = \"p\"\narguments = \"{runs}\"\nof = \"all\"\n", "between.x.of");
  refused("[metrics.b]\nvalue = \"v\"\nfrom = \"barriers\"\n", "no [measure.NAME]");
}

// Stubs that train, and that say which run directories they were given.
void write_between_stubs(const fs::path& bin) {
  fs::create_directories(bin);
  const std::string head = R"sh(#!/bin/bash
runs=() out= json= value=
while [ $# -gt 0 ]; do
  case $1 in
    --set) value+=$2 && shift ;;
    --out) out=$2 && shift ;;
    --json) json=$2 && shift ;;
    --seen | --threads | --resume) shift ;;
    barriers) ;;
    *) runs+=("$1") ;;
  esac
  shift
done
sleep 0.02
mkdir -p "$out"
)sh";
  write_file_atomic(bin / "train_stub",
                    head + R"sh(echo '{"exit_reason": "completed"}' >"$out/run.json"
sum=$(echo "$value" | cksum | cut -d' ' -f1)
echo "{\"completed\": true, \"best_val_value\": 0.$sum, \"accuracy\": 0.$sum}" >"$json"
)sh");
  write_file_atomic(bin / "between_stub", head + R"sh(there=0
for run in "${runs[@]}"; do [ -f "$run/run.json" ] && there=$((there + 1)); done
echo "{\"given\": ${#runs[@]}, \"there\": $there}" >"$json"
)sh");
  for (const char* name : {"train_stub", "between_stub"}) {
    fs::permissions(bin / name, fs::perms::owner_all);
  }
}

TEST_CASE("study between: run, killed, shared by shards; a dry run writes nothing") {
  const test::TempDir dir;
  write_between_stubs(dir / "bin");
  write_file_atomic(dir / "b.toml", std::string_view(kBetween));
  const auto study = [&](const std::string& words) { return run_built(dir, "study", words); };
  const Finished dry = study("run b.toml --programs bin --out dry --dry-run");
  CHECK(dry.code == 0);
  CHECK(contains(dry.out, "0 of 18 jobs are done"));
  CHECK_FALSE(fs::exists(dir / "dry"));

  // A folder whose name has a blank is one word of the program's arguments.
  const Finished whole = study("run b.toml --programs bin --jobs 2 --out 'a whole'");
  REQUIRE_MESSAGE(whole.code == 0, whole.err);
  const std::string page = read_text_file(dir / "a whole" / "report.html");
  CHECK(contains(page, "barriers of small"));
  const std::string numbers = read_text_file(dir / "a whole" / "tables/barriers-small.csv");
  CHECK_MESSAGE(contains(numbers, "given,6"), numbers);
  CHECK(contains(numbers, "there,6"));

  int64_t killed = 0;
  for (const char* seconds : {"0.05", "0.12", "0.09"}) {
    const std::string command =
        str("cd '", dir.path().string(), "' && timeout -s KILL ", seconds, " '", BASIN_BIN_DIR,
            "/study' run b.toml --programs bin --jobs 2 --out parts >log 2>&1");
    killed += std::system(command.c_str()) != 0;
  }
  CHECK(killed == 3);
  // A shard leaves what waits for others to a later call.
  for (int round = 0; round < 4; ++round) {
    for (const char* which : {"0/2", "1/2"}) {
      const Finished f =
          study(str("run b.toml --programs bin --jobs 2 --no-report --out parts --shard ", which));
      REQUIRE_MESSAGE(f.code == 0, f.err);
    }
  }
  CHECK(contains(study("status b.toml --out parts").out, "18 of 18 jobs done"));
  CHECK(study("report b.toml --out parts").code == 0);
  for (const char* table : {"results.csv", "barriers-small.csv", "barriers-wide.csv"}) {
    CHECK(read_text_file(dir / "parts" / "tables" / table) ==
          read_text_file(dir / "a whole" / "tables" / table));
  }

  // What it measures is still to be there.
  const Study read = read_study(dir / "b.toml");
  Ledger ledger(dir / "parts", {});
  const Schedule schedule(read, ledger);
  const Job& job = *schedule.between().front().job;
  fs::remove(dir / "parts" / "records" / (job.hash + ".json"));
  fs::remove_all(ledger.run(job.parents[3]));
  const Finished gone = study("run b.toml --programs bin --out parts");
  CHECK(gone.code == 3);
  CHECK_MESSAGE(contains(gone.err, "expected to hold the training, and is gone"), gone.err);
  CHECK(contains(gone.err, job.parents[3]));
}

namespace {

// Two optimizers with three seeds each; the barrier depends on who meets whom.
BarriersRecord sample_barriers(bool seeds) {
  BarriersRecord out{"training shapes", "test shapes", "estimated anew", "fc2", {}, {}};
  for (int i = 0; i < 6; ++i) {
    out.networks.push_back({str("run", i), i < 3 ? "adam" : "muon", "step-1", "", 1, 1, 0.5, 0.5,
                            true, seeds ? str(i % 3) : ""});
  }
  for (int64_t i = 0; i < 6; ++i) {
    for (int64_t j = i + 1; j < 6; ++j) {
      BarrierPairRecord p{.from = i, .to = j};
      const bool within = (i < 3) == (j < 3), same = i % 3 == j % 3;
      const double height = (within ? 3.0 : same ? 1.0 : 2.0) + 0.01 * static_cast<double>(i + j);
      p.test_loss_barrier.height = p.train_loss_barrier.height = height;
      p.t = {0, 0.5, 1};
      p.test_loss = {1, 1 + height, 1};
      p.cka = 0.8;
      out.pairs.push_back(p);
    }
  }
  return out;
}

}  // namespace

TEST_CASE("barriers report: pairs of two optimizers are split by whether they share a seed") {
  const FigureConditions conditions{.level = 0};
  const PartReport report =
      barriers_report(sample_barriers(true), {"overall_accuracy", "%"}, conditions);
  const std::string& words = report.sections.front().text;
  INFO(words);
  // The three pairs with one seed: 1.03, 1.05, 1.07 behind i + j = 3, 5, 7.
  CHECK(contains(words, "1.05 [1, 1.1] between adam and muon, same seed"));
  CHECK(contains(words, "between adam and muon, other seeds"));
  CHECK(contains(words, "the start counts"));
  CHECK_FALSE(contains(words, "between adam and muon,  "));
  const Record numbers = barrier_numbers(sample_barriers(true));
  const RecordFields fields = parse_record(numbers.line(), "numbers");
  CHECK(fields.number("test_loss_barrier_adam_muon_same_seed") == doctest::Approx(1.05));
  CHECK(fields.number("test_loss_barrier_adam_muon_other_seeds") == doctest::Approx(2.05));
  CHECK(fields.number("test_loss_barrier_adam_muon") == doctest::Approx((3 * 1.05 + 6 * 2.05) / 9));
  CHECK(fields.number("cka_adam_muon") == doctest::Approx(0.8));
  // Where seeds are not known, nothing is said of them.
  const std::string unknown =
      barriers_report(sample_barriers(false), {"overall_accuracy", "%"}, conditions)
          .sections.front()
          .text;
  CHECK_FALSE(contains(unknown, "same seed"));
  CHECK(contains(unknown, "between adam and muon"));
}

TEST_CASE("study report: barriers of another program's folder, by the names of the study") {
  const test::TempDir dir;
  const Study study = study_from_text(kBetween, "between.toml");
  Ledger ledger(dir / "out", {});
  Schedule schedule(study, ledger);
  while (const auto job = schedule.next()) {
    if (job->stage == Stage::between) {
      fs::create_directories(ledger.run(*job));
      Record identity;
      identity.add("metric", "overall_accuracy").add("metric_unit", "%").add("probe_dtype", "f32");
      PartFiles(ledger.run(*job)).write("barriers", identity, sample_barriers(false));
    }
    ledger.write(*job, Record()
                           .add("completed", true)
                           .add("best_val_value", 0.5)
                           .add("accuracy", 0.5)
                           .add("job_seconds", 1));
    schedule.done(*job);
  }
  fs::remove_all(dir / "out" / "runs");  // the records alone are enough
  write_study_report(dir / "out", study, schedule, ledger, "study run");
  const std::string page = read_text_file(dir / "out" / "report.html");
  CHECK(contains(page, "small: Barriers"));
  CHECK(contains(page, "wide: Representations"));
  CHECK(contains(page, "between adam and muon, same seed"));
  CHECK(contains(page, "the start counts"));
  const fs::path figures = dir / "out" / "figures";
  CHECK(fs::exists(figures / "barriers-test-loss-barrier-wide-barriers.svg"));
  const std::string matrix = read_text_file(figures / "barriers-cka-small-barriers.csv");
  CHECK_MESSAGE(contains(matrix, "adam seed 0,muon seed 2,0,0.8"), matrix);
}

}  // namespace basin::tools
