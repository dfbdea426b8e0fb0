// train_modelnet: trains and evaluates a point-cloud classifier on ModelNet40 (any layout that
// datasets/point_cloud.h reads) or on the embedded shapes; compares runs.
//   train_modelnet --optimizer muon --epochs 10
//   train_modelnet --corruptions --resume runs/A/ckpt/best
//   train_modelnet compare runs/A runs/B
//   train_modelnet --replay runs/A/failure-step-123
// stdout: results only. stderr: the log. Exit codes: --help.
#include <iostream>

#include "basin/optim/routing.h"
#include "basin/tools/shell/cli.h"
#include "basin/tools/shell/environment.h"
#include "basin/tools/shell/measure.h"
#include "basin/tools/shell/progress.h"
#include "basin/tools/shell/replay.h"
#include "basin/tools/shell/report.h"
#include "basin/tools/shell/run_place.h"
#include "basin/tools/shell/signals.h"

namespace basin::tools {
namespace {

constexpr const char* kName = "train_modelnet";

void check_disk(const RunDir& dir, const Trainer& trainer, const TrainConfig& train) {
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

void check_json_target(const Config& config) {
  const fs::path file = config.text("json");
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  if (!file.empty() && !fs::is_directory(folder)) {
    fail(ErrorKind::output, config.origin("json"), ": the folder ", folder.string(),
         " does not exist");
  }
}

void log_plan(const Trainer& trainer, const TrainConfig& train, const TrainData& data) {
  log_line("data: " + data_summary(train, data));
  log_line(str("model: ", trainer.model().name, " (", trainer.model().preset, "), ",
               trainer.state().params.total_elements(), " parameters; ", trainer.total_steps(),
               " steps, ", trainer.steps_per_epoch(), " per epoch"));
  log_line(format_routing_table(trainer.optimizer().routing()));
}

int plan_only(const Config& config, Trainer& trainer, const TrainConfig& train,
              const TrainData& data, const Place& place) {
  const Record plan = dry_run(trainer, train, data);
  const RecordFields p = parse_record(plan.line(), "plan");
  std::cout << "# resolved configuration\n"
            << config.to_toml() << "\n# data: " << data.description << "\n\n"
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

// The directory, opened or created, with its configuration and the record of this start.
RunDir open_run(const Config& config, const Place& place, const TrainConfig& train,
                const TrainData& data, const std::string& command) {
  RunDir dir = place.in_place ? RunDir::open(place.out) : RunDir::create(place.out);
  if (place.checkpoint && !place.in_place) copy_metrics(place, dir);
  if (!place.in_place) dir.write_config(config.to_toml());
  Record facts;
  facts.add("program", kName)
      .add("command", command)
      .add("seed", static_cast<int64_t>(train.seed))
      .add("data", data.train.source)
      .add("data_hash", data.hash)
      .add("config_hash", train.config_hash)
      .add("resumed_from_step", place.checkpoint ? place.checkpoint->step : int64_t{0});
  facts.append(device_record(train.device));
  dir.begin(facts);
  return dir;
}

int train_and_report(const Config& config, Trainer& trainer, const TrainConfig& train,
                     RunDir& dir) {
  TrainOutcome out;
  try {
    check_disk(dir, trainer, train);
    out = trainer.run(dir, {stop_signal, true});
  } catch (const Error& e) {
    dir.finish_failed(e.what(), e.exit_code());
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
  write_file_atomic(dir.result_file(), out.result.pretty());
  dir.finish("completed", 0);
  const RecordFields fields = parse_record(out.result.line(), "result");
  std::cout << result_table(fields) << "run: " << where << '\n';
  Record result = out.result;
  write_json(config, result.add("run", where));
  log_line(str("written: ", where, "/{config.toml, run.json, metrics.jsonl, result.json, ckpt/}; ",
               "best: ", checkpoint_path(dir.checkpoints(), fields.integer("best_step")).string()));
  return 0;
}

int compare(const CommandLine& line) {
  const std::vector<fs::path> runs(line.positionals.begin(), line.positionals.end());
  check(!runs.empty(), "compare: expects run directories, none given");
  std::cout << comparison_table(runs);
  return 0;
}

int run(int argc, const char* const* argv) {
  Config config = train_settings();
  const Program program{kName, "Trains point-cloud classifiers; compares runs (compare RUN...).",
                        train_help, "RUN", "compare, then run directories"};
  CommandLine line = parse_command_line(program, config, argc, argv);
  if (line.done) return 0;
  const bool word = !line.positionals.empty() && line.positionals.front() == "compare";
  if (word) line.positionals.erase(line.positionals.begin());
  if (word || config.flag("compare")) return compare(line);
  check(line.positionals.empty(), "unexpected argument '",
        line.positionals.empty() ? "" : line.positionals.front(), "'; --help lists the options");

  if (!config.text("replay").empty()) {
    apply_shared_settings(config);
    return replay(config);
  }
  load_resumed_settings(config, resumed_run(config));
  apply_shared_settings(config);
  const TrainConfig train = train_config_from(config);
  if (config.flag("print_config")) {
    std::cout << describe_settings(config, train);
    return 0;
  }
  for (const std::string& note : train.notes) log_line(note);
  const bool measuring = is_measurement(config);
  const Place place = find_place(config, train, measuring);
  check_json_target(config);
  if (measuring) return measure(config, train, place);
  if (!place.in_place) RunDir::refuse_used(place.out);
  if (place.in_place) refuse_changed_settings(config, place.source);

  // From here on a request to stop waits for the end of a step, reading the data included.
  if (!config.flag("dry_run")) install_signal_handlers();
  log_line("reading " + train.data);
  const TrainData data = load_train_data(train);
  Trainer trainer(train, data);
  if (const std::string weights = config.text("weights"); !weights.empty()) {
    load_state(weights, trainer.state());
  }
  if (place.checkpoint) trainer.restore(*place.checkpoint);
  if (config.flag("dry_run")) return plan_only(config, trainer, train, data, place);
  RunDir dir = open_run(config, place, train, data, command_line(argc, argv));
  log_plan(trainer, train, data);
  log_line(str(place.checkpoint
                   ? "resuming after step " + std::to_string(trainer.steps_done()) + ", "
                   : std::string(),
               "writing to ", dir.path().string(),
               "/{config.toml, run.json, metrics.jsonl, result.json, ckpt/}"));
  return train_and_report(config, trainer, train, dir);
}

}  // namespace
}  // namespace basin::tools

int main(int argc, char** argv) {
  return basin::tools::run_program("train_modelnet", [&] { return basin::tools::run(argc, argv); });
}
