// A user's landscape_probe: the program of Basin with a part of the user's own, which counts the
// weights of each matrix that are small beside its largest one. Registered, it has its setting, its
// record, its table, figure and verdict, and is not measured twice.
#include <basin/basin.h>
#include <basin/figures/line_plot.h>
#include <basin/tools/landscape_probe/part.h>
#include <basin/tools/landscape_probe/probe_main.h>

#include <cmath>

using namespace basin;
using namespace basin::tools;

namespace {

struct SmallWeights {
  std::string matrix;
  int64_t size = 0, small = 0;
};
using SmallRecord = std::vector<SmallWeights>;

void fields(FieldWalk& walk, SmallWeights& r) {
  walk("matrix", r.matrix), walk("size", r.size), walk("small", r.small);
}

SmallRecord count_small(const ProbeContext& context) {
  SmallRecord out;
  for (const Param& p : context.state.params) {
    if (p.view.empty()) continue;
    const std::vector<double> w = p.value.to(DType::f64).to_vector<double>();
    double largest = 0;
    for (const double v : w) largest = std::max(largest, std::abs(v));
    SmallWeights row{p.name, static_cast<int64_t>(w.size()), 0};
    for (const double v : w) row.small += std::abs(v) < context.config.number("small") * largest;
    out.push_back(row);
  }
  return out;
}

Estimate share_of(const SmallRecord& record) {
  double small = 0, size = 0;
  for (const SmallWeights& w : record) {
    small += static_cast<double>(w.small);
    size += static_cast<double>(w.size);
  }
  return exact_estimate(small / size);
}

Figure shares_figure(const std::vector<LoadedProbe>& probes, const std::string& command) {
  LinePlot plot;
  plot.title = "Small weights by matrix";
  PlotPanel panel;
  panel.x.label = "matrix, by depth";
  panel.y.label = "share of small weights";
  for (const LoadedProbe& p : probes) {
    const auto* record = p.record<SmallRecord>("small_weights");
    if (record == nullptr) continue;
    PlotSeries series;
    series.name = p.optimizer;
    series.style = series_style(static_cast<int>(panel.series.size()));
    for (size_t i = 0; i < record->size(); ++i) {
      series.x.push_back(static_cast<double>(i + 1));
      series.y.push_back(static_cast<double>((*record)[i].small) /
                         static_cast<double>((*record)[i].size));
    }
    panel.series.push_back(series);
  }
  plot.panels.push_back(panel);
  Figure out;
  out.name = "small-weights";
  out.title = plot.title;
  out.svg = line_plot_svg(plot);
  out.csv = line_plot_csv(plot);
  out.alt = "Share of small weights per matrix.";
  return finish_figure(out, "Share of the weights below a share of the largest one.",
                       conditions_of(probes, command));
}

PartReport report_small(const std::vector<LoadedProbe>& probes, const std::string& command) {
  NamedTable table{"small_weights", {}, {}};
  table.page.caption = "Weights that are small beside the largest of their matrix";
  table.page.columns = {"network", "matrix", "small", "of"};
  CsvTable csv({"network", "optimizer", "matrix", "small", "size"});
  for (const LoadedProbe& p : probes) {
    const auto* record = p.record<SmallRecord>("small_weights");
    if (record == nullptr) continue;
    for (const SmallWeights& w : *record) {
      table.page.rows.push_back(
          {p.network, w.matrix, std::to_string(w.small), std::to_string(w.size)});
      csv.row({p.network, p.optimizer, w.matrix, w.small, w.size});
    }
  }
  table.csv = csv.text();
  PartReport out;
  if (table.page.rows.empty()) return out;
  out.sections = {{"Small weights",
                   "Counted by a part of the user's own.",
                   {table},
                   {shares_figure(probes, command)}}};
  return out;
}

PartInfo small_weights() {
  PartInfo info;
  info.name = "small_weights";
  info.summary = "how many weights are small beside the largest of their matrix";
  info.settings = {{"small", Kind::number, "0.01", "Share of the largest weight that is small"}};
  info.depends_on = {"small"};
  info.report = report_small;
  info.verdicts = [](const LoadedProbe& a, const LoadedProbe& b, VerdictList& out) {
    const auto* of_a = a.record<SmallRecord>("small_weights");
    const auto* of_b = b.record<SmallRecord>("small_weights");
    if (of_a != nullptr && of_b != nullptr) {
      out.add(a, b, "share of small weights", share_of(*of_a), share_of(*of_b));
    }
  };
  return part_of<SmallRecord>(info, count_small);
}

const bool kRegistered = register_part(small_weights());

}  // namespace

int main(int argc, char** argv) { return kRegistered ? probe_main(argc, argv) : 1; }
