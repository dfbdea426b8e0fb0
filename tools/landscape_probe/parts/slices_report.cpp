// Table and figures of part "slices": planes as contours, lines as curves.
#include <algorithm>
#include <cmath>

#include "basin/analysis/slice_file.h"
#include "basin/figures/contour.h"
#include "basin/figures/line_plot.h"
#include "basin/figures/optimizer_figures.h"
#include "basin/tools/landscape_probe/detail/slices.h"

namespace basin::tools {
namespace {

// One slice of one probe.
struct Measured {
  const LoadedProbe* probe = nullptr;
  SliceRecord record;
  Slice values;
};

std::vector<Measured> all_slices(const std::vector<LoadedProbe>& probes) {
  std::vector<Measured> out;
  for (const LoadedProbe& p : probes) {
    const SlicesRecord* record = p.record<SlicesRecord>(kSlices);
    if (record == nullptr) continue;
    for (const SliceRecord& s : record->slices) {
      out.push_back({&p, s, read_slice(p.dir / s.file)});
    }
  }
  return out;
}

double roughness_of(const Measured& m) { return departure(m.values, m.record.model()).rms; }

bool is_of(const SliceRecord& s, const char* kind) {
  return s.name == kind || s.name.starts_with(str(kind, "-"));
}

// A quantity of the random slices that both have, and its ratio b / a over the pairs of directions.
void add_paired(const LoadedProbe& a, const LoadedProbe& b, const std::string& quantity,
                const std::function<double(const Measured&)>& of, VerdictList& out) {
  const std::vector<Measured> all_a = all_slices({a}), all_b = all_slices({b});
  for (const char* kind : {"random", "random1d"}) {
    std::vector<double> in_a, in_b, ratios;
    for (const Measured& ma : all_a) {
      for (const Measured& mb : all_b) {
        if (!is_of(ma.record, kind) || mb.record.name != ma.record.name) continue;
        const double va = of(ma), vb = of(mb);
        if (!std::isfinite(va) || !std::isfinite(vb)) continue;
        in_a.push_back(va), in_b.push_back(vb);
        if (va > 0 && vb > 0) ratios.push_back(vb / va);
      }
    }
    if (in_a.empty()) continue;
    Estimate ratio;
    if (ratios.size() == in_a.size()) ratio = mean_of_runs(ratios, true);
    out.add({str(a.network, ": ", kind == std::string_view("random") ? "slice " : "line ", quantity,
                 " (", in_a.size(), in_a.size() == 1 ? " pair" : " pairs", " of directions)"),
             mean_estimate(in_b), mean_estimate(in_a), ratio, ""});
  }
}

NamedTable slice_table(const std::vector<Measured>& slices) {
  NamedTable out{"slices", {}, {}};
  out.page.numeric = columns_of(9, {3, 4, 5, 6, 7, 8});
  out.page.caption =
      "Loss slices: points, the distance from the centre of the nearest one where the local "
      "quadratic is off by more than 10 %, and the roughness: root mean square departure of the "
      "loss from the quadratic over the grid";
  out.page.columns = {"network",  "optimizer",          "slice",       "points",
                      "failed",   "loss at the centre", "lowest loss", "quadratic fails from",
                      "roughness"};
  CsvTable csv({"network", "optimizer", "slice", "done", "failed", "missing", "loss", "lowest",
                "g1", "g2", "h11", "h12", "h22", "holds_within", "roughness"});
  for (const Measured& m : slices) {
    const LoadedProbe& p = *m.probe;
    const SliceRecord& s = m.record;
    const int64_t at = m.values.lowest();
    const double lowest = at < 0 ? NAN : m.values.loss[static_cast<size_t>(at)];
    out.page.rows.push_back({p.network, p.optimizer, s.name, str(s.done), str(s.failed),
                             readable(s.loss), readable(lowest),
                             std::isinf(s.holds_within) ? "nowhere" : readable(s.holds_within),
                             readable(roughness_of(m))});
    csv.row({p.network, p.optimizer, s.name, s.done, s.failed, s.missing, s.loss, lowest, s.g1,
             s.g2, s.h11, s.h12, s.h22, s.holds_within, roughness_of(m)});
  }
  out.csv = csv.text();
  return out;
}

FigureConditions slice_conditions(const Measured& m, const std::string& command) {
  const LoadedProbe& p = *m.probe;
  const RecordFields id = p.identity(kSlices);
  FigureConditions out = conditions_of({p}, command);
  out.data = m.record.data + ", batch norm " +
             (p.setting(id, "reestimate") == "true" ? "re-estimated" : p.setting(id, "batch_norm"));
  out.dtype = p.setting(id, "dtype");
  out.level = 0;
  return out;
}

// `slices`: one per probe, all of one name.
Figure plane(const std::vector<const Measured*>& slices, const std::string& network,
             const std::string& command) {
  const std::string& name = slices.front()->record.name;
  ContourPlot plot;
  plot.name = "slice-" + name + "-" + network;
  plot.title = str(name == "eigen" ? "Loss along the two top eigenvectors: "
                                   : "Loss along two filter-normalised random directions: ",
                   network);
  for (const Measured* m : slices) {
    const Slice& slice = m->values;
    if (!plot.panels.empty() && !(slice.grid == plot.panels.front().slice.grid)) continue;
    plot.panels.push_back({m->probe->optimizer, slice, {}});
    if (std::isfinite(m->record.h11)) plot.panels.back().model = m->record.model();
    plot.conditions = slice_conditions(*m, command);
  }
  return contour_figure(plot);
}

Figure line(const std::vector<const Measured*>& slices, const std::string& network,
            const std::string& command) {
  LinePlot plot;
  plot.title = "Loss along a random direction: " + network;
  PlotPanel panel;
  panel.x.label = "random direction";
  panel.y.label = "loss";
  FigureConditions conditions;
  for (const Measured* m : slices) {
    const Slice& slice = m->values;
    const LocalQuadratic model = m->record.model();
    PlotSeries measured, quadratic;
    measured.name = m->probe->optimizer;
    measured.style = optimizer_style(m->probe->optimizer);
    quadratic.name = m->probe->optimizer + ", quadratic";
    quadratic.style = {measured.style.colour, Dash::dotted, Marker::none};
    for (int64_t i = 0; i < slice.grid.size(); ++i) {
      const double x = slice.grid.x.at(slice.grid.ix(i));
      measured.x.push_back(x);
      measured.y.push_back(slice.loss[static_cast<size_t>(i)]);
      quadratic.x.push_back(x);
      quadratic.y.push_back(model.at(x));
    }
    panel.series.push_back(std::move(measured));
    if (std::isfinite(model.h11)) panel.series.push_back(std::move(quadratic));
    conditions = slice_conditions(*m, command);
  }
  plot.panels.push_back(std::move(panel));
  Figure out;
  out.name = "slice-" + slices.front()->record.name + "-" + network;
  out.title = plot.title;
  out.svg = line_plot_svg(plot);
  out.csv = line_plot_csv(plot);
  out.alt = "Loss of " + network + " along one random direction through each checkpoint.";
  return finish_figure(std::move(out), "Loss along one direction through the checkpoint.",
                       conditions);
}

std::vector<Figure> slice_figures(const std::vector<LoadedProbe>& probes,
                                  const std::vector<Measured>& slices, const std::string& command) {
  std::vector<Figure> out;
  for (const std::string& network : networks_of(probes)) {
    for (const std::string name : {"random", "eigen", "random1d"}) {
      std::vector<const Measured*> same;
      for (const Measured& m : slices) {
        if (m.probe->network == network && m.record.name == name) same.push_back(&m);
      }
      if (same.empty()) continue;
      const bool flat = same.front()->values.grid.y.count == 1;
      out.push_back(flat ? line(same, network, command) : plane(same, network, command));
    }
  }
  return out;
}

}  // namespace

void add_slice_verdicts(const LoadedProbe& a, const LoadedProbe& b, VerdictList& out) {
  add_paired(a, b, "roughness", roughness_of, out);
  add_paired(
      a, b, "curvature", [](const Measured& m) { return (m.record.h11 + m.record.h22) / 2; }, out);
}

PartReport slices_report(const std::vector<LoadedProbe>& probes, const std::string& command) {
  const std::vector<Measured> slices = all_slices(probes);
  PartReport out;
  out.sections = {{"Loss slices",
                   "The same random directions for every network of one kind; holes are "
                   "points that failed. The dashed curves are the local quadratic.",
                   {slice_table(slices)},
                   slice_figures(probes, slices, command)}};
  for (const Measured& m : slices) {
    const SliceRecord& s = m.record;
    if (s.failed == 0) continue;
    out.warnings.push_back(str(m.probe->network, " ", m.probe->optimizer, ": slice ", s.name, ": ",
                               s.failed, " of ", s.done + s.failed,
                               " points failed and are holes"));
  }
  return out;
}

}  // namespace basin::tools
