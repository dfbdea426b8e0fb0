// Tables and the dry run: see report.h.
#include "basin/tools/shell/report.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "basin/core/storage.h"
#include "basin/tools/train_modelnet/corruption_report.h"
#include "basin/tools/shell/environment.h"

namespace basin::tools {
namespace {

std::string short_number(double value) {
  std::array<char, 32> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%g", value);
  return buffer.data();
}

std::string percent(double share) {
  std::array<char, 32> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.2f %%", 100 * share);
  return buffer.data();
}

bool starts_like_number(const std::string& cell) {
  return !cell.empty() && (std::isdigit(static_cast<unsigned char>(cell[0])) || cell[0] == '-');
}

RecordFields read_result(const fs::path& run) {
  const fs::path file = run / "result.json";
  return parse_record(read_text_file(file), file.string());
}

std::vector<std::string> comparison_row(const fs::path& run) {
  const std::string name =
      run.has_filename() ? run.filename().string() : run.parent_path().filename().string();
  if (!RunDir::is_run(run)) {
    fail(ErrorKind::data, run.string(), ": expected a run directory, it has no run.json");
  }
  if (!fs::exists(run / "result.json")) {
    const fs::path file = run / "run.json";
    const RecordFields record = parse_record(read_text_file(file), file.string());
    return {name, "-", "-", "-", "-", "-", "-", "-", "-", "-", record.text("exit_reason")};
  }
  const RecordFields r = read_result(run);
  return {name,
          r.text("model"),
          r.text("optimizer"),
          short_number(r.number("lr")),
          short_number(r.number("weight_decay")),
          r.text("epochs"),
          percent(r.number("best_overall_accuracy")),
          percent(r.number("best_mean_class_accuracy")),
          percent(r.number("last_overall_accuracy")),
          percent(r.number("last_mean_class_accuracy")),
          duration_text(r.number("seconds"))};
}

}  // namespace

std::string format_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> width(rows.front().size(), 0);
  for (const auto& row : rows) {
    for (size_t c = 0; c < row.size(); ++c) width[c] = std::max(width[c], row[c].size());
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      const std::string pad(width[c] - row[c].size(), ' ');
      if (c > 0) line += "  ";
      line += starts_like_number(row[c]) ? pad + row[c] : row[c] + pad;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

std::string result_table(const RecordFields& r) {
  std::vector<std::vector<std::string>> rows = {
      {"checkpoint", "epoch", "overall accuracy", "mean class accuracy"},
      {"best on test", r.text("best_epoch"), percent(r.number("best_overall_accuracy")),
       percent(r.number("best_mean_class_accuracy"))},
      {"last epoch", r.text("epochs"), percent(r.number("last_overall_accuracy")),
       percent(r.number("last_mean_class_accuracy"))}};
  if (r.has("best_val_epoch")) {
    rows.push_back({"best on validation", r.text("best_val_epoch"),
                    percent(r.number("best_val_overall_accuracy")),
                    percent(r.number("best_val_mean_class_accuracy"))});
  }
  return str(r.text("model"), " (", r.text("preset"), "), ", r.text("optimizer"), ", lr ",
             short_number(r.number("lr")), ", weight decay ",
             short_number(r.number("weight_decay")), ", ", r.text("steps"), " steps, seed ",
             r.text("seed"), ", ", duration_text(r.number("seconds")), "\n", format_table(rows));
}

std::string evaluation_table(const Evaluation& e, const std::string& what) {
  return format_table({{"weights", "shapes", "loss", "overall accuracy", "mean class accuracy"},
                       {what, std::to_string(e.examples), short_number(e.loss),
                        percent(e.overall_accuracy), percent(e.mean_class_accuracy)}});
}

std::string comparison_table(const std::vector<fs::path>& runs) {
  std::vector<std::vector<std::string>> rows = {{"run", "model", "optimizer", "lr", "wd", "epochs",
                                                 "best overall", "best class", "last overall",
                                                 "last class", "time"}};
  for (const fs::path& run : runs) rows.push_back(comparison_row(run));
  std::vector<std::string> corrupted = {"corrupted"};
  for (const fs::path& run : runs) corrupted.push_back(corrupted_accuracy_text(run));
  const bool any = std::any_of(corrupted.begin() + 1, corrupted.end(),
                               [](const std::string& text) { return !text.empty(); });
  for (size_t i = 0; any && i < rows.size(); ++i) {
    rows[i].insert(rows[i].end() - 1, corrupted[i].empty() ? "-" : corrupted[i]);
  }
  return format_table(rows);
}

std::string data_summary(const TrainConfig& config, const TrainData& data) {
  std::string held_out;
  if (data.validation.size() > 0) held_out = str(", ", data.validation.size(), " held out");
  return str(data.description, "\n  used: ", data.train.size(), " to train", held_out, ", ",
             data.test.size(), " to test, ", data.train.classes(), " classes, ", config.points,
             " points per cloud\n  content ", data.hash);
}

Record dry_run(Trainer& trainer, const TrainConfig& config, const TrainData& data) {
  trainer.step();  // warms the allocator and the caches
  reset_peak_bytes();
  double start = seconds_now();
  constexpr int kSteps = 2;
  for (int i = 0; i < kSteps; ++i) trainer.step();
  const double step_seconds = (seconds_now() - start) / kSteps;

  PointCloudSet part = data.test;
  if (part.size() > config.eval_batch) {
    std::vector<int64_t> rows(static_cast<size_t>(config.eval_batch));
    for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int64_t>(i);
    part = subset(data.test, rows);
  }
  start = seconds_now();
  evaluate(trainer.model(), trainer.state(), part,
           evaluation_options(config.eval_batch, config.points));
  const double shape_seconds = (seconds_now() - start) / static_cast<double>(part.size());

  const int64_t epochs =
      (trainer.total_steps() + trainer.steps_per_epoch() - 1) / trainer.steps_per_epoch();
  const double evaluated =
      static_cast<double>((data.test.size() + data.validation.size()) * epochs);
  const double total =
      step_seconds * static_cast<double>(trainer.total_steps()) + shape_seconds * evaluated;
  const auto weights = static_cast<double>(trainer.state().params.total_elements()) *
                       static_cast<double>(size_of(config.dtype));
  return Record()
      .add("parameters", trainer.state().params.total_elements())
      .add("steps_per_epoch", trainer.steps_per_epoch())
      .add("steps", trainer.total_steps())
      .add("epochs", epochs)
      .add("step_seconds", step_seconds)
      .add("estimated_seconds", total)
      .add("step_peak_bytes", static_cast<int64_t>(allocator_stats().peak_bytes))
      .add("peak_rss_bytes", peak_rss_bytes())
      .add("checkpoint_bytes", 3 * weights)
      .add("output_bytes",
           3 * weights * static_cast<double>(config.keep > 0 ? config.keep + 1 : epochs));
}

}  // namespace basin::tools
