// Reading a probe back.
#include "basin/tools/landscape_probe/loaded.h"

#include <algorithm>
#include <cmath>

#include "basin/tools/shell/run_dir.h"

namespace basin::tools {

std::string LoadedProbe::setting(const RecordFields& identity, const std::string& name) const {
  return identity.text(identity_key(name, example));
}

double LoadedProbe::test_metric() const {
  const std::string key = "test_" + metric_key(metric.name);
  return facts.has(key) ? facts.number(key) : NAN;
}

LoadedProbe load_probe(const fs::path& dir) {
  check(RunDir::is_run(dir), dir.string(), ": is no folder of a probe, ", RunDir::lack_of(dir));
  LoadedProbe out;
  out.dir = dir;
  const fs::path record = dir / "run.json";
  out.facts = parse_record(read_text_file(record), record.string());
  out.network = out.facts.text("model");
  out.optimizer = out.facts.text("optimizer");
  // Probes from before tasks had names are of the one task that there was.
  const auto fact = [&](const char* key, const char* before) {
    return out.facts.has(key) ? out.facts.text(key) : std::string(before);
  };
  out.example = fact("example", "shape");
  out.metric = {fact("metric", "overall_accuracy"), fact("metric_unit", "%")};
  if (RunDir::is_run(dir.parent_path())) out.run = dir.parent_path();
  return out;
}

std::vector<LoadedProbe> load_probes(const std::vector<fs::path>& dirs) {
  std::vector<LoadedProbe> out;
  for (const fs::path& dir : dirs) out.push_back(load_probe(dir));
  std::map<std::pair<std::string, std::string>, int> count;
  for (const LoadedProbe& p : out) ++count[{p.network, p.optimizer}];
  for (LoadedProbe& p : out) {
    if (count[{p.network, p.optimizer}] > 1) p.optimizer += " (" + p.facts.text("run") + ")";
  }
  return out;
}

std::vector<std::string> networks_of(const std::vector<LoadedProbe>& probes) {
  std::vector<std::string> out;
  for (const LoadedProbe& p : probes) {
    if (std::find(out.begin(), out.end(), p.network) == out.end()) out.push_back(p.network);
  }
  return out;
}

std::vector<LoadedProbe> of_network(const std::vector<LoadedProbe>& probes,
                                    const std::string& network) {
  std::vector<LoadedProbe> out;
  for (const LoadedProbe& p : probes) {
    if (p.network == network) out.push_back(p);
  }
  return out;
}

std::string identity_key(const std::string& setting, const std::string& example) {
  std::string key = setting;
  if (const size_t at = key.find("examples"); at != key.npos) {
    key.replace(at, std::string_view("examples").size(), example + "s");
  }
  return "probe_" + key;
}

std::string metric_key(const std::string& name) {
  constexpr std::string_view kWhole = "overall_";
  return name.starts_with(kWhole) ? name.substr(kWhole.size()) : name;
}

std::string metric_word(const std::string& name) {
  std::string out = metric_key(name);
  std::replace(out.begin(), out.end(), '_', ' ');
  return out;
}

std::string metric_title(const Metric& metric) {
  return metric_word(metric.name) + (metric.unit.empty() ? "" : ", " + metric.unit);
}

}  // namespace basin::tools
