// Reading published ratios with the reader of the programs' settings.
#include "basin/tools/landscape_probe/published.h"

#include <algorithm>
#include <cmath>

#include "basin/analysis/statistics.h"
#include "basin/tools/landscape_probe/detail/published_toml.h"
#include "basin/tools/shell/config.h"

namespace basin::tools {

PublishedRatios::PublishedRatios(const fs::path& file) {
  Config config({}, {"study."});
  if (file.empty()) {
    config.load_toml_text(published_toml(), "studies/published.toml");
  } else {
    config.load_toml(file, "--published");
  }
  std::map<std::string, Study> studies;
  for (const auto& [key, value] : config.under("study.")) {
    const size_t first = key.find('.');
    const std::string where = config.origin("study." + key);
    check(first != key.npos, where, ": expected [study.NAME] with keys, given '", key, "'");
    Study& study = studies[key.substr(0, first)];
    const std::string rest = key.substr(first + 1);
    const size_t second = rest.find('.');
    if (second != rest.npos) {
      double ratio = 0;
      check(parse_double(value, ratio) && std::isfinite(ratio), where, ": ", rest,
            " is expected to be a number, given '", value, "'");
      study.ratios[{rest.substr(0, second), rest.substr(second + 1)}] = ratio;
      continue;
    }
    std::string* const to = rest == "source"  ? &study.source
                            : rest == "data"  ? &study.data
                            : rest == "over"  ? &study.over
                            : rest == "under" ? &study.under
                                              : nullptr;
    check(to != nullptr, where, ": unknown key '", rest,
          "'; a study has source, data, over, under and tables of networks");
    *to = value;
  }
  for (auto& [name, study] : studies) {
    check(!study.over.empty() && !study.under.empty() && !study.data.empty(),
          "published ratios: ", "the study '", name, "' is expected to say data, over and under");
    studies_.push_back(std::move(study));
  }
}

std::string PublishedRatios::ratio(const LoadedProbe& a, const LoadedProbe& b,
                                   const std::string& quantity) const {
  for (const Study& s : studies_) {
    if (!a.optimizer.starts_with(s.under) || !b.optimizer.starts_with(s.over)) continue;
    if (a.facts.text("data").find(s.data) == std::string::npos) continue;
    const auto found = s.ratios.find({a.network, quantity});
    if (found != s.ratios.end()) return readable(found->second);
  }
  return {};
}

void VerdictList::add(const LoadedProbe& a, const LoadedProbe& b, const std::string& quantity,
                      const Estimate& of_a, const Estimate& of_b,
                      const std::optional<Estimate>& pairs) {
  const bool open = !std::isfinite(of_a.interval.low) || !std::isfinite(of_b.interval.low);
  list_.push_back({a.network + ": " + quantity, of_b, of_a,
                   pairs ? *pairs : basin::ratio(of_b, of_a), published_.ratio(a, b, quantity),
                   open ? "no interval" : ""});
}

}  // namespace basin::tools
