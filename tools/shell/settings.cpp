// Settings of the training programs: the table, and how it becomes the library's structs.
#include "basin/tools/shell/settings.h"

#include <algorithm>

#include "basin/optim/schedule.h"
#include "basin/tools/shell/cli.h"
#include "basin/tools/shell/processes.h"
#include "basin/tools/shell/recipes.h"

namespace basin::tools {
namespace {

using Options = std::map<std::string, std::string>;

constexpr const char* kExtended = "extended.";

// The text of a schedule is checked before the data, hence the number of steps, is known.
constexpr int64_t kAnyLength = 1000000000;

// A task's options under their own names. Which data they are is recorded, and may be named
// otherwise in a resumed run, whose content is compared by its hash.
std::vector<Setting> task_settings(const TaskInfo& task) {
  using enum Purpose;
  std::vector<Setting> out{
      {"task", Kind::text, task.name, "What is trained: data, loss and metrics", record}};
  for (const OptionInfo& o : task.options) {
    Setting s{o.name, static_cast<Kind>(o.kind), o.default_value, o.help};
    s.added = o.added;
    if (o.name == "data") {
      s.purpose = record;
      s.environment = "BASIN_DATASET";
    }
    out.push_back(std::move(s));
  }
  return out;
}

std::vector<Setting> training_settings(const TaskInfo& task) {
  using enum Purpose;
  return {
      {"batch", Kind::integer, "32",
       "Examples per step; an incomplete last batch is dropped (a single one of graphs or "
       "molecules "
       "is not)"},
      {.name = "microbatches",
       .kind = Kind::integer,
       .initial = "1",
       .help = "Cut each batch into so many parts, one after the other: less memory, batch norm by "
               "part, gradients summed in a fixed order",
       .added = true},
      {"ranks", Kind::integer, "0",
       "Processes that share the microbatches of each batch, started by mpirun -n R or srun -n R "
       "--mpi=pmix; the bits are those of --microbatches R (the default then, or a multiple) on "
       "one "
       "process. 0: as many as mpirun started",
       action},
      {"eval_batch", Kind::integer, "32", "Examples per evaluation batch"},
      {"model.name", Kind::text, task.models.front(), "Network; its options: --set model.KEY=VALUE",
       result, "model"},
      {"preset", Kind::text, "",
       "Comma list: variant of the network, recipe of the task (see below)"},
      {"k", Kind::integer, "", "Neighbours per point, for networks that have them (model.k)",
       action},
      {"dtype", Kind::text, "f32", "f32 or f64"},
      {"graph", Kind::text, "auto",
       "Record a training step once and replay it: on, off or auto (on a GPU). On the CPU it helps "
       "steps of about a millisecond. Never changes a result",
       record},
      {"optimizer.name", Kind::text, "adamw", "Optimizer; its options: --set optimizer.KEY=VALUE",
       result, "optimizer"},
      {"lr", Kind::number, "", "Base learning rate (default by optimizer)"},
      {"wd", Kind::number, "", "Weight decay (default by optimizer)"},
      {"groups", Kind::text, "", "Rules for own rates, e.g. \"role:head lr=0.001; *.bias wd=0\""},
      {"schedule", Kind::text, "cosine", "Learning-rate schedule with its options"},
      {"warmup", Kind::text, "0", "Linear warm-up: steps, epochs (2e) or a share (5%)"},
      {"epochs", Kind::integer, "20", "Passes over the training split"},
      {"steps", Kind::integer, "0", "Steps; more than 0 replaces --epochs"},
      {"clip", Kind::number, "0", "Largest global gradient norm; 0: off"},
      {"on_nonfinite", Kind::text, "stop",
       "A step whose loss or gradient is NaN or infinite: stop (exit code 4, with a bundle for "
       "--replay) or skip (the step changes nothing and is counted)",
       record},
      {"nonfinite_limit", Kind::integer, "5",
       "With --on-nonfinite skip: steps skipped in a row before the run stops all the same",
       record},
      {"eval_every", Kind::text, "1e", "Evaluate after so many steps (500) or epochs (5e)", record},
      {"checkpoint_every", Kind::text, "1e",
       "Checkpoint after so many steps (500) or epochs (5e), and where a best one was found",
       record},
      {"keep", Kind::integer, "2", "Checkpoints kept besides the best; 0: all", record},
      {"log_every", Kind::integer, "50", "Steps between step lines in metrics.jsonl; 0: none",
       record},
      {"probe", Kind::text, "",
       "Measure along the training: every=E[,examples=S,probes=P,steps=L,density=M], E as for "
       "--eval-every",
       record},
      {"out", Kind::text, "", "Run directory (default: runs/MODEL-OPTIMIZER-sSEED)", action},
      {"resume", Kind::text, "",
       "Run directory (its newest checkpoint), RUN/ckpt/step-N, RUN/ckpt/best, or auto (--out if "
       "it exists)",
       action},
      {"extend", Kind::integer, "0",
       "With --resume RUN --out NEW: train so many epochs more, the schedule anew over them from "
       "--lr "
       "(default: the run's own); weights, optimizer and step counter go on, RUN stays as it is",
       action},
      {"replay", Kind::text, "",
       "Run a failed step again from its bundle (RUN/failure-step-N), and stop", action},
      {"weights", Kind::text, "", "safetensors file to start from or to evaluate", action},
      {"skip_head", Kind::flag, "false",
       "With --weights: leave out the last layers, as for another number of classes", action},
      {"dry_run", Kind::flag, "false", "Time two steps, estimate, print the plan; writes nothing",
       action},
      {"compare", Kind::flag, "false", "Print a table of the run directories given", action},
  };
}

// Requests to measure a trained network instead of training one. They read --resume or --weights
// and write to the run directory, or to --out.
std::vector<Setting> measurement_settings() {
  using enum Purpose;
  return {
      {"eval_only", Kind::flag, "false", "Evaluate --resume or --weights, and stop", action},
      {"equivariance", Kind::flag, "false",
       "Symmetry errors by layer under random transformations: tables/, figures/", action},
      {"transformations", Kind::integer, "8", "Random transformations of each kind", action},
  };
}

// Called before a value is used: low <= value <= high.
void check_range(const Config& config, const char* key, double low, double high) {
  const double value = config.number(key);
  check(value >= low && value <= high, config.origin(key), ": ", key, " is expected to be ", low,
        " to ", high, ", given ", config.text(key));
}

void check_at_least(const Config& config, const char* key, int64_t low) {
  check(config.integer(key) >= low, config.origin(key), ": ", key, " is expected to be at least ",
        low, ", given ", config.text(key));
}

// Gives a usage error of a library function the origin of the value.
template <class F>
auto parsed(const Config& config, const char* key, F&& parse) {
  try {
    return parse(config.text(key));
  } catch (const Error& e) {
    fail(e.kind(), config.origin(key), ": ", e.what());
  }
}

void check_numbers(const Config& config) {
  for (const char* key : {"batch", "microbatches", "eval_batch", "nonfinite_limit"}) {
    check_at_least(config, key, 1);
  }
  for (const char* key : {"epochs", "steps", "keep", "log_every", "ranks"}) {
    check_at_least(config, key, 0);
  }
  const bool skips = config.has("skip_head") && config.source("skip_head") == Layer::flag;
  check(!skips || !config.text("weights").empty(), config.origin("skip_head"),
        ": is about --weights, none are given");
  check_range(config, "clip", 0, 1e300);
  check_range(config, "lr", 0, 1e30);
  check_range(config, "wd", 0, 1e6);
  check(config.integer("epochs") > 0 || config.integer("steps") > 0, config.origin("epochs"),
        ": expected at least one epoch or one step");
}

// One microbatch for each process, unless the number was given.
void share_microbatches(Config& config) {
  const int64_t ranks = asked_ranks(config);
  if (!config.given("microbatches") && ranks > 1) {
    config.set("microbatches", str(ranks), Layer::preset, "--ranks");
  }
  const int64_t parts = config.integer("microbatches");
  check(ranks <= 1 || parts % ranks == 0, config.origin("microbatches"), ": ", parts,
        " microbatches cannot be shared evenly by ", ranks, " ranks; use a multiple of ", ranks);
  check(parts == 1 || config.text("graph") != "on", config.origin("graph"),
        ": a step of several microbatches is not recorded; use --graph off or auto");
}

// The options that nobody declared, checked before any data is read.
template <class Declared>
void check_options(const Config& config, const std::string& prefix, const Options& given,
                   const Declared& declared, const std::string& owner) {
  std::vector<std::string> known;
  for (const auto& option : declared) known.push_back(option.name);
  for (const auto& [name, value] : given) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    const std::string near = nearest_name(name, known);
    fail(ErrorKind::usage, config.origin(prefix + name), ": ", owner, " has no option '", name, "'",
         near.empty() ? "; --help lists them" : "; did you mean '" + near + "'?");
  }
}

std::string schedule_text(const Config& config) {
  const std::string& schedule = config.text("schedule");
  const std::string& warmup = config.text("warmup");
  if (warmup.empty() || warmup == "0") return schedule;
  return schedule + (schedule.find(':') == schedule.npos ? ":" : ",") + "warmup=" + warmup;
}

OptimizerConfig optimizer_config(const Config& config) {
  OptimizerConfig out;
  out.name = config.text("optimizer.name");
  out.lr = config.number("lr");
  out.weight_decay = config.number("wd");
  out.groups =
      parsed(config, "groups", [](const std::string& text) { return parse_group_rules(text); });
  out.options = config.under("optimizer.");
  const OptimizerInfo& info = optimizer_info(out.name);
  check_options(config, "optimizer.", out.options, info.options, "optimizer " + out.name);
  return out;
}

ModelConfig model_config(const Config& config, const std::string& preset) {
  ModelConfig out;
  out.name = config.text("model.name");
  out.preset = preset;
  out.options = config.under("model.");
  check_options(config, "model.", out.options, model_info(out.name).options, "model " + out.name);
  try {
    make_model(out);
  } catch (const Error& e) {
    fail(e.kind(), config.origin("model.name"), ": ", e.what());
  }
  return out;
}

TaskConfig task_config(const Config& config, const std::string& preset) {
  TaskConfig out;
  out.name = config.text("task");
  for (const OptionInfo& o : task_info(out.name).options) {
    out.options[o.name] = config.text(o.name);
  }
  out.model = model_config(config, preset);
  out.seed = static_cast<uint64_t>(config.integer("seed"));
  return out;
}

// 0 of a run that extends no other.
int64_t first_step(const Config& config) {
  const std::string key = str(kExtended, "from_step");
  for (const auto& [name, value] : config.under(kExtended)) {
    check(name == "from" || name == "from_step", config.origin(kExtended + name), ": unknown key '",
          kExtended, name, "'");
  }
  if (!config.has(key)) return 0;
  int64_t step = 0;
  check(parse_int64(config.text(key), step) && step >= 0, config.origin(key), ": ", key,
        " is expected to be a step, given ", config.text(key));
  return step;
}

OnNonFinite policy_from_name(const std::string& name) {
  check(name == "stop" || name == "skip", "expected stop or skip, given '", name, "'");
  return name == "stop" ? OnNonFinite::stop : OnNonFinite::skip;
}

DType float_type_from_name(const std::string& name) {
  const DType type = dtype_from_name(name);
  check(is_float(type), "expected f32 or f64, given ", name);
  return type;
}

}  // namespace

const std::vector<std::string>& open_settings() {
  static const std::vector<std::string> prefixes{"optimizer.", "model.", kExtended};
  return prefixes;
}

Config train_settings(const std::string& task) {
  const TaskInfo& info = task_info(task);
  std::vector<Setting> all = task_settings(info);
  for (const auto& part : {training_settings(info), measurement_settings(), shared_settings()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return Config(std::move(all), open_settings());
}

RunSettings run_settings_from(Config& config) {
  const ResolvedPreset preset = apply_presets(config);
  check_numbers(config);
  share_microbatches(config);
  RunSettings out;
  out.notes = preset.notes;
  out.task = task_config(config, preset.model_preset);
  TrainOptions& train = out.train;
  train.optimizer = optimizer_config(config);
  train.schedule = schedule_text(config);
  parsed(config, "schedule", [](const std::string& s) { return parse_schedule(s, kAnyLength); });
  parsed(config, "warmup",
         [&](const std::string&) { return parse_schedule(train.schedule, kAnyLength); });
  train.epochs = config.integer("epochs");
  train.steps = config.integer("steps");
  train.first_step = first_step(config);
  train.batch = config.integer("batch");
  train.microbatches = config.integer("microbatches");
  train.eval_batch = config.integer("eval_batch");
  train.eval_every = parsed(config, "eval_every", parse_period);
  train.checkpoint_every = parsed(config, "checkpoint_every", parse_period);
  train.dtype = parsed(config, "dtype", float_type_from_name);
  train.device = parsed(config, "device", device_from_name);
  train.graph = parsed(config, "graph", graph_mode_from_name);
  train.clip = config.number("clip");
  train.seed = static_cast<uint64_t>(config.integer("seed"));
  train.keep = config.integer("keep");
  train.log_every = config.integer("log_every");
  train.on_nonfinite = parsed(config, "on_nonfinite", policy_from_name);
  train.nonfinite_limit = config.integer("nonfinite_limit");
  train.probe = parsed(config, "probe", parse_probe_plan);
  train.config_hash = config.hash();
  return out;
}

std::string moved_data(const Config& config) {
  if (!config.has("data") || config.source("data") != Layer::file || config.is_initial("data")) {
    return "";
  }
  std::error_code error;
  if (fs::exists(config.text("data"), error)) return "";
  return str("; ", config.origin("data"),
             " says so: if the data were moved, name their place with --data");
}

Task task_from(const RunSettings& settings, const Config& config) {
  TaskConfig named = settings.task;
  named.place = [&config](const std::string& option) {
    const std::string origin = config.origin(option);  // a flag of its own names the option
    return origin.starts_with("--") && origin != "--set" ? origin : str(origin, ": ", option);
  };
  const std::string hint = moved_data(config);
  if (hint.empty()) return make_task(named);
  Task task = with_hint(hint, [&] { return make_task(named); });
  task.source = [source = task.source, hint](const SourceRequest& request) {
    return with_hint(hint, [&] { return source(request); });
  };
  task.data = [data = task.data, hint] { return with_hint(hint, data); };
  return task;
}

std::string default_run_name(const RunSettings& settings) {
  return str("runs/", settings.task.model.name, "-", settings.train.optimizer.name, "-s",
             settings.train.seed);
}

std::string train_help(const std::string& task) {
  return str("Models\n", model_help(), "\nRecipes (--preset)\n", recipe_help(task),
             "\nOptimizers\n", optimizer_help(), "\nSchedules\n", schedule_help(), "\n");
}

namespace {

template <class Declared>
void describe_rest(std::string& out, const std::string& prefix, const Declared& declared,
                   const std::map<std::string, std::string>& resolved, const Config& config) {
  const auto given = config.under(prefix);
  for (const auto& option : declared) {
    if (given.contains(option.name)) continue;
    const auto it = resolved.find(option.name);
    std::string line =
        str(prefix, option.name, " = ", it == resolved.end() ? option.default_value : it->second);
    line.resize(std::max<size_t>(line.size() + 1, 40), ' ');
    out += line + "# default\n";
  }
}

}  // namespace

std::string describe_settings(const Config& config, const RunSettings& settings) {
  const ModelConfig& model = settings.task.model;
  const std::string& optimizer = settings.train.optimizer.name;
  std::string out = config.describe();
  describe_rest(out, "model.", model_info(model.name).options, make_model(model).options, config);
  describe_rest(out, "optimizer.", optimizer_info(optimizer).options, {}, config);
  return out;
}

}  // namespace basin::tools
