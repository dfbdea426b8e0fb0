// study submit --slurm: the study as a job array, every task of it a `study run` on one node that
// takes whatever is free (the claims keep them apart), and a last job that writes the report.
#pragma once
#include <string>

#include "basin/core/io.h"

namespace basin::tools {

struct SlurmOptions {
  int64_t tasks = 4;  // of the array
  int64_t cores = 1;  // per task
  std::string time = "4:00:00";
  std::string partition = {};
  std::string extra = {};  // further #SBATCH words, separated by blanks
};

// Bash scripts OUT/slurm/{work,report}.sh; returns their paths. program: of study itself.
std::pair<fs::path, fs::path> write_slurm_scripts(const fs::path& out, const fs::path& program,
                                                  const std::string& study_arguments,
                                                  const SlurmOptions& options);
// sbatch of both, the second after the first; returns what sbatch said. resource error without
// sbatch or when it refuses.
std::string submit_slurm(const std::pair<fs::path, fs::path>& scripts);

}  // namespace basin::tools
