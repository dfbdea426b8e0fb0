// A study as its file says it: which networks are trained by which optimizers, what is searched
// for each pair, how often the chosen cell is trained again, what is measured of those runs, and
// which numbers are compared.
//   title = "AdamW and Muon"            program = "train_modelnet"       baseline = "adamw"
//   [settings]                          of every training, as the program's --set KEY=VALUE
//   [models.NAME]                       settings of one network
//   [optimizers.NAME]                   settings of one optimizer
//                                       like = "OTHER": OTHER's settings and, without a search of
//                                       its own, OTHER's chosen cell, with these settings over them
//                                       (an intervention). {metrics OTHER} in a value is the
//                                       metrics.jsonl of OTHER's final training of the same network
//                                       and seed, e.g. a recorded spectrum to follow
//   [grid.NAME]                         of that optimizer: KEY = [VALUES], every combination a cell
//   [search]                            seed, or seeds whose mean decides (a cell of which one
//                                       failed is not chosen), judge, larger; [search.settings]:
//                                       e.g. fewer epochs
//   [search.halving]                    KEY = [VALUES], share: rounds of the search, in each of
//                                       which that share of the cells goes on
//   [final]                             seeds; [final.settings]
//   [measure.NAME]                      program, arguments, [measure.NAME.settings]: what is run on
//                                       final trainings; {run} and {best_val} (the checkpoint best
//                                       on validation) in the arguments; of = "all", "nearest":
//                                       per pair only the run nearest to the mean, or "search":
//                                       the trainings of the search instead, every cell of the grid
//   [between.NAME]                      program, arguments, [between.NAME.settings]: what is run
//                                       once per network on all its final trainings together, of
//                                       every optimizer and seed; a word with {runs} or {best_val}
//                                       stands once for each of them. Its results go to --out, a
//                                       folder of its own
//   [metrics.NAME]                      value (a field of the results), from (a measurement), unit,
//                                       scale, larger, logarithmic (compare by ratio), leads (the
//                                       one of the answer). Those of measurements of the search
//                                       are set out over the grid, and not compared
//   [published.MODEL.OPTIMIZER]         METRIC = a value that others have published; lambda_max and
//                                       trace also without such a metric, for the table of
//                                       curvature at equal loss
// A pair without [grid] is not searched. Names are those of the tables.
#pragma once
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "basin/core/io.h"

namespace basin::tools {

inline constexpr std::string_view kMetricsOf = "{metrics ";  // NAME or a job's hash, then "}"

// What probes along the trainings know of the Hessian.
inline constexpr std::string_view kProbedCurvatures[] = {"lambda_max", "trace"};

using StudySettings = std::map<std::string, std::string>;  // KEY, VALUE of a program

struct StudySubject {  // a network or an optimizer
  std::string name;
  StudySettings settings = {};
  std::string like = {};   // of an optimizer: whose chosen cell it takes; empty: its own
  std::string reads = {};  // whose final trainings its settings name by {metrics NAME}
};

enum class Measured : uint8_t { all, nearest, search };  // which trainings

struct StudyMeasurement {
  std::string name, program, arguments;
  StudySettings settings = {};
  Measured of = Measured::all;
};

struct StudyMetric {
  std::string name, field;
  std::string from = {};  // the measurement; empty: the training itself
  std::string unit = {};
  double scale = 1;  // of the field, to the unit
  bool larger = true;
  bool logarithmic = false;
};

struct StudyRound {
  StudySettings settings;
  int64_t cells = 0;  // of each pair, in this round
};

struct Study {
  fs::path file;
  std::string title, program, baseline;
  int64_t threads = 1;  // of one training
  StudySettings settings;
  std::vector<StudySubject> models, optimizers;
  std::map<std::string, std::vector<StudySettings>> grid;  // cells by optimizer, at least one each
  std::map<std::string, std::vector<StudyRound>> rounds;   // of the search, by optimizer
  std::string judge = "best_val_value";
  bool judge_larger = true;
  std::vector<uint64_t> search_seeds;
  StudySettings search_settings, final_settings;
  std::vector<uint64_t> seeds;
  std::vector<StudyMeasurement> measurements;  // of one training each
  std::vector<StudyMeasurement> between;       // of all final trainings of a network
  std::vector<StudyMetric> metrics;            // the first one leads
  std::vector<StudyMetric> grid_metrics = {};  // those of measurements of the search
  std::map<std::string, double> published;     // "MODEL.OPTIMIZER.METRIC"
  std::vector<std::string> grid_keys = {};     // of any grid, sorted

  const StudyMetric* metric(const std::string& name) const;
};

// usage errors naming file, line and key.
Study read_study(const fs::path& file);
Study study_from_text(const std::string& toml, const std::string& name);  // of the errors

// The study of those networks alone, given as a comma list. Jobs keep their hashes, so that a study
// may be done one network at a time in one folder. usage: a name that the study lacks.
void keep_models(Study& study, const std::string& names);

// `over` wins.
StudySettings merged(StudySettings settings, const StudySettings& over);
std::string settings_text(const StudySettings& settings);  // "lr=0.001 wd=0"
std::string search_seeds_text(const Study& study);         // "seed 0", "mean of seeds 0, 1"

}  // namespace basin::tools
