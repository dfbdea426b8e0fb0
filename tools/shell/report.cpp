// Tables for stdout, and the plan of a dry run.
#include "basin/tools/shell/report.h"

#include <algorithm>

#include "basin/core/clock.h"
#include "basin/core/lines.h"
#include "basin/core/storage.h"
#include "basin/core/text.h"
#include "basin/tools/shell/environment.h"

namespace basin::tools {
namespace {

bool starts_like_number(const std::string& cell) {
  return !cell.empty() && ((cell[0] >= '0' && cell[0] <= '9') || cell[0] == '-');
}

RecordFields read_result(const fs::path& run) {
  const fs::path file = run / "result.json";
  return parse_record(read_text_file(file), file.string());
}

std::string spaced(std::string name) {
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

// Of runs from before records named them.
constexpr const char* kClassification = "overall_accuracy:%,mean_class_accuracy:%";

// The first two metrics of a run, as its record names them.
std::vector<Metric> leading_metrics(const RecordFields& result) {
  constexpr size_t kShown = 2;
  std::vector<Metric> out;
  const std::string all = result.has("metrics") ? result.text("metrics") : kClassification;
  for (const std::string& part : comma_list(all)) {
    if (out.size() == kShown) break;
    const size_t colon = std::min(part.find(':'), part.size());
    out.push_back({part.substr(0, colon), part.substr(std::min(colon + 1, part.size()))});
  }
  return out;
}

// Of a metric in result.json. The last loss says of which split it is.
std::string result_key(const std::string& prefix, const Metric& metric) {
  return prefix == "last_" && metric.name == "loss" ? "last_test_loss" : prefix + metric.name;
}

// A run's line in the comparison, cell by cell under the name of its column.
using Cells = std::vector<std::pair<std::string, std::string>>;

Cells comparison_cells(const fs::path& run) {
  const std::string name =
      run.has_filename() ? run.filename().string() : run.parent_path().filename().string();
  if (!RunDir::is_run(run)) {
    fail(ErrorKind::data, run.string(), ": expected a run directory, ", RunDir::lack_of(run));
  }
  if (!fs::exists(run / "result.json")) {
    const fs::path file = run / "run.json";
    const RecordFields record = parse_record(read_text_file(file), file.string());
    return {{"run", name}, {"time", record.text("exit_reason")}};
  }
  const RecordFields r = read_result(run);
  Cells out{{"run", name},
            {"model", r.text("model")},
            {"optimizer", r.text("optimizer")},
            {"lr", short_text(r.number("lr"), 6)},
            {"wd", short_text(r.number("weight_decay"), 6)},
            {"epochs", r.text("epochs")}};
  for (const char* which : {"best_", "last_"}) {
    for (const Metric& m : leading_metrics(r)) {
      const std::string key = result_key(which, m);
      if (r.has(key)) out.emplace_back(spaced(key), metric_text(m, r.number(key)));
    }
  }
  out.emplace_back("time", duration_text(r.number("seconds")));
  return out;
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
  const std::vector<Metric> metrics = leading_metrics(r);
  std::vector<std::vector<std::string>> rows = {{"checkpoint", "epoch"}};
  for (const Metric& m : metrics) rows[0].push_back(spaced(m.name));
  const auto add = [&](const char* name, const std::string& epoch, const std::string& prefix) {
    std::vector<std::string> row{name, epoch};
    for (const Metric& m : metrics) {
      const std::string key = result_key(prefix, m);
      row.push_back(r.has(key) ? metric_text(m, r.number(key)) : "-");
    }
    rows.push_back(std::move(row));
  };
  add("best on test", r.text("best_epoch"), "best_");
  add("last epoch", r.text("epochs"), "last_");
  if (r.has("best_val_epoch")) add("best on validation", r.text("best_val_epoch"), "best_val_");
  return str(r.text("model"), " (", r.text("preset"), "), ", r.text("optimizer"), ", lr ",
             short_text(r.number("lr"), 6), ", weight decay ",
             short_text(r.number("weight_decay"), 6), ", ", r.text("steps"), " steps, seed ",
             r.text("seed"), ", ", duration_text(r.number("seconds")), "\n", format_table(rows));
}

std::string evaluation_table(const Task& task, const Evaluation& e, const std::string& what) {
  std::vector<std::vector<std::string>> rows{{"weights", task.example + "s"},
                                             {what, str(e.examples)}};
  for (size_t i = 0; i < e.values.size(); ++i) {
    rows[0].push_back(spaced(task.metrics[i].name));
    rows[1].push_back(metric_text(task.metrics[i], e.values[i]));
  }
  return format_table(rows);
}

std::string comparison_table(const std::vector<fs::path>& runs,
                             const std::vector<ComparisonColumn>& extra) {
  std::vector<Cells> cells;
  std::vector<std::string> columns;
  for (const fs::path& run : runs) {
    cells.push_back(comparison_cells(run));
    for (const ComparisonColumn& column : extra) {
      if (const std::string text = column.cell(run); !text.empty()) {
        cells.back().insert(cells.back().end() - 1, {column.name, text});
      }
    }
    // In the order in which they come, the time last.
    for (const auto& [name, text] : cells.back()) {
      if (name == "time" || std::find(columns.begin(), columns.end(), name) != columns.end())
        continue;
      columns.push_back(name);
    }
  }
  columns.emplace_back("time");
  std::vector<std::vector<std::string>> rows{columns};
  for (const Cells& of_run : cells) {
    std::vector<std::string> row;
    for (const std::string& column : columns) {
      const auto found = std::find_if(of_run.begin(), of_run.end(),
                                      [&](const auto& cell) { return cell.first == column; });
      row.push_back(found == of_run.end() ? "-" : found->second);
    }
    rows.push_back(std::move(row));
  }
  return format_table(rows);
}

std::string data_summary(const Task& task) {
  const DataFacts data = task.data();
  const std::string held_out =
      data.validation > 0 ? str(", ", data.validation, " held out") : std::string();
  return str(data.description, "\n  used: ", data.train, " ", task.example, "s to train", held_out,
             ", ", data.test, " to test\n  content ", data.hash);
}

Record dry_run(Trainer& trainer) {
  const int64_t left = trainer.total_steps() - trainer.steps_done();
  trainer.step();  // warms the allocator and the caches
  reset_peak_bytes();
  double start = seconds_now();
  constexpr int kSteps = 2;
  for (int i = 0; i < kSteps; ++i) trainer.step();
  const double step_seconds = (seconds_now() - start) / kSteps;

  const Task& task = trainer.task();
  const TrainOptions& options = trainer.options();
  const DataFacts data = task.data();
  const auto part =
      task.source({.split = Split::test, .batch = options.eval_batch, .limit = options.eval_batch});
  start = seconds_now();
  evaluate(task, trainer.state(), *part);
  const double example_seconds = (seconds_now() - start) / static_cast<double>(part->examples());

  const int64_t epochs =
      (trainer.total_steps() + trainer.steps_per_epoch() - 1) / trainer.steps_per_epoch();
  const int64_t period = options.eval_every.in_steps(trainer.steps_per_epoch());
  const int64_t evaluations = (left + period - 1) / period;
  const double evaluated = static_cast<double>((data.test + data.validation) * evaluations);
  const double total = step_seconds * static_cast<double>(left) + example_seconds * evaluated;
  const auto weights = static_cast<double>(trainer.state().params.total_elements()) *
                       static_cast<double>(size_of(options.dtype));
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
           3 * weights * static_cast<double>(options.keep > 0 ? options.keep + 1 : epochs));
}

}  // namespace basin::tools
