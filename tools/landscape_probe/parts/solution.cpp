// Part "solution": the maps that a task draws of what was learned (Task::fields): solution, error
// and residual of an equation. Of a task that draws none the record is empty.
#include <algorithm>
#include <cmath>

#include "basin/core/printable.h"
#include "basin/figures/field_maps.h"
#include "basin/tools/landscape_probe/detail/builtin_parts.h"

namespace basin::tools {
namespace {

struct FieldRecord {
  std::string name;
  std::vector<double> values;  // [y, x]
};
struct SolutionRecord {
  std::string x_name, y_name;
  std::vector<double> x, y;         // of all fields
  std::vector<FieldRecord> fields;  // truth first where it is known
};

void fields(FieldWalk& walk, FieldRecord& r) { walk("name", r.name), walk("values", r.values); }
void fields(FieldWalk& walk, SolutionRecord& r) {
  walk("x_name", r.x_name), walk("y_name", r.y_name);
  walk("x", r.x), walk("y", r.y), walk("fields", r.fields);
}

void check_record(const SolutionRecord& r, const std::string& file) {
  if (r.fields.empty()) return;
  for (const std::vector<double>* axis : {&r.x, &r.y}) {
    const bool ascends = std::is_sorted(axis->begin(), axis->end(), std::less_equal<>());
    if (axis->size() < 2 || !ascends || !std::isfinite(axis->back() - axis->front())) {
      fail(ErrorKind::data, file,
           ": the axes of its fields are expected to ascend over two points "
           "or more");
    }
  }
  for (const FieldRecord& f : r.fields) {
    if (f.values.size() == r.x.size() * r.y.size()) continue;
    fail(ErrorKind::data, file, ": field ", printable(f.name), " has ", f.values.size(),
         " values, expected ", r.y.size(), " x ", r.x.size());
  }
}

SolutionRecord measure_solution(const ProbeContext& context) {
  SolutionRecord out;
  const Task& task = context.trained.task;
  if (!task.fields) return out;
  const ModelState& state = context.trained.state;
  for (const Field& f : task.fields(state.params.values(), state.buffers.values())) {
    if (out.fields.empty()) {
      out.x_name = f.x_name, out.y_name = f.y_name;
      out.x = f.x, out.y = f.y;
    }
    check(f.x == out.x && f.y == out.y, "task ", task.name, ": field ", f.name,
          " stands on another grid than ", out.fields.empty() ? f.name : out.fields.front().name);
    out.fields.push_back({f.name, f.values.to(DType::f64).to_vector<double>()});
  }
  return out;
}

const SolutionRecord* solution_of(const LoadedProbe& p) {
  const auto* record = p.record<SolutionRecord>("solution");
  return record == nullptr || record->fields.empty() ? nullptr : record;
}

double norm_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v * v;
  return std::sqrt(sum);
}

// One row per field of every probe: root mean square and maximum of its absolute value, and that
// of an error relative to the truth.
NamedTable solution_table(const std::vector<LoadedProbe>& probes) {
  NamedTable out{"solution", {}, {}};
  out.page.caption =
      "Fields on the grid of the task; relative: L2 norm of the error over that of the truth";
  out.page.columns = {"network", "optimizer", "field", "root mean square", "largest", "relative"};
  out.page.numeric = columns_of(6, {3, 4, 5});
  CsvTable csv({"network", "optimizer", "field", "points", "root_mean_square", "max_absolute",
                "relative_l2"});
  for (const LoadedProbe& p : probes) {
    const SolutionRecord* r = solution_of(p);
    if (r == nullptr) continue;
    const bool truth = r->fields.front().name == "truth";
    const double whole = truth ? norm_of(r->fields.front().values) : NAN;
    for (const FieldRecord& f : r->fields) {
      const double norm = norm_of(f.values);
      const double mean = norm / std::sqrt(static_cast<double>(f.values.size()));
      double largest = 0;
      for (const double v : f.values) largest = std::isnan(v) ? v : std::max(largest, std::abs(v));
      const bool comparable = truth && f.name == "error";
      const double relative = comparable ? norm / whole : NAN;
      out.page.rows.push_back({p.network, p.optimizer, f.name, readable(mean), readable(largest),
                               comparable ? readable(relative) : "-"});
      csv.row({p.network, p.optimizer, f.name, std::ssize(f.values), mean, largest, relative});
    }
  }
  out.csv = csv.text();
  return out;
}

// The signed maps get one colour bar, so that they compare by eye.
void share_colours(FieldMaps& maps) {
  double low = INFINITY, high = -INFINITY;
  for (const FieldMap& m : maps.maps) {
    if (m.log_colour) continue;
    for (const double v : m.values) {
      if (std::isfinite(v)) low = std::min(low, v), high = std::max(high, v);
    }
  }
  if (!(low < high)) return;
  for (FieldMap& m : maps.maps) {
    if (!m.log_colour) m.low = low, m.high = high;
  }
}

// Signed fields as they are; of what should be zero, sizes on a logarithmic colour bar.
FieldMaps maps_of(const LoadedProbe& p, const SolutionRecord& r, bool sizes) {
  FieldMaps out{
      str("Solution: ", p.network, ", ", p.optimizer), r.x_name, r.y_name, r.x, r.y, {}, {}};
  for (const FieldRecord& f : r.fields) {
    const bool value = f.name == "truth" || f.name == "network";
    if (value) {
      out.maps.push_back({f.name, f.values});
    } else if (sizes) {
      FieldMap map{str("|", f.name, "|"), f.values};
      map.log_colour = true;
      for (double& v : map.values) v = std::abs(v);
      out.maps.push_back(std::move(map));
    }
  }
  share_colours(out);
  return out;
}

// Four quarters of the axis, its end among them; its start is often given, not learned.
std::vector<double> places(const std::vector<double>& y) {
  std::vector<double> out;
  for (int i = 1; i <= 4; ++i) out.push_back(y.front() + (y.back() - y.front()) * i / 4);
  return out;
}

PartReport solution_report(const std::vector<LoadedProbe>& probes, const std::string& command) {
  PartSection section{"Solution", "What the networks learned, on the grid of the task.", {}, {}};
  section.tables.push_back(solution_table(probes));
  int drawn = 0;
  for (const LoadedProbe& p : probes) {
    const SolutionRecord* r = solution_of(p);
    if (r == nullptr) continue;
    const std::string suffix = str("-", p.network, "-", ++drawn);
    FieldMaps maps = maps_of(p, *r, true), lines = maps_of(p, *r, false);
    for (FieldMaps* m : {&maps, &lines}) {
      m->conditions = conditions_of({p}, command);
      m->conditions.level = 0;
    }
    section.figures.push_back(field_maps_figure(maps));
    section.figures.back().name += suffix;
    if (lines.maps.empty()) continue;
    section.figures.push_back(field_lines_figure(lines, places(r->y)));
    section.figures.back().name += suffix;
  }
  return {{std::move(section)}};
}

}  // namespace

PartInfo solution_part() {
  PartInfo info{.name = "solution",
                .summary = "maps of what was learned, where the task draws any"};
  info.report = solution_report;
  return part_of<SolutionRecord>(std::move(info), measure_solution);
}

}  // namespace basin::tools
