// Part "ranks": stable and effective rank of every weight matrix, and its singular values, beside
// those before the first step. Of weights alone the start is not known and left out.
#include <algorithm>
#include <cmath>

#include "basin/analysis/ranks.h"
#include "basin/analysis/statistics.h"
#include "basin/analysis/symmetry_check.h"
#include "basin/figures/optimizer_figures.h"
#include "basin/figures/spectrum_figures.h"
#include "basin/tools/landscape_probe/detail/builtin_parts.h"

namespace basin::tools {
namespace {

struct WeightRecord {
  std::string name;
  int64_t rows = 0, cols = 0;
  std::vector<double> singular, initial;  // singular values: trained, before the first step
  double stable = 0, effective = 0, initial_stable = NAN, initial_effective = NAN;

  double limit() const { return static_cast<double>(std::min(rows, cols)); }
};
struct SkippedRecord {
  std::string name, reason;
  std::string role;  // bias, gain, ...; empty in records of earlier versions
};
struct RanksRecord {
  std::vector<WeightRecord> weights;
  std::vector<SkippedRecord> skipped;
};

void fields(FieldWalk& walk, WeightRecord& r) {
  walk("name", r.name), walk("rows", r.rows), walk("cols", r.cols);
  walk("singular", r.singular), walk("initial", r.initial);
  walk("stable", r.stable), walk("effective", r.effective);
  walk("initial_stable", r.initial_stable), walk("initial_effective", r.initial_effective);
}
void fields(FieldWalk& walk, SkippedRecord& r) {
  walk("name", r.name), walk("reason", r.reason), walk.optional("role", r.role);
}
void fields(FieldWalk& walk, RanksRecord& r) {
  walk("weights", r.weights), walk("skipped", r.skipped);
}

RanksRecord measure_weight_ranks(const ProbeContext& context) {
  const WeightSpectra now = weight_spectra(context.trained.state.params);
  RanksRecord out;
  for (const MatrixSpectrum& m : now.matrices) {
    out.weights.push_back({m.name,
                           m.rows,
                           m.cols,
                           m.singular_values.to_vector<double>(),
                           {},
                           m.ranks.stable,
                           m.ranks.effective});
  }
  if (context.trained.checkpoint) {
    const WeightSpectra before = weight_spectra(context.trained.initial.params);
    for (size_t i = 0; i < out.weights.size(); ++i) {
      const MatrixSpectrum& first = before.matrices[i];
      out.weights[i].initial = first.singular_values.to_vector<double>();
      out.weights[i].initial_stable = first.ranks.stable;
      out.weights[i].initial_effective = first.ranks.effective;
    }
  }
  for (const SkippedParameter& s : now.skipped) {
    out.skipped.push_back({s.name, s.reason, std::string(name_of(s.role))});
  }
  return out;
}

const RanksRecord* ranks_of(const LoadedProbe& p) { return p.record<RanksRecord>("ranks"); }

NamedTable weight_rank_table(const std::vector<LoadedProbe>& probes) {
  NamedTable out{"weight_ranks", {}, {}};
  out.page.numeric = columns_of(6, {3, 4, 5});
  out.page.caption = "Ranks of the weight matrices; in brackets before training";
  out.page.columns = {"network", "optimizer", "matrix", "size", "stable rank", "effective rank"};
  CsvTable csv({"network", "optimizer", "matrix", "rows", "cols", "stable", "effective",
                "initial_stable", "initial_effective", "skipped_because"});
  const auto cell = [](double now, double before) {
    return readable(now) + (std::isnan(before) ? "" : " (" + readable(before) + ")");
  };
  for (const LoadedProbe& p : probes) {
    const RanksRecord* r = ranks_of(p);
    if (r == nullptr) continue;
    for (const WeightRecord& w : r->weights) {
      out.page.rows.push_back({p.network, p.optimizer, w.name, str(w.rows, " x ", w.cols),
                               cell(w.stable, w.initial_stable),
                               cell(w.effective, w.initial_effective)});
      csv.row({p.network, p.optimizer, w.name, w.rows, w.cols, w.stable, w.effective,
               w.initial_stable, w.initial_effective, ""});
    }
    for (const SkippedRecord& s : r->skipped) {
      csv.row({p.network, p.optimizer, s.name, "", "", "", "", "", "", s.reason});
    }
  }
  out.csv = csv.text();
  return out;
}

struct RankSeries {
  LayerSeries stable, effective;
};

RankSeries series_of(const RanksRecord& r, const std::string& name, bool initial) {
  RankSeries out;
  for (const WeightRecord& w : r.weights) {
    const double limit = 1.0 / w.limit();
    const double stable = initial ? w.initial_stable : w.stable;
    const double effective = initial ? w.initial_effective : w.effective;
    out.stable.values.push_back(exact_estimate(stable * limit));
    out.effective.values.push_back(exact_estimate(effective * limit));
  }
  out.stable.optimizer = out.effective.optimizer = name;
  out.stable.reference = out.effective.reference = initial;
  return out;
}

bool knows_start(const RanksRecord& r) {
  return !r.weights.empty() && !r.weights.front().initial.empty();
}

Figure weight_ranks(const std::vector<LoadedProbe>& probes, const std::string& network,
                    const std::string& command) {
  LayerRanks out;
  out.title = "Rank of the weights: " + network;
  LayerPanel stable{"stable rank / maximal rank", {}},
      effective{"effective rank / maximal rank", {}};
  const auto add = [&](RankSeries series) {
    stable.series.push_back(std::move(series.stable));
    effective.series.push_back(std::move(series.effective));
  };
  bool reference = false;
  for (const LoadedProbe& p : probes) {
    const RanksRecord* r = ranks_of(p);
    if (r == nullptr) continue;
    if (out.layers.empty()) {
      for (const WeightRecord& w : r->weights) out.layers.push_back(w.name);
      for (const SkippedRecord& k : r->skipped) out.skipped.push_back({k.name, k.reason, k.role});
    }
    if (!reference && knows_start(*r)) {
      reference = true;
      add(series_of(*r, "initialisation", true));
    }
    add(series_of(*r, p.optimizer, false));
  }
  out.panels = {stable, effective};
  out.conditions = conditions_of(probes, command);
  out.conditions.level = 0;
  Figure figure = weight_rank_figure(out);
  figure.name += "-" + network;
  return figure;
}

Figure singular_values(const std::vector<LoadedProbe>& probes, const std::string& network,
                       const std::string& command) {
  SingularSpectra out;
  out.title = "Singular values of the weights: " + network;
  bool reference = false;
  for (const LoadedProbe& p : probes) {
    const RanksRecord* r = ranks_of(p);
    if (r == nullptr) continue;
    const bool first = out.panels.empty(), start = !reference && knows_start(*r);
    reference = reference || start;
    for (size_t i = 0; i < r->weights.size(); ++i) {
      const WeightRecord& w = r->weights[i];
      if (first) out.panels.push_back({w.name, w.rows, w.cols, {}});
      if (i >= out.panels.size()) continue;
      if (start) out.panels[i].series.push_back({"initialisation", w.initial, true});
      out.panels[i].series.push_back({p.optimizer, w.singular, false});
    }
  }
  out.conditions = conditions_of(probes, command);
  out.conditions.level = 0;
  Figure figure = singular_value_figure(out);
  figure.name += "-" + network;
  return figure;
}

// The geometric mean over the layers of rank_B / rank_A, with the t interval over the layers.
// Single rows and columns, whose rank is 1 by their shape, are in the table and not in the mean.
void add_rank_verdict(const LoadedProbe& a, const LoadedProbe& b, const std::string& what,
                      double WeightRecord::*rank, VerdictList& out) {
  const std::vector<WeightRecord>&of_a = ranks_of(a)->weights, &of_b = ranks_of(b)->weights;
  std::vector<double> logs, in_a, in_b;
  for (size_t i = 0; i < std::min(of_a.size(), of_b.size()); ++i) {
    const WeightRecord &wa = of_a[i], &wb = of_b[i];
    if (wa.name != wb.name || wa.limit() < 2 || !(wa.*rank > 0) || !(wb.*rank > 0)) continue;
    logs.push_back(std::log(wb.*rank / (wa.*rank)));
    in_a.push_back(wa.*rank / wa.limit());
    in_b.push_back(wb.*rank / wb.limit());
  }
  if (logs.size() < 2) return;
  const Estimate mean_log = mean_estimate(logs);
  Estimate r = mean_log;
  r.value = std::exp(mean_log.value);
  r.standard_error = r.value * mean_log.standard_error;
  r.interval.low = std::exp(mean_log.interval.low);
  r.interval.high = std::exp(mean_log.interval.high);
  const auto higher = std::count_if(logs.begin(), logs.end(), [](double v) { return v > 0; });
  out.add({str(a.network, ": weights, ", what, " / maximal (mean over ", logs.size(),
               " layers; higher on ", higher, ")"),
           mean_estimate(in_b), mean_estimate(in_a), r, ""});
}

PartReport weight_rank_report(const std::vector<LoadedProbe>& probes, const std::string& command) {
  PartSection section{"Spectra of the weights",
                      "Stable rank: sum of squared singular values over the largest squared. "
                      "Effective rank: exponential of the entropy of the singular values. Both "
                      "also as a share of the largest rank the size allows.",
                      {weight_rank_table(probes)},
                      {}};
  for (const std::string& network : networks_of(probes)) {
    const std::vector<LoadedProbe> part = of_network(probes, network);
    if (std::none_of(part.begin(), part.end(), ranks_of)) continue;
    section.figures.push_back(weight_ranks(part, network, command));
    section.figures.push_back(singular_values(part, network, command));
  }
  return {{std::move(section)}};
}

// ---- Over seeds

std::vector<const RanksRecord*> records_of(const SeedProbes& seeds, size_t layers) {
  std::vector<const RanksRecord*> out;
  for (const LoadedProbe& p : seeds.probes) {
    const RanksRecord* r = ranks_of(p);
    if (r != nullptr && (layers == 0 || r->weights.size() == layers)) out.push_back(r);
  }
  return out;
}

LayerSeries layer_means(const std::vector<const RanksRecord*>& records, const std::string& name,
                        double WeightRecord::*rank, bool reference) {
  LayerSeries out{.optimizer = name, .values = {}, .reference = reference};
  for (size_t l = 0; l < records.front()->weights.size(); ++l) {
    std::vector<double> values;
    for (const RanksRecord* r : records) {
      values.push_back(r->weights[l].*rank / r->weights[l].limit());
    }
    out.values.push_back(mean_of_runs(values, false));
    if (!reference && values.size() > 1) out.runs.push_back(std::move(values));
  }
  return out;
}

// sigma_i as the geometric mean over the records, which is as long as the shortest.
std::vector<double> mean_spectrum(const std::vector<const RanksRecord*>& records, size_t layer,
                                  std::vector<double> WeightRecord::*spectrum) {
  std::vector<double> out;
  for (size_t i = 0;; ++i) {
    std::vector<double> values;
    for (const RanksRecord* r : records) {
      const std::vector<double>& singular = r->weights[layer].*spectrum;
      if (i < singular.size()) values.push_back(singular[i]);
    }
    if (values.size() < records.size()) return out;
    out.push_back(mean_of_runs(values, true).value);
  }
}

PartReport ranks_over_seeds(const std::string& network, const std::vector<SeedProbes>& all,
                            const FigureConditions& conditions) {
  LayerRanks ranks{
      .title = "Rank of the weights: " + network,
      .panels = {{"stable rank / maximal rank", {}}, {"effective rank / maximal rank", {}}},
      .conditions = conditions};
  SingularSpectra spectra{.title = "Singular values of the weights: " + network,
                          .conditions = conditions};
  spectra.conditions.level = 0;
  constexpr std::pair kRanks{&WeightRecord::stable, &WeightRecord::effective};
  constexpr std::pair kInitial{&WeightRecord::initial_stable, &WeightRecord::initial_effective};
  std::vector<const RanksRecord*> every;
  for (const SeedProbes& seeds : all) {
    const auto records = records_of(seeds, every.empty() ? 0 : every.front()->weights.size());
    every.insert(every.end(), records.begin(), records.end());
  }
  if (every.empty()) return {};
  const RanksRecord& first = *every.front();
  for (const WeightRecord& w : first.weights) {
    ranks.layers.push_back(w.name);
    spectra.panels.push_back({w.name, w.rows, w.cols, {}});
  }
  for (const SkippedRecord& s : first.skipped) ranks.skipped.push_back({s.name, s.reason, s.role});
  const auto add = [&](const std::vector<const RanksRecord*>& records, const std::string& name,
                       bool initial) {
    const auto& of = initial ? kInitial : kRanks;
    ranks.panels[0].series.push_back(layer_means(records, name, of.first, initial));
    ranks.panels[1].series.push_back(layer_means(records, name, of.second, initial));
    for (size_t l = 0; l < spectra.panels.size(); ++l) {
      spectra.panels[l].series.push_back(
          {name,
           mean_spectrum(records, l, initial ? &WeightRecord::initial : &WeightRecord::singular),
           initial});
    }
  };
  if (std::ranges::all_of(every, [](const RanksRecord* r) { return knows_start(*r); })) {
    add(every, "initialisation", true);
  }
  for (const SeedProbes& seeds : all) {
    const auto records = records_of(seeds, first.weights.size());
    if (!records.empty()) add(records, seeds.optimizer, false);
  }
  PartSection section{
      "Spectra of the weights: " + network,
      "Ranks as shares of the largest that the size of a matrix allows, means over "
      "the seeds with 95 % t intervals; singular values as geometric means over the "
      "seeds.",
      {},
      {weight_rank_figure(ranks), singular_value_figure(spectra)}};
  for (Figure& figure : section.figures) figure.name += "-" + network;
  return {{std::move(section)}};
}

}  // namespace

PartInfo ranks_part() {
  PartInfo info{.name = "ranks", .summary = "ranks and singular values of the weights"};
  info.report = weight_rank_report;
  info.over_seeds = ranks_over_seeds;
  info.verdicts = [](const LoadedProbe& a, const LoadedProbe& b, VerdictList& out) {
    if (ranks_of(a) == nullptr || ranks_of(b) == nullptr) return;
    add_rank_verdict(a, b, "stable rank", &WeightRecord::stable, out);
    add_rank_verdict(a, b, "effective rank", &WeightRecord::effective, out);
  };
  return part_of<RanksRecord>(std::move(info), measure_weight_ranks);
}

}  // namespace basin::tools
