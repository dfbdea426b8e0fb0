// Settings of the training programs: see train_config.h.
#include "basin/tools/shell/settings.h"

#include <algorithm>

#include "basin/optim/schedule.h"
#include "basin/tools/shell/cli.h"
#include "basin/tools/shell/recipes.h"
#include "basin/train/training_probe.h"

namespace basin::tools {
namespace {

using Options = std::map<std::string, std::string>;

// The text of a schedule is checked before the data, hence the number of steps, is known.
constexpr int64_t kAnyLength = 1000000000;

std::vector<Setting> data_settings() {
  using enum Purpose;
  return {
      {"data", Kind::text, "embedded", "Folder with point clouds or meshes, or 'embedded'", record,
       "", "BASIN_DATASET"},
      {"limit", Kind::integer, "0", "Shapes per split, spread evenly; 0: all"},
      {"points", Kind::integer, "1024", "Points per cloud"},
      {"selection", Kind::text, "first", "Which points: first, or random (new ones every epoch)"},
      {"normalise", Kind::text, "unit_sphere", "unit_sphere, bounding_box or none"},
      {"augment", Kind::text, "dgcnn",
       "Comma list of scale, iso_scale, shift, jitter, dropout, yaw, shuffle (each with =values), "
       "or "
       "dgcnn, pointnet_b, pointnet_original, none"},
      {"pose", Kind::text, "none", "Rotations of train/test clouds: none, z/z, z/SO3, SO3/SO3"},
      {"up_axis", Kind::text, "y", "The axis of yaw rotations: x, y or z"},
      {"val_fraction", Kind::number, "0", "Share of the training split held out for validation"},
      {"batch", Kind::integer, "32", "Clouds per step; an incomplete last batch is dropped"},
      {"eval_batch", Kind::integer, "32", "Clouds per evaluation batch"},
  };
}

std::vector<Setting> training_settings() {
  using enum Purpose;
  return {
      {"model.name", Kind::text, "pointnet", "Network; its options: --set model.KEY=VALUE", result,
       "model"},
      {"preset", Kind::text, "",
       "Comma list: variant of the network (port, original, wide, ...), recipe (paper300, "
       "official)"},
      {"k", Kind::integer, "", "Neighbours per point, for networks that have them (model.k)",
       action},
      {"dtype", Kind::text, "f32", "f32 or f64"},
      {"graph", Kind::text, "auto",
       "Record a training step on a GPU once and replay it: on, off or auto. Never changes a "
       "result",
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
      {"label_smoothing", Kind::number, "0", "Share of the target spread over the other classes"},
      {"clip", Kind::number, "0", "Largest global gradient norm; 0: off"},
      {"on_nonfinite", Kind::text, "stop",
       "A step whose loss or gradient is NaN or infinite: stop (exit code 4, with a bundle for "
       "--replay) or skip (the step changes nothing and is counted)",
       record},
      {"nonfinite_limit", Kind::integer, "5",
       "With --on-nonfinite skip: steps skipped in a row before the run stops all the same",
       record},
      {"checkpoint_every", Kind::integer, "1", "Epochs between checkpoints", record},
      {"keep", Kind::integer, "2", "Checkpoints kept besides the best; 0: all", record},
      {"log_every", Kind::integer, "50", "Steps between step lines in metrics.jsonl; 0: none",
       record},
      {"probe", Kind::text, "",
       "Measure along the training: every=E[,shapes=S,probes=P,steps=L], E in epochs", record},
      {"out", Kind::text, "", "Run directory (default: runs/MODEL-OPTIMIZER-sSEED)", action},
      {"resume", Kind::text, "",
       "Run directory (its newest checkpoint), RUN/ckpt/step-N, RUN/ckpt/best, or auto (--out if "
       "it exists)",
       action},
      {"replay", Kind::text, "",
       "Run a failed step again from its bundle (RUN/failure-step-N), and stop", action},
      {"weights", Kind::text, "", "safetensors file to start from or to evaluate", action},
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
      {"corruptions", Kind::flag, "false",
       "Accuracy on the 15 corruptions of ModelNet40-C at 5 severities: tables/, figures/", action},
      {"corruptions_dir", Kind::text, "",
       "Folder with the published arrays (default: generate from the test split)", action},
      {"corruption_seed", Kind::integer, "2021", "Seed of the generated corruptions", action},
      {"corruption_points", Kind::integer, "",
       "Random points of each corrupted cloud; 0: all. Default: all from 1,024 trained points on, "
       "else as many as trained",
       action},
      {"contact_sheet", Kind::text, "",
       "Picture of one shape under all corruptions: number of a test shape, or a mesh file",
       action},
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
  for (const char* key : {"batch", "eval_batch", "points", "checkpoint_every", "nonfinite_limit"}) {
    check_at_least(config, key, 1);
  }
  for (const char* key : {"limit", "epochs", "steps", "keep", "log_every"}) {
    check_at_least(config, key, 0);
  }
  check_range(config, "val_fraction", 0, 0.9);
  check_range(config, "label_smoothing", 0, 0.999);
  check_range(config, "clip", 0, 1e300);
  check_range(config, "lr", 0, 1e30);
  check_range(config, "wd", 0, 1e6);
  check(config.integer("epochs") > 0 || config.integer("steps") > 0, config.origin("epochs"),
        ": expected at least one epoch or one step");
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

OnNonFinite policy_from_name(const std::string& name) {
  check(name == "stop" || name == "skip", "expected stop or skip, given '", name, "'");
  return name == "stop" ? OnNonFinite::stop : OnNonFinite::skip;
}

PointSelection selection_from_name(const std::string& name) {
  check(name == "first" || name == "random", "expected first or random, given '", name, "'");
  return name == "first" ? PointSelection::first : PointSelection::random;
}

DType float_type_from_name(const std::string& name) {
  const DType type = dtype_from_name(name);
  check(is_float(type), "expected f32 or f64, given ", name);
  return type;
}

}  // namespace

Config train_settings() {
  std::vector<Setting> all = data_settings();
  for (const auto& part : {training_settings(), measurement_settings(), shared_settings()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return Config(std::move(all), {"optimizer.", "model."});
}

TrainConfig train_config_from(Config& config) {
  const ResolvedPreset preset = apply_presets(config);
  check_numbers(config);
  TrainConfig out;
  out.notes = preset.notes;
  out.data = config.text("data");
  out.model = model_config(config, preset.model_preset);
  out.optimizer = optimizer_config(config);
  out.schedule = schedule_text(config);
  parsed(config, "schedule",
         [&](const std::string&) { return parse_schedule(out.schedule, kAnyLength); });
  out.epochs = config.integer("epochs");
  out.steps = config.integer("steps");
  out.batch = config.integer("batch");
  out.eval_batch = config.integer("eval_batch");
  out.points = config.integer("points");
  out.selection = parsed(config, "selection", selection_from_name);
  out.normalise = parsed(config, "normalise", normalisation_from_name);
  out.augment = parsed(config, "augment", parse_augment);
  out.pose = parsed(config, "pose", pose_protocol_from_name);
  out.up = parsed(config, "up_axis", axis_from_name);
  out.dtype = parsed(config, "dtype", float_type_from_name);
  out.device = parsed(config, "device", device_from_name);
  out.graph = parsed(config, "graph", graph_mode_from_name);
  out.label_smoothing = config.number("label_smoothing");
  out.clip = config.number("clip");
  out.val_fraction = config.number("val_fraction");
  out.limit = config.integer("limit");
  out.seed = static_cast<uint64_t>(config.integer("seed"));
  out.keep = config.integer("keep");
  out.checkpoint_every = config.integer("checkpoint_every");
  out.log_every = config.integer("log_every");
  out.on_nonfinite = parsed(config, "on_nonfinite", policy_from_name);
  out.nonfinite_limit = config.integer("nonfinite_limit");
  out.probe = config.text("probe");
  parsed(config, "probe", parse_probe_plan);
  out.config_hash = config.hash();
  return out;
}

std::string default_run_name(const TrainConfig& config) {
  return str("runs/", config.model.name, "-", config.optimizer.name, "-s", config.seed);
}

std::string train_help() {
  return str("Models\n", model_help(), "\nRecipes (--preset)\n", recipe_help(), "\nOptimizers\n",
             optimizer_help(), "\nSchedules\n", schedule_help(), "\n");
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

std::string describe_settings(const Config& config, const TrainConfig& train) {
  std::string out = config.describe();
  describe_rest(out, "model.", model_info(train.model.name).options,
                make_model(train.model).options, config);
  describe_rest(out, "optimizer.", optimizer_info(train.optimizer.name).options, {}, config);
  return out;
}

}  // namespace basin::tools
