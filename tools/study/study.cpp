// Reading a study with the reader of the programs' settings: lines in its errors, no key ignored.
#include "basin/tools/study/study.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "basin/core/lines.h"
#include "basin/core/options.h"
#include "basin/tools/shell/config.h"

namespace basin::tools {
namespace {

std::vector<Setting> study_keys() {
  return {{"title", Kind::text, "", ""},
          {"program", Kind::text, "", ""},
          {"baseline", Kind::text, "", ""},
          {"threads", Kind::integer, "1", ""}};
}

// What stands in one table [PREFIX...] of the file; every key that is asked for is crossed off, and
// one that nobody asked for is an error.
class Section {
 public:
  Section(const Config& config, const std::string& prefix)
      : config_(config), prefix_(prefix + "."), values_(config.under(prefix_)) {}

  std::string origin(const std::string& key) const { return config_.origin(prefix_ + key); }
  std::string text(const std::string& key, const std::string& initial) {
    const auto found = values_.find(key);
    if (found == values_.end()) return initial;
    const std::string value = found->second;
    values_.erase(found);
    return value;
  }
  bool flag(const std::string& key, bool initial) {
    const std::string where = values_.contains(key) ? origin(key) : "";
    const std::string value = text(key, initial ? "true" : "false");
    check(value == "true" || value == "false", where, ": ", prefix_, key,
          " is expected to be true or false, given '", value, "'");
    return value == "true";
  }
  double number(const std::string& key, double initial) {
    if (!values_.contains(key)) return initial;
    const std::string where = origin(key), value = text(key, "");
    double out = 0;
    check(parse_double(value, out) && std::isfinite(out), where, ": ", prefix_, key,
          " is expected to be a number, given '", value, "'");
    return out;
  }
  uint64_t seed(const std::string& key, const std::string& initial) {
    const std::string where = values_.contains(key) ? origin(key) : "";
    return seed_of(text(key, initial), where);
  }
  static uint64_t seed_of(const std::string& value, const std::string& where) {
    int64_t out = 0;
    check(parse_int64(value, out) && out >= 0, where,
          ": a seed is expected to be an integer of at least 0, given '", value, "'");
    return static_cast<uint64_t>(out);
  }
  // "NAME.KEY" by NAME; the rest of the section.
  std::map<std::string, StudySettings> tables() {
    std::map<std::string, StudySettings> out;
    for (const auto& [key, value] : values_) {
      const size_t dot = key.find('.');
      check(dot != key.npos, origin(key), ": expected a table [", prefix_,
            "NAME] with keys, given ", prefix_, key);
      out[key.substr(0, dot)][key.substr(dot + 1)] = value;
    }
    values_.clear();
    return out;
  }
  // "settings.KEY" as KEY.
  StudySettings settings(const std::string& table = "settings") {
    StudySettings out;
    for (auto it = values_.lower_bound(table + "."); it != values_.end();) {
      if (!it->first.starts_with(table + ".")) break;
      out[it->first.substr(table.size() + 1)] = it->second;
      it = values_.erase(it);
    }
    return out;
  }
  StudySettings rest() { return std::exchange(values_, {}); }
  void done(const std::string& known) const {
    if (values_.empty()) return;
    const std::string& key = values_.begin()->first;
    fail(ErrorKind::usage, origin(key), ": unknown key ", prefix_, key, "; expected ", known);
  }

 private:
  const Config& config_;
  std::string prefix_;
  std::map<std::string, std::string> values_;
};

std::vector<StudySubject> subjects(const Config& config, const std::string& table) {
  std::vector<StudySubject> out;
  for (auto& [name, settings] : Section(config, table).tables()) {
    const bool plain = !name.empty() && std::ranges::all_of(name, [](char c) {
      const char lower = ascii_lower(c);
      return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
             c == '+';
    });
    check(plain, config.origin(table + "." + name + "." + settings.begin()->first), ": [", table,
          ".NAME] is expected to have a name of letters, digits, '-', '_' and '+', given '", name,
          "'");
    out.push_back({name, std::move(settings)});
  }
  return out;
}

// Whose metrics a value names; empty: none.
std::string metrics_named(const std::string& value) {
  const size_t at = value.find(kMetricsOf);
  if (at == value.npos) return {};
  const size_t begin = at + kMetricsOf.size();
  return value.substr(begin, std::min(value.find('}', begin), value.size()) - begin);
}

// Optimizers that stand on others; none waits for itself.
void read_derived(Study& study, const Config& config) {
  for (StudySubject& s : study.optimizers) {
    if (const auto found = s.settings.find("like"); found != s.settings.end()) {
      s.like = found->second;
      s.settings.erase(found);
    }
    for (const auto& [key, value] : s.settings) {
      const std::string named = metrics_named(value);
      if (named.empty()) continue;
      check(s.reads.empty() || s.reads == named, config.origin("optimizers." + s.name + "." + key),
            ": [optimizers.", s.name, "] is expected to read the metrics of one optimizer, given '",
            s.reads, "' and '", named, "'");
      s.reads = named;
    }
  }
  const auto named = [&](const std::string& name) {
    const auto found = std::ranges::find(study.optimizers, name, &StudySubject::name);
    return found == study.optimizers.end() ? nullptr : &*found;
  };
  for (StudySubject& s : study.optimizers) {
    if (!s.like.empty()) {
      const StudySubject* base = named(s.like);
      check(base != nullptr && base->like.empty() && base->reads.empty(), study.file.string(),
            ": [optimizers.", s.name,
            "] is expected to be like another [optimizers.NAME] that stands on none, given '",
            s.like, "'");
      s.settings = merged(base->settings, s.settings);
    }
    size_t steps = 0;  // along what reads what
    for (const StudySubject* at = &s; !at->reads.empty(); ++steps) {
      const StudySubject* next = named(at->reads);
      check(next != nullptr && steps < study.optimizers.size(), study.file.string(),
            ": [optimizers.", at->name,
            "] is expected to read the metrics of another [optimizers.NAME] that does not wait for "
            "it, given '",
            at->reads, "'");
      at = next;
    }
  }
}

// Every combination, the last key running fastest.
std::vector<StudySettings> cells_of(const StudySettings& grid, const std::string& where) {
  std::vector<StudySettings> out{{}};
  for (const auto& [key, list] : grid) {
    const std::vector<std::string> values = comma_list(list);
    const std::set<std::string> different(values.begin(), values.end());
    check(!values.empty() && different.size() == values.size(), where, key,
          " is expected to list values that differ, at least one, given '", list, "'");
    std::vector<StudySettings> next;
    for (const StudySettings& cell : out) {
      for (const std::string& value : values) {
        next.push_back(merged(cell, {{key, value}}));
      }
    }
    out = std::move(next);
  }
  return out;
}

std::vector<uint64_t> seeds_of(const std::string& list, const std::string& where) {
  std::vector<uint64_t> out;
  for (const std::string& seed : comma_list(list)) out.push_back(Section::seed_of(seed, where));
  const std::set<uint64_t> different(out.begin(), out.end());
  check(different.size() == out.size(), where, " are expected to differ, given ", list);
  return out;
}

void read_search(Study& study, const Config& config) {
  Section search(config, "search");
  study.judge = search.text("judge", study.judge);
  study.judge_larger = search.flag("larger", true);
  const std::string several = search.text("seeds", "");
  study.search_seeds = several.empty()
                           ? std::vector<uint64_t>{search.seed("seed", "0")}
                           : seeds_of(several, study.file.string() + ": [search] seeds");
  study.search_settings = search.settings();
  StudySettings halving = search.settings("halving");
  search.done("judge, larger, seed or seeds, and the tables settings and halving");
  double share = 0.5;
  if (const auto found = halving.find("share"); found != halving.end()) {
    check(parse_double(found->second, share) && share > 0 && share < 1,
          config.origin("search.halving.share"),
          ": the share of the cells that goes on is expected between 0 and 1, given '",
          found->second, "'");
    halving.erase(found);
  }
  check(halving.size() <= 1, study.file.string(),
        ": [search.halving] is expected to give the rounds of one setting, and a share");
  for (const auto& [optimizer, cells] : study.grid) {
    std::vector<StudyRound>& rounds = study.rounds[optimizer];
    auto left = static_cast<double>(cells.size());
    if (halving.empty()) rounds = {{{}, std::ssize(cells)}};
    for (const auto& [key, values] : halving) {
      for (const std::string& value : comma_list(values)) {
        rounds.push_back({{{key, value}}, static_cast<int64_t>(std::ceil(left))});
        left *= share;
      }
    }
  }
}

void read_metrics(Study& study, const Config& config) {
  for (const auto& [name, values] : Section(config, "metrics").tables()) {
    Section one(config, "metrics." + name);
    StudyMetric metric{.name = name, .field = one.text("value", "")};
    check(!metric.field.empty(), study.file.string(), ": [metrics.", name,
          "] is expected to have value, a field of the results");
    metric.from = one.text("from", "");
    metric.unit = one.text("unit", "");
    metric.scale = one.number("scale", 1);
    check(metric.scale != 0, study.file.string(), ": [metrics.", name,
          "] scale is expected to be a number other than 0");
    metric.larger = one.flag("larger", true);
    metric.logarithmic = one.flag("logarithmic", false);
    const bool leads = one.flag("leads", false);
    one.done("value, from, unit, scale, larger, logarithmic and leads");
    const auto from = std::ranges::find(study.measurements, metric.from, &StudyMeasurement::name);
    const bool found = from != study.measurements.end();
    check(metric.from.empty() || found, study.file.string(), ": [metrics.", name,
          "] is taken from '", metric.from, "', which is no [measure.NAME]");
    if (found && from->of == Measured::search) {
      check(!leads, study.file.string(), ": [metrics.", name,
            "] is expected not to lead: it is of the search, whose cells are not compared");
      study.grid_metrics.push_back(metric);
      continue;
    }
    study.metrics.insert(leads ? study.metrics.begin() : study.metrics.end(), metric);
  }
  check(!study.metrics.empty(), study.file.string(),
        ": expected a table [metrics.NAME] at least, given none");
}

void read_measurements(Study& study, const Config& config) {
  for (const auto& [name, values] : Section(config, "measure").tables()) {
    Section one(config, "measure." + name);
    StudyMeasurement m{
        .name = name, .program = one.text("program", ""), .arguments = one.text("arguments", "")};
    const std::string of = one.text("of", "all");
    m.settings = one.settings();
    one.done("program, arguments, of, and the table settings");
    check(!m.program.empty() && m.arguments.find('{') != m.arguments.npos, study.file.string(),
          ": [measure.", name,
          "] is expected to have program, and arguments with {run} or {best_val}");
    constexpr std::string_view kOf[] = {"all", "nearest", "search"};
    const auto found = std::ranges::find(kOf, of);
    check(found != std::end(kOf), study.file.string(), ": [measure.", name,
          "] of is expected to be all, nearest or search, given '", of, "'");
    m.of = static_cast<Measured>(found - std::begin(kOf));
    study.measurements.push_back(std::move(m));
  }
  for (const auto& [name, values] : Section(config, "between").tables()) {
    Section one(config, "between." + name);
    StudyMeasurement m{
        .name = name, .program = one.text("program", ""), .arguments = one.text("arguments", "")};
    m.settings = one.settings();
    one.done("program, arguments, and the table settings");
    const auto names = [&](const char* what) {
      return m.arguments.find(what) != std::string::npos;
    };
    check(!m.program.empty() && (names("{runs}") || names("{best_val}")), study.file.string(),
          ": [between.", name,
          "] is expected to have program, and arguments with {runs} or {best_val}");
    check(study.seeds.size() * study.optimizers.size() >= 2, study.file.string(), ": [between.",
          name, "] is expected to have two trainings of a network at least, [final] seeds and ",
          "[optimizers] make one");
    study.between.push_back(std::move(m));
  }
}

bool may_be_published(const Study& study, const std::string& name) {
  return study.metric(name) != nullptr ||
         std::ranges::find(kProbedCurvatures, name) != std::end(kProbedCurvatures);
}

void read_published(Study& study, const Config& config) {
  Section published(config, "published");
  for (const auto& [key, value] : published.rest()) {
    const size_t first = key.find('.'), last = key.rfind('.');
    double number = 0;
    const auto named = [](const std::string& name) {
      return [name](const StudySubject& s) { return s.name == name; };
    };
    check(
        first != last && std::ranges::any_of(study.models, named(key.substr(0, first))) &&
            std::ranges::any_of(study.optimizers, named(key.substr(first + 1, last - first - 1))) &&
            may_be_published(study, key.substr(last + 1)) && parse_double(value, number),
        config.origin("published." + key), ": expected [published.MODEL.OPTIMIZER] with METRIC = ",
        "number, by names of this study, given ", key, " = ", value);
    study.published[key] = number;
  }
}

Study study_of(const Config& config, const fs::path& file) {
  Study study;
  study.file = file;
  study.title = config.text("title");
  study.program = config.text("program");
  study.baseline = config.text("baseline");
  study.threads = config.integer("threads");
  if (study.title.empty()) study.title = file.stem().string();
  check(!study.program.empty(), file.string(),
        ": expected program, the training program, e.g. program = \"train_modelnet\"");
  check(study.threads >= 1, config.origin("threads"), ": threads is expected to be at least 1");
  study.settings = Section(config, "settings").rest();
  study.models = subjects(config, "models");
  study.optimizers = subjects(config, "optimizers");
  check(!study.models.empty() && !study.optimizers.empty(), file.string(),
        ": expected tables [models.NAME] and [optimizers.NAME], at least one of each");
  read_derived(study, config);
  std::map<std::string, StudySettings> grids = Section(config, "grid").tables();
  std::set<std::string> keys;
  for (const StudySubject& optimizer : study.optimizers) {
    const auto found = grids.find(optimizer.name);
    study.grid[optimizer.name] = {{}};
    if (found == grids.end()) continue;
    check(optimizer.like.empty() && optimizer.reads.empty(), file.string(), ": [grid.",
          optimizer.name,
          "] is given for an optimizer that is not searched: it takes the cell of '",
          optimizer.like, "' and reads the metrics of '", optimizer.reads, "'");
    study.grid[optimizer.name] =
        cells_of(found->second, str(file.string(), ": [grid.", optimizer.name, "] "));
    for (const auto& [key, values] : found->second) keys.insert(key);
    grids.erase(found);
  }
  study.grid_keys.assign(keys.begin(), keys.end());
  check(grids.empty(), file.string(), ": [grid.", grids.empty() ? "" : grids.begin()->first,
        "] is expected to name one of [optimizers.NAME]");
  if (study.baseline.empty()) study.baseline = study.optimizers.front().name;
  check(study.grid.contains(study.baseline), config.origin("baseline"),
        ": baseline is expected to name one of [optimizers.NAME], given '", study.baseline, "'");
  read_search(study, config);
  Section final(config, "final");
  study.seeds = seeds_of(final.text("seeds", "0,1,2,3"), file.string() + ": [final] seeds");
  study.final_settings = final.settings();
  final.done("seeds, and the table settings");
  read_measurements(study, config);
  read_metrics(study, config);
  read_published(study, config);
  return study;
}

Config study_config() {
  return {study_keys(),
          {"settings.", "models.", "optimizers.", "grid.", "search.", "final.", "measure.",
           "between.", "metrics.", "published."}};
}

}  // namespace

const StudyMetric* Study::metric(const std::string& name) const {
  const auto found = std::ranges::find(metrics, name, &StudyMetric::name);
  return found == metrics.end() ? nullptr : &*found;
}

Study read_study(const fs::path& file) {
  return study_from_text(read_text_file(file, uint64_t{1} << 24), file.string());
}

Study study_from_text(const std::string& toml, const std::string& name) {
  Config config = study_config();
  config.load_toml_text(toml, name);
  return study_of(config, name);
}

void keep_models(Study& study, const std::string& names) {
  std::vector<StudySubject> kept;
  std::vector<std::string> known;
  for (const StudySubject& model : study.models) known.push_back(model.name);
  const std::vector<std::string> chosen = comma_list(names);
  for (const std::string& name : chosen) {
    check(std::ranges::find(known, name) != known.end(), "--models: ", study.file.string(),
          " has no network '", name, "'", name_suggestion(name, known));
  }
  for (const StudySubject& model : study.models) {
    if (std::ranges::find(chosen, model.name) != chosen.end()) kept.push_back(model);
  }
  study.models = kept;
}

StudySettings merged(StudySettings settings, const StudySettings& over) {
  for (const auto& [key, value] : over) settings[key] = value;
  return settings;
}

std::string settings_text(const StudySettings& settings) {
  std::string out;
  for (const auto& [key, value] : settings) out += str(out.empty() ? "" : " ", key, "=", value);
  return out;
}

std::string search_seeds_text(const Study& study) {
  std::string out = study.search_seeds.size() == 1 ? "seed" : "mean of seeds";
  for (size_t i = 0; i < study.search_seeds.size(); ++i) {
    out += str(i == 0 ? " " : ", ", study.search_seeds[i]);
  }
  return out;
}

}  // namespace basin::tools
