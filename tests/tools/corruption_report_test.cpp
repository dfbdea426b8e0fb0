// Reports of corrupted accuracy: the means, and files, table and figure that read back as what was
// measured.
#include "basin/tools/train_modelnet/corruption_report.h"

#include <cmath>

#include "basin/tests/analysis/xml.h"
#include "basin/tests/tools/corruption_helpers.h"

namespace basin::tools {
namespace {

// Numbers of which every mean is known: error of severity s of corruption c is (s + c) / 100.
CorruptionReport made_report() {
  CorruptionReport report;
  report.model = "pointnet (port)";
  report.weights = "ckpt/step-9";
  report.weights_hash = "abc";
  report.source = "a, \"quoted\" <source>";
  report.seed = 7;
  report.trained_points = 1024;
  report.clean.overall_accuracy = 0.875;
  report.clean.mean_class_accuracy = 0.75;
  report.clean.examples = 8;
  int c = 0;
  for (const CorruptionInfo& info : corruptions()) {
    CorruptionRow row{info, info.input == CorruptionInput::mesh ? "no \"meshes\", clouds" : ""};
    for (int s = 1; s <= kSeverities; ++s) {
      row.severities[s - 1].overall_accuracy = 1 - (s + c) / 100.0;
      row.severities[s - 1].mean_class_accuracy = 0.5;
      row.severities[s - 1].examples = 8;
      row.points[s - 1] = 1000 + s;
    }
    report.rows.push_back(row);
    ++c;
  }
  return report;
}

std::vector<std::string> csv_fields(const std::string& line) {
  std::vector<std::string> out(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"' && quoted && i + 1 < line.size() && line[i + 1] == '"') {
      out.back() += line[++i];
    } else if (line[i] == '"') {
      quoted = !quoted;
    } else if (line[i] == ',' && !quoted) {
      out.emplace_back();
    } else {
      out.back() += line[i];
    }
  }
  return out;
}

std::vector<std::vector<std::string>> read_csv(const std::string& text) {
  std::vector<std::vector<std::string>> rows;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    rows.push_back(csv_fields(text.substr(at, end - at)));
    at = end + 1;
  }
  return rows;
}

}  // namespace

TEST_CASE("corruption report: means over severities, corruptions and groups") {
  const CorruptionReport report = made_report();
  CHECK(report.evaluated() == 13);
  double sum = 0, group = 0;
  int in_group = 0;
  for (size_t c = 0; c < report.rows.size(); ++c) {
    const CorruptionRow& row = report.rows[c];
    const double expected = (3 + static_cast<double>(c)) / 100;
    CHECK(row.error_rate() == doctest::Approx(expected).epsilon(1e-12));
    if (!row.skipped.empty()) continue;
    sum += expected;
    if (row.corruption.group != CorruptionGroup::density) continue;
    group += expected;
    ++in_group;
  }
  CHECK(in_group == 3);
  CHECK(report.error_rate() == doctest::Approx(sum / 13).epsilon(1e-12));
  CHECK(report.error_rate(CorruptionGroup::density) ==
        doctest::Approx(group / in_group).epsilon(1e-12));
  CorruptionReport none = report;
  for (CorruptionRow& row : none.rows) {
    if (row.corruption.group == CorruptionGroup::noise) row.skipped = "absent";
  }
  CHECK(std::isnan(none.error_rate(CorruptionGroup::noise)));
  CHECK(!contains(corruption_summary(none).line(), "group_error_rate_noise"));
}

TEST_CASE("corruption report: the files read back as the numbers") {
  const TempDir dir;
  const CorruptionReport report = made_report();
  write_corruptions(report, dir.path());
  const auto csv = read_csv(read_text_file(dir / "tables/corruptions.csv"));
  CHECK(read_text_file(dir / "figures/corruptions.csv") ==
        read_text_file(dir / "tables/corruptions.csv"));
  REQUIRE(csv.size() == 1 + 1 + 13 * 5 + 2);
  for (const auto& line : csv) CHECK(line.size() == 10);
  CHECK(csv[1][0] == "clean");
  CHECK(std::stod(csv[1][6]) == 0.875);
  size_t at = 2;
  for (const CorruptionRow& row : report.rows) {
    if (!row.skipped.empty()) {
      CHECK(csv[at][0] == row.corruption.name);
      CHECK(csv[at][2].empty());
      CHECK(csv[at][9] == row.skipped);
      ++at;
      continue;
    }
    for (int s = 1; s <= kSeverities; ++s, ++at) {
      CHECK(csv[at][0] == row.corruption.name);
      CHECK(csv[at][1] == name_of(row.corruption.group));
      CHECK(csv[at][2] == std::to_string(s));
      CHECK(csv[at][3] == std::to_string(1000 + s));
      CHECK(std::stod(csv[at][5]) == row.error_rate(s));  // to the last bit
      CHECK(csv[at][9].empty());
    }
  }
  const fs::path file = dir / "tables/corruptions.json";
  const RecordFields json = parse_record(read_text_file(file), file.string());
  CHECK(json.number("mean_error_rate") == report.error_rate());
  CHECK(json.number("mean_accuracy") == 1 - report.error_rate());
  CHECK(json.number("error_rate_density") == row_of(report.rows, "density").error_rate());
  CHECK(json.number("group_error_rate_density") == report.error_rate(CorruptionGroup::density));
  CHECK(json.text("skipped_lidar") == "no \"meshes\", clouds");
  CHECK(json.text("weights_sha256") == "abc");
  CHECK(json.integer("seed") == 7);
  CHECK(json.integer("evaluated") == 13);
  CHECK(corrupted_accuracy_text(dir.path()) == "89.00 % (13)");
  CHECK(corrupted_accuracy_text(dir / "tables").empty());
}

TEST_CASE("corruption report: the figure holds the cells, the table the reasons") {
  const CorruptionReport report = made_report();
  const auto xml = testing::parse_xml(corruption_figure(report));
  const auto hints = testing::hints_of(xml, "rect");
  REQUIRE(hints.size() == 13 * 6 + 2);
  std::vector<std::string> expected;
  for (const CorruptionGroup group :
       {CorruptionGroup::density, CorruptionGroup::noise, CorruptionGroup::transformation}) {
    for (size_t c = 0; c < report.rows.size(); ++c) {
      const CorruptionRow& row = report.rows[c];
      if (row.corruption.group != group) continue;
      if (!row.skipped.empty()) {
        expected.push_back(str(row.corruption.name, ": skipped: ", row.skipped));
        continue;
      }
      for (int s = 1; s <= kSeverities; ++s) {
        expected.push_back(str(row.corruption.name, ", severity ", s, ": ", c + s, ".0"));
      }
      expected.push_back(str(row.corruption.name, ", severity mean: ", c + 3, ".0"));
    }
  }
  CHECK(hints == expected);
  const std::string table = corruption_table(report);
  CHECK(contains(table, "skipped: no \"meshes\", clouds"));
  CHECK(contains(table, "corrupted, 13 of 15"));
  CHECK(contains(table, "whole clouds"));
  CHECK(contains(table, "seed 7"));
}

}  // namespace basin::tools
