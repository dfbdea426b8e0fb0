// Figures of loss slices from probes: planes as contours, lines as curves; see figures.h.
#include "basin/figures/contour.h"
#include "basin/figures/line_plot.h"
#include "basin/tools/landscape_probe/figures.h"

namespace basin::tools {
namespace {

const SliceRecord* record_of(const LoadedProbe& p, const std::string& name) {
  if (!p.slices) return nullptr;
  for (const SliceRecord& s : p.slices->slices) {
    if (s.name == name) return &s;
  }
  return nullptr;
}

FigureConditions conditions_of(const LoadedProbe& p, const SliceRecord& s,
                               const std::string& command) {
  const RecordFields id = PartFiles(p.dir).identity("slices");
  FigureConditions out;
  out.runs = 1;
  out.seeds = {static_cast<uint64_t>(p.facts.integer("train_seed"))};
  out.data = s.data + ", batch norm " +
             (id.flag("probe_reestimate") ? "re-estimated" : id.text("probe_batch_norm"));
  out.dtype = id.text("probe_dtype");
  out.level = 0;
  out.command = command;
  return out;
}

LocalQuadratic model_of(const SliceRecord& s) { return {s.loss, s.g1, s.g2, s.h11, s.h12, s.h22}; }

Figure plane(const std::vector<LoadedProbe>& probes, const std::string& network,
             const std::string& name, const std::string& command) {
  ContourPlot plot;
  plot.name = "slice-" + name + "-" + network;
  plot.title = str(name == "eigen" ? "Loss along the two top eigenvectors: "
                                   : "Loss along two filter-normalised random directions: ",
                   network);
  for (const LoadedProbe& p : probes) {
    const SliceRecord* s = record_of(p, name);
    if (p.network != network || s == nullptr) continue;
    const Slice& slice = p.slice_values.at(name);
    if (!plot.panels.empty() && !(slice.grid == plot.panels.front().slice.grid)) continue;
    plot.panels.push_back({p.optimizer, slice, model_of(*s)});
    plot.conditions = conditions_of(p, *s, command);
  }
  return contour_figure(plot);
}

Figure line(const std::vector<LoadedProbe>& probes, const std::string& network,
            const std::string& name, const std::string& command) {
  LinePlot plot;
  plot.title = "Loss along a random direction: " + network;
  PlotPanel panel;
  panel.x.label = "random direction";
  panel.y.label = "loss";
  FigureConditions conditions;
  for (const LoadedProbe& p : probes) {
    const SliceRecord* s = record_of(p, name);
    if (p.network != network || s == nullptr) continue;
    const Slice& slice = p.slice_values.at(name);
    const LocalQuadratic model = model_of(*s);
    PlotSeries measured, quadratic;
    measured.name = p.optimizer;
    measured.style = optimizer_style(p.optimizer);
    quadratic.name = p.optimizer + ", quadratic";
    quadratic.style = {measured.style.colour, Dash::dotted, Marker::none};
    for (int64_t i = 0; i < slice.grid.size(); ++i) {
      const double x = slice.grid.x.at(slice.grid.ix(i));
      measured.x.push_back(x);
      measured.y.push_back(slice.loss[static_cast<size_t>(i)]);
      quadratic.x.push_back(x);
      quadratic.y.push_back(model.at(x));
    }
    panel.series.push_back(std::move(measured));
    panel.series.push_back(std::move(quadratic));
    conditions = conditions_of(p, *s, command);
  }
  plot.panels.push_back(std::move(panel));
  Figure out;
  out.name = "slice-" + name + "-" + network;
  out.title = plot.title;
  out.svg = line_plot_svg(plot);
  out.csv = line_plot_csv(plot);
  out.alt = "Loss of " + network + " along one random direction through each checkpoint.";
  return finish_figure(std::move(out), "Loss along one direction through the checkpoint.",
                       conditions);
}

}  // namespace

std::vector<Figure> slice_figures(const std::vector<LoadedProbe>& probes,
                                  const std::string& command) {
  std::vector<Figure> out;
  for (const std::string& network : networks_of(probes)) {
    for (const std::string name : {"random", "eigen", "random1d"}) {
      bool any = false;
      for (const LoadedProbe& p : probes) {
        any = any || (p.network == network && record_of(p, name) != nullptr);
      }
      if (!any) continue;
      out.push_back(name == "random1d" ? line(probes, network, name, command)
                                       : plane(probes, network, name, command));
    }
  }
  return out;
}

}  // namespace basin::tools
