// The two measurements with their settings.
#include "basin/tools/train_modelnet/corruption_measure.h"

#include <iostream>

#include "basin/figures/png.h"
#include "basin/tools/shell/progress.h"
#include "basin/tools/train_modelnet/contact_sheet.h"
#include "basin/train/evaluate.h"

namespace basin::tools {
namespace {

constexpr int kSheetSeverity = kSeverities;

CloudSettings clouds_of(const MeasureContext& context) {
  const TaskConfig& task = context.settings.task;
  OptionReader options("task " + task.name, cloud_options(), task.options);
  options.set_place(task.place);
  return cloud_settings(options, task.seed);
}

std::vector<std::string> class_names(const Fitted& fitted) {
  std::vector<std::string> out;
  for (size_t c = 0; c < fitted.size(); ++c) out.push_back(fitted.at(str("class.", c)));
  return out;
}

void check_at_least(const Config& config, const char* key, int64_t low) {
  check(config.integer(key) >= low, config.origin(key), ": ", key, " is expected to be at least ",
        low, ", given ", config.text(key));
}

// Of the clean test split, as the task's metrics count it.
CloudScores clean_scores(const MeasureContext& context) {
  const Task& task = context.network->task;
  const auto test = task.source(
      {.split = Split::test, .batch = context.settings.train.eval_batch, .prefetch = true});
  const Evaluation e =
      *evaluate(task, context.network->state.to(context.settings.train.device), *test);
  return {e.values[2], e.values[0], e.values[1], e.examples};
}

Record measure_corruptions(const MeasureContext& context) {
  const Config& config = context.config;
  const Trained& network = *context.network;
  const CloudSettings clouds = clouds_of(context);
  CorruptionOptions options;
  options.seed = static_cast<uint64_t>(config.integer("corruption_seed"));
  options.published = config.text("corruptions_dir");
  options.points = config.given("corruption_points") ? config.integer("corruption_points")
                                                     : default_corruption_points(clouds.points);
  const CorruptionSource source(clouds, class_names(network.task.fitted), options);
  CorruptionReport report;
  report.model = context.model_text();
  report.weights = context.weights_text();
  report.weights_hash = sha256_hex_of_file(network.file);
  report.source = source.description();
  report.seed = options.seed;
  report.corruption_points = options.points;
  report.trained_points = clouds.points;
  report.clean = clean_scores(context);
  report.rows =
      evaluate_corruptions(network.task.model, network.state.to(context.settings.train.device),
                           clouds, context.settings.train.eval_batch, source, options,
                           [](const std::string& name) { log_line("corruption " + name); });
  std::cout << corruption_table(report);
  log_line("written: " + write_corruptions(report, context.dir));
  return corruption_summary(report);
}

Record draw_contact_sheet(const MeasureContext& context) {
  const SheetShape shape = sheet_shape(clouds_of(context), context.config.text("contact_sheet"));
  const Picture picture = contact_sheet(
      shape, kSheetSeverity, static_cast<uint64_t>(context.config.integer("corruption_seed")));
  const fs::path file = part_folder(context.dir, "figures") / "corruptions_shape.png";
  write_file_atomic(file, encode_png(picture));
  std::cout << "contact sheet of " << shape.name << ": " << file.string() << '\n';
  return {};
}

}  // namespace

Measurement corruption_measurement() {
  using enum Purpose;
  Measurement m;
  m.flag = "--corruptions";
  m.settings = {
      {"corruptions", Kind::flag, "false",
       "Accuracy on the 15 corruptions of ModelNet40-C at 5 severities: tables/, figures/", action},
      {"corruptions_dir", Kind::text, "",
       "Folder with the published arrays (default: generate from the test split)", action},
      {"corruption_seed", Kind::integer, "2021", "Seed of the generated corruptions", action},
      {"corruption_points", Kind::integer, "",
       "Random points of each corrupted cloud; 0: all. Default: all from 1,024 trained points on, "
       "else as many as trained",
       action},
  };
  m.asked = [](const Config& config) { return config.flag("corruptions"); };
  m.check = [](const Config& config) {
    check_at_least(config, "corruption_seed", 0);
    if (config.given("corruption_points")) check_at_least(config, "corruption_points", 0);
  };
  m.run = measure_corruptions;
  return m;
}

Measurement contact_sheet_measurement() {
  Measurement m;
  m.flag = "--contact-sheet";
  m.settings = {{"contact_sheet", Kind::text, "",
                 "Picture of one shape under all corruptions: number of a test shape, or a mesh "
                 "file",
                 Purpose::action}};
  m.asked = [](const Config& config) { return !config.text("contact_sheet").empty(); };
  m.needs_weights = false;
  m.check = [](const Config& config) { check_at_least(config, "corruption_seed", 0); };
  m.run = draw_contact_sheet;
  return m;
}

}  // namespace basin::tools
