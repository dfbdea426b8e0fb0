// Reports from the files of probes.
#include "basin/tools/landscape_probe/detail/compare.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "basin/core/folder.h"
#include "basin/core/text.h"
#include "basin/figures/forest_plot.h"
#include "basin/tools/landscape_probe/detail/probe.h"
#include "basin/tools/landscape_probe/probed.h"
#include "basin/tools/landscape_probe/settings.h"
#include "basin/tools/shell/environment.h"
#include "basin/tools/shell/run_dir.h"

namespace basin::tools {
namespace {

std::string who(const LoadedProbe& p) { return p.network + " " + p.optimizer; }

void add_weights(const LoadedProbe& p, Provenance& out) {
  const std::string& checkpoint = p.facts.text("checkpoint");
  const bool run = p.facts.has("step");
  out.more.emplace_back(
      who(p), str(p.facts.text("run"), run ? str("/ckpt/", checkpoint, ", model.safetensors") : "",
                  run ? " SHA-256 " : ", SHA-256 ", p.facts.text("weights_sha256")));
}

// "with test accuracy 81.25 %", empty where it is not known.
std::string metric_clause(const LoadedProbe& p, const char* before) {
  const double value = p.test_metric();
  if (std::isnan(value)) return {};
  return str(before, "test ", metric_word(p.metric.name), " ", metric_value_text(p.metric, value));
}

struct Assembled {
  Report report;
  std::vector<PartSection> sections;
};

Assembled assemble(const std::vector<LoadedProbe>& probes, const std::string& command) {
  Assembled out;
  for (const PartInfo& part : parts()) {
    if (!part.report) continue;
    PartReport r = part.report(probes, command);
    for (PartSection& s : r.sections) out.sections.push_back(std::move(s));
    auto& warnings = out.report.warnings;
    warnings.insert(warnings.end(), r.warnings.begin(), r.warnings.end());
  }
  for (const LoadedProbe& p : probes) {
    if (!p.facts.flag("same_data_as_training")) {
      out.report.warnings.push_back(who(p) + ": the data are not those of the training");
    }
  }
  out.report.provenance = provenance_of(probes.front().facts, command);
  for (const LoadedProbe& p : probes) add_weights(p, out.report.provenance);
  return out;
}

std::string first_table(const std::vector<PartSection>& sections) {
  for (const PartSection& s : sections) {
    for (const NamedTable& t : s.tables) {
      if (!t.page.rows.empty()) return text_table(t.page);
    }
  }
  return {};
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

// All ratios in one picture; quantities are named "NETWORK: QUANTITY".
std::optional<Figure> overview(const std::vector<Verdict>& verdicts, const std::string& a,
                               const std::string& b, const FigureConditions& conditions) {
  ForestPlot plot;
  plot.title = str("What differs: ", b, " over ", a);
  plot.caption = str("Ratio of ", b, " over ", a, " for every quantity of the table below.");
  plot.axis = str(b, " / ", a, ", logarithmic axis");
  plot.below = a + " is larger";
  plot.above = b + " is larger";
  plot.conditions = conditions;
  for (const Verdict& v : verdicts) {
    const size_t colon = v.quantity.find(": ");
    const bool grouped = colon != v.quantity.npos;
    plot.rows.push_back({grouped ? v.quantity.substr(colon + 2) : v.quantity,
                         grouped ? v.quantity.substr(0, colon) : "", v.ratio.value,
                         v.ratio.interval.low, v.ratio.interval.high,
                         v.published.empty() ? "" : "published: " + v.published});
  }
  if (plot.rows.empty()) return std::nullopt;
  return forest_figure(plot);
}

// A run, one of its checkpoints, weights, or the folder of a probe that was made earlier.
struct Compared {
  std::string path;
  fs::path probe;
  bool only_probe = false;

  Compared(const std::string& p, const Config& config, const std::string& command) : path(p) {
    only_probe = RunDir::is_run(path) && !fs::exists(fs::path(path) / "ckpt");
    probe = only_probe ? fs::path(path) : probe_run(path, config, {}, command);
  }
};

std::string short_path(const std::string& text) {
  const fs::path path(text);
  const fs::path named = path.has_filename() ? path : path.parent_path();
  return is_weights(text) ? named.stem().string() : named.filename().string();
}

// What parts add to a comparison of two; the networks are read again when a part asks for them.
void add_pair(const Compared& a, const Compared& b, const LoadedProbe& of_a,
              const LoadedProbe& of_b, const Config& config, Assembled& out) {
  std::optional<Trained> kept_a, kept_b;
  const auto reader = [&config](const Compared& from,
                                std::optional<Trained>& kept) -> std::function<const Trained&()> {
    if (from.only_probe) return {};
    return [&config, &from, &kept]() -> const Trained& {
      if (!kept) kept = load_probed(from.path, config);
      return *kept;
    };
  };
  const ComparedPair pair{of_a, of_b, reader(a, kept_a), reader(b, kept_b)};
  for (const PartInfo& part : parts()) {
    if (!part.compare) continue;
    PartReport r = part.compare(pair);
    for (PartSection& s : r.sections) out.sections.push_back(std::move(s));
    auto& warnings = out.report.warnings;
    warnings.insert(warnings.end(), r.warnings.begin(), r.warnings.end());
  }
}

// The table's head names the first pair; a pair of other optimizers says itself what it compares.
std::vector<Verdict> verdicts_of(const std::vector<LoadedProbe>& probes,
                                 const PublishedRatios& published) {
  std::vector<Verdict> out;
  for (size_t i = 0; i + 1 < probes.size(); i += 2) {
    const LoadedProbe &a = probes[i], &b = probes[i + 1];
    VerdictList pair(published);
    for (const PartInfo& part : parts()) {
      if (part.verdicts) part.verdicts(a, b, pair);
    }
    const bool named = a.optimizer == probes[0].optimizer && b.optimizer == probes[1].optimizer;
    for (Verdict v : pair.list()) {
      if (!named) {
        v.quantity += str(", ", b.optimizer, " / ", a.optimizer);
        if (v.words.empty()) v.words = verdict_words(v.ratio, b.optimizer, a.optimizer);
      }
      out.push_back(std::move(v));
    }
  }
  return out;
}

// "egnn: λ max" as "lambda_max", "gine: weights, stable rank / maximal (mean over 15 layers)" as
// "weights_stable_rank_share": lower case letters and digits, else one underscore.
std::string field_name(std::string quantity) {
  const size_t colon = quantity.find(": ");
  if (colon != quantity.npos) quantity.erase(0, colon + 2);
  quantity.erase(std::min(quantity.find(" ("), quantity.size()));
  constexpr std::string_view kShare = "/ maximal";
  const size_t share = quantity.find(kShare);
  if (share != quantity.npos) quantity.replace(share, kShare.size(), "share");
  for (size_t at = 0; (at = quantity.find("λ", at)) != quantity.npos;) {
    quantity.replace(at, std::string_view("λ").size(), "lambda");
  }
  std::string out;
  for (const char c : quantity) {
    const char lower = ascii_lower(c);
    const bool kept = (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9');
    if (kept) out += lower;
    if (!kept && !out.empty() && out.back() != '_') out += '_';
  }
  while (!out.empty() && out.back() == '_') out.pop_back();
  return out;
}

}  // namespace

Record probe_numbers(const fs::path& probe) {
  const LoadedProbe p = load_probe(probe);
  const PublishedRatios none;
  VerdictList list(none);
  for (const PartInfo& part : parts()) {
    if (part.verdicts) part.verdicts(p, p, list);
  }
  Record out;
  out.add("model", std::string_view(p.network)).add("optimizer", std::string_view(p.optimizer));
  if (!std::isnan(p.test_metric())) out.add("test_" + p.metric.name, p.test_metric());
  for (const Verdict& v : list.list()) {
    const std::string name = field_name(v.quantity);
    out.add(name, v.a.value);
    if (!std::isfinite(v.a.interval.low)) continue;
    out.add(name + "_low", v.a.interval.low).add(name + "_high", v.a.interval.high);
  }
  return out;
}

Provenance provenance_of(const RecordFields& f, const std::string& command) {
  Provenance out;
  out.version = f.text("basin_version");
  out.commit = f.text("git_hash") + (f.text("git_dirty") == "true" ? " (changed)" : "");
  out.compiler = f.text("compiler");
  out.cpu = f.text("cpu");
  out.threads = f.text("threads");
  if (f.has("train_seed")) out.seed = f.text("train_seed");
  out.command = command;
  out.data_hash = f.text("data_hash");
  out.started = f.text("start");
  out.finished = utc_now();
  return out;
}

void write_measured(const fs::path& dir, const std::string& title, const PartReport& parts,
                    const std::string& command) {
  const fs::path record = dir / "run.json";
  Report report;
  report.title = title;
  report.summary = parts.sections.front().text;
  report.warnings = parts.warnings;
  report.provenance = provenance_of(parse_record(read_text_file(record), record.string()), command);
  add_sections(report, parts.sections, dir);
  write_report(dir, report);
}

std::string report_probe(const fs::path& probe, const std::string& command) {
  const std::vector<LoadedProbe> probes{load_probe(probe)};
  const LoadedProbe& p = probes.front();
  Assembled out = assemble(probes, command);
  out.report.title = str("Landscape of ", p.facts.text("run"));
  out.report.summary = p.facts.has("step")
                           ? str(p.network, " trained with ", p.optimizer, metric_clause(p, ", "),
                                 ", ", p.facts.text("checkpoint"))
                           : str(p.network, ", weights that stand alone");
  add_sections(out.report, out.sections, probe);
  write_report(probe, out.report);
  return str(first_table(out.sections), "report: ", (probe / "report.html").string(), "\n");
}

std::string compare_runs(const std::vector<std::string>& runs, const Config& config,
                         const fs::path& out, const std::string& command) {
  check(!runs.empty() && runs.size() % 2 == 0,
        "compare: expects runs two by two (A B, then further pairs), given ", runs.size());
  const PublishedRatios published(config.text("published"));  // a wrong file ends it here
  const fs::path folder = out.empty() ? fs::path("runs") / str("compare-", short_path(runs[0]), "-",
                                                               short_path(runs[1]))
                                      : out;
  std::error_code error;
  if (fs::exists(folder, error) && !fs::is_directory(folder, error)) {
    fail(ErrorKind::output, folder.string(), ": exists and is no folder");
  }
  std::vector<Compared> compared;
  for (const std::string& run : runs) compared.emplace_back(run, config, command);
  std::vector<fs::path> dirs;
  for (const Compared& c : compared) dirs.push_back(c.probe);
  make_folder(folder);
  const std::vector<LoadedProbe> probes = load_probes(dirs);
  Assembled written = assemble(probes, command);
  Report& report = written.report;
  report.title = "How the optimizer shaped the solution";
  report.a = probes[1].optimizer;
  report.b = probes[0].optimizer;
  report.verdicts = verdicts_of(probes, published);
  if (report.verdicts.empty()) {
    const std::string nothing = "the runs have no network with a measured quantity in common";
    warning_line("compare: " + nothing);
    report.warnings.push_back(str("Nothing is compared: ", nothing, "."));
  }
  report.overview = overview(report.verdicts, report.b, report.a, conditions_of(probes, command));
  report.summary = str(report.a, " beside ", report.b, ": ");
  for (const LoadedProbe& p : probes) {
    report.summary += str(who(p), metric_clause(p, " with "), &p == &probes.back() ? ". " : "; ");
  }
  report.summary += "One run each: the intervals are those of the estimators, not of the seeds.";
  for (size_t i = 0; i + 1 < runs.size(); i += 2) {
    add_pair(compared[i], compared[i + 1], probes[i], probes[i + 1], config, written);
  }
  add_sections(report, written.sections, folder);
  const NamedTable verdict = verdict_table(report.verdicts, report.b, report.a);
  if (!verdict.page.rows.empty()) {
    write_file_atomic(folder / "tables/verdict.csv", verdict.csv);
  }
  write_report(folder, report);
  return str(text_table(verdict.page), "report: ", (folder / "report.html").string(), "\n");
}

}  // namespace basin::tools
