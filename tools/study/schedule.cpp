// The order of the jobs.
#include "basin/tools/study/schedule.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "basin/analysis/statistics.h"
#include "basin/figures/figure.h"

namespace basin::tools {
namespace {

double field_of(const RecordFields& record, const std::string& field) {
  return record.has(field) ? record.number(field) : NAN;
}

double value_of(const StudyMetric& metric, const Job& training,
                const std::map<std::string, Job>& measured, Ledger& ledger) {
  std::string hash = training.hash;
  if (!metric.from.empty()) {
    const auto found = measured.find(metric.from);
    if (found == measured.end()) return NAN;
    hash = found->second.hash;
  }
  const RecordFields* record = ledger.record(hash);
  if (record == nullptr || !completed(*record)) return NAN;
  return metric.scale * field_of(*record, metric.field);
}

// A field that is misspelt shows in the first record, not after the last training.
void check_metrics(const Study& study, const RecordFields& record) {
  for (const StudyMetric& m : study.metrics) {
    double value = 0;
    check(!m.from.empty() || (record.has(m.field) && parse_double(record.text(m.field), value)),
          study.file.string(), ": [metrics.", m.name, "] value = \"", m.field,
          "\" is no number that ", study.program, " reports");
  }
}

}  // namespace

bool completed(const RecordFields& record) {
  return !record.has("completed") || record.flag("completed");
}

double metric_of(const StudyMetric& metric, const StudyRun& run, Ledger& ledger) {
  return value_of(metric, run.job, run.measured, ledger);
}

double metric_of(const StudyMetric& metric, const StudyTrial& trial, Ledger& ledger) {
  return value_of(metric, trial.job, trial.measured, ledger);
}

int64_t expected_jobs(const Study& study, Stage stage, const std::string& optimizer) {
  int64_t out = 0;
  switch (stage) {
    case Stage::search:
      if (study.grid.at(optimizer).size() == 1) return 0;
      for (const StudyRound& round : study.rounds.at(optimizer)) out += round.cells;
      return out * std::ssize(study.search_seeds);
    case Stage::final: return std::ssize(study.seeds);
    case Stage::measure:
      for (const StudyMeasurement& m : study.measurements) {
        out += m.of == Measured::nearest  ? 1
               : m.of == Measured::search ? expected_jobs(study, Stage::search, optimizer)
                                          : std::ssize(study.seeds);
      }
      return out;
    case Stage::between: break;
  }
  return out;
}

std::vector<CellScore> scores_of(const std::vector<StudyTrial>& round) {
  std::vector<CellScore> out;
  double sum = 0;
  int64_t count = 0;
  for (const StudyTrial& t : round) {
    if (out.empty() || out.back().cell != t.job.cell) {
      out.push_back({t.job.cell});
      sum = 0, count = 0;
    }
    sum += t.judged.value_or(NAN);
    out.back().judged = sum / static_cast<double>(++count);
  }
  return out;
}

std::string StudyBetween::warning() const {
  if (left_out.empty()) return {};
  const std::string missing = joined(left_out);
  return str(measurement->name, " of ", model->name,
             refused.empty() ? " is without " : " is not measured: " + refused + "; without ",
             missing);
}

Schedule::Schedule(const Study& study, Ledger& ledger) : study_(study), ledger_(ledger) {
  for (const StudySubject& model : study.models) {
    for (const StudySubject& optimizer : study.optimizers) {
      index_[{model.name, optimizer.name}] = pairs_.size();
      pairs_.push_back({.model = &model, .optimizer = &optimizer});
    }
  }
  for (const StudyPair& pair : pairs_) {
    for (const Stage stage : {Stage::search, Stage::final, Stage::measure}) {
      expected_ += expected_jobs(study, stage, pair.optimizer->name);
    }
  }
  for (const StudySubject& model : study.models) {
    for (const StudyMeasurement& m : study.between) between_.push_back({&model, &m});
  }
  expected_ += std::ssize(between_);
  for (StudyPair& pair : pairs_) begin_round(pair);
  settle();
}

std::optional<Job> Schedule::next() {
  if (ready_.empty()) return std::nullopt;
  Job job = std::move(ready_.front());
  ready_.pop_front();
  return job;
}

void Schedule::done(const Job& job) {
  arrived_.push_back(job);
  settle();
}

void Schedule::settle() {
  while (!arrived_.empty()) {
    const Job job = std::move(arrived_.front());
    arrived_.pop_front();
    record_arrived(job);
  }
}

void Schedule::give(const Job& job) {
  ++known_;
  if (ledger_.record(job.hash) != nullptr) {
    arrived_.push_back(job);
  } else {
    ready_.push_back(job);
  }
}

// The optimizers of a network that take another's cell or read another's trainings, as soon as
// these are there.
void Schedule::begin_derived(const std::string& model) {
  for (StudyPair& pair : pairs_) {
    const StudySubject& s = *pair.optimizer;
    if (pair.model->name != model || pair.begun || (s.like.empty() && s.reads.empty())) continue;
    StudySettings cell = study_.grid.at(s.name).front();
    if (!s.like.empty()) {
      const StudyPair& base = pairs_[index_.at({model, s.like})];
      if (!base.chosen) {
        if (base.ended) {
          pair.begun = true;
          give_up(pair);
        }
        continue;
      }
      cell = *base.chosen;
    }
    if (!s.reads.empty()) {
      if (!pairs_[index_.at({model, s.reads})].ended) continue;
    }
    pair.begun = true;
    begin_final(pair, cell);
  }
}

// Once all its trainings are there, as far as they can be.
void Schedule::begin_between(const std::string& model) {
  std::vector<const StudyRun*> trained;
  std::vector<std::string> left_out;
  for (const StudyPair& pair : pairs_) {
    if (pair.model->name != model) continue;
    if (!pair.ended) return;
    for (const uint64_t seed : study_.seeds) {
      const auto run =
          std::ranges::find(pair.runs, seed, [](const StudyRun& r) { return r.job.seed; });
      if (run == pair.runs.end() || run->failed) {
        left_out.push_back(str(pair.optimizer->name, " seed ", seed,
                               run == pair.runs.end() ? " (not trained)" : " (failed)"));
      } else {
        trained.push_back(&*run);
      }
    }
  }
  for (StudyBetween& b : between_) {
    if (b.model->name != model || b.job || !b.refused.empty()) continue;
    b.runs = trained;
    b.left_out = left_out;
    if (trained.size() < 2) {
      b.refused =
          str("two trainings at least are expected, there ", trained.empty() ? "is none" : "is 1");
      --expected_;
      continue;
    }
    std::vector<Job> jobs;
    for (const StudyRun* run : trained) jobs.push_back(run->job);
    b.job = between_job(*b.measurement, jobs);
    give(*b.job);
  }
}

void Schedule::end(StudyPair& pair) {
  pair.ended = true;
  begin_derived(pair.model->name);
  begin_between(pair.model->name);
}

void Schedule::give_up(StudyPair& pair) {
  expected_ -= std::ssize(study_.seeds) * (1 + measurements(Measured::all)) +
               measurements(Measured::nearest);
  end(pair);
}

void Schedule::begin_round(StudyPair& pair) {
  if (!pair.optimizer->like.empty() || !pair.optimizer->reads.empty()) return;  // begin_derived
  const std::vector<StudySettings>& cells = study_.grid.at(pair.optimizer->name);
  if (cells.size() == 1) {
    begin_final(pair, cells.front());
  } else {
    std::vector<StudySettings> alive = cells;
    const auto round = pair.rounds.size();
    if (round > 0) {
      // The best of the round before; of equals the first.
      std::vector<CellScore> order = scores_of(pair.rounds.back());
      std::erase_if(order, [](const CellScore& s) { return !std::isfinite(s.judged); });
      std::ranges::stable_sort(order, [&](const CellScore& a, const CellScore& b) {
        return study_.judge_larger ? a.judged > b.judged : a.judged < b.judged;
      });
      const auto& rounds = study_.rounds.at(pair.optimizer->name);
      const int64_t wanted = round < rounds.size() ? rounds[round].cells : 1;
      if (std::ssize(order) > wanted) order.resize(static_cast<size_t>(wanted));
      alive.clear();
      for (const CellScore& s : order) alive.push_back(s.cell);
      const int64_t each = (1 + measurements(Measured::search)) * std::ssize(study_.search_seeds);
      if (round < rounds.size()) expected_ -= each * (rounds[round].cells - std::ssize(alive));
      if (alive.empty()) {  // every cell failed
        for (auto r = round + 1; r < rounds.size(); ++r) expected_ -= each * rounds[r].cells;
        return give_up(pair);
      }
      if (round == rounds.size()) return begin_final(pair, alive.front());
    }
    std::vector<StudyTrial>& trials = pair.rounds.emplace_back();
    for (const StudySettings& cell : alive) {
      for (const uint64_t seed : study_.search_seeds) {
        trials.push_back({search_job(study_, *pair.model, *pair.optimizer, cell,
                                     static_cast<int64_t>(round), seed),
                          std::nullopt});
      }
    }
    pair.waiting = std::ssize(trials);
    for (const StudyTrial& t : trials) give(t.job);
  }
}

void Schedule::record_arrived(const Job& job) {
  ++finished_;
  if (job.stage == Stage::between) {
    for (StudyBetween& b : between_) b.done = b.done || (b.job && b.job->hash == job.hash);
    return;
  }
  StudyPair& pair = pairs_[index_.at({job.model, job.optimizer})];
  switch (job.stage) {
    case Stage::search: return search_done(pair, job);
    case Stage::final: return final_done(pair, job);
    case Stage::measure:
      for (StudyRun& run : pair.runs) {
        if (run.job.hash == job.parents.front()) run.measured[job.measurement] = job;
      }
      for (auto& round : pair.rounds) {
        for (StudyTrial& t : round) {
          if (t.job.hash == job.parents.front()) t.measured[job.measurement] = job;
        }
      }
      return;
    case Stage::between: return;
  }
}

void Schedule::search_done(StudyPair& pair, const Job& job) {
  const RecordFields& record = *ledger_.record(job.hash);
  if (completed(record) && !record.has(study_.judge)) {
    fail(ErrorKind::usage, "the search is judged by '", study_.judge, "', which ", study_.program,
         " does not report; best_val_value needs a validation split");
  }
  for (StudyTrial& t : pair.rounds.back()) {
    if (t.job.hash != job.hash || t.judged) continue;
    t.judged = completed(record) ? record.number(study_.judge) : NAN;
    --pair.waiting;
    if (completed(record)) {
      measure(t.job, Measured::search);
    } else {
      expected_ -= measurements(Measured::search);
    }
    break;
  }
  if (pair.waiting == 0) begin_round(pair);
}

void Schedule::begin_final(StudyPair& pair, const StudySettings& cell) {
  pair.chosen = cell;
  const StudySubject& optimizer = *pair.optimizer;
  for (const uint64_t seed : study_.seeds) {
    std::string reads;
    if (!optimizer.reads.empty()) {
      const auto& of = pairs_[index_.at({pair.model->name, optimizer.reads})].runs;
      const auto run = std::ranges::find(of, seed, [](const StudyRun& r) { return r.job.seed; });
      if (run == of.end() || run->failed) {  // nothing to follow
        expected_ -= 1 + measurements(Measured::all);
        continue;
      }
      reads = run->job.hash;
    }
    pair.runs.push_back({final_job(study_, *pair.model, optimizer, cell, seed, reads)});
  }
  pair.waiting = std::ssize(pair.runs);
  for (const StudyRun& run : pair.runs) give(run.job);
  if (pair.runs.empty()) {
    expected_ -= measurements(Measured::nearest);
    return end(pair);
  }
  begin_derived(pair.model->name);
}

void Schedule::final_done(StudyPair& pair, const Job& job) {
  for (StudyRun& run : pair.runs) {
    if (run.job.hash != job.hash || run.done) continue;
    run.done = true;
    const RecordFields& record = *ledger_.record(job.hash);
    run.failed = !completed(record);
    if (!run.failed) check_metrics(study_, record);
    --pair.waiting;
    if (run.failed) {
      expected_ -= measurements(Measured::all);
    } else {
      measure(run.job, Measured::all);
    }
    break;
  }
  if (pair.waiting > 0) return;
  if (const StudyRun* nearest = nearest_run(pair)) {
    measure(nearest->job, Measured::nearest);
  } else {
    expected_ -= measurements(Measured::nearest);
  }
  end(pair);
}

int64_t Schedule::measurements(Measured of) const {
  return std::ranges::count(study_.measurements, of, &StudyMeasurement::of);
}

void Schedule::measure(const Job& training, Measured of) {
  for (const StudyMeasurement& m : study_.measurements) {
    if (m.of == of) give(measure_job(m, training));
  }
}

StudyRun* Schedule::nearest_run(StudyPair& pair) {
  const auto trained = std::ranges::find(study_.metrics, std::string(), &StudyMetric::from);
  if (trained == study_.metrics.end()) return nullptr;
  std::vector<double> values;
  for (const StudyRun& run : pair.runs) {
    const double value = metric_of(*trained, run, ledger_);
    if (std::isfinite(value)) values.push_back(value);
  }
  StudyRun* best = nullptr;
  double distance = std::numeric_limits<double>::infinity();
  for (StudyRun& run : pair.runs) {
    const double from = std::abs(metric_of(*trained, run, ledger_) - mean(values));
    if (from < distance) best = &run, distance = from;
  }
  return best;
}

}  // namespace basin::tools
