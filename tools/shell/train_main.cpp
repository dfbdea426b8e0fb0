// The order of things in a training program: settings, place, data, loop, report.
#include "basin/tools/shell/train_main.h"

#include <algorithm>
#include <iostream>

#include "basin/core/text.h"
#include "basin/optim/registry.h"
#include "basin/optim/routing.h"
#include "basin/tools/shell/cli.h"
#include "basin/tools/shell/environment.h"
#include "basin/tools/shell/processes.h"
#include "basin/tools/shell/progress.h"
#include "basin/tools/shell/recipes.h"
#include "basin/tools/shell/replay.h"
#include "basin/tools/shell/signals.h"
#include "basin/train/tasks/tasks.h"

namespace basin::tools {
namespace {

struct Invocation {
  std::string program;
  const std::vector<std::string>& tasks;
  const TrainExtras& extras;
  std::string command;  // as typed
};

void check_disk(const RunDir& dir, const Trainer& trainer) {
  const TrainOptions& train = trainer.options();
  std::error_code error;
  const fs::space_info space = fs::space(dir.path(), error);
  if (error) return;
  const int64_t kept = train.keep > 0 ? train.keep + 3 : train.epochs;
  const auto needed = static_cast<uint64_t>(3 * kept * trainer.state().params.total_elements()) *
                      size_of(train.dtype);
  if (space.available < needed) {
    fail(ErrorKind::output, dir.path().string(), ": ", bytes_text(static_cast<double>(needed)),
         " are needed for checkpoints, ", bytes_text(static_cast<double>(space.available)),
         " are free; try a smaller --keep");
  }
}

// A rule for matrices on a network without one that it takes trains by its auxiliary rule alone;
// whoever compares the two compares nothing.
void warn_of_idle_rule(const Optimizer& optimizer, const std::vector<RoutingRow>& rows) {
  const std::vector<std::string> known = optimizer_names();
  if (std::ranges::find(known, optimizer.name()) == known.end()) return;  // a program's own
  const auto& options = optimizer_info(optimizer.name()).options;
  if (std::ranges::find(options, "muon_head", &OptionInfo::name) == options.end()) return;
  if (std::ranges::find(rows, optimizer.name(), &RoutingRow::optimizer) != rows.end()) return;
  warning_line(
      str(optimizer.name(), " updates no parameter of this network: all go to its auxiliary ",
          rows.empty() ? "rule" : rows.front().optimizer,
          "; --set optimizer.muon_head=true and muon_first=true let it take the output and "
          "the first layers"));
}

void log_plan(const Trainer& trainer) {
  const Model& model = trainer.task().model;
  log_line("data: " + data_summary(trainer.task()));
  log_line(str("model: ", model.name, " (", model.preset, "), ",
               trainer.state().params.total_elements(), " parameters; ", trainer.total_steps(),
               " steps, ", trainer.steps_per_epoch(), " per epoch"));
  const std::vector<RoutingRow> rows = trainer.optimizer().routing();
  log_line(format_routing_table(rows));
  warn_of_idle_rule(trainer.optimizer(), rows);
}

int plan_only(const Config& config, Trainer& trainer, const Place& place) {
  const Record plan = dry_run(trainer);
  const RecordFields p = parse_record(plan.line(), "plan");
  std::cout << "# resolved configuration\n"
            << config.to_toml() << "\n# data: " << trainer.task().data().description << "\n\n"
            << format_routing_table(trainer.optimizer().routing()) << "\nparameters      "
            << p.text("parameters") << "\nsteps           " << p.text("steps") << " ("
            << p.text("steps_per_epoch") << " per epoch)"
            << "\nstep            " << duration_text(p.number("step_seconds"))
            << "\nestimated time  " << duration_text(p.number("estimated_seconds"))
            << "\npeak memory     " << bytes_text(p.number("peak_rss_bytes"))
            << "\noutput          " << place.out.string() << ", about "
            << bytes_text(p.number("output_bytes")) << " (nothing was written)\n";
  write_json(config, plan);
  return 0;
}

// This process's folder, seen from the run's.
std::string start_folder(const fs::path& run) {
  return fs::weakly_canonical(fs::current_path())
      .lexically_relative(fs::weakly_canonical(run))
      .string();
}

// The directory, opened or created, with its configuration and the record of this start.
RunDir open_run(const Config& config, const Place& place, Trainer& trainer,
                const Invocation& call) {
  RunDir dir = place.in_place ? RunDir::open(place.out) : RunDir::create(place.out);
  if (place.checkpoint && !place.in_place) copy_metrics(place, dir);
  if (!place.in_place) dir.write_config(config.to_toml());
  if (config.integer("extend") > 0) {  // the run has its first checkpoint before it is one
    MetricsFile metrics(dir.metrics_file(), fs::file_size(dir.metrics_file()));
    trainer.save(dir.path(), metrics);
  }
  const DataFacts data = trainer.task().data();
  const TrainOptions& train = trainer.options();
  Record facts;
  facts.add("program", call.program)
      .add("task", std::string_view(trainer.task().name))
      .add("command", call.command)
      .add("seed", static_cast<int64_t>(train.seed))
      .add("data", data.source)
      .add("data_hash", data.hash)
      .add("config_hash", train.config_hash)
      .add("ranks", train.processes->size())
      .add("resumed_from_step", place.checkpoint ? place.checkpoint->step : int64_t{0})
      .add("paths_from", place.in_place ? paths_from(place.out) : start_folder(place.out));
  facts.append(extension_record(config));
  facts.append(device_record(train.device));
  dir.begin(facts);
  return dir;
}

// The bar of the epoch under way; it ends where an evaluation begins.
class EpochProgress {
 public:
  void operator()(const Trainer& trainer, const StepResult* step) {
    if (step == nullptr) return bar_.reset();
    const int64_t per_epoch = trainer.steps_per_epoch();
    const int64_t epoch = (trainer.steps_done() - 1) / per_epoch + 1;
    if (!bar_ || epoch != epoch_) {
      bar_.reset();
      bar_ = std::make_unique<Progress>(str("epoch ", epoch), per_epoch);
      epoch_ = epoch;
    }
    bar_->update(trainer.steps_done() - (epoch - 1) * per_epoch,
                 str("loss ", fixed_text(step->loss, 4), " lr ", short_text(step->lr, 3)));
  }

 private:
  std::unique_ptr<Progress> bar_;
  int64_t epoch_ = 0;
};

int train_and_report(const Config& config, Trainer& trainer, RunDir& dir, const Invocation& call) {
  TrainOutcome out;
  const auto bar = std::make_shared<EpochProgress>();
  TrainHooks hooks;
  hooks.stop = stop_signal;
  hooks.progress = [bar](const Trainer& t, const StepResult* step) { (*bar)(t, step); };
  hooks.log = log_line;
  hooks.replay_command = call.program + " --replay";
  try {
    check_disk(dir, trainer);
    out = trainer.run(dir.path(), hooks);
  } catch (const Error& e) {
    // Settings that show only in the first step to be impossible leave no run that is in the way.
    if (e.kind() != ErrorKind::usage || !dir.withdraw()) dir.finish_failed(e.what(), e.exit_code());
    throw;
  } catch (const std::bad_alloc&) {
    dir.finish_failed("out of memory", static_cast<int>(ErrorKind::resource));
    throw;
  }
  const std::string where = dir.path().string();
  if (!out.completed) {
    const int code = exit_code_of(out.signal);
    dir.finish(signal_name(out.signal), code);
    warning_line(str("stopped by ", signal_name(out.signal), " after step ", trainer.steps_done(),
                     "; continue with --resume ", where));
    return code;
  }
  Record result = out.result;
  result.add("peak_rss_bytes", peak_rss_bytes());
  write_file_atomic(dir.result_file(), result.pretty());
  dir.finish("completed", 0);
  const RecordFields fields = parse_record(result.line(), "result");
  std::cout << result_table(fields) << "run: " << where << '\n';
  write_json(config, result.add("run", where));
  log_line(str("written: ", where, "/{config.toml, run.json, metrics.jsonl, result.json, ckpt/}; ",
               "best: ", checkpoint_path(dir.checkpoints(), fields.integer("best_step")).string()));
  return 0;
}

// A rank that writes nothing: it takes its share of the work to the end.
int follow(Trainer& trainer, const Place& place) {
  TrainHooks hooks;
  hooks.stop = stop_signal;
  const TrainOutcome out = trainer.run(place.out, hooks);
  return out.completed ? 0 : exit_code_of(out.signal);
}

int train(const Config& config, const RunSettings& settings, const Place& place,
          const Invocation& call) {
  if (!place.in_place) RunDir::refuse_used(place.out);
  if (!place.source.empty()) refuse_changed_settings(config, place.source);
  // From here on a request to stop waits for the end of a step, reading the data included.
  if (!config.flag("dry_run")) install_signal_handlers();
  if (config.has("data")) log_line("reading " + config.text("data"));
  RunSettings known = settings;
  if (place.checkpoint) known.task.fitted = fitted_of(*place.checkpoint);
  Trainer trainer(task_from(known, config), settings.train);
  if (const std::string& weights = config.text("weights"); !weights.empty()) {
    load_state(weights, trainer.state(), {.skip_head = config.flag("skip_head")});
  }
  const bool extends = config.integer("extend") > 0;
  if (place.checkpoint && extends) trainer.extend(*place.checkpoint);
  if (place.checkpoint && !extends) trainer.restore(*place.checkpoint);
  check(place.in_place || !place.checkpoint || trainer.steps_done() < trainer.total_steps(),
        "--resume: ", place.source.string(), " ended with step ", trainer.steps_done(),
        ", there is nothing to train in another folder; --extend N trains N epochs more");
  if (config.flag("dry_run")) return plan_only(config, trainer, place);
  Communicator& processes = *settings.train.processes;
  wait_for_all(processes);  // before rank 0 changes the folder that all have looked at
  if (processes.rank() > 0) return follow(trainer, place);
  RunDir dir = open_run(config, place, trainer, call);
  log_plan(trainer);
  if (!place.source.empty() && !place.checkpoint) {
    warning_line(str(place.source.string(), " has no checkpoint that can be used: it starts anew"));
  }
  const std::string from = extends ? str("extending ", place.checkpoint->path.string(), " by ",
                                         config.text("extend"), " epochs, ")
                                   : str("resuming after step ", trainer.steps_done(), ", ");
  log_line(str(place.checkpoint ? from : std::string(), "writing to ", dir.path().string(),
               "/{config.toml, run.json, metrics.jsonl, result.json, ckpt/}"));
  return train_and_report(config, trainer, dir, call);
}

int compare(const std::vector<std::string>& positionals, const TrainExtras& extras) {
  const std::vector<fs::path> runs(positionals.begin(), positionals.end());
  check(!runs.empty(), "compare: expects run directories, none given");
  std::cout << comparison_table(runs, extras.columns);
  return 0;
}

// Which task the command line is about decides which settings there are, so it is looked for before
// the rest is read: --task NAME, else that of the run which --resume names, else the first.
std::string task_asked_for(const std::vector<std::string>& tasks, int argc,
                           const char* const* argv) {
  std::string name = flag_value("--task", argc, argv);
  const fs::path run = name.empty() ? resumed_run(flag_value("--resume", argc, argv)) : fs::path();
  if (!run.empty()) name = task_of_run(run);
  if (name.empty()) return tasks.front();
  if (std::find(tasks.begin(), tasks.end(), name) == tasks.end()) {
    std::string known;
    for (const std::string& t : tasks) known += (known.empty() ? "" : ", ") + t;
    check(run.empty(), "--resume: ", run.string(), " is a run of the task ", name,
          "; this program trains ", known);
    const std::string near = nearest_name(name, tasks);
    fail(ErrorKind::usage, "--task: expected one of ", known, ", given '", name, "'",
         near.empty() ? "" : "; did you mean '" + near + "'?");
  }
  return name;
}

Config settings_with(const std::string& task, const TrainExtras& extras) {
  Config base = train_settings(task);
  std::vector<Setting> all = base.settings();
  for (const Measurement& m : extras.measurements) {
    all.insert(all.end(), m.settings.begin(), m.settings.end());
  }
  return Config(std::move(all), open_settings());
}

// "compare" or "predict" when the first free word says so.
std::string take_action(CommandLine& line, const Config& config) {
  static const std::vector<std::string> known{"compare", "predict"};
  if (config.flag("compare")) return "compare";
  if (line.positionals.empty()) return "";
  const std::string word = line.positionals.front();
  if (std::find(known.begin(), known.end(), word) == known.end()) {
    fail(ErrorKind::usage, "unexpected argument '", word, "'; --help lists the options");
  }
  line.positionals.erase(line.positionals.begin());
  return word;
}

int act(const Config& config, const RunSettings& settings, const std::string& action,
        const std::vector<std::string>& files, const Invocation& call) {
  const bool measuring = action == "predict" || is_measurement(config, call.extras.measurements);
  const Place place = find_place(config, settings, measuring);
  check(!measuring || config.integer("extend") == 0, config.origin("extend"),
        ": trains, it cannot measure in the same call");
  check_json_target(config);
  if (action == "predict") return predict_files(config, settings, place, files);
  if (measuring) return measure(config, settings, place, call.extras.measurements);
  return train(config, settings, place, call);
}

int run(const Invocation& call, int argc, const char* const* argv) {
  const std::string task = task_asked_for(call.tasks, argc, argv);
  Config config = settings_with(task, call.extras);
  const Program program{call.program,
                        "Trains networks (" + task_info(task).summary +
                            "); compares runs (compare RUN...); predicts (predict FILE...).",
                        [task] { return train_help(task); },
                        "ACTION",
                        "compare, then run directories; predict, then files or folders",
                        [task](const Setting& s) { return task_default(task, s); }};
  CommandLine line = parse_command_line(program, config, argc, argv);
  if (line.done) return 0;
  check(config.text("task") == task, config.origin("task"),
        ": the task is chosen by --task alone, ", "which says ", task);
  const std::string action = take_action(line, config);
  if (action == "compare") return compare(line.positionals, call.extras);
  if (!config.text("replay").empty()) {
    apply_shared_settings(config);
    return replay(config);
  }
  load_resumed_settings(config, resumed_run(config.text("resume")));
  extend_settings(config);
  apply_shared_settings(config);
  RunSettings settings = run_settings_from(config);
  if (config.flag("print_config")) {
    std::cout << describe_settings(config, settings);
    return 0;
  }
  for (const std::string& note : settings.notes) log_line(note);
  const bool measuring = action == "predict" || is_measurement(config, call.extras.measurements);
  const bool alone = measuring || config.flag("dry_run");
  check(!alone || config.integer("ranks") <= 1, config.origin("ranks"),
        ": several ranks only train; measure, predict and plan on one process, without --ranks");
  const std::shared_ptr<Communicator> processes = start_processes(alone ? 1 : asked_ranks(config));
  settings.train.processes = processes;
  return run_together(call.program, processes, [&] {
    if (processes->rank() > 0) set_verbosity(Verbosity::quiet);
    return act(config, settings, action, line.positionals, call);
  });
}

}  // namespace

int train_main(std::initializer_list<const char*> tasks, int argc, const char* const* argv,
               TrainExtras (*extras)()) {
  const std::string_view path = argv[0];
  const std::string program(path.substr(path.rfind('/') + 1));
  const auto body = [&] {
    register_builtin_tasks();
    const std::vector<std::string> names(tasks.begin(), tasks.end());
    const TrainExtras more = extras ? extras() : TrainExtras{};
    return run({program, names, more, command_line(argc, argv)}, argc, argv);
  };
  // A single reference fits into the function object: nothing is allocated where no exception is
  // caught yet.
  return run_program(program, [&body] { return body(); });
}

}  // namespace basin::tools
