// Plausible small data for every figure and for a whole report, shared by their tests. Made from
// closed formulas, so that a test knows each number.
#pragma once
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "basin/core/error.h"
#include "basin/figures/curvature_figures.h"
#include "basin/figures/forest_plot.h"
#include "basin/figures/report.h"
#include "basin/figures/spectrum_figures.h"
#include "basin/figures/training_figures.h"

namespace basin::testing {

inline Estimate estimate(double value, double low, double high, int64_t samples = 100) {
  return {value, (high - low) / 3.92, {low, high, 0.95}, samples, "hutchinson"};
}

inline FigureConditions sample_conditions() {
  return {.runs = 3,
          .seeds = {0, 1, 2},
          .probes = "100 Rademacher probes",
          .data = "1,024 training shapes",
          .dtype = "f32",
          .command = "landscape_probe compare runs/adam runs/muon"};
}

inline CurvatureBars sample_bars() {
  CurvatureBars d;
  d.conditions = sample_conditions();
  double scale = 1;
  for (const char* network : {"pointnet", "dgcnn", "egnn"}) {
    const auto add = [&](const char* quantity, double adam, double muon) {
      d.bars.push_back({network,
                        quantity,
                        "AdamW",
                        estimate(adam, 0.85 * adam, 1.2 * adam),
                        {0.9 * adam, adam, 1.13 * adam}});
      d.bars.push_back({network,
                        quantity,
                        "Muon",
                        estimate(muon, 0.9 * muon, 1.1 * muon),
                        {0.95 * muon, 1.02 * muon, 1.04 * muon}});
      d.ratios.push_back({network, quantity, "AdamW / Muon",
                          estimate(adam / muon, 0.75 * adam / muon, 1.3 * adam / muon)});
    };
    add("largest eigenvalue", 47.5 * scale, 10 * scale);
    add("trace", 912 * scale, 251 * scale);
    add("-smallest eigenvalue", 1.9 * scale, 0.7 * scale);
    add("largest eigenvalue, Gauss-Newton", 45.2 * scale, 9.7 * scale);
    scale *= 2.3;
  }
  return d;
}

inline Scree sample_scree() {
  Scree d;
  d.conditions = sample_conditions();
  for (const char* network : {"pointnet", "dgcnn"}) {
    ScreePanel panel{network, {}};
    for (const double scale : {47.5, 10.0}) {
      ScreeSeries s{scale > 40 ? "AdamW" : "Muon", {}, {}};
      for (int i = 1; i <= 20; ++i) {
        s.eigenvalues.push_back(scale * std::pow(i, scale > 40 ? -1.1 : -0.6));
        s.residuals.push_back(0.02 * s.eigenvalues.back() * i / 4);
      }
      for (int i = 1; i <= 5; ++i) {
        s.eigenvalues.push_back(-0.06 * scale / i);
        s.residuals.push_back(0.002 * scale);
      }
      s.bulk_edge = 0.05 * scale;
      panel.series.push_back(s);
    }
    d.panels.push_back(panel);
  }
  return d;
}

inline SpectralDensity sample_density() {
  SpectralDensity d;
  d.conditions = sample_conditions();
  for (const double scale : {47.5, 10.0}) {
    DensitySeries s;
    s.optimizer = scale > 40 ? "AdamW" : "Muon";
    const double sigma = 0.02 * scale;
    s.bandwidth = sigma;
    s.negative_share = 0.13;
    for (int k = 0; k < 30; ++k) {
      s.nodes.push_back(scale * (k < 24 ? (k - 8) * 0.006 : 0.15 * (k - 23) + 0.1));
      s.weights.push_back(std::pow(10.0, -0.25 * std::abs(k - 8)));
    }
    for (int i = 0; i <= 500; ++i) {
      const double x = -6 + 62 * i / 500.0;
      double sum = 0;
      for (size_t k = 0; k < s.nodes.size(); ++k) {
        const double u = (x - s.nodes[k]) / sigma;
        sum += s.weights[k] * std::exp(-u * u / 2) / (sigma * 2.5066);
      }
      s.at.push_back(x);
      s.density.push_back(sum);
      s.low.push_back(0.6 * sum);
      s.high.push_back(1.5 * sum);
    }
    d.series.push_back(s);
  }
  return d;
}

inline Diagnostics sample_diagnostics() {
  Diagnostics d;
  d.conditions = sample_conditions();
  for (const char* method : {"hutchinson", "xtrace"}) {
    for (const double scale : {912.0, 251.0}) {
      RunningEstimate r{scale > 500 ? "AdamW" : "Muon", method, {}, {}, {}, {}};
      for (int n = 4; n <= 100; n += 4) {
        const double half = scale * (method[0] == 'h' ? 0.8 : 0.2) / std::sqrt(n);
        r.probes.push_back(n);
        r.value.push_back(scale + 0.5 * half * std::sin(0.7 * n));
        r.low.push_back(r.value.back() - half);
        r.high.push_back(r.value.back() + half);
      }
      d.running.push_back(r);
    }
  }
  for (const char* optimizer : {"AdamW", "Muon"}) {
    for (int64_t pair = 1; pair <= 5; ++pair) {
      ResidualCurve c{optimizer, pair, {}, {}};
      for (int step = 5; step <= 80; step += 5) {
        c.steps.push_back(step);
        c.residual.push_back(
            std::exp(-0.2 * (optimizer[0] == 'A' ? 1.2 : 0.9) * step / static_cast<double>(pair)));
      }
      d.residuals.push_back(c);
    }
  }
  d.tolerance = 1e-4;
  return d;
}

inline LayerRanks sample_weight_ranks() {
  LayerRanks d;
  d.title = "Rank of the weights";
  d.conditions = sample_conditions();
  d.layers = {"feat.stn.conv1.weight",
              "feat.stn.conv2.weight",
              "feat.stn.conv3.weight",
              "feat.stn.fc1.weight",
              "feat.stn.fc2.weight",
              "feat.conv1.weight",
              "feat.conv2.weight",
              "feat.conv3.weight",
              "fc1.weight",
              "fc2.weight",
              "fc3.weight"};
  d.skipped = {{"feat.stn.fc3.weight", "its 9 rows are the entries of a matrix"}};
  for (const bool stable : {true, false}) {
    LayerPanel p{stable ? "stable rank" : "effective rank", {}};
    for (const char* name : {"initial", "AdamW", "Muon"}) {
      LayerSeries s{name, {}, {}, name[0] == 'i'};
      for (size_t l = 0; l < d.layers.size(); ++l) {
        const auto depth = static_cast<double>(l);
        const double base = (name[0] == 'M'   ? 0.6
                             : name[0] == 'A' ? 0.3
                                              : 0.7) *
                            (stable ? 0.5 : 1) * (1 + 0.2 * std::sin(depth));
        s.values.push_back(s.reference ? estimate(base, base, base)
                                       : estimate(base, 0.9 * base, 1.1 * base, 3));
        if (!s.reference) s.runs.push_back({0.94 * base, base, 1.05 * base});
      }
      p.series.push_back(s);
    }
    d.panels.push_back(p);
  }
  return d;
}

inline LayerRanks sample_representation_ranks() {
  LayerRanks d = sample_weight_ranks();
  d.title = "Rank of the representations";
  d.axis = "effective rank";
  d.log_axis = true;
  d.skipped.clear();
  d.layers.resize(6);
  d.panels.resize(2);
  for (size_t p = 0; p < 2; ++p) {
    d.panels[p].title = p == 0 ? "centred" : "uncentred";
    d.panels[p].series.erase(d.panels[p].series.begin());
    for (LayerSeries& s : d.panels[p].series) {
      s.runs.clear();
      s.values.resize(6);
      for (Estimate& e : s.values) {
        e = estimate(80 * e.value, 70 * e.value, 92 * e.value, 1000);
      }
    }
  }
  return d;
}

inline SingularSpectra sample_spectra() {
  SingularSpectra d;
  d.conditions = sample_conditions();
  for (int l = 0; l < 6; ++l) {
    SpectrumPanel p{str("feat.conv", l + 1, ".weight"), 64 << (l % 3), 64, {}};
    for (const char* name : {"AdamW", "Muon", "initial"}) {
      SpectrumSeries s{name, {}, name[0] == 'i'};
      for (int k = 0; k < 64; ++k) {
        s.singular_values.push_back(3 * (name[0] == 'A'
                                             ? std::pow(k + 1, -0.9 - 0.05 * l)
                                             : (1 - 0.9 * k / 64.0) * (name[0] == 'M' ? 1 : 0.8)));
      }
      p.series.push_back(s);
    }
    d.panels.push_back(p);
  }
  return d;
}

inline TrainingCurves sample_training() {
  TrainingCurves d;
  d.conditions = sample_conditions();
  const auto curve = [](const char* name, double from, double to) {
    TrainingSeries s;
    s.optimizer = name;
    for (int i = 0; i <= 40; ++i) {
      const double v = to + (from - to) * std::exp(-i / 9.0);
      s.steps.push_back(50 * i);
      s.values.push_back(v);
      s.low.push_back(0.93 * v);
      s.high.push_back(1.07 * v);
    }
    for (const double shift : {0.95, 1.0, 1.04}) {
      std::vector<double> run;
      for (size_t i = 0; i < s.values.size(); ++i) {
        run.push_back(s.values[i] * (shift + 0.02 * std::sin(static_cast<double>(i))));
      }
      s.runs.push_back(run);
    }
    return s;
  };
  d.panels = {{"effective rank", false, {curve("AdamW", 40, 22), curve("Muon", 40, 36)}},
              {"largest eigenvalue", true, {curve("AdamW", 4, 47.5), curve("Muon", 4, 10)}},
              {"test accuracy, %", false, {curve("AdamW", 12, 84.7), curve("Muon", 14, 88.2)}}};
  return d;
}

inline ForestPlot sample_ratios() {
  ForestPlot d;
  d.title = "All ratios";
  d.caption = "Each quantity of AdamW divided by that of Muon";
  d.below = "Muon is larger", d.above = "AdamW is larger";
  d.conditions = sample_conditions();
  const double open = std::numeric_limits<double>::quiet_NaN();
  d.rows = {{"largest eigenvalue", "pointnet", 4.75, 3.6, 6.2, "published: 4.75"},
            {"trace", "pointnet", 3.63, 2.7, 4.7},
            {"test accuracy", "pointnet", 0.997, 0.985, 1.01},
            {"largest eigenvalue", "dgcnn", 8, 2, 900},
            {"effective rank", "dgcnn", 0.5, -0.1, 0.8},
            {"stable rank", "dgcnn", 0.6, open, open},
            {"smallest eigenvalue", "dgcnn", -1.3, -2, -0.4, "signs differ"}};
  return d;
}

inline Report sample_report() {
  Report r;
  r.title = "Which basin did AdamW and Muon find?";
  r.summary =
      "PointNet, DGCNN and EGNN trained on 9,843 shapes with either optimizer, probed on "
      "1,024 training shapes.";
  r.a = "AdamW", r.b = "Muon";
  r.overview = forest_figure(sample_ratios());
  r.verdicts = {{"largest eigenvalue, pointnet", estimate(47.5, 40.4, 57), estimate(10, 9, 11),
                 estimate(4.75, 3.6, 6.2), "4.75"},
                {"trace, pointnet", estimate(912, 775, 1094), estimate(251, 226, 276),
                 estimate(3.63, 2.7, 4.7), "3.66"},
                {"test accuracy, pointnet", estimate(84.68, 83.9, 85.4), estimate(84.9, 84.2, 85.6),
                 estimate(0.997, 0.985, 1.01), ""}};
  r.warnings = {"One seed of dgcnn with AdamW did not converge and is left out."};
  r.sections = {
      {"Curvature",
       {ReportParagraph{"All numbers are of the Hessian of the mean training loss, batch norm in "
                        "evaluation mode."},
        curvature_bars_figure(sample_bars()), scree_figure(sample_scree()),
        density_figure(sample_density())}},
      {"Spectra",
       {weight_rank_figure(sample_weight_ranks()), singular_value_figure(sample_spectra()),
        representation_rank_figure(sample_representation_ranks()),
        ReportTable{"Effective rank relative to the largest possible",
                    {"layer", "AdamW", "Muon", "p (Holm)", "skipped", "runs"},
                    {{"feat.conv1", "0.31", {"0.62"}, "0.004", "0", "3"},
                     {"feat.conv2", "0.44", {"0.47"}, "0.31", "0", "3"}}}}},
      {"Over training", {training_figure(sample_training())}},
      {"How sure the numbers are",
       {ReportList{{"Traces: Hutchinson and XTrace agree within their intervals.",
                    "Every eigenpair shown has a residual below 1e-4 of its eigenvalue."}},
        diagnostics_figure(sample_diagnostics())}}};
  auto& table = std::get<ReportTable>(r.sections[1].blocks[3]);
  for (auto& row : table.rows) row[2].best = true;
  table.rows[0][2].significant = true;
  r.provenance = {"0.1.0",
                  "438a18d0",
                  "GNU 12.2.0",
                  "Xeon, 2 cores",
                  "2",
                  "0, 1, 2",
                  "landscape_probe compare runs/adam runs/muon --out runs/compare",
                  "9c0f4b1e",
                  "2026-11-22T05:00:00Z",
                  "2026-11-22T05:10:00Z"};
  return r;
}

}  // namespace basin::testing
