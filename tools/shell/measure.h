// What is measured of trained weights, without training: the task's metrics, symmetry errors, and
// what a program adds (Measurement). No training loader and no optimizer is made for it. Tables and
// figures go to the run directory of --resume, or to --out.
#pragma once
#include <functional>

#include "basin/tools/shell/trained.h"

namespace basin::tools {

struct MeasureContext {
  const Config& config;
  const RunSettings& settings;
  const Trained* network = nullptr;  // null where no weights were needed
  fs::path dir;                      // for tables and figures; empty where none were announced

  std::string model_text() const;    // "dgcnn (official)"
  std::string weights_text() const;  // within its own run by the relative path: a run can be moved
};

// A measurement that a program has beside those of every task. It prints its results; the record
// goes to --json.
struct Measurement {
  std::vector<Setting> settings;  // of purpose `action`
  std::string flag;               // "--corruptions", for error sentences
  std::function<bool(const Config&)> asked;
  bool needs_weights = true;
  std::function<void(const Config&)> check = {};  // of its settings, before anything is read
  std::function<Record(const MeasureContext&)> run;
};

bool is_measurement(const Config& config, const std::vector<Measurement>& extra);

// Prints the results and returns the exit code. usage error when weights or a folder are missing.
int measure(const Config& config, const RunSettings& settings, const Place& place,
            const std::vector<Measurement>& extra);

// train_X predict: a CSV of one line per file on stdout.
int predict_files(const Config& config, const RunSettings& settings, const Place& place,
                  const std::vector<std::string>& paths);

void write_json(const Config& config, const Record& result);  // --json

}  // namespace basin::tools
