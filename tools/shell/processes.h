// The processes that train one run together (--ranks), by MPI where Basin was built with it: the
// only place that calls it. `mpirun -n R` or `srun -n R --mpi=pmix` starts them; each runs the same
// program with the same arguments on the same files.
//   A process that fails says its sentence and ends the job (MPI_Abort) with its exit code. Where
//   all of them fail alike, rank 0 speaks for all: the others wait kLastWords before they say
//   theirs. A signal that any of them gets stops all after the same step. mpirun passes SIGUSR1 on;
//   after SIGTERM or Ctrl-C it kills within a second, unless --mca odls_base_sigkill_timeout says
//   otherwise.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "basin/tools/shell/config.h"
#include "basin/train/communicator.h"

namespace basin::tools {

// --ranks, or the number that Open MPI's mpirun started.
int64_t asked_ranks(const Config& config);

// This process's side of so many. usage errors: another number was started; Basin was built without
// MPI.
std::shared_ptr<Communicator> start_processes(int64_t ranks);

// run_program() on every rank: a failure of one is the end of all.
int run_together(const std::string& program, const std::shared_ptr<Communicator>& processes,
                 const std::function<int()>& body);

}  // namespace basin::tools
