// Sections of a study's report that draw on parts, on probes along the trainings and on all
// networks together: what they say of numbers that a test knows, and what they say is absent.
#include <cmath>

#include "basin/datasets/corruptions.h"
#include "basin/figures/figure.h"
#include "basin/tests/tools/helpers.h"
#include "basin/tools/study/report.h"

namespace basin::tools {
namespace {

const char* const kSections = R"(title = "Sections"
program = "train_stub"
baseline = "adam"
[models.narrow]
width = 1
[models.wide]
width = 2
[optimizers.adam]
o = "adam"
[optimizers.muon]
o = "muon"
[final]
seeds = [0, 1, 2]
[measure.ends]
program = "landscape_probe"
arguments = "run {run}"
[measure.corrupted]
program = "train_modelnet"
arguments = "--corruptions --resume {run} --out {out}"
[metrics.loss]
value = "loss"
logarithmic = true
larger = false
)";

bool is_muon(const Job& job) { return job.settings.at("o") == "muon"; }

// Lines of metrics.jsonl. Muon's ranks lie above Adam's from step 20 on, its test accuracy and
// λ max nowhere apart. Its loss falls twice as fast, its trace is three times Adam's at equal loss.
std::string metrics_of_run(const Job& job, bool probed) {
  const double jitter = 0.01 * static_cast<double>(job.seed);
  std::string out;
  for (int step = 10; step <= 40; step += 10) {
    const double loss = std::exp2((is_muon(job) ? -2.0 : -1.0) * (step / 10 - 3));  // 4 at step 10
    const double rank = is_muon(job) && step >= 20 ? 0.5 : 0.3;
    if (probed) {
      out += Record()
                 .add("event", "probe")
                 .add("step", step)
                 .add("stable_rank_share", rank + jitter)
                 .add("probe_loss", is_muon(job) ? loss / 4 : loss)
                 .add("lambda_max", 10 + jitter)
                 .add("trace", (is_muon(job) ? 75 : 100) * loss * (1 + jitter))
                 .line() +
             "\n";
      if (job.settings.at("width") == "2") {  // the spectrum widens from step to step
        out += Record()
                   .add("event", "probe_density")
                   .add("step", step)
                   .add("size", 100)
                   .add("nodes", str("0 ", step))
                   .add("weights", "0.75 0.25")
                   .line() +
               "\n";
      }
    }
    out += Record()
               .add("event", "epoch")
               .add("step", step)
               .add("seconds", 1)
               .add("train_loss", 1 + jitter)
               .add("test_accuracy", 0.5 + jitter)
               .line() +
           "\n";
  }
  return out;
}

void write_probe(const fs::path& probe, const Job& training, bool curvature) {
  fs::create_directories(probe);
  write_file_atomic(probe / "run.json", Record()
                                            .add("exit_reason", "completed")
                                            .add("model", "net")
                                            .add("optimizer", training.settings.at("o"))
                                            .add("train_seed", static_cast<int64_t>(training.seed))
                                            .pretty());
  const double stable = (is_muon(training) ? 3 : 2) + 0.1 * static_cast<double>(training.seed);
  write_file_atomic(probe / "ranks.json",
                    str(R"({"identity": {}, "record": {"skipped": [], "weights": [)",
                        R"({"name": "a.weight", "rows": 4, "cols": 8, "singular": [2, 1, 1, 1], )",
                        R"("initial": [1, 1, 1, 1], "stable": )", number_text(stable),
                        R"(, "effective": 3, "initial_stable": 4, "initial_effective": 4}, )",
                        R"({"name": "b.weight", "rows": 8, "cols": 4, "singular": [4, 2, 1, 1], )",
                        R"("initial": [1, 1, 1, 1], "stable": 2, "effective": 3, )",
                        R"("initial_stable": 4, "initial_effective": 4}]}})"));
  if (!curvature) return;
  const double top = (is_muon(training) ? 100 : 10) * std::exp(static_cast<double>(training.seed));
  const std::string none =
      R"({"value": null, "standard_error": null, "low": null, "high": null, "level": 0.95, )"
      R"("samples": 0, "method": ""})";
  write_file_atomic(
      probe / "curvature.json",
      str(R"({"identity": {"probe_examples": "8", "probe_batch_norm": "frozen", "probe_dtype": )",
          R"("f32"}, "record": [{"kind": "hessian", "subset": "all", "data": "8 shapes", )",
          R"("size": 64, "loss": 1, "gradient_norm": 1, "top": [{"value": )", number_text(top),
          R"(, "residual": 0, "converged": true}], "bottom": [], "converged": true, "note": "", )",
          R"("products": 1, "trace": )", none, R"(, "trace_samples": [], "blocks": [], )",
          R"("density": [], "negative_share": )", none, R"(, "paper": {"measured": false, )",
          R"("lambda": null, "residual": null, "iterations": 0, "stopped_by_tolerance": false, )",
          R"("trace": null, "probes": 0}, "seconds": 1}]})"));
}

Record corrupted(const Job& training, bool severities) {
  Record out;
  out.add("mean_error_rate", 0.3);
  const double jitter = 0.0625 * static_cast<double>(training.seed);
  for (const char* family : {"density", "noise", "transformation"}) {
    out.add(str("group_error_rate_", family), (is_muon(training) ? 0.25 : 0.375) + jitter);
  }
  for (const CorruptionInfo& c : corruptions()) {
    const std::string key = str("error_rate_", c.name);
    out.add(key, 0.3);
    for (int s = 1; severities && s <= kSeverities; ++s) {
      out.add(str(key, "_severity_", s), (is_muon(training) ? 0.25 : 0.375) + jitter);
    }
  }
  return out;
}

struct Holds {
  bool probed = true, curvature = true, severities = true;
};

// Every job with its files; returns the page.
std::string reported(const fs::path& dir, const Holds& holds) {
  const Study study = study_from_text(kSections, "sections.toml");
  Ledger ledger(dir, {});
  Schedule schedule(study, ledger);
  std::map<std::string, Job> trainings;
  while (const auto job = schedule.next()) {
    Record record;
    if (job->stage == Stage::final) {
      trainings[job->hash] = *job;
      fs::create_directories(ledger.run(*job));
      write_file_atomic(ledger.run(*job) / "metrics.jsonl", metrics_of_run(*job, holds.probed));
      const double half = is_muon(*job) ? 0.5 : 1;
      record.add("completed", true)
          .add("loss", half * std::exp(0.01 * static_cast<double>(job->seed)))
          .add("metrics", "accuracy:%")
          .add("data", "shapes")
          .add("dtype", "f32");
    } else {
      const Job& training = trainings.at(job->parents.front());
      if (job->measurement == "ends") {
        write_probe(ledger.run(training) / "probe", training, holds.curvature);
      } else {
        record = corrupted(training, holds.severities);
      }
    }
    ledger.write(*job, record.add("job_seconds", 1));
    schedule.done(*job);
  }
  fs::remove_all(dir / "runs");  // the records alone are enough
  write_study_report(dir, study, schedule, ledger, "study run");
  return read_text_file(dir / "report.html");
}

}  // namespace

TEST_CASE("study report: parts over the seeds, courses, corruptions and all networks") {
  const test::TempDir dir;
  const std::string page = reported(dir / "out", {});
  const auto csv = [&](const std::string& name) {
    return read_text_file(dir / "out" / "figures" / (name + ".csv"));
  };
  // Along the training: muon's rank parts at step 20, nothing else does.
  CHECK(contains(page, "stable rank / maximal: muon above adam from step 20 to the end (step 40)"));
  CHECK(contains(page, "λ max: muon and adam are not told apart at the end"));
  CHECK(contains(csv("along-wide"), "stable rank / maximal,muon,run 3,40,0.52"));
  CHECK(contains(csv("ends-wide"), "stable rank / maximal,\"test accuracy, %\",muon,seed 2,0.52"));
  // Densities at the first, a middle and the last step, where they were recorded.
  CHECK(contains(page, "Spectral density along the training: wide"));
  CHECK(contains(page, "muon, step 30"));
  CHECK_FALSE(contains(page, "muon, step 20"));
  CHECK(contains(page, "narrow: no spectral density along the training (probes without density"));
  // At equal loss three times the trace, at the lowest loss that both reached and in the middle of
  // the way to it, though it is smaller at the end: 3 / 8.
  const std::string matched = read_text_file(dir / "out" / "tables" / "matched.csv");
  CHECK(contains(matched, "wide,muon,adam,trace,0.5,3,3,"));
  CHECK(contains(matched, "wide,muon,adam,trace,end,3,3,"));
  std::vector<double> ratios;
  TextReader lines(matched);
  for (std::string line; std::getline(lines, line);) {
    if (!contains(line, ",trace,")) continue;
    const std::string tail = line.substr(line.find(",3,3,") + 5);
    CHECK(parse_double(tail.substr(0, tail.find(',')), ratios.emplace_back()));
    CHECK(line.ends_with(contains(line, ",end,") ? "smaller" : "larger"));
  }
  REQUIRE(ratios.size() == 6);  // two networks, the end and two losses
  for (size_t i = 0; i < 6; ++i) {
    CHECK(ratios[i] == doctest::Approx(i % 3 == 0 ? 3.0 / 8 : 3));
  }
  CHECK(contains(page, "Curvature at equal loss"));
  CHECK(contains(csv("matched-wide"), "trace,muon,seed 2,0.0625,"));
  // Ranks: shares of 4, over the seeds; the start in grey.
  CHECK(contains(csv("weight_rank-narrow-ends"),
                 "stable rank / maximal rank,adam,0,a.weight,value,0.525"));
  CHECK(contains(csv("weight_rank-narrow-ends"), "initialisation,0,a.weight,reference,1,"));
  // Eigenvalues: the geometric mean of 10 e^0, 10 e^1, 10 e^2.
  CHECK(contains(csv("scree-wide-ends"), "wide,adam,eigenvalue,1,27.18"));
  CHECK(contains(page, "wide: no spectral density (measured with density_probes = 0)"));
  CHECK(contains(page, "wide: no ranks of what the layers make of test examples"));
  CHECK(contains(page, "smaller in 75 of 75 cells"));
  CHECK(contains(csv("corruptions-wide-muon"), ",density,5,31.25,43.75,-12.5"));
  CHECK(contains(read_text_file(dir / "out" / "tables/corruptions-wide-muon.csv"),
                 "transformation,-12.5"));
  // Half the loss on both networks.
  CHECK(contains(page, "muon is better in loss on 2 of 2 networks (sign test p = 0.5)"));
  CHECK(contains(csv("networks-loss"), "muon,wide,0.5"));
}

TEST_CASE("study report: what the records do not hold is said, not drawn") {
  const test::TempDir dir;
  const std::string page =
      reported(dir / "out", {.probed = false, .curvature = false, .severities = false});
  CHECK(contains(page, "Not drawn, for want of numbers"));
  CHECK(contains(page,
                 "narrow: no ranks and curvature along the training (trained without the "
                 "setting probe)"));
  CHECK(contains(page,
                 "narrow: no eigenvalues, trace and density of the Hessian (ends does not "
                 "name curvature in its parts)"));
  CHECK(contains(page, "wide, muon: no corruption matrix"));
  for (const char* name :
       {"along-wide", "scree-wide-ends", "corruptions-wide-muon", "matched-wide"}) {
    CHECK_FALSE(fs::exists(dir / "out" / "figures" / (std::string(name) + ".svg")));
  }
  CHECK(fs::exists(dir / "out" / "figures" / "weight_rank-wide-ends.svg"));
}

}  // namespace basin::tools
