// What is known of a study's jobs, in one folder that several programs and machines may share:
//   records/HASH.json  a job that ended: what it was and its result. A record counts as done, also
//                      where the run directory is gone, so that records alone can be committed
//   records/HASH.jsonl  of a training: the evaluations and probes out of its metrics.jsonl
//   records/HASH/      of a measurement: the parts (*.json) that its program left in --out, or
//                      beside the training in RUN/probe
//   claims/HASH.G      a job that a program works on: its host, process and run directory. The
//                      time of the file is its heartbeat. A claim without one for kStaleSeconds,
//                      or of a process of this host that is gone, may be taken over by making the
//                      claim of the next generation G, which only one program can make
//   runs/HASH/         run directories (a folder of their own with --runs)
//   logs/HASH.log      what the job said last
// Files are made with O_EXCL or renamed into place; nothing is locked.
#pragma once
#include <map>
#include <optional>
#include <string>

#include "basin/core/record.h"
#include "basin/tools/study/jobs.h"

namespace basin::tools {

inline constexpr double kStaleSeconds = 90;
inline constexpr double kHeartbeatSeconds = 10;

class Ledger {
 public:
  // runs: empty for FOLDER/runs. make_folders: false where nothing is to be written.
  Ledger(fs::path folder, fs::path runs, bool make_folders = true);

  const fs::path& folder() const { return folder_; }
  fs::path run(const Job& job) const { return runs_ / job.hash; }
  fs::path run(const std::string& hash) const { return runs_ / hash; }
  fs::path curve(const Job& job) const { return folder_ / "records" / (job.hash + ".jsonl"); }
  fs::path log(const Job& job) const { return folder_ / "logs" / (job.hash + ".log"); }

  // Where the parts of a measurement are: with its record or, of records from before they were
  // kept, where its program left them. Empty: nowhere any more.
  fs::path parts(const Job& job) const;

  // The record of a job that ended, read once; null: there is none. data error for a damaged one.
  const RecordFields* record(const std::string& hash);
  // And keeps it. Of a training that has a run directory also its evaluations and probes, of a
  // measurement its parts.
  void write(const Job& job, const Record& result);

  struct Claim {
    int64_t generation = 0;
    std::string host;
    int64_t process = 0;
    double age = 0;      // seconds since its heartbeat
    bool stale = false;  // nobody works on it any more
  };
  std::optional<Claim> claim_of(const std::string& hash) const;  // the newest
  // True when this program now owns the job.
  bool claim(const Job& job);
  // False when another program has taken the job over, because this one seemed dead.
  bool heartbeat(const Job& job) const;
  void release(const Job& job);

 private:
  fs::path left_by(const Job& job) const;
  fs::path claim_file(const std::string& hash, int64_t generation) const;

  fs::path folder_, runs_;
  std::map<std::string, RecordFields> records_;
  std::map<std::string, int64_t> owned_;  // generation by hash
};

}  // namespace basin::tools
