// Table, CSV and figure of symmetry errors.
#include "basin/tools/shell/equivariance_report.h"

#include <algorithm>

#include "basin/core/error.h"
#include "basin/core/record.h"
#include "basin/core/text.h"
#include "basin/figures/strip_plot.h"
#include "basin/tools/shell/report.h"

namespace basin::tools {
namespace {

constexpr DType kTypes[] = {DType::f32, DType::f64};

std::string scientific(double value) { return scientific_text(value, 2); }

// The kinds that could be measured: a graph without coordinates is only permuted.
std::vector<SymmetryKind> kinds_of(const SymmetryReport& report) {
  std::vector<SymmetryKind> out;
  for (const SymmetryKind kind : kSymmetryKinds) {
    const auto measured = [kind](const SymmetryError& e) { return e.kind == kind; };
    if (std::any_of(report.layers.begin(), report.layers.end(), measured)) out.push_back(kind);
  }
  check(!out.empty(),
        "equivariance: the inputs of the network have no coordinates, and no points "
        "or nodes to permute");
  return out;
}

// The layers in the order of the network.
std::vector<std::string> layer_names(const SymmetryReport& report) {
  const SymmetryKind first = kinds_of(report).front();
  std::vector<std::string> names;
  for (const SymmetryError& e : report.layers) {
    if (e.kind == first && e.dtype == DType::f32) names.push_back(e.layer);
  }
  return names;
}

std::string graph_note(const EquivarianceReport& report) {
  if (report.measured.graph.empty()) return "the network has no neighbour graph";
  std::string out =
      "neighbour graphs rebuilt for every example; points with other input neighbours:";
  for (const GraphChange& g : report.measured.graph) {
    if (g.share == 0) continue;
    out += str(out.back() == ':' ? " " : ", ", name_of(g.kind), " ", name_of(g.dtype), " ",
               short_text(100 * g.share, 2), " %");
  }
  return out.back() == ':' ? out + " none" : out;
}

}  // namespace

std::string equivariance_table(const EquivarianceReport& report) {
  std::vector<std::vector<std::string>> rows = {{"transformation", "layer", "compared", "declared",
                                                 "f32 largest", "f32 mean", "f64 largest",
                                                 "f64 mean"}};
  const SymmetryReport& m = report.measured;
  for (const SymmetryKind kind : kinds_of(m)) {
    for (const std::string& layer : layer_names(m)) {
      const SymmetryError &a = m.at(kind, DType::f32, layer), &b = m.at(kind, DType::f64, layer);
      rows.push_back({std::string(name_of(kind)), layer,
                      a.equivariant ? "equivariant" : "invariant", a.declared ? "yes" : "no",
                      scientific(a.largest()), scientific(a.mean()), scientific(b.largest()),
                      scientific(b.mean())});
    }
  }
  return str("relative symmetry errors, ", report.transformations,
             " random transformations of each kind, seed ", report.seed, "; ", report.weights, "; ",
             report.examples, "\n", graph_note(report), "\n", format_table(rows));
}

std::string equivariance_csv(const EquivarianceReport& report) {
  std::string out = "kind,dtype,layer,compared,declared,transformations,largest,mean\n";
  for (const SymmetryError& e : report.measured.layers) {
    out += str(name_of(e.kind), ",", name_of(e.dtype), ",", e.layer, ",",
               e.equivariant ? "equivariant" : "invariant", ",", e.declared ? "yes" : "no", ",",
               e.errors.size(), ",", number_text(e.largest()), ",", number_text(e.mean()), "\n");
  }
  return out;
}

std::string equivariance_dots_csv(const EquivarianceReport& report) {
  std::string out = "kind,dtype,layer,transformation,error\n";
  for (const SymmetryError& e : report.measured.layers) {
    for (size_t t = 0; t < e.errors.size(); ++t) {
      out += str(name_of(e.kind), ",", name_of(e.dtype), ",", e.layer, ",", t, ",",
                 number_text(e.errors[t]), "\n");
    }
  }
  return out;
}

std::string equivariance_figure(const EquivarianceReport& report) {
  StripPlot plot;
  plot.title = str("Symmetry errors of ", report.model);
  plot.notes = {str(report.transformations, " random transformations of each kind, seed ",
                    report.seed, "; ", report.examples,
                    "; bars: the largest; green ground: a symmetry that the network declares"),
                graph_note(report)};
  plot.value_axis = "max |f(gx) - g f(x)| / max |g f(x)|";
  plot.categories = layer_names(report.measured);
  plot.series = {"f32", "f64"};
  for (const SymmetryKind kind : kinds_of(report.measured)) {
    StripPanel panel;
    panel.title = name_of(kind);
    for (const std::string& layer : plot.categories) {
      auto& cell = panel.values.emplace_back();
      for (const DType type : kTypes) {
        const SymmetryError& e = report.measured.at(kind, type, layer);
        cell.push_back(e.errors);
        panel.marked = e.declared;
      }
    }
    panel.note = panel.marked ? "declared" : "not declared";
    plot.panels.push_back(panel);
  }
  return strip_plot_svg(plot);
}

std::string write_equivariance(const EquivarianceReport& report, const fs::path& dir) {
  const fs::path tables = part_folder(dir, "tables"), figures = part_folder(dir, "figures");
  write_file_atomic(tables / "equivariance.csv", equivariance_csv(report));
  write_file_atomic(figures / "equivariance.csv", equivariance_dots_csv(report));
  write_file_atomic(figures / "equivariance.svg", equivariance_figure(report));
  return str(dir.string(), "/{tables/equivariance.csv, figures/equivariance.{svg,csv}}");
}

}  // namespace basin::tools
