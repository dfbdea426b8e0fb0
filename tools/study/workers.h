// Runs the jobs of a study on this machine: so many programs at a time, each pinned to cores of its
// own, until nothing is left that this program may do. Any number of them, on one machine or on
// several that share the folder, may work at the same study.
#pragma once
#include <functional>
#include <memory>

#include "basin/tools/study/schedule.h"

namespace basin::tools {

struct WorkOptions {
  int64_t jobs = 0;  // at a time; 0: one for every `threads` cores
  int64_t shard = 0, shards = 1;
  int64_t limit = 0;       // end after so many jobs; 0: all
  std::string data = {};   // where this machine has the data, in place of the setting `data`
  fs::path programs = {};  // folder of the training programs; empty: that of this one
};

struct WorkOutcome {
  int64_t done = 0;       // by this program
  int64_t failed = 0;     // of those, numerical failures
  int64_t elsewhere = 0;  // left to other shards, or to programs that still run
  int signal = 0;         // that ended it, or 0
};

// A job that fails numerically (exit code 4) is a result and is recorded; any other failure ends
// the work with one sentence of the program's and its exit code. On a signal the programs are
// stopped, which write checkpoints, and the claims are given back.
WorkOutcome work(const Study& study, Schedule& schedule, Ledger& ledger,
                 const WorkOptions& options);

}  // namespace basin::tools
