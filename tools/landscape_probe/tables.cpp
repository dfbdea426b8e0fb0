// Tables from probes: see tables.h.
#include "basin/tools/landscape_probe/tables.h"

#include <algorithm>
#include <cmath>

#include "basin/analysis/csv_table.h"
#include "basin/analysis/statistics.h"
#include "basin/tools/shell/report.h"

namespace basin::tools {
namespace {

// Which of the columns hold numbers.
std::vector<bool> columns_of(size_t count, std::initializer_list<size_t> numeric) {
  std::vector<bool> out(count, false);
  for (size_t i : numeric) out[i] = true;
  return out;
}

std::string interval_text(const Estimate& e) {
  if (!std::isfinite(e.interval.low) && !std::isfinite(e.interval.high)) return readable(e.value);
  return str(readable(e.value), " [", readable(e.interval.low), ", ", readable(e.interval.high),
             "]");
}

std::string eigen_text(const EigenRecord& e) {
  return str(readable(e.value), " ± ", readable(e.residual), e.converged ? "" : " (not converged)");
}

void add_estimate(std::vector<CsvCell>& cells, const Estimate& e) {
  cells.insert(cells.end(), {e.value, e.standard_error, e.interval.low, e.interval.high,
                             e.interval.level, e.samples, e.method});
}

double limit_of(int64_t rows, int64_t cols) { return static_cast<double>(std::min(rows, cols)); }

std::string share_text(double share) { return readable(100 * share) + " %"; }

// Published: arXiv 2605.27662, Muon over Adam on ModelNet40, by network and quantity.
struct Published {
  std::string_view network, quantity;
  double ratio;
};
constexpr Published kPublished[] = {
    {"egnn", "λ max", 4.75}, {"pointnet", "λ max", 21.82}, {"dgcnn", "λ max", 11.22},
    {"egnn", "trace", 3.66}, {"pointnet", "trace", 15.25}, {"dgcnn", "trace", 6.61},
};

std::string published_ratio(const LoadedProbe& a, const LoadedProbe& b, const std::string& what) {
  if (!a.optimizer.starts_with("adam") || !b.optimizer.starts_with("muon")) return {};
  if (a.facts.text("data").find("modelnet40") == std::string::npos) return {};
  for (const Published& p : kPublished) {
    if (p.network == a.network && p.quantity == what) return readable(p.ratio);
  }
  return {};
}

void add_verdict(std::vector<Verdict>& out, const LoadedProbe& a, const LoadedProbe& b,
                 const std::string& quantity, const Estimate& of_a, const Estimate& of_b) {
  const bool open = !std::isfinite(of_a.interval.low) || !std::isfinite(of_b.interval.low);
  out.push_back({a.network + ": " + quantity, of_b, of_a, ratio(of_b, of_a),
                 published_ratio(a, b, quantity), open ? "no interval" : ""});
}

void add_curvature_verdicts(std::vector<Verdict>& out, const LoadedProbe& a, const LoadedProbe& b) {
  for (const CurvatureRecord& ca : a.curvature) {
    for (const CurvatureRecord& cb : b.curvature) {
      if (ca.kind != cb.kind || ca.subset != cb.subset) continue;
      const std::string where = (ca.kind == "hessian" ? "" : "Gauss-Newton ") +
                                (ca.subset == "all" ? "" : ca.subset + " ");
      if (!ca.top.empty() && !cb.top.empty()) {
        add_verdict(out, a, b, where + "λ max", eigen_estimate(ca.top.front()),
                    eigen_estimate(cb.top.front()));
      }
      add_verdict(out, a, b, where + "trace", ca.trace, cb.trace);
    }
  }
}

// The geometric mean over the layers of rank_B / rank_A, with the t interval over the layers.
void add_weight_verdict(std::vector<Verdict>& out, const LoadedProbe& a, const LoadedProbe& b,
                        const std::string& what, double WeightRecord::*rank) {
  std::vector<double> logs, in_a, in_b;
  for (size_t i = 0; i < std::min(a.ranks->weights.size(), b.ranks->weights.size()); ++i) {
    const WeightRecord &wa = a.ranks->weights[i], &wb = b.ranks->weights[i];
    if (wa.name != wb.name || !(wa.*rank > 0) || !(wb.*rank > 0)) continue;
    logs.push_back(std::log(wb.*rank / (wa.*rank)));
    in_a.push_back(wa.*rank / limit_of(wa.rows, wa.cols));
    in_b.push_back(wb.*rank / limit_of(wb.rows, wb.cols));
  }
  if (logs.size() < 2) return;
  const Estimate mean_log = mean_estimate(logs);
  Estimate r = mean_log;
  r.value = std::exp(mean_log.value);
  r.standard_error = r.value * mean_log.standard_error;
  r.interval.low = std::exp(mean_log.interval.low);
  r.interval.high = std::exp(mean_log.interval.high);
  const auto higher = std::count_if(logs.begin(), logs.end(), [](double v) { return v > 0; });
  out.push_back({str(a.network, ": weights, ", what, " / maximal (mean over ", logs.size(),
                     " layers; higher on ", higher, ")"),
                 mean_estimate(in_b), mean_estimate(in_a), r, ""});
}

void add_representation_verdicts(std::vector<Verdict>& out, const LoadedProbe& a,
                                 const LoadedProbe& b) {
  for (const LayerRankRecord& ra : a.representations->layers) {
    if (ra.layer != "global_feature") continue;
    for (const LayerRankRecord& rb : b.representations->layers) {
      if (rb.layer != ra.layer || rb.centred != ra.centred) continue;
      const std::string where = ra.layer + (ra.centred ? ", centred" : ", uncentred");
      add_verdict(out, a, b, "effective rank of " + where, ra.effective, rb.effective);
      add_verdict(out, a, b, "stable rank of " + where, ra.stable, rb.stable);
    }
  }
}

void add_sharpness_verdicts(std::vector<Verdict>& out, const LoadedProbe& a, const LoadedProbe& b) {
  for (const SharpnessRecord& sa : a.sharpness->measures) {
    for (const SharpnessRecord& sb : b.sharpness->measures) {
      if (sa.name == sb.name) add_verdict(out, a, b, sa.name, sa.value, sb.value);
    }
  }
}

}  // namespace

NamedTable hessian_table(const std::vector<LoadedProbe>& probes) {
  NamedTable out{"hessian", {}, {}};
  out.page.numeric = columns_of(13, {3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  out.page.caption =
      "Eigenvalues ± residual (some eigenvalue lies within, for certain); trace with its interval";
  out.page.columns = {"network",        "optimizer",   "of",         "parameters", "loss",
                      "gradient norm",  "λ max",       "λ min",      "trace",      "trace / n",
                      "negative share", "plain λ max", "plain trace"};
  CsvTable csv({"network",
                "optimizer",
                "run",
                "kind",
                "subset",
                "parameters",
                "loss",
                "gradient_norm",
                "end",
                "rank",
                "eigenvalue",
                "residual",
                "converged",
                "trace",
                "trace_standard_error",
                "trace_low",
                "trace_high",
                "trace_level",
                "trace_samples",
                "trace_method",
                "negative_share",
                "paper_lambda",
                "paper_lambda_residual",
                "paper_iterations",
                "paper_trace",
                "paper_probes"});
  for (const LoadedProbe& p : probes) {
    for (const CurvatureRecord& c : p.curvature) {
      const bool paper = c.paper.measured;
      out.page.rows.push_back(
          {p.network, p.optimizer, c.kind + (c.subset == "all" ? "" : ", " + c.subset),
           std::to_string(c.size), readable(c.loss), readable(c.gradient_norm),
           c.top.empty() ? "-" : eigen_text(c.top.front()),
           c.bottom.empty() ? "-" : eigen_text(c.bottom.front()), interval_text(c.trace),
           readable(c.trace.value / static_cast<double>(c.size)),
           std::isfinite(c.negative_share.value) ? share_text(c.negative_share.value) : "-",
           paper ? str(readable(c.paper.lambda), " (", c.paper.iterations, " iterations)") : "-",
           paper ? str(readable(c.paper.trace), " (", c.paper.probes, " probes)") : "-"});
      for (const auto& [end, pairs] : {std::pair{"top", &c.top}, std::pair{"bottom", &c.bottom}}) {
        for (size_t i = 0; i < pairs->size(); ++i) {
          const EigenRecord& e = (*pairs)[i];
          std::vector<CsvCell> cells{
              p.network, p.optimizer, p.facts.text("run"), c.kind, c.subset,
              c.size,    c.loss,      c.gradient_norm,     end,    static_cast<int64_t>(i + 1),
              e.value,   e.residual,  e.converged ? 1 : 0};
          add_estimate(cells, c.trace);
          cells.insert(cells.end(), {c.negative_share.value, c.paper.lambda, c.paper.residual,
                                     c.paper.iterations, c.paper.trace, c.paper.probes});
          csv.row(cells);
        }
      }
    }
  }
  out.csv = csv.text();
  return out;
}

NamedTable block_table(const std::vector<LoadedProbe>& probes) {
  NamedTable out{"trace_by_block", {}, {}};
  out.page.numeric = columns_of(6, {3, 4, 5});
  out.page.caption = "Trace by the rule that updates the parameters (by layer: see the CSV)";
  out.page.columns = {"network", "optimizer", "block", "parameters", "trace", "share of the trace"};
  CsvTable csv({"network", "optimizer", "kind", "subset", "block_kind", "block", "parameters",
                "trace", "standard_error", "low", "high", "level", "samples", "method"});
  for (const LoadedProbe& p : probes) {
    for (const CurvatureRecord& c : p.curvature) {
      for (const BlockRecord& b : c.blocks) {
        std::vector<CsvCell> cells{p.network, p.optimizer, c.kind, c.subset,
                                   b.kind,    b.name,      b.size};
        add_estimate(cells, b.trace);
        csv.row(cells);
        if (b.kind != "group" || c.kind != "hessian") continue;
        out.page.rows.push_back({p.network, p.optimizer, b.name, std::to_string(b.size),
                                 interval_text(b.trace),
                                 share_text(b.trace.value / c.trace.value)});
      }
    }
  }
  out.csv = csv.text();
  return out;
}

NamedTable weight_rank_table(const std::vector<LoadedProbe>& probes) {
  NamedTable out{"weight_ranks", {}, {}};
  out.page.numeric = columns_of(6, {3, 4, 5});
  out.page.caption = "Ranks of the weight matrices; in brackets before training";
  out.page.columns = {"network", "optimizer", "matrix", "size", "stable rank", "effective rank"};
  CsvTable csv({"network", "optimizer", "matrix", "rows", "cols", "stable", "effective",
                "initial_stable", "initial_effective", "skipped_because"});
  for (const LoadedProbe& p : probes) {
    if (!p.ranks) continue;
    for (const WeightRecord& w : p.ranks->weights) {
      out.page.rows.push_back(
          {p.network, p.optimizer, w.name, str(w.rows, " x ", w.cols),
           str(readable(w.stable), " (", readable(w.initial_stable), ")"),
           str(readable(w.effective), " (", readable(w.initial_effective), ")")});
      csv.row({p.network, p.optimizer, w.name, w.rows, w.cols, w.stable, w.effective,
               w.initial_stable, w.initial_effective, ""});
    }
    for (const SkippedRecord& s : p.ranks->skipped) {
      csv.row({p.network, p.optimizer, s.name, "", "", "", "", "", "", s.reason});
    }
  }
  out.csv = csv.text();
  return out;
}

NamedTable representation_rank_table(const std::vector<LoadedProbe>& probes) {
  NamedTable out{"representation_ranks", {}, {}};
  out.page.numeric = columns_of(7, {3, 5, 6});
  out.page.caption = "Ranks of the representations, one row per shape, with intervals";
  out.page.columns = {"network", "optimizer",   "layer",         "matrix",
                      "centred", "stable rank", "effective rank"};
  CsvTable csv({"network", "optimizer", "layer", "samples", "channels", "pooled_here", "centred",
                "quantity", "value", "standard_error", "low", "high", "level", "resamples",
                "method"});
  for (const LoadedProbe& p : probes) {
    if (!p.representations) continue;
    for (const LayerRankRecord& r : p.representations->layers) {
      out.page.rows.push_back({p.network, p.optimizer, r.layer, str(r.samples, " x ", r.channels),
                               r.centred ? "yes" : "no", interval_text(r.stable),
                               interval_text(r.effective)});
      for (const auto& [name, e] :
           {std::pair{"stable", &r.stable}, std::pair{"effective", &r.effective}}) {
        std::vector<CsvCell> cells{p.network,  p.optimizer,      r.layer,           r.samples,
                                   r.channels, r.pooled ? 1 : 0, r.centred ? 1 : 0, name};
        add_estimate(cells, *e);
        csv.row(cells);
      }
    }
  }
  out.csv = csv.text();
  return out;
}

NamedTable sharpness_table(const std::vector<LoadedProbe>& probes) {
  NamedTable out{"sharpness", {}, {}};
  out.page.caption =
      "Sharpness by several definitions; landscape_probe selftest shows which of "
      "them survive a reparameterisation";
  out.page.columns = {"network", "optimizer", "measure", "value", "definition", "note"};
  CsvTable csv({"network", "optimizer", "measure", "value", "standard_error", "low", "high",
                "level", "samples", "method", "definition", "note"});
  for (const LoadedProbe& p : probes) {
    if (!p.sharpness) continue;
    for (const SharpnessRecord& s : p.sharpness->measures) {
      const bool open = !std::isfinite(s.value.interval.low);
      out.page.rows.push_back({p.network, p.optimizer, s.name,
                               open ? readable(s.value.value) : interval_text(s.value),
                               s.definition, s.note});
      std::vector<CsvCell> cells{p.network, p.optimizer, s.name};
      add_estimate(cells, s.value);
      cells.insert(cells.end(), {s.definition, s.note});
      csv.row(cells);
    }
  }
  out.page.numeric = {false, false, false, true, false, false};
  out.csv = csv.text();
  return out;
}

NamedTable slice_table(const std::vector<LoadedProbe>& probes) {
  NamedTable out{"slices", {}, {}};
  out.page.numeric = columns_of(8, {3, 4, 5, 6, 7});
  out.page.caption =
      "Loss slices: points, and how far from the centre the local quadratic holds "
      "within 10 %";
  out.page.columns = {"network", "optimizer",          "slice",       "points",
                      "failed",  "loss at the centre", "lowest loss", "quadratic holds within"};
  CsvTable csv({"network", "optimizer", "slice", "done", "failed", "missing", "loss", "lowest",
                "g1", "g2", "h11", "h12", "h22", "holds_within"});
  for (const LoadedProbe& p : probes) {
    if (!p.slices) continue;
    for (const SliceRecord& s : p.slices->slices) {
      const Slice& values = p.slice_values.at(s.name);
      const int64_t at = values.lowest();
      const double lowest = at < 0 ? NAN : values.loss[static_cast<size_t>(at)];
      out.page.rows.push_back(
          {p.network, p.optimizer, s.name, std::to_string(s.done), std::to_string(s.failed),
           readable(s.loss), readable(lowest),
           std::isfinite(s.holds_within) ? readable(s.holds_within) : "the whole slice"});
      csv.row({p.network, p.optimizer, s.name, s.done, s.failed, s.missing, s.loss, lowest, s.g1,
               s.g2, s.h11, s.h12, s.h22, s.holds_within});
    }
  }
  out.csv = csv.text();
  return out;
}

std::vector<Verdict> verdicts_of(const std::vector<LoadedProbe>& probes) {
  std::vector<Verdict> out;
  for (size_t i = 0; i + 1 < probes.size(); i += 2) {
    const LoadedProbe &a = probes[i], &b = probes[i + 1];
    add_curvature_verdicts(out, a, b);
    if (a.ranks && b.ranks) {
      add_weight_verdict(out, a, b, "stable rank", &WeightRecord::stable);
      add_weight_verdict(out, a, b, "effective rank", &WeightRecord::effective);
    }
    if (a.representations && b.representations) add_representation_verdicts(out, a, b);
    if (a.sharpness && b.sharpness) add_sharpness_verdicts(out, a, b);
  }
  return out;
}

NamedTable verdict_table(const std::vector<Verdict>& verdicts, const std::string& a,
                         const std::string& b) {
  NamedTable out{"verdict", {}, {}};
  out.page.columns = {"quantity", b, a, b + " / " + a, "published", "verdict"};
  CsvTable csv({"quantity", "a", "a_low", "a_high", "b", "b_low", "b_high", "ratio_b_over_a",
                "ratio_low", "ratio_high", "level", "published", "verdict"});
  for (const Verdict& v : verdicts) {
    const std::string words = v.words.empty() ? verdict_words(v.ratio, b, a) : v.words;
    out.page.rows.push_back({v.quantity, interval_text(v.a), interval_text(v.b),
                             interval_text(v.ratio), v.published.empty() ? "-" : v.published,
                             words});
    csv.row({v.quantity, v.b.value, v.b.interval.low, v.b.interval.high, v.a.value,
             v.a.interval.low, v.a.interval.high, v.ratio.value, v.ratio.interval.low,
             v.ratio.interval.high, v.ratio.interval.level, v.published, words});
  }
  out.csv = csv.text();
  return out;
}

std::string text_table(const ReportTable& table) {
  std::vector<std::vector<std::string>> rows{table.columns};
  for (const auto& row : table.rows) {
    rows.emplace_back();
    for (const ReportCell& cell : row) rows.back().push_back(cell.text);
  }
  return format_table(rows);
}

}  // namespace basin::tools
