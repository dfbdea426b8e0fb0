// Ratios that others have published, to stand beside one's own: studies/published.toml, compiled
// into the program; --published names another file of the same form.
//   [study.NAME]            source, data, over = "muon", under = "adam"
//   [study.NAME.NETWORK]    "λ max" = 4.75, trace = 3.66, ...
// A study speaks of a pair when the optimizers' names begin as it says and its word for the data is
// part of the name of the data.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "basin/figures/report.h"
#include "basin/tools/landscape_probe/loaded.h"

namespace basin::tools {

class PublishedRatios {
 public:
  // file: empty for the one that is compiled in. usage errors naming the file and the key.
  explicit PublishedRatios(const fs::path& file = {});
  // B over A; empty where no study gives it.
  std::string ratio(const LoadedProbe& a, const LoadedProbe& b, const std::string& quantity) const;

 private:
  struct Study {
    std::string source, data, over, under;
    std::map<std::pair<std::string, std::string>, double> ratios;  // by network and quantity
  };
  std::vector<Study> studies_;
};

// The verdicts of a comparison, two by two.
class VerdictList {
 public:
  explicit VerdictList(const PublishedRatios& published) : published_(published) {}
  // "NETWORK: QUANTITY" with the ratio B over A and the published one.
  // `pairs`: B over A where the two were measured together; else they count as independent.
  void add(const LoadedProbe& a, const LoadedProbe& b, const std::string& quantity,
           const Estimate& of_a, const Estimate& of_b,
           const std::optional<Estimate>& pairs = std::nullopt);
  void add(Verdict verdict) { list_.push_back(std::move(verdict)); }
  const std::vector<Verdict>& list() const { return list_; }

 private:
  const PublishedRatios& published_;
  std::vector<Verdict> list_;
};

}  // namespace basin::tools
