// Part "representations": stable and effective rank of what the layers make of test examples, one
// row per example, with intervals; in a comparison also how far the layers of the two align.
#include <algorithm>
#include <cmath>

#include "basin/analysis/cka.h"
#include "basin/analysis/representation.h"
#include "basin/figures/optimizer_figures.h"
#include "basin/figures/spectrum_figures.h"
#include "basin/tools/landscape_probe/detail/builtin_parts.h"
#include "basin/tools/landscape_probe/settings.h"

namespace basin::tools {
namespace {

constexpr const char* kName = "representations";
constexpr int64_t kCkaExamples = 512;

struct LayerRankRecord {
  std::string layer;
  int64_t samples = 0, channels = 0;
  bool centred = false, pooled = false;
  Estimate stable, effective;

  double limit() const { return static_cast<double>(std::min(samples, channels)); }
};
struct RepresentationsRecord {
  std::string data;
  std::vector<LayerRankRecord> layers;
};

void fields(FieldWalk& walk, LayerRankRecord& r) {
  walk("layer", r.layer), walk("samples", r.samples), walk("channels", r.channels);
  walk("centred", r.centred), walk("pooled", r.pooled);
  walk("stable", r.stable), walk("effective", r.effective);
}
void fields(FieldWalk& walk, RepresentationsRecord& r) {
  walk("data", r.data), walk("layers", r.layers);
}

std::vector<Setting> representation_settings() {
  using enum Purpose;
  return {
      {"rank_examples", Kind::integer, "0", "Test examples of the representation ranks; 0: all",
       result, "rank_shapes"},
      {"rank_interval", Kind::text, "influence",
       "Intervals of the representation ranks: influence (jackknife) or bootstrap"},
      {"resamples", Kind::integer, "200", "Resamples of that bootstrap"},
  };
}

RankInterval rank_interval(const Config& config) {
  return setting_word(config, "rank_interval", {"influence", "bootstrap"}) == "influence"
             ? RankInterval::influence
             : RankInterval::bootstrap;
}

void check_representation_settings(const Config& config, const std::vector<std::string>&) {
  if (at_least(config, "rank_examples", 0) > 0) at_least(config, "rank_examples", 3);
  at_least(config, "resamples", 20);
  rank_interval(config);
}

RepresentationsRecord measure_layer_ranks(const ProbeContext& context) {
  const ProbeData data = context.data(Split::test, "rank_examples");
  const std::vector<Representation> layers =
      representations(context.trained.task, context.trained.state, data);
  std::vector<std::pair<std::string, Tensor>> named;
  for (const Representation& layer : layers) named.emplace_back(layer.layer, layer.rows);
  RepresentationOptions options;
  options.interval = rank_interval(context.config);
  options.resamples = context.config.integer("resamples");
  options.seed = context.seed;
  const std::vector<RepresentationRanks> ranks = representation_ranks(named, options);
  RepresentationsRecord out;
  out.data = data.description;
  for (size_t i = 0; i < ranks.size(); ++i) {
    const RepresentationRanks& r = ranks[i];
    for (const bool centred : {false, true}) {
      const RepresentationSpectrum& s = centred ? r.centred : r.uncentred;
      out.layers.push_back(
          {r.layer, r.samples, r.channels, centred, layers[i].pooled, s.stable, s.effective});
    }
  }
  return out;
}

const RepresentationsRecord* layers_of(const LoadedProbe& p) {
  return p.record<RepresentationsRecord>(kName);
}

NamedTable layer_rank_table(const std::vector<LoadedProbe>& probes) {
  NamedTable out{"representation_ranks", {}, {}};
  out.page.numeric = columns_of(7, {3, 5, 6});
  out.page.caption =
      str("Ranks of the representations, one row per ", probes.front().example, ", with intervals");
  out.page.columns = {"network", "optimizer",   "layer",         "matrix",
                      "centred", "stable rank", "effective rank"};
  CsvTable csv({"network", "optimizer", "layer", "samples", "channels", "pooled_here", "centred",
                "quantity", "value", "standard_error", "low", "high", "level", "resamples",
                "method"});
  for (const LoadedProbe& p : probes) {
    const RepresentationsRecord* record = layers_of(p);
    if (record == nullptr) continue;
    for (const LayerRankRecord& r : record->layers) {
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

Figure layer_ranks(const std::vector<LoadedProbe>& probes, const std::string& network,
                   const std::string& command) {
  LayerRanks out;
  out.title = "Rank of the representations: " + network;
  out.panels = {{"stable rank, uncentred", {}},
                {"effective rank, uncentred", {}},
                {"stable rank, centred", {}},
                {"effective rank, centred", {}}};
  out.axis = "rank / maximal rank";
  for (const LoadedProbe& p : probes) {
    const RepresentationsRecord* record = layers_of(p);
    if (record == nullptr) continue;
    if (out.layers.empty()) {
      for (const LayerRankRecord& r : record->layers) {
        if (std::find(out.layers.begin(), out.layers.end(), r.layer) == out.layers.end()) {
          out.layers.push_back(r.layer);
        }
      }
      out.conditions = conditions_of(probes, command);
      out.conditions.data = record->data;
    }
    std::vector<LayerSeries> series(4);
    for (const LayerRankRecord& r : record->layers) {
      const size_t at = r.centred ? 2 : 0;
      series[at].values.push_back(scaled_estimate(r.stable, 1.0 / r.limit()));
      series[at + 1].values.push_back(scaled_estimate(r.effective, 1.0 / r.limit()));
    }
    for (size_t i = 0; i < series.size(); ++i) {
      series[i].optimizer = p.optimizer;
      out.panels[i].series.push_back(std::move(series[i]));
    }
  }
  Figure figure = representation_rank_figure(out);
  figure.name += "-" + network;
  return figure;
}

PartReport layer_rank_report(const std::vector<LoadedProbe>& probes, const std::string& command) {
  PartSection section{"Spectra of the representations",
                      "Of the activations of test data; those of points and nodes are averaged "
                      "over their example first.",
                      {layer_rank_table(probes)},
                      {}};
  for (const std::string& network : networks_of(probes)) {
    const std::vector<LoadedProbe> part = of_network(probes, network);
    if (std::none_of(part.begin(), part.end(), layers_of)) continue;
    section.figures.push_back(layer_ranks(part, network, command));
  }
  return {{std::move(section)}};
}

// What the network says of a whole example before its head: the first layer behind the last one
// whose points or nodes were averaged here; of networks without such layers, the last before the
// outputs.
std::string summary_layer(const RepresentationsRecord& record) {
  const auto& layers = record.layers;
  size_t at = 0;
  for (size_t i = 0; i < layers.size(); ++i) {
    if (layers[i].pooled) at = i + 1;
  }
  if (at > 0 && at < layers.size()) return layers[at].layer;
  return layers.size() >= 4 ? layers[layers.size() - 4].layer : "";
}

void add_layer_rank_verdicts(const LoadedProbe& a, const LoadedProbe& b, VerdictList& out) {
  const RepresentationsRecord *of_a = layers_of(a), *of_b = layers_of(b);
  if (of_a == nullptr || of_b == nullptr) return;
  const std::string layer = summary_layer(*of_a);
  for (const LayerRankRecord& ra : of_a->layers) {
    if (ra.layer != layer) continue;
    for (const LayerRankRecord& rb : of_b->layers) {
      if (rb.layer != ra.layer || rb.centred != ra.centred) continue;
      const std::string where = ra.layer + (ra.centred ? ", centred" : ", uncentred");
      out.add(a, b, "effective rank of " + where, ra.effective, rb.effective);
      out.add(a, b, "stable rank of " + where, ra.stable, rb.stable);
    }
  }
}

// Debiased CKA of every layer of A with every layer of B, on the same test examples.
NamedTable cka_table(const Trained& a, const Trained& b, const std::string& network) {
  const auto of = [](const Trained& t) {
    return representations(t.task, t.state, probe_data(t.task, Split::test, kCkaExamples, 32, 0));
  };
  const auto label = [](const Trained& t) { return t.task.model.name + " " + t.optimizer(); };
  const std::vector<Representation> ra = of(a), rb = of(b);
  NamedTable out{"cka-" + network, {}, {}};
  out.page.caption = str("Debiased linear CKA on ", ra.front().rows.size(0), " test ",
                         a.task.example, "s: ", label(a), " (rows) with ", label(b), " (columns)");
  out.page.columns = {"layer"};
  for (const Representation& r : rb) out.page.columns.push_back(r.layer);
  CsvTable csv({"a", "b", "layer_a", "layer_b", "debiased_cka", "standard_error", "low", "high",
                "level", "samples", "method"});
  for (const Representation& x : ra) {
    std::vector<ReportCell> row{x.layer};
    for (const Representation& y : rb) {
      const Estimate e = estimate_linear_cka(x.rows, y.rows);
      row.emplace_back(readable(e.value));
      std::vector<CsvCell> cells{label(a), label(b), x.layer, y.layer};
      add_estimate(cells, e);
      csv.row(cells);
    }
    out.page.rows.push_back(std::move(row));
  }
  out.csv = csv.text();
  return out;
}

PartReport alignment_report(const ComparedPair& pair) {
  if (!pair.trained_a || !pair.trained_b || pair.a.network != pair.b.network) return {};
  PartSection section{"Alignment of representations: " + pair.a.network,
                      "Debiased, so that unrelated representations read about 0.",
                      {cka_table(pair.trained_a(), pair.trained_b(), pair.a.network)},
                      {}};
  return {{std::move(section)}};
}

// Means over the seeds; the interval over the examples of one network is another one, and is left
// to the report of its probe.
PartReport layers_over_seeds(const std::string& network, const std::vector<SeedProbes>& all,
                             const FigureConditions& conditions) {
  LayerRanks out{.title = "Rank of the representations: " + network,
                 .axis = "rank / maximal rank",
                 .panels = {{"stable rank, uncentred", {}},
                            {"effective rank, uncentred", {}},
                            {"stable rank, centred", {}},
                            {"effective rank, centred", {}}},
                 .conditions = conditions};
  size_t rows = 0;
  for (const SeedProbes& seeds : all) {
    std::vector<const RepresentationsRecord*> records;
    for (const LoadedProbe& p : seeds.probes) {
      const RepresentationsRecord* r = layers_of(p);
      if (r == nullptr || r->layers.empty() || (rows > 0 && r->layers.size() != rows)) continue;
      rows = r->layers.size();
      records.push_back(r);
    }
    if (records.empty()) continue;
    out.conditions.data = records.front()->data;
    std::vector<LayerSeries> series(4);
    for (size_t l = 0; l < rows; ++l) {
      const LayerRankRecord& at = records.front()->layers[l];
      if (!at.centred && out.panels.front().series.empty()) out.layers.push_back(at.layer);
      for (const bool effective : {false, true}) {
        std::vector<double> values;
        for (const RepresentationsRecord* r : records) {
          const LayerRankRecord& row = r->layers[l];
          values.push_back((effective ? row.effective : row.stable).value / row.limit());
        }
        LayerSeries& to = series[(at.centred ? 2U : 0U) + (effective ? 1U : 0U)];
        to.values.push_back(mean_of_runs(values, false));
        if (values.size() > 1) to.runs.push_back(std::move(values));
      }
    }
    for (size_t i = 0; i < series.size(); ++i) {
      series[i].optimizer = seeds.optimizer;
      out.panels[i].series.push_back(std::move(series[i]));
    }
  }
  if (out.layers.empty()) return {};
  PartSection section{"Spectra of the representations: " + network,
                      "Ranks as shares of the largest possible, means over the seeds with 95 % t "
                      "intervals.",
                      {},
                      {representation_rank_figure(out)}};
  section.figures.front().name += "-" + network;
  return {{std::move(section)}};
}

}  // namespace

PartInfo representations_part() {
  PartInfo info{.name = kName, .summary = "ranks of what the layers make of test examples"};
  info.settings = representation_settings();
  info.depends_on = {"rank_examples", "rank_interval", "resamples", "seed"};
  info.check = check_representation_settings;
  info.report = layer_rank_report;
  info.verdicts = add_layer_rank_verdicts;
  info.compare = alignment_report;
  info.over_seeds = layers_over_seeds;
  return part_of<RepresentationsRecord>(std::move(info), measure_layer_ranks);
}

}  // namespace basin::tools
