// Measurements of trained weights, one after the other, and predictions for files.
#include "basin/tools/shell/measure.h"

#include <algorithm>
#include <iostream>

#include "basin/analysis/csv.h"
#include "basin/tools/shell/environment.h"
#include "basin/tools/shell/equivariance_report.h"
#include "basin/tools/shell/progress.h"
#include "basin/tools/shell/report.h"
#include "basin/train/evaluate.h"

namespace basin::tools {
namespace {

constexpr int64_t kSymmetryExamples = 4;

Record accuracy(const MeasureContext& context, bool names_weights) {
  const Trained& network = *context.network;
  const auto test = network.task.source(
      {.split = Split::test, .batch = context.settings.train.eval_batch, .prefetch = true});
  const ModelState state = network.state.to(context.settings.train.device);
  const Evaluation e = *evaluate(network.task, state, *test);
  std::cout << evaluation_table(network.task, e, network.name());
  Record out;
  if (names_weights) {
    out.add("weights", network.name()).add(str("test_", network.task.example, "s"), e.examples);
  }
  for (size_t i = 0; i < e.values.size(); ++i) {
    const std::string& name = network.task.metrics[i].name;
    out.add(name == "loss" ? "test_loss" : name, e.values[i]);
  }
  return out;
}

Record equivariance(const MeasureContext& context) {
  const Trained& network = *context.network;
  const auto few = network.task.source({.split = Split::test, .batch = kSymmetryExamples});
  const Batch batch = few->batch(0, 0);
  const size_t count = network.task.model.inputs.size();
  EquivarianceReport report;
  report.model = context.model_text();
  report.weights = context.weights_text();
  report.examples = str("the first ", batch.examples, " test ", network.task.example, "s");
  report.transformations = context.config.integer("transformations");
  report.seed = context.settings.train.seed;
  report.measured = measure_symmetry(  // in f32 and f64: on the CPU
      network.task.model, network.state,
      Tensors(batch.tensors.begin(), batch.tensors.begin() + static_cast<std::ptrdiff_t>(count)),
      {report.transformations, report.seed});
  std::cout << equivariance_table(report);
  log_line("written: " + write_equivariance(report, context.dir));
  Record out;
  for (const SymmetryError& e : report.measured.layers) {
    if (e.layer != network.task.model.output_name) continue;
    out.add(str(e.layer, "_", name_of(e.kind), "_", name_of(e.dtype)), e.largest());
  }
  return out;
}

// Where tables and figures go.
fs::path result_folder(const Config& config, const Place& place, const std::string& flag) {
  if (!config.text("out").empty()) return place.out;
  check(!place.source.empty(), flag,
        ": expects a folder for tables and figures; add --resume RUN or --out DIR");
  return place.source;
}

void require_weights(const Config& config, const Place& place, const std::string& flag) {
  check(place.checkpoint || !config.text("weights").empty(), flag,
        ": expects weights, none given; add --resume RUN or --weights FILE");
}

Trained load_network(const Config& config, const RunSettings& settings, const Place& place) {
  if (place.checkpoint) {
    return load_trained_checkpoint(*place.checkpoint, place.source, settings, config);
  }
  return load_trained_weights(config.text("weights"), settings, config);
}

Measurement symmetry_measurement() {
  Measurement m;
  m.flag = "--equivariance";
  m.asked = [](const Config& config) { return config.flag("equivariance"); };
  m.check = [](const Config& config) {
    check(config.integer("transformations") >= 1, config.origin("transformations"),
          ": transformations is expected to be at least 1, given ", config.text("transformations"));
  };
  m.run = equivariance;
  return m;
}

std::vector<Measurement> asked_for(const Config& config, const std::vector<Measurement>& extra) {
  std::vector<Measurement> out;
  for (const Measurement& m : extra) {
    if (m.asked(config)) out.push_back(m);
  }
  if (const Measurement m = symmetry_measurement(); m.asked(config)) out.push_back(m);
  return out;
}

}  // namespace

std::string MeasureContext::model_text() const {
  return str(network->task.model.name, " (", network->task.model.preset, ")");
}

std::string MeasureContext::weights_text() const {
  const std::string name = network->name();
  const fs::path path = fs::weakly_canonical(name), run = fs::weakly_canonical(dir);
  const fs::path relative = path.lexically_relative(run);
  return relative.empty() || *relative.begin() == ".." ? name : relative.string();
}

bool is_measurement(const Config& config, const std::vector<Measurement>& extra) {
  return config.flag("eval_only") || !asked_for(config, extra).empty();
}

void write_json(const Config& config, const Record& result) {
  const std::string& file = config.text("json");
  if (!file.empty()) write_file_atomic(file, result.pretty());
}

int measure(const Config& config, const RunSettings& settings, const Place& place,
            const std::vector<Measurement>& extra) {
  const bool evaluated = config.flag("eval_only");
  const std::vector<Measurement> asked = asked_for(config, extra);
  MeasureContext context{config, settings, nullptr, {}};
  std::string needing = evaluated ? "--eval-only" : "";
  for (const Measurement& m : asked) {
    if (m.check) m.check(config);
    if (m.needs_weights && needing.empty()) needing = m.flag;
  }
  if (!needing.empty()) require_weights(config, place, needing);
  if (!asked.empty()) context.dir = result_folder(config, place, asked.front().flag);
  std::optional<Trained> network;
  if (!needing.empty()) {
    network = load_network(config, settings, place);
    context.network = &*network;
    if (config.has("data")) log_line("reading " + config.text("data"));
  }
  Record result;
  // A measurement of the program's own names the weights itself.
  const bool own = std::any_of(extra.begin(), extra.end(),
                               [&](const Measurement& m) { return m.asked(config); });
  if (evaluated) result.append(accuracy(context, !own));
  for (const Measurement& m : asked) {
    result.append(with_hint(moved_data(config), [&] { return m.run(context); }));
  }
  write_json(config, result);
  return 0;
}

int predict_files(const Config& config, const RunSettings& settings, const Place& place,
                  const std::vector<std::string>& paths) {
  check(!paths.empty(), "predict: expects files or folders, none given");
  require_weights(config, place, "predict");
  const Trained network = load_network(config, settings, place);
  const Task& task = network.task;
  check(task.unlabelled && task.prediction_rows, "predict: the task ", task.name,
        " cannot tell of files");
  const Unlabelled given = task.unlabelled(paths, settings.train.eval_batch);
  const ModelState state = network.state.to(settings.train.device);
  std::string csv = "file";
  for (const std::string& column : task.prediction_columns) csv += "," + column;
  csv += "\n";
  size_t row = 0;
  for (int64_t i = 0; i < given.source->batches(); ++i) {
    for (const auto& cells :
         task.prediction_rows(predict(task, state, given.source->batch(0, i)))) {
      csv += csv_text(given.names[row++]);
      for (const std::string& cell : cells) csv += "," + csv_text(cell);
      csv += "\n";
    }
  }
  std::cout << csv;
  return 0;
}

}  // namespace basin::tools
