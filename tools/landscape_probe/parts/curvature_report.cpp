// Tables, warnings and verdicts of part "curvature".
#include <algorithm>
#include <cmath>
#include <optional>

#include "basin/tools/landscape_probe/detail/curvature.h"

namespace basin::tools {
namespace {

std::string eigen_text(const EigenRecord& e) {
  return str(readable(e.value), " ± ", readable(e.residual), e.converged ? "" : " (not converged)");
}

std::string which(const CurvatureRecord& c) {
  return c.kind + (c.subset == "all" ? "" : ", " + c.subset);
}

std::vector<ReportCell> hessian_row(const LoadedProbe& p, const CurvatureRecord& c) {
  const bool paper = c.paper.measured;
  return {p.network,
          p.optimizer,
          which(c),
          str(c.size),
          readable(c.loss),
          readable(c.gradient_norm),
          c.top.empty() ? "-" : eigen_text(c.top.front()),
          c.bottom.empty() ? "-" : eigen_text(c.bottom.front()),
          interval_text(c.trace),
          readable(c.trace.value / static_cast<double>(c.size)),
          std::isfinite(c.negative_share.value) ? share_text(c.negative_share.value) : "-",
          paper ? str(readable(c.paper.lambda), " (", c.paper.iterations, " iterations)") : "-",
          paper ? str(readable(c.paper.trace), " (", c.paper.probes, " probes)") : "-",
          c.copies.empty() ? "-" : c.copies};
}

// Of the plain estimators: they say nothing of their error.
Estimate value_alone(double value) {
  Estimate out;
  out.value = value;
  return out;
}

void add_eigenvalues(CsvTable& csv, const LoadedProbe& p, const CurvatureRecord& c) {
  for (const auto& [end, pairs] : {std::pair{"top", &c.top}, std::pair{"bottom", &c.bottom}}) {
    for (size_t i = 0; i < pairs->size(); ++i) {
      const EigenRecord& e = (*pairs)[i];
      std::vector<CsvCell> cells{
          p.network, p.optimizer, p.facts.text("run"), c.kind, c.subset,
          c.size,    c.loss,      c.gradient_norm,     end,    static_cast<int64_t>(i + 1),
          e.value,   e.residual,  e.converged ? 1 : 0};
      add_estimate(cells, c.trace);
      cells.insert(cells.end(), {c.negative_share.value, c.paper.lambda, c.paper.residual,
                                 c.paper.iterations, c.paper.trace, c.paper.probes, c.copies});
      csv.row(cells);
    }
  }
}

NamedTable hessian_table(const std::vector<LoadedProbe>& probes) {
  NamedTable out{"hessian", {}, {}};
  out.page.numeric = columns_of(14, {3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  out.page.caption =
      "Eigenvalues ± residual (some eigenvalue lies within, for certain); trace with its interval; "
      "copies: further ones of repeated eigenvalues";
  out.page.columns = {"network",        "optimizer",   "of",          "parameters", "loss",
                      "gradient norm",  "λ max",       "λ min",       "trace",      "trace / n",
                      "negative share", "plain λ max", "plain trace", "copies"};
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
                "paper_probes",
                "copies"});
  for (const LoadedProbe& p : probes) {
    for (const CurvatureRecord& c : curvature_of(p)) {
      out.page.rows.push_back(hessian_row(p, c));
      add_eigenvalues(csv, p, c);
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
    for (const CurvatureRecord& c : curvature_of(p)) {
      for (const BlockRecord& b : c.blocks) {
        std::vector<CsvCell> cells{p.network, p.optimizer, c.kind, c.subset,
                                   b.kind,    b.name,      b.size};
        add_estimate(cells, b.trace);
        csv.row(cells);
        if (b.kind != "group" || c.kind != "hessian") continue;
        out.page.rows.push_back({p.network, p.optimizer, b.name, str(b.size),
                                 interval_text(b.trace),
                                 share_text(b.trace.value / c.trace.value)});
      }
    }
  }
  out.csv = csv.text();
  return out;
}

void add_warnings(const LoadedProbe& p, std::vector<std::string>& out) {
  const std::string who = p.network + " " + p.optimizer;
  for (const CurvatureRecord& c : curvature_of(p)) {
    const auto open = [](const EigenRecord& e) { return !e.converged; };
    const auto count = std::count_if(c.top.begin(), c.top.end(), open) +
                       std::count_if(c.bottom.begin(), c.bottom.end(), open);
    if (count > 0) {
      out.push_back(str(who, ", ", c.kind, ", ", c.subset, ": ", count, " of ",
                        c.top.size() + c.bottom.size(),
                        " eigenvalues had not converged; their residuals are shown"));
    }
    if (!c.note.empty()) out.push_back(str(who, ", ", c.kind, ": ", c.note));
  }
}

}  // namespace

PartReport curvature_report(const std::vector<LoadedProbe>& probes, const std::string& command) {
  PartReport out;
  out.sections = {{"Curvature",
                   "Eigenvalues by Lanczos with full re-orthogonalisation, each with its "
                   "residual; the trace by random probes, with its interval.",
                   {hessian_table(probes), block_table(probes)},
                   curvature_plots(probes, command)},
                  {"How far the estimators had converged",
                   "Running estimates with their intervals.",
                   {},
                   convergence_plots(probes, command)}};
  for (const LoadedProbe& p : probes) add_warnings(p, out.warnings);
  return out;
}

std::optional<Estimate> trace_ratio(const CurvatureRecord& of, const CurvatureRecord& over) {
  const std::vector<double>&a = of.trace_samples, &b = over.trace_samples;
  if (a.size() != b.size() || a.size() < 2) return std::nullopt;
  return paired_ratio(a, b, of.trace.interval.level);
}

void add_curvature_verdicts(const LoadedProbe& a, const LoadedProbe& b, VerdictList& out) {
  for (const CurvatureRecord& ca : curvature_of(a)) {
    for (const CurvatureRecord& cb : curvature_of(b)) {
      if (ca.kind != cb.kind || ca.subset != cb.subset) continue;
      const std::string where = (ca.kind == "hessian" ? "" : "Gauss-Newton ") +
                                (ca.subset == "all" ? "" : ca.subset + " ");
      if (!ca.top.empty() && !cb.top.empty()) {
        out.add(a, b, where + "λ max", eigen_estimate(ca.top.front()),
                eigen_estimate(cb.top.front()));
      }
      out.add(a, b, where + "trace", ca.trace, cb.trace, trace_ratio(cb, ca));
      // Published numbers come from these; what they differ by from the two above is no curvature.
      if (!ca.paper.measured || !cb.paper.measured) continue;
      out.add(a, b, where + "plain λ max", value_alone(ca.paper.lambda),
              value_alone(cb.paper.lambda));
      out.add(a, b, where + "plain trace", value_alone(ca.paper.trace),
              value_alone(cb.paper.trace));
    }
  }
}

}  // namespace basin::tools
