// Command line of `study`.
#include "basin/tools/study/study_main.h"

#include <iostream>

#include "basin/core/folder.h"
#include "basin/tools/shell/cli.h"
#include "basin/tools/shell/environment.h"
#include "basin/tools/shell/progress.h"
#include "basin/tools/shell/signals.h"
#include "basin/tools/study/report.h"
#include "basin/tools/study/status.h"
#include "basin/tools/study/submit.h"
#include "basin/tools/study/workers.h"

namespace basin::tools {
namespace {

std::vector<Setting> study_settings() {
  using enum Kind;
  const auto record = Purpose::record, action = Purpose::action;
  return {
      {"out", text, "", "Folder of the study (default: runs/NAME of the file)", record},
      {"report", text, "", "Folder of tables, figures and report.html (default: OUT)", record},
      {"runs", text, "", "Folder of the run directories (default: OUT/runs)", record},
      {"data", text, "",
       "Where this machine has the data; the file's setting `data` is then a name alone", record},
      {"models", text, "", "Only these networks of the file, a comma list (default: all)", record},
      {"jobs", integer, "0", "Programs at a time; 0: one per core that the study's threads leave",
       record},
      {"shard", text, "0/1", "Only the jobs i, i + n, ... of all: i/n", record},
      {"limit_jobs", integer, "0", "End after so many jobs; 0: all", record},
      {"programs", text, "", "Folder of the training programs (default: that of this one)", record},
      {"no_report", flag, "false", "run: leave out tables and report", action},
      {"slurm", flag, "false", "submit: as a job array of Slurm", action},
      {"tasks", integer, "4", "submit: tasks of the array", record},
      {"cores", integer, "1", "submit: cores per task", record},
      {"time", text, "4:00:00", "submit: limit of a task", record},
      {"partition", text, "", "submit: partition", record},
      {"sbatch", text, "", "submit: further options of sbatch, separated by blanks", record},
      {"dry_run", flag, "false",
       "run: list the jobs that are ready; submit: write the scripts only", action},
      {"quiet", flag, "false", "No log on stderr", action},
  };
}

std::string help() {
  return "\nActions:\n"
         "  run FILE.toml     searches, trains, measures and reports whatever is not done yet; may "
         "be\n"
         "                    stopped and called again at any time, and from several machines at "
         "once\n"
         "  status FILE.toml  what is done, what runs, how long it will take\n"
         "  report FILE.toml  tables, figures and report.html from the records alone\n"
         "  submit FILE.toml --slurm\n"
         "The form of FILE.toml is that of studies/quick.toml.\n\n";
}

std::pair<int64_t, int64_t> shard_from(const Config& config) {
  const std::string& text = config.text("shard");
  const size_t slash = text.find('/');
  int64_t i = -1, n = 0;
  check(slash != text.npos && parse_int64(text.substr(0, slash), i) &&
            parse_int64(text.substr(slash + 1), n) && n >= 1 && i >= 0 && i < n,
        "--shard: expected i/n with 0 <= i < n, given '", text, "'");
  return {i, n};
}

fs::path out_folder(const Config& config, const Study& study) {
  return config.text("out").empty() ? fs::path("runs") / study.file.stem()
                                    : fs::path(config.text("out"));
}

int report(const Config& config, const Study& study, const Schedule& schedule, Ledger& ledger,
           const std::string& command) {
  const std::string& named = config.text("report");
  const fs::path dir = named.empty() ? ledger.folder() : fs::path(named);
  make_folder(dir);
  std::cout << write_study_report(dir, study, schedule, ledger, command) << '\n';
  log_line("study: " + (dir / "report.html").string());
  return 0;
}

std::string models_flag(const Config& config) {
  const std::string& names = config.text("models");
  return names.empty() ? names : " --models " + shell_word(names);
}

int run(const Config& config, const Study& study, Ledger& ledger, const std::string& command) {
  WorkOptions options;
  std::tie(options.shard, options.shards) = shard_from(config);
  options.jobs = config.integer("jobs");
  options.limit = config.integer("limit_jobs");
  options.programs = config.text("programs");
  options.data = config.text("data");
  check(options.jobs >= 0 && options.limit >= 0,
        "--jobs and --limit-jobs are expected to be at least 0");
  Schedule schedule(study, ledger);
  if (config.flag("dry_run")) {
    while (const auto job = schedule.next()) std::cout << job->hash << "  " << job->label() << '\n';
    std::cout << schedule.finished() << " of " << schedule.expected() << " jobs are done\n";
    return 0;
  }
  install_signal_handlers();
  const WorkOutcome outcome = work(study, schedule, ledger, options);
  log_line(str("study: ", outcome.done, " jobs done here, ", schedule.finished(), " of ",
               schedule.expected(), " in all"));
  if (outcome.signal != 0) {
    log_line(str("study: stopped by ", signal_name(outcome.signal), "; the same command goes on"));
    return exit_code_of(outcome.signal);
  }
  if (outcome.elsewhere > 0) {
    log_line(str("study: ", outcome.elsewhere, " jobs are left to others"));
  }
  if (config.flag("no_report")) return 0;
  return report(config, study, schedule, ledger, command);
}

int submit(const Config& config, const Study& study) {
  check(config.flag("slurm"),
        "submit: expected --slurm; for other systems run `study run FILE "
        "--shard i/n` as often as there are tasks");
  const fs::path out = out_folder(config, study);
  SlurmOptions options{config.integer("tasks"), config.integer("cores"), config.text("time"),
                       config.text("partition"), config.text("sbatch")};
  check(options.tasks >= 1 && options.cores >= 1,
        "--tasks and --cores are expected to be at least 1");
  std::string arguments = shell_word(fs::absolute(study.file).string()) + " --out " +
                          shell_word(fs::absolute(out).string());
  for (const char* key : {"runs", "data", "report"}) {
    const std::string& place = config.text(key);
    if (!place.empty()) {
      arguments += str(" --", key, " ", shell_word(fs::absolute(place).string()));
    }
  }
  arguments += models_flag(config);
  const auto scripts =
      write_slurm_scripts(out, fs::read_symlink("/proc/self/exe"), arguments, options);
  std::cout << scripts.first.string() << '\n' << scripts.second.string() << '\n';
  if (!config.flag("dry_run")) std::cout << submit_slurm(scripts) << '\n';
  return 0;
}

int act(int argc, const char* const* argv) {
  Config config(study_settings(), {});
  const CommandLine line = parse_command_line(
      {"study", "Grids, seeds, measurements and tests of a study, from one file to its report.",
       help, "ACTION", "run, status, report or submit, then the study's file"},
      config, argc, argv);
  if (line.done) return 0;
  if (config.flag("quiet")) set_verbosity(Verbosity::quiet);
  check(line.positionals.size() == 2,
        "expected an action (run, status, report, submit) and "
        "a file, given ",
        line.positionals.size(), " words");
  const std::string& action = line.positionals.front();
  Study study = read_study(line.positionals.back());
  if (!config.text("models").empty()) keep_models(study, config.text("models"));
  if (action == "submit") return submit(config, study);
  check(action == "run" || action == "status" || action == "report", "expected the action run, ",
        "status, report or submit, given '", action, "'");
  const fs::path out = out_folder(config, study);
  check(action == "run" || fs::is_directory(out), action, ": ", out.string(),
        " is expected to hold the study; `study run` makes it");
  Ledger ledger(out, config.text("runs"), action == "run" && !config.flag("dry_run"));
  const std::string command = str("study ", action, " ", study.file.string(), models_flag(config));
  if (action == "run") return run(config, study, ledger, command);
  const Schedule schedule(study, ledger);
  if (action == "report") return report(config, study, schedule, ledger, command);
  std::cout << status_text(study, schedule, ledger);
  return 0;
}

}  // namespace

int study_main(int argc, const char* const* argv) {
  return run_program("study", [&] { return act(argc, argv); });
}

}  // namespace basin::tools
