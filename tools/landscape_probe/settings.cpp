// The table of settings and the help text.
#include "basin/tools/landscape_probe/settings.h"

#include <algorithm>
#include <set>

#include "basin/core/lines.h"
#include "basin/tools/shell/cli.h"

namespace basin::tools {
namespace {

constexpr const char* kOfTask = "task.";

std::vector<Setting> common_settings() {
  using enum Purpose;
  std::string all;
  for (const std::string& name : measured_part_names()) all += (all.empty() ? "" : ",") + name;
  return {
      {"data", Kind::text, "", "Folder with the data (default: the one the run was trained on)",
       record, "", "BASIN_DATASET"},
      {"parts", Kind::text, all, "Comma list of what to measure", action},
      {"batch", Kind::integer, "32", "Examples per recording; bounds the memory"},
      {"batch_norm", Kind::text, "frozen",
       "Batch norm under the curvature: frozen (running statistics) or batch"},
      {"dtype", Kind::text, "f32", "f32 or f64: precision of the products; vectors are f64"},
      {"lanes", Kind::integer, "4", "Vectors that share one recording", record},
      {"memory", Kind::text, "0", "Bytes of recordings kept between products, e.g. 4GB", record},
      {"shard", Kind::text, "0/1", "Of the slices only the grid points i, i + n, ...: i/n", action},
      {"published", Kind::text, "",
       "TOML file of published ratios to show beside one's own (default: those built in)", action},
      {"out", Kind::text, "", "Folder of the results (default: RUN/probe, runs/compare-...)",
       action},
  };
}

std::vector<Setting> own_settings() {
  std::vector<Setting> all = common_settings();
  for (const PartInfo& part : parts()) {
    all.insert(all.end(), part.settings.begin(), part.settings.end());
  }
  for (const std::vector<Setting>& more :
       {path_settings(), barriers_settings(), gauge_settings(), shared_settings()}) {
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

// What says which weights they are, under the names that the probe leaves free.
std::vector<Setting> weights_settings(const std::string& task, const std::set<std::string>& taken) {
  using enum Purpose;
  const TaskInfo& info = task_info(task);
  std::vector<Setting> out{
      {"task", Kind::text, task, "Of weights that stand alone: what they were trained for", action},
      {"model.name", Kind::text, info.models.front(),
       "Of weights that stand alone: the network; its options: --set model.KEY=VALUE", action,
       "model"},
      {"preset", Kind::text, "", "Of weights that stand alone: variant of the network, recipe",
       action},
      {"k", Kind::integer, "", "Of weights that stand alone: neighbours per point (model.k)",
       action}};
  for (const OptionInfo& o : info.options) {
    if (taken.contains(o.name)) continue;
    out.push_back({o.name, static_cast<Kind>(o.kind), o.default_value,
                   "Of weights that stand alone: " + o.help, action});
  }
  return out;
}

std::set<std::string> names_of(const std::vector<Setting>& settings) {
  std::set<std::string> out;
  for (const Setting& s : settings) {
    out.insert(s.name);
    if (!s.alias.empty()) out.insert(s.alias);
  }
  return out;
}

// "4GB", "500MB", "1e9".
int64_t bytes_of(const Config& config, const char* key) {
  const std::string& text = config.text(key);
  double unit = 1;
  std::string digits = text;
  for (const auto& [suffix, size] :
       {std::pair{"GB", 1e9}, std::pair{"MB", 1e6}, std::pair{"kB", 1e3}}) {
    if (text.ends_with(suffix)) {
      unit = size;
      digits = text.substr(0, text.size() - 2);
      break;
    }
  }
  double value = 0;
  check(parse_double(digits, value) && value >= 0 && value * unit < 9e18, config.origin(key), ": ",
        key, " is expected to be a number of bytes such as 4GB, given ", text);
  return static_cast<int64_t>(value * unit);
}

std::pair<int64_t, int64_t> shard_of(const Config& config) {
  const std::string& text = config.text("shard");
  int64_t shard = 0, shards = 1;
  const size_t slash = text.find('/');
  const bool fits = slash != text.npos && parse_int64(text.substr(0, slash), shard) &&
                    parse_int64(text.substr(slash + 1), shards) && shard >= 0 && shards >= 1 &&
                    shard < shards;
  check(fits, config.origin("shard"), ": shard is expected to be i/n with 0 <= i < n, given ",
        text);
  return {shard, shards};
}

DType float_dtype(const Config& config) {
  return setting_word(config, "dtype", {"f32", "f64"}) == "f64" ? DType::f64 : DType::f32;
}

}  // namespace

std::vector<std::string> setting_words(const Config& config, const char* key,
                                       const std::vector<std::string>& known) {
  std::vector<std::string> out;
  for (const std::string& word : comma_list(config.text(key))) {
    if (word.empty() || word == "none") continue;
    if (!known.empty() && std::find(known.begin(), known.end(), word) == known.end()) {
      const std::string near = nearest_name(word, known);
      std::string all;
      for (const std::string& k : known) all += (all.empty() ? "" : ", ") + k;
      fail(ErrorKind::usage, config.origin(key), ": ", key, " is expected to be of ", all,
           "; given '", word, "'", near.empty() ? "" : "; did you mean '" + near + "'?");
    }
    out.push_back(word);
  }
  return out;
}

std::string setting_word(const Config& config, const char* key,
                         const std::vector<std::string>& known) {
  const std::vector<std::string> given = setting_words(config, key, known);
  check(given.size() == 1, config.origin(key), ": ", key, " is expected to be one word, given '",
        config.text(key), "'");
  return given.front();
}

int64_t at_least(const Config& config, const char* key, int64_t low) {
  check(config.integer(key) >= low, config.origin(key), ": ", key, " is expected to be at least ",
        low, ", given ", config.text(key));
  return config.integer(key);
}

double positive(const Config& config, const char* key) {
  check(config.number(key) > 0 && config.number(key) < 1e300, config.origin(key), ": ", key,
        " is expected to be positive, given ", config.text(key));
  return config.number(key);
}

Config probe_settings(const std::string& task) {
  std::vector<Setting> all = own_settings();
  const std::vector<Setting> weights = weights_settings(task, names_of(all));
  all.insert(all.end(), weights.begin(), weights.end());
  return Config(std::move(all), {"model.", kOfTask});
}

std::vector<const PartInfo*> parts_asked_for(const Config& config) {
  const std::vector<std::string> names = setting_words(config, "parts", measured_part_names());
  const auto asked = [&](const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  std::vector<const PartInfo*> out;
  const std::function<void(const PartInfo&)> add = [&](const PartInfo& part) {
    if (std::find(out.begin(), out.end(), &part) != out.end()) return;
    for (const PartInfo& before : parts()) {
      const auto& after = part.after;
      const bool needed = std::find(after.begin(), after.end(), before.name) != after.end();
      if (needed && asked(before.name)) add(before);
    }
    out.push_back(&part);
  };
  for (const PartInfo& part : parts()) {
    if (part.measure && asked(part.name)) add(part);
  }
  return out;
}

void check_probe_settings(const Config& config) {
  at_least(config, "batch", 1);
  at_least(config, "lanes", 1);
  norm_statistics_from_name(config.text("batch_norm"));
  float_dtype(config);
  bytes_of(config, "memory");
  shard_of(config);
  const std::vector<std::string> names = setting_words(config, "parts", measured_part_names());
  check(!names.empty(), config.origin("parts"), ": expected at least one part, given none");
  for (const PartInfo& part : parts()) {
    if (part.check) part.check(config, names);
  }
  check_path_settings(config);
  check_barriers_settings(config);
  check_gauge_settings(config);
}

ProbeContext probe_context(const Trained& trained, const Config& config, const fs::path& dir) {
  ProbeContext out{.trained = trained, .config = config, .dir = dir, .state = {}, .routing = {}};
  out.dtype = float_dtype(config);
  out.state = trained.state.to(out.dtype);
  out.routing = trained.routing();
  out.batch = config.integer("batch");
  out.seed = static_cast<uint64_t>(config.integer("seed"));
  out.batch_norm = norm_statistics_from_name(config.text("batch_norm"));
  out.lanes = config.integer("lanes");
  out.keep_bytes = bytes_of(config, "memory");
  std::tie(out.shard, out.shards) = shard_of(config);
  return out;
}

Config training_settings_of(const Config& probe) {
  const std::string& task = probe.text("task");
  Config out = train_settings(task);
  const auto take = [&](const std::string& from, const std::string& to) {
    if (probe.has(from) && probe.given(from)) {
      out.set(to, probe.text(from), probe.source(from), probe.origin(from));
    }
  };
  const std::set<std::string> taken = names_of(own_settings());
  for (const char* name : {"model.name", "preset", "k"}) take(name, name);
  for (const OptionInfo& o : task_info(task).options) {
    if (o.name == "data" || !taken.contains(o.name)) take(o.name, o.name);
  }
  for (const auto& [name, value] : probe.under(kOfTask)) {
    const auto& options = task_info(task).options;
    const bool known = std::any_of(options.begin(), options.end(),
                                   [&, n = name](const OptionInfo& o) { return o.name == n; });
    check(known, probe.origin(kOfTask + name), ": the task ", task, " has no option '", name, "'");
    take(kOfTask + name, name);
  }
  for (const auto& [name, value] : probe.under("model.")) take("model." + name, "model." + name);
  return out;
}

std::string given_training_setting(const Config& probe) {
  const auto given = [&](const std::string& name) {
    return probe.has(name) && probe.source(name) >= Layer::set;
  };
  for (const Setting& s : weights_settings(probe.text("task"), names_of(own_settings()))) {
    if (given(s.name)) return s.name;
  }
  for (const char* prefix : {"model.", kOfTask}) {
    for (const auto& [name, value] : probe.under(prefix)) {
      if (given(prefix + name)) return prefix + name;
    }
  }
  return {};
}

std::string probe_help(const std::string& task) {
  std::string out = R"(Actions:
  run RUN...          measures each run (RUN or RUN/ckpt/step-N or RUN/ckpt/best) into RUN/probe
  run FILE.safetensors --task T --model M --data DIR [--set model.KEY=VALUE]
                      the same for weights trained elsewhere, under PyTorch's names
  compare A B [...]   measures what is missing, then sets the runs side by side, two by two (A, B,
                      then further pairs): tables, figures, report.html
  path A B [C]        the loss on the line between two networks, with the height of the barrier; on
                      the plane through three; --trajectory RUN adds the checkpoints of a run
  barriers A B [...]  barriers of loss and metric between every two networks, and how alike their last
                      layers are; --align: also with hidden units permuted to match
  gauge A             trains on from a network and from a copy in rotated hidden bases, by several
                      optimizers: whose path depends on the basis
  demo                trains a small PointNet twice on the embedded shapes, probes and compares
  selftest            which sharpness measures move under known symmetries of a network

Parts:
)";
  for (const PartInfo& part : parts()) {
    std::string line = "  " + part.name;
    line.resize(std::max<size_t>(line.size() + 1, 22), ' ');
    out += line + part.summary + "\n";
  }
  std::string tasks;
  for (const std::string& name : task_names()) tasks += (tasks.empty() ? "" : ", ") + name;
  return out + str("\nTasks: ", tasks, " (the options above are those of ", task, R"()

Results: PART.json, tables/*.csv, figures/*.svg (each with its CSV), report.html. A part that is
there already with the same settings is not measured again, so a killed probe goes on where it was.
)");
}

}  // namespace basin::tools
