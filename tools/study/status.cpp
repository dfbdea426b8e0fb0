// The state of a study in words.
#include "basin/tools/study/status.h"

#include <algorithm>
#include <cmath>

#include "basin/core/folder.h"
#include "basin/core/lines.h"
#include "basin/tools/shell/environment.h"
#include "basin/tools/shell/report.h"

namespace basin::tools {
namespace {

struct Tally {
  int64_t expected = 0, done = 0, running = 0, failed = 0;
  double seconds = 0;  // of those done
};

// Step and epoch of the last line of a run's metrics.
std::string progress_of(const fs::path& run) {
  std::error_code error;
  const fs::path file = run / "metrics.jsonl";
  if (!fs::exists(file, error)) return "starting";
  const std::string text = read_text_file(file);
  const size_t end = text.find_last_not_of('\n');
  if (end == text.npos) return "starting";
  const size_t begin = text.rfind('\n', end);
  const size_t from = begin == text.npos ? 0 : begin + 1;
  try {
    const RecordFields f = parse_record(text.substr(from, end + 1 - from), file.string());
    return str("epoch ", f.text("epoch"), ", step ", f.text("step"));
  } catch (const Error&) {  // a line that is being written
    return "running";
  }
}

class Status {
 public:
  Status(const Study& study, const Schedule& schedule, Ledger& ledger) : ledger_(ledger) {
    for (const StudyPair& pair : schedule.pairs()) {
      for (size_t s = 0; s < kStages; ++s) {
        tally_[s].expected += expected_jobs(study, static_cast<Stage>(s), pair.optimizer->name);
      }
      for (const auto& round : pair.rounds) {
        for (const StudyTrial& t : round) {
          add(t.job);
          if (t.judged) add_measured(study, t.job, true);
        }
      }
      for (const StudyRun& run : pair.runs) {
        add(run.job);
        if (!run.done || run.failed) continue;
        add_measured(study, run.job, false);
      }
    }
    for (const StudyBetween& b : schedule.between()) {
      tally_[static_cast<size_t>(Stage::between)].expected += b.refused.empty();
      if (b.job) add(*b.job);
    }
  }

  std::string text() const {
    std::vector<std::vector<std::string>> rows{
        {"stage", "jobs", "done", "failed", "running", "mean time"}};
    double left = 0;
    int64_t running = 0;
    bool known = true;
    for (size_t s = 0; s < kStages; ++s) {
      const Tally& t = tally_[s];
      if (t.expected == 0) continue;
      const double each = t.done > 0 ? t.seconds / static_cast<double>(t.done) : NAN;
      rows.push_back({std::string(name_of(static_cast<Stage>(s))), str(t.expected), str(t.done),
                      str(t.failed), str(t.running),
                      t.done > 0 ? duration_text(each) : std::string("-")});
      running += t.running;
      if (t.done == t.expected) continue;
      known = known && t.done > 0;
      left += each * static_cast<double>(t.expected - t.done);
    }
    std::string out = format_table(rows);
    for (const std::string& line : running_) out += line + "\n";
    if (running > 0 && known && left > 0) {
      out += str("about ", duration_text(left / static_cast<double>(running)), " left with ",
                 running, " at a time\n");
    } else if (running == 0) {
      out += "nothing is running\n";
    }
    return out;
  }

 private:
  void add_measured(const Study& study, const Job& training, bool of_search) {
    for (const StudyMeasurement& m : study.measurements) {
      if ((m.of == Measured::search) == of_search) add(measure_job(m, training));
    }
  }
  void add(const Job& job) {
    Tally& tally = tally_[static_cast<size_t>(job.stage)];
    if (const RecordFields* record = ledger_.record(job.hash)) {
      ++tally.done;
      tally.failed += !completed(*record);
      tally.seconds += record->number("job_seconds");
      return;
    }
    const auto claim = ledger_.claim_of(job.hash);
    if (!claim || claim->stale) return;
    ++tally.running;
    running_.push_back(str("  ", job.label(), ": ",
                           job.parents.empty() ? progress_of(ledger_.run(job)) : "running", " on ",
                           claim->host, ", process ", claim->process));
  }

  Ledger& ledger_;
  Tally tally_[kStages];
  std::vector<std::string> running_;
};

}  // namespace

std::string status_text(const Study& study, const Schedule& schedule, Ledger& ledger) {
  return str(study.title, ": ", schedule.finished(), " of ", schedule.expected(), " jobs done\n",
             Status(study, schedule, ledger).text());
}

}  // namespace basin::tools
