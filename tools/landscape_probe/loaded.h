// A probe as read back from its folder, with what a comparison calls it.
#pragma once
#include <any>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "basin/tools/landscape_probe/record.h"
#include "basin/train/task.h"

namespace basin::tools {

struct LoadedProbe {
  fs::path dir;
  RecordFields facts;     // run.json
  std::string network;    // "pointnet"
  std::string optimizer;  // "muon"; with the name of the run where two of a network share it
  std::string example;    // what one of the data is called: "shape"
  Metric metric;          // the task's first
  fs::path run;           // the run directory; empty: there is none, or the probe stands elsewhere

  // The record of a part; null where it was not measured. data errors naming the file.
  template <class R>
  const R* record(const std::string& part) const {
    std::any& kept = (*records_)[part];
    if (!kept.has_value()) {
      const PartFiles files(dir);
      if (!files.has(part)) return nullptr;
      kept = files.read<R>(part);
    }
    return std::any_cast<R>(&kept);
  }
  RecordFields identity(const std::string& part) const { return PartFiles(dir).identity(part); }
  // What a part was told: "examples" is recorded under the task's own word for them.
  std::string setting(const RecordFields& identity, const std::string& name) const;
  // The first metric on the test split after training; NaN: not known.
  double test_metric() const;

 private:
  std::shared_ptr<std::map<std::string, std::any>> records_ =
      std::make_shared<std::map<std::string, std::any>>();
};

// data errors naming the file.
LoadedProbe load_probe(const fs::path& dir);
std::vector<LoadedProbe> load_probes(const std::vector<fs::path>& dirs);

// Networks in the order of their first appearance, and the probes of one.
std::vector<std::string> networks_of(const std::vector<LoadedProbe>& probes);
std::vector<LoadedProbe> of_network(const std::vector<LoadedProbe>& probes,
                                    const std::string& network);

// The key under which records keep a setting: "probe_rank_shapes" for rank_examples of a task whose
// example is a shape.
std::string identity_key(const std::string& setting, const std::string& example);
// A metric as keys of records name it ("accuracy" for overall_accuracy), in words, and with its
// unit ("accuracy, %").
std::string metric_key(const std::string& name);
std::string metric_word(const std::string& name);
std::string metric_title(const Metric& metric);

}  // namespace basin::tools
