// Makes the table, the summary and the heat map out of the numbers; nothing is measured here.
#include "basin/tools/train_modelnet/corruption_report.h"

#include <algorithm>
#include <cmath>

#include "basin/analysis/csv.h"
#include "basin/core/text.h"
#include "basin/figures/heat_map.h"
#include "basin/tools/shell/report.h"

namespace basin::tools {
namespace {

constexpr CorruptionGroup kGroups[] = {CorruptionGroup::density, CorruptionGroup::noise,
                                       CorruptionGroup::transformation};

std::string percent(double share, int decimals = 2) { return fixed_text(100 * share, decimals); }

double largest_error(const CorruptionReport& report) {
  double largest = 0;
  for (const CorruptionRow& r : report.rows) {
    for (int s = 1; r.skipped.empty() && s <= kSeverities; ++s) {
      largest = std::max(largest, r.error_rate(s));
    }
  }
  return largest;
}

std::string points_text(const CorruptionReport& report) {
  if (report.corruption_points == 0) return "whole clouds";
  return str("a random subset of ", report.corruption_points, " points of each cloud");
}

std::string csv_numbers(int64_t points, const CloudScores& e) {
  return str(points, ",", e.examples, ",", number_text(1 - e.overall_accuracy), ",",
             number_text(e.overall_accuracy), ",", number_text(e.mean_class_accuracy), ",",
             number_text(e.loss), ",\n");
}

}  // namespace

std::string corruption_table(const CorruptionReport& report) {
  std::vector<std::vector<std::string>> rows = {
      {"corruption", "group", "1", "2", "3", "4", "5", "mean", "note"}};
  for (const CorruptionRow& r : report.rows) {
    std::vector<std::string> row = {r.corruption.name, std::string(name_of(r.corruption.group))};
    for (int s = 1; s <= kSeverities; ++s) {
      row.push_back(r.skipped.empty() ? percent(r.error_rate(s)) : "-");
    }
    row.push_back(r.skipped.empty() ? percent(r.error_rate()) : "-");
    row.push_back(r.skipped.empty() ? "" : "skipped: " + r.skipped);
    rows.push_back(row);
  }
  std::string out =
      str("error rate in % by severity; ", report.weights, "; ", report.source, "; seed ",
          report.seed, "; ", points_text(report), "\n", format_table(rows), "\n");
  std::vector<std::vector<std::string>> summary = {
      {"summary", "error rate", "accuracy", "mean class accuracy"},
      {"clean", fixed_text(100 - 100 * report.clean.overall_accuracy, 2),
       percent(report.clean.overall_accuracy), percent(report.clean.mean_class_accuracy)}};
  for (const CorruptionGroup group : kGroups) {
    const double error = report.error_rate(group);
    if (std::isnan(error)) continue;
    summary.push_back(
        {std::string(name_of(group)), percent(error), fixed_text(100 - 100 * error, 2)});
  }
  const double error = report.error_rate();
  summary.push_back({str("corrupted, ", report.evaluated(), " of ", report.rows.size()),
                     percent(error), fixed_text(100 - 100 * error, 2)});
  return out + format_table(summary);
}

std::string corruption_csv(const CorruptionReport& report) {
  std::string out =
      "corruption,group,severity,points,shapes,error_rate,accuracy,mean_class_accuracy,loss,"
      "skipped\n";
  out += "clean,,0," + csv_numbers(report.trained_points, report.clean);
  for (const CorruptionRow& r : report.rows) {
    const std::string head = str(r.corruption.name, ",", name_of(r.corruption.group), ",");
    if (!r.skipped.empty()) {
      out += str(head, ",,,,,,,", csv_text(r.skipped), "\n");
      continue;
    }
    for (size_t s = 0; s < r.severities.size(); ++s) {
      out += str(head, s + 1, ",", csv_numbers(r.points[s], r.severities[s]));
    }
  }
  return out;
}

Record corruption_summary(const CorruptionReport& report) {
  Record out;
  out.add("model", report.model)
      .add("weights", report.weights)
      .add("weights_sha256", report.weights_hash)
      .add("source", report.source)
      .add("seed", static_cast<int64_t>(report.seed))
      .add("trained_points", report.trained_points)
      .add("corruption_points", report.corruption_points)
      .add("test_shapes", report.clean.examples)
      .add("clean_accuracy", report.clean.overall_accuracy)
      .add("clean_mean_class_accuracy", report.clean.mean_class_accuracy)
      .add("evaluated", report.evaluated())
      .add("corruptions", static_cast<int64_t>(report.rows.size()))
      .add("mean_error_rate", report.error_rate())
      .add("mean_accuracy", 1 - report.error_rate());
  for (const CorruptionGroup group : kGroups) {
    const double error = report.error_rate(group);
    if (!std::isnan(error)) out.add(str("group_error_rate_", name_of(group)), error);
  }
  for (const CorruptionRow& r : report.rows) {
    if (r.skipped.empty()) {
      out.add("error_rate_" + r.corruption.name, r.error_rate());
      for (int s = 1; s <= kSeverities; ++s) {
        out.add(str("error_rate_", r.corruption.name, "_severity_", s), r.error_rate(s));
      }
    } else {
      out.add("skipped_" + r.corruption.name, r.skipped);
    }
  }
  return out;
}

std::string corruption_figure(const CorruptionReport& report) {
  HeatMap map;
  map.title = str("Error rate under corruption: ", report.model);
  map.notes = {
      str("mean over ", report.evaluated(), " of ", report.rows.size(),
          " corruptions: ", percent(report.error_rate(), 1),
          " %;  clean: ", fixed_text(100 - 100 * report.clean.overall_accuracy, 1), " %"),
      str(report.clean.examples, " shapes, seed ", report.seed, ", ", points_text(report))};
  map.column_axis = "severity";
  map.row_axis = "corruption";
  map.value_axis = "error rate, %";
  map.columns = {"1", "2", "3", "4", "5", "mean"};
  map.separated_columns = 1;
  map.low = 0;
  map.high = largest_error(report) <= 0.5 ? 50 : 100;  // two scales, so that figures compare
  for (const CorruptionGroup group : kGroups) {
    for (const CorruptionRow& r : report.rows) {
      if (r.corruption.group != group) continue;
      HeatMapRow row{r.corruption.name, std::string(name_of(group)), {}, ""};
      if (!r.skipped.empty()) {
        row.reason = "skipped: " + r.skipped;
      } else {
        for (int s = 1; s <= kSeverities; ++s) row.values.push_back(100 * r.error_rate(s));
        row.values.push_back(100 * r.error_rate());
      }
      map.rows.push_back(row);
    }
  }
  return heat_map_svg(map);
}

std::string write_corruptions(const CorruptionReport& report, const fs::path& dir) {
  const fs::path tables = part_folder(dir, "tables"), figures = part_folder(dir, "figures");
  const std::string csv = corruption_csv(report);
  write_file_atomic(tables / "corruptions.csv", csv);
  write_file_atomic(figures / "corruptions.csv", csv);
  write_file_atomic(figures / "corruptions.svg", corruption_figure(report));
  write_file_atomic(tables / "corruptions.json", corruption_summary(report).pretty());
  return str(dir.string(), "/{tables/corruptions.{csv,json}, figures/corruptions.{svg,csv}}");
}

std::string corrupted_accuracy_text(const fs::path& run) {
  const fs::path file = run / "tables" / "corruptions.json";
  if (!fs::exists(file)) return "";
  const RecordFields fields = parse_record(read_text_file(file), file.string());
  return str(percent(fields.number("mean_accuracy")), " % (", fields.text("evaluated"), ")");
}

}  // namespace basin::tools
