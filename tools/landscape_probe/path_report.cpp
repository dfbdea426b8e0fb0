// Tables and figures of lines, planes and trails.
#include <algorithm>
#include <cmath>

#include "basin/analysis/slice_file.h"
#include "basin/figures/contour.h"
#include "basin/figures/line_plot.h"
#include "basin/tools/landscape_probe/detail/path.h"

namespace basin::tools {
namespace {

constexpr double kEnoughShare = 0.9;  // of a trail's variance; below it the caption warns

const PathPointRecord& point_of(const PathRecord& record, const std::string& letter) {
  for (const PathPointRecord& p : record.points) {
    if (p.letter == letter) return p;
  }
  fail(ErrorKind::data, "path.json: a line begins or ends at '", letter, "', which is no point");
}

std::string point_text(const PathPointRecord& p) { return str(p.letter, ", ", p.name); }

NamedTable line_table(const PathRecord& record, const Metric& metric) {
  const std::string word = metric_word(metric.name);
  NamedTable out{"path_lines", {}, {}};
  out.page.numeric = columns_of(9, {1, 2, 3, 4, 5, 6, 7, 8});
  out.page.caption =
      "Barrier: how far the loss on the line rises above the straight line between the losses at "
      "its ends; the highest of the points computed";
  out.page.columns = {"line", "distance",   "loss at the start", "loss at the end", "barrier",
                      "at t", "loss there", word + " there",     "failed"};
  CsvTable csv({"from", "to", "distance", "loss_from", "loss_to", "metric_from", "metric_to",
                "barrier", "at", "loss_there", "metric_there", "metric", "done", "failed"});
  for (const PathLineRecord& l : record.lines) {
    const PathPointRecord &a = point_of(record, l.from), &b = point_of(record, l.to);
    out.page.rows.push_back({str(l.from, " to ", l.to), readable(l.distance), readable(a.loss),
                             readable(b.loss), readable(l.barrier), readable(l.at),
                             readable(l.loss), metric_value_text(metric, l.metric), str(l.failed)});
    csv.row({l.from, l.to, l.distance, a.loss, b.loss, a.metric, b.metric, l.barrier, l.at, l.loss,
             l.metric, metric.name, l.done, l.failed});
  }
  out.csv = csv.text();
  return out;
}

NamedTable point_table(const PathRecord& record, const Metric& metric) {
  NamedTable out{"path_points", {}, {}};
  out.page.numeric = columns_of(8, {4, 5, 6, 7});
  out.page.caption = "The networks, and their place in the plane";
  out.page.columns = {"network",
                      "kind",
                      "optimizer",
                      "checkpoint",
                      "loss",
                      metric_word(metric.name),
                      "recorded test loss",
                      "x, y"};
  CsvTable csv({"letter", "name", "network", "optimizer", "checkpoint", "weights_sha256", "loss",
                "metric_value", "metric", "recorded_test_loss", "x", "y"});
  for (const PathPointRecord& p : record.points) {
    out.page.rows.push_back({point_text(p), p.network, p.optimizer, p.checkpoint, readable(p.loss),
                             metric_value_text(metric, p.metric),
                             std::isfinite(p.recorded_loss) ? readable(p.recorded_loss) : "-",
                             std::isfinite(p.x) ? str(readable(p.x), ", ", readable(p.y)) : "-"});
    csv.row({p.letter, p.name, p.network, p.optimizer, p.checkpoint, p.weights_sha256, p.loss,
             p.metric, metric.name, p.recorded_loss, p.x, p.y});
  }
  out.csv = csv.text();
  return out;
}

NamedTable trail_table(const PathRecord& record) {
  NamedTable out{"path_trail", {}, {}};
  out.page.numeric = columns_of(4, {1, 2, 3});
  out.page.caption = "Trajectories, and the share of their variance that the plane shows";
  out.page.columns = {"trajectory", "checkpoints", "share of the variance", "last at x, y"};
  CsvTable csv({"trajectory", "step", "x", "y", "share"});
  for (const TrailRecord& t : record.trails) {
    if (t.steps.empty()) continue;
    out.page.rows.push_back({t.name, str(t.steps.size()), share_text(t.share),
                             str(readable(t.x.back()), ", ", readable(t.y.back()))});
    for (size_t i = 0; i < t.steps.size(); ++i) {
      csv.row({t.name, t.steps[i], t.x[i], t.y[i], t.share});
    }
  }
  out.csv = csv.text();
  return out;
}

FigureConditions path_conditions(const PathRecord& record, const RecordFields& identity,
                                 const std::string& command) {
  FigureConditions out;
  out.data = record.data;
  out.dtype = identity.text("probe_dtype");
  out.level = 0;
  out.command = command;
  return out;
}

// The names behind the letters, for captions.
std::string legend_of(const PathRecord& record) {
  std::vector<std::string> words;
  for (const PathPointRecord& p : record.points) {
    words.push_back(str(p.letter, ": ", p.name, " (", p.checkpoint, ")"));
  }
  return joined(words, "; ");
}

struct MeasuredLine {
  const PathLineRecord* record;
  Slice values;
  std::vector<double> t;
};

// One panel per quantity, one series per line; the straight line between the ends dotted.
Figure lines_figure(const PathRecord& record, const std::vector<MeasuredLine>& lines,
                    const Metric& metric, const FigureConditions& conditions) {
  LinePlot plot;
  plot.title = lines.size() == 1 ? str("Loss on the line between two networks")
                                 : str("Loss on the lines between three networks");
  plot.notes = {legend_of(record)};
  PlotPanel loss, value;
  loss.title = "loss";
  value.title = metric_title(metric);
  for (PlotPanel* panel : {&loss, &value}) {
    panel->x.label = "t, from the first network (0) to the second (1)";
  }
  loss.y.label = "loss";
  value.y.label = metric_title(metric);
  const double scale = metric.unit == "%" ? 100 : 1;
  std::string alt;
  for (size_t i = 0; i < lines.size(); ++i) {
    const MeasuredLine& l = lines[i];
    const PathLineRecord& r = *l.record;
    PlotSeries measured, chord, second;
    measured.style = series_style(static_cast<int>(i));
    measured.name = str(r.from, " to ", r.to, ", barrier ", readable(r.barrier));
    measured.x = l.t;
    measured.y = l.values.loss;
    chord.style = {measured.style.colour, Dash::dotted, Marker::none};
    chord.name = lines.size() == 1 ? "straight between the ends" : "";
    chord.x = {0, 1};
    chord.y = {l.values.loss.front(), l.values.loss.back()};
    chord.width = 1.2;
    second.style = measured.style;
    second.x = l.t;
    for (double v : l.values.metric) second.y.push_back(scale * v);
    loss.series.push_back(std::move(chord));
    loss.series.push_back(std::move(measured));
    value.series.push_back(std::move(second));
    alt += str(i == 0 ? "" : " ", "From ", r.from, " to ", r.to, " the loss goes from ",
               readable(l.values.loss.front()), " to ", readable(l.values.loss.back()),
               " with a barrier of ", readable(r.barrier), " at t = ", readable(r.at), ".");
  }
  if (lines.size() == 1 && lines.front().record->barrier > 0) {
    loss.references = {{lines.front().record->at, true, "highest rise"}};
  }
  plot.panels.push_back(std::move(loss));
  const auto known = [](const PlotSeries& s) {
    return std::any_of(s.y.begin(), s.y.end(), [](double v) { return std::isfinite(v); });
  };
  if (std::any_of(value.series.begin(), value.series.end(), known)) {
    plot.panels.push_back(std::move(value));
  }
  Figure out;
  out.name = "path-line";
  out.title = plot.title;
  out.svg = line_plot_svg(plot);
  out.csv = line_plot_csv(plot);
  out.alt = alt;
  return finish_figure(
      std::move(out),
      str(legend_of(record), ". Barrier: the highest rise above the dotted line between the ends."),
      conditions);
}

std::string trail_words(const TrailRecord& t) {
  std::string out =
      str(" Orange: the ", t.steps.size(), " checkpoints of ", t.name,
          ", the last one hollow; the plane shows ", share_text(t.share), " of their variance.");
  if (!(t.share >= kEnoughShare)) {
    out +=
        " Caution: the rest of the path lies outside the plane, so the loss drawn at a "
        "checkpoint need not be its own.";
  }
  return out;
}

Figure plane_figure(const PathRecord& record, const Slice& values,
                    const FigureConditions& conditions) {
  ContourPlot plot;
  plot.name = "path-plane";
  plot.panel = 420;
  const bool three = record.points.size() == 3;
  plot.title = three ? "Loss on the plane through three networks"
                     : "Loss on the plane of a trajectory's principal directions";
  plot.caption =
      "Both axes in units of distance between weights; ring: the lowest point of the grid.";
  if (three) plot.caption += " " + legend_of(record) + ".";
  ContourPanel panel{three ? record.points.front().network : record.trails.front().name, values};
  for (const PathPointRecord& p : record.points) {
    if (std::isfinite(p.x)) panel.marks.push_back({p.letter, p.x, p.y});
  }
  for (const TrailRecord& t : record.trails) {
    panel.trails.push_back({t.name, t.x, t.y});
    plot.caption += trail_words(t);
  }
  plot.panels.push_back(std::move(panel));
  plot.conditions = conditions;
  return contour_figure(plot);
}

}  // namespace

PartReport path_report(const fs::path& dir, const Metric& metric, const std::string& command) {
  const PartFiles files(dir);
  const auto record = files.read<PathRecord>("path");
  const FigureConditions conditions = path_conditions(record, files.identity("path"), command);
  PartReport out;
  PartSection lines{"Lines", legend_of(record), {}, {}}, plane{"Plane", "", {}, {}};
  if (record.points.empty()) lines.text = "The trajectory " + record.trails.front().name;
  lines.tables = {line_table(record, metric), point_table(record, metric)};
  std::vector<MeasuredLine> measured;
  for (const PathLineRecord& l : record.lines) {
    measured.push_back({&l, read_slice(dir / l.file), {}});
    const SliceGrid& grid = measured.back().values.grid;
    for (int64_t i = 0; i < grid.size(); ++i) {
      measured.back().t.push_back(grid.x.at(grid.ix(i)));
    }
    if (l.failed > 0) {
      out.warnings.push_back(str("line ", l.from, " to ", l.to, ": ", l.failed, " of ",
                                 l.done + l.failed, " points failed and are holes"));
    }
  }
  if (!measured.empty()) {
    lines.figures.push_back(lines_figure(record, measured, metric, conditions));
  }
  for (const PathPointRecord& p : record.points) {
    if (p.same_data) continue;
    out.warnings.push_back(str(point_text(p), ": measured on the data of ",
                               point_text(record.points.front()),
                               ", which its own settings do not name (another folder, or another "
                               "draw by another seed)"));
  }
  plane.text = "Distances in the picture are distances between weights.";
  for (const PathPlaneRecord& p : record.planes) {
    plane.figures.push_back(plane_figure(record, read_slice(dir / p.file), conditions));
    if (p.failed > 0) {
      out.warnings.push_back(
          str("plane: ", p.failed, " of ", p.done + p.failed, " points failed and are holes"));
    }
  }
  for (const TrailRecord& t : record.trails) {
    if (t.share >= kEnoughShare) continue;
    out.warnings.push_back(str("the plane shows ", share_text(t.share), " of the variance of ",
                               t.name, "; the rest of its path lies outside"));
  }
  plane.tables = {trail_table(record)};
  out.sections = {std::move(lines), std::move(plane)};
  return out;
}

}  // namespace basin::tools
