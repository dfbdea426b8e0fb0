// Reports from the files of probes: see compare.h.
#include "basin/tools/landscape_probe/compare.h"

#include <algorithm>
#include <cmath>

#include "basin/analysis/cka.h"
#include "basin/analysis/csv_table.h"
#include "basin/core/version.h"
#include "basin/figures/report.h"
#include "basin/tools/landscape_probe/figures.h"
#include "basin/tools/landscape_probe/probe.h"
#include "basin/tools/landscape_probe/tables.h"
#include "basin/tools/shell/environment.h"
#include "basin/tools/shell/progress.h"
#include "basin/tools/shell/run_dir.h"

namespace basin::tools {
namespace {

constexpr int64_t kCkaShapes = 512;

Provenance provenance_of(const std::vector<LoadedProbe>& probes, const std::string& command) {
  const RecordFields& f = probes.front().facts;
  Provenance out;
  out.version = f.text("basin_version");
  out.commit = f.text("git_hash") + (f.text("git_dirty") == "true" ? " (changed)" : "");
  out.compiler = f.text("compiler");
  out.cpu = f.text("cpu");
  out.threads = f.text("threads");
  out.seed = f.text("train_seed");
  out.command = command;
  out.data_hash = f.text("data_hash");
  out.started = f.text("start");
  out.finished = utc_now();
  for (const LoadedProbe& p : probes) {
    out.more.emplace_back(p.network + " " + p.optimizer,
                          str(p.facts.text("run"), "/ckpt/", p.facts.text("checkpoint"),
                              ", model.safetensors SHA-256 ", p.facts.text("weights_sha256")));
  }
  return out;
}

// What a reader must not overlook.
std::vector<std::string> warnings_of(const std::vector<LoadedProbe>& probes) {
  std::vector<std::string> out;
  for (const LoadedProbe& p : probes) {
    const std::string who = p.network + " " + p.optimizer;
    for (const CurvatureRecord& c : p.curvature) {
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
    if (p.slices) {
      for (const SliceRecord& s : p.slices->slices) {
        if (s.failed > 0) {
          out.push_back(str(who, ": slice ", s.name, ": ", s.failed, " of ", s.done + s.failed,
                            " points failed and are holes"));
        }
      }
    }
    if (!p.facts.flag("same_data_as_training")) {
      out.push_back(who + ": the data are not those of the training");
    }
  }
  return out;
}

ReportSection section(std::string heading, const std::string& text, std::vector<ReportTable> tables,
                      std::vector<Figure> figures) {
  ReportSection out{std::move(heading), {ReportParagraph{text}}};
  for (Figure& f : figures) out.blocks.emplace_back(std::move(f));
  for (ReportTable& t : tables) {
    if (!t.rows.empty()) out.blocks.emplace_back(std::move(t));
  }
  return out;
}

void add_section(Report& report, ReportSection s) {
  if (s.blocks.size() > 1) report.sections.push_back(std::move(s));
}

struct Written {
  Report report;
  std::vector<NamedTable> tables;
};

Written assemble(const std::vector<LoadedProbe>& probes, const std::string& command) {
  Written out;
  out.tables = {hessian_table(probes),     block_table(probes),
                weight_rank_table(probes), representation_rank_table(probes),
                sharpness_table(probes),   slice_table(probes)};
  const auto page = [&](size_t i) { return out.tables[i].page; };
  Report& r = out.report;
  r.warnings = warnings_of(probes);
  add_section(r, section("Curvature",
                         "Eigenvalues by Lanczos with full re-orthogonalisation, each with its "
                         "residual; the trace by random probes, with its interval.",
                         {page(0), page(1)}, curvature_figures(probes, command)));
  add_section(r, section("Loss slices",
                         "The same random directions for every network of one kind; holes are "
                         "points that failed. The dashed curves are the local quadratic.",
                         {page(5)}, slice_figures(probes, command)));
  std::vector<Figure> ranks = rank_figures(probes, command);
  add_section(r, section("Spectra of weights and representations",
                         "Stable rank: sum of squared singular values over the largest squared. "
                         "Effective rank: exponential of the entropy of the singular values. Both "
                         "also as a share of the largest rank the size allows.",
                         {page(3), page(2)}, std::move(ranks)));
  add_section(r, section("Sharpness by other definitions",
                         "Largest eigenvalue and trace change when a network is rewritten into an "
                         "equal one; several of these do not.",
                         {page(4)}, {}));
  add_section(r, section("Along training", "What the runs recorded on the way.", {},
                         training_figures(probes, command)));
  add_section(
      r, section("How far the estimators had converged", "Running estimates with their intervals.",
                 {}, diagnostic_figures(probes, command)));
  r.provenance = provenance_of(probes, command);
  return out;
}

void write_tables(const fs::path& dir, const std::vector<NamedTable>& tables) {
  const fs::path folder = dir / "tables";
  fs::create_directories(folder);
  for (const NamedTable& t : tables) {
    if (!t.page.rows.empty()) write_file_atomic(folder / (t.name + ".csv"), t.csv);
  }
}

// Debiased CKA of every layer of A with every layer of B, on the same test shapes.
NamedTable cka_table(const Subject& a, const Subject& b) {
  const auto of = [](const Subject& s) {
    return representations(s.model(), s.state(),
                           probe_data(s.test_set(), "test", s.train(), kCkaShapes, 32, 0));
  };
  const std::vector<Representation> ra = of(a), rb = of(b);
  NamedTable out{"cka", {}, {}};
  out.page.caption = str("Debiased linear CKA on ", ra.front().rows.size(0),
                         " test shapes: ", a.label(), " (rows) with ", b.label(), " (columns)");
  out.page.columns = {"layer"};
  for (const Representation& r : rb) out.page.columns.push_back(r.layer);
  CsvTable csv({"a", "b", "layer_a", "layer_b", "debiased_cka", "standard_error", "low", "high",
                "level", "samples", "method"});
  for (const Representation& x : ra) {
    std::vector<ReportCell> row{x.layer};
    for (const Representation& y : rb) {
      const Estimate e = estimate_linear_cka(x.rows, y.rows);
      row.emplace_back(readable(e.value));
      csv.row({a.label(), b.label(), x.layer, y.layer, e.value, e.standard_error, e.interval.low,
               e.interval.high, e.interval.level, e.samples, e.method});
    }
    out.page.rows.push_back(std::move(row));
  }
  out.csv = csv.text();
  return out;
}

std::string short_name(const fs::path& run) {
  return run.has_filename() ? run.filename().string() : run.parent_path().filename().string();
}

// RUN, RUN/ckpt/step-N or the folder of a probe that was made earlier.
fs::path probe_of(const std::string& run, const Config& config, const std::string& command) {
  const fs::path path(run);
  const bool probe = RunDir::is_run(path) && !fs::exists(path / "ckpt");
  return probe ? path : probe_run(run, config, {}, command);
}

}  // namespace

std::string report_probe(const fs::path& probe, const std::string& command) {
  const std::vector<LoadedProbe> probes{load_probe(probe)};
  Written out = assemble(probes, command);
  out.report.title = str("Landscape of ", probes[0].facts.text("run"));
  out.report.summary =
      str(probes[0].network, " trained with ", probes[0].optimizer, ", test accuracy ",
          readable(100 * probes[0].facts.number("test_accuracy")), " %, ",
          probes[0].facts.text("checkpoint"));
  write_tables(probe, out.tables);
  write_report(probe, out.report);
  return str(text_table(out.tables.front().page), "report: ", (probe / "report.html").string(),
             "\n");
}

std::string compare_runs(const std::vector<std::string>& runs, const Config& config,
                         const fs::path& out, const std::string& command) {
  check(!runs.empty() && runs.size() % 2 == 0,
        "compare: expects runs two by two (A B, then further pairs), given ", runs.size());
  std::vector<fs::path> dirs;
  for (const std::string& run : runs) dirs.push_back(probe_of(run, config, command));
  const fs::path folder = out.empty() ? fs::path("runs") / str("compare-", short_name(runs[0]), "-",
                                                               short_name(runs[1]))
                                      : out;
  const std::vector<LoadedProbe> probes = load_probes(dirs);
  Written written = assemble(probes, command);
  Report& report = written.report;
  report.title = "How the optimizer shaped the solution";
  report.a = probes[1].optimizer;
  report.b = probes[0].optimizer;
  report.verdicts = verdicts_of(probes);
  report.summary = str(report.a, " beside ", report.b, ": ");
  for (const LoadedProbe& p : probes) {
    report.summary += str(p.network, " ", p.optimizer, " with test accuracy ",
                          readable(100 * p.facts.number("test_accuracy")), " %",
                          &p == &probes.back() ? ". " : "; ");
  }
  report.summary += "One run each: the intervals are those of the estimators, not of the seeds.";
  written.tables.push_back(verdict_table(report.verdicts, report.b, report.a));
  for (size_t i = 0; i + 1 < runs.size(); i += 2) {
    if (!fs::exists(fs::path(runs[i]) / "ckpt") || probes[i].network != probes[i + 1].network) {
      continue;
    }
    NamedTable cka = cka_table(Subject(runs[i], config), Subject(runs[i + 1], config));
    cka.name += "-" + probes[i].network;
    add_section(report, section("Alignment of representations: " + probes[i].network,
                                "Debiased, so that unrelated representations read about 0.",
                                {cka.page}, {}));
    written.tables.push_back(std::move(cka));
  }
  fs::create_directories(folder);
  write_tables(folder, written.tables);
  write_report(folder, report);
  return str(text_table(written.tables[6].page), "report: ", (folder / "report.html").string(),
             "\n");
}

}  // namespace basin::tools
