// What may run when. Each pair of network and optimizer goes its own way: the rounds of its search,
// the choice of a cell, the trainings at that cell, the measurements of each as soon as it ends (of
// the search's trainings too, where a measurement asks for them; nothing waits for these). So
// no pair waits for another, and the work for n jobs grows as n; what is measured between the
// trainings of a network waits for all of them, and for no other network. A job with a record is
// done without being run.
#pragma once
#include <deque>
#include <optional>

#include "basin/tools/study/ledger.h"

namespace basin::tools {

struct StudyTrial {  // one cell and seed in one round of the search
  Job job;
  std::optional<double> judged = {};         // absent: not done; NaN: failed
  std::map<std::string, Job> measured = {};  // as those of a run
};

struct CellScore {
  StudySettings cell;
  double judged = 0;  // the mean over its seeds; NaN: one is not done, or failed
};
// Of a round, in the order of its trials, where those of a cell stand together.
std::vector<CellScore> scores_of(const std::vector<StudyTrial>& round);

struct StudyRun {  // one training at the chosen cell
  Job job;
  bool done = false, failed = false;
  std::map<std::string, Job> measured = {};  // those that are done, by measurement
};

struct StudyPair {
  const StudySubject* model = nullptr;
  const StudySubject* optimizer = nullptr;
  std::vector<std::vector<StudyTrial>> rounds = {};
  std::optional<StudySettings> chosen = {};  // the cell
  std::vector<StudyRun> runs = {};           // by seed
  int64_t waiting = 0;                       // jobs of the present round, or of `runs`
  bool begun = false;                        // of an optimizer that stands on another: `runs`
  bool ended = false;                        // its trainings are done, or none can be
};

struct StudyBetween {  // one measurement between the trainings of a network
  const StudySubject* model = nullptr;
  const StudyMeasurement* measurement = nullptr;
  std::optional<Job> job = {};  // absent: the trainings are not done, or there is `refused`
  bool done = false;
  std::vector<const StudyRun*> runs = {};  // those measured, by optimizer and seed
  std::vector<std::string> left_out = {};  // those that are missing, "muon seed 2 (failed)"
  std::string refused = {};                // why it cannot be made: fewer than two trainings
  std::string warning() const;             // of what is missing; empty: nothing
};

class Schedule {
 public:
  Schedule(const Study& study, Ledger& ledger);

  // The next job that has no record yet and was not given before; none: all others wait for those
  // that run.
  std::optional<Job> next();
  bool any_ready() const { return !ready_.empty(); }
  // A job that was given has its record now, by whomever.
  void done(const Job& job);

  const std::vector<StudyPair>& pairs() const { return pairs_; }
  const std::vector<StudyBetween>& between() const { return between_; }
  int64_t known() const { return known_; }  // jobs so far
  int64_t finished() const { return finished_; }
  // Of the whole study; without what cannot be done since a training failed.
  int64_t expected() const { return expected_; }

 private:
  void give(const Job& job);
  void settle();  // follows up every record that has arrived
  void record_arrived(const Job& job);
  void search_done(StudyPair& pair, const Job& job);
  void begin_round(StudyPair& pair);
  void begin_final(StudyPair& pair, const StudySettings& cell);
  void begin_derived(const std::string& model);
  void begin_between(const std::string& model);
  void end(StudyPair& pair);
  void give_up(StudyPair& pair);  // no training of it can be made
  void final_done(StudyPair& pair, const Job& job);
  void measure(const Job& training, Measured of);
  int64_t measurements(Measured of) const;  // how many are made of one training
  StudyRun* nearest_run(StudyPair& pair);

  const Study& study_;
  Ledger& ledger_;
  std::vector<StudyPair> pairs_;
  std::vector<StudyBetween> between_;
  std::map<std::pair<std::string, std::string>, size_t> index_;
  std::deque<Job> ready_, arrived_;
  int64_t known_ = 0, finished_ = 0, expected_ = 0;
};

// The metric of a run from its records, in the metric's unit; NaN where it is missing.
double metric_of(const StudyMetric& metric, const StudyRun& run, Ledger& ledger);
double metric_of(const StudyMetric& metric, const StudyTrial& trial, Ledger& ledger);
// Jobs of a stage for one network and this optimizer, where nothing fails; of the stage between, 0.
int64_t expected_jobs(const Study& study, Stage stage, const std::string& optimizer);
// Whether a training's record says that it came to its end.
bool completed(const RecordFields& record);

}  // namespace basin::tools
