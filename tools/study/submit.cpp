// Job arrays of Slurm.
#include "basin/tools/study/submit.h"

#include <cstdio>
#include <memory>

#include "basin/core/folder.h"
#include "basin/core/text.h"
#include "basin/tools/shell/environment.h"

namespace basin::tools {
namespace {

std::string head(const SlurmOptions& options, const std::string& name, const fs::path& log) {
  TextReader extra(options.extra);
  std::string out = str("#!/bin/bash\n#SBATCH --job-name=", name, "\n#SBATCH --time=", options.time,
                        "\n#SBATCH --output=", shell_word(log.string()), "\n");
  if (!options.partition.empty()) out += str("#SBATCH --partition=", options.partition, "\n");
  for (std::string word; extra >> word;) out += str("#SBATCH ", word, "\n");
  return out;
}

// The standard output of a command; resource error with its words when it fails.
std::string output_of(const std::string& command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen((command + " 2>&1").c_str(), "r"),
                                                   ::pclose);
  if (!pipe) fail(ErrorKind::resource, "cannot run ", command);
  std::string out;
  char buffer[256];
  while (const size_t n = ::fread(buffer, 1, sizeof buffer, pipe.get())) out.append(buffer, n);
  while (!out.empty() && out.back() == '\n') out.pop_back();
  const bool number = !out.empty() && out.find_first_not_of("0123456789") == out.npos;
  if (!number) {
    fail(ErrorKind::resource, command, ": expected the number of a job, got '", out, "'");
  }
  return out;
}

}  // namespace

std::pair<fs::path, fs::path> write_slurm_scripts(const fs::path& out, const fs::path& program,
                                                  const std::string& study_arguments,
                                                  const SlurmOptions& options) {
  const fs::path folder = fs::absolute(out) / "slurm";
  make_folder(folder);
  const std::string go = str("cd ", shell_word(fs::current_path().string()), "\n");
  const std::pair scripts{folder / "work.sh", folder / "report.sh"};
  // Slurm sends SIGTERM some time before the end, on which `study` leaves checkpoints and exits
  // with 75; the task then goes back into the queue.
  write_file_atomic(
      scripts.first,
      str(head(options, "study", folder / "work-%a.log"), "#SBATCH --array=1-", options.tasks,
          "\n#SBATCH --cpus-per-task=", options.cores,
          "\n#SBATCH --requeue\n#SBATCH --signal=TERM@120\n", go, shell_word(program.string()),
          " run ", study_arguments, " --no-report\n", "code=$?\n",
          "[ $code -ne 75 ] || scontrol requeue \"$SLURM_JOB_ID\"\n", "exit $code\n"));
  write_file_atomic(scripts.second,
                    str(head(options, "study-report", folder / "report.log"), go,
                        shell_word(program.string()), " report ", study_arguments, "\n"));
  return scripts;
}

std::string submit_slurm(const std::pair<fs::path, fs::path>& scripts) {
  const std::string work =
      output_of(str("sbatch --parsable ", shell_word(scripts.first.string()), " | cut -d';' -f1"));
  const std::string report =
      output_of(str("sbatch --parsable --dependency=afterany:", work, " ",
                    shell_word(scripts.second.string()), " | cut -d';' -f1"));
  return str("array ", work, ", report ", report);
}

}  // namespace basin::tools
