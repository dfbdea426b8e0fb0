// Tables, matrices and the answer in words of barriers between networks.
#include <algorithm>
#include <cmath>

#include "basin/analysis/pair_means.h"
#include "basin/analysis/statistics.h"
#include "basin/figures/heat_map.h"
#include "basin/tools/landscape_probe/barriers.h"

namespace basin::tools {
namespace {

struct Quantity {
  std::string name, words;
  double (*of)(const BarrierPairRecord&);
};

std::vector<Quantity> quantities(const std::string& metric) {
  return {{"train_loss_barrier", "loss barrier, training split",
           [](const BarrierPairRecord& p) { return p.train_loss_barrier.height; }},
          {"test_loss_barrier", "loss barrier, test split",
           [](const BarrierPairRecord& p) { return p.test_loss_barrier.height; }},
          {"train_metric_barrier", metric_word(metric) + " barrier, training split",
           [](const BarrierPairRecord& p) { return p.train_metric_barrier.height; }},
          {"test_metric_barrier", metric_word(metric) + " barrier, test split",
           [](const BarrierPairRecord& p) { return p.test_metric_barrier.height; }}};
}

std::vector<std::string> optimizers_of(const BarriersRecord& record) {
  std::vector<std::string> out;
  for (const BarrierNetworkRecord& n : record.networks) {
    if (std::find(out.begin(), out.end(), n.optimizer) == out.end()) out.push_back(n.optimizer);
  }
  return out;
}

const BarrierPairRecord* pair_at(const BarriersRecord& record, size_t i, size_t j, bool aligned) {
  for (const BarrierPairRecord& p : record.pairs) {
    if (p.aligned == aligned && p.from == static_cast<int64_t>(i) &&
        p.to == static_cast<int64_t>(j)) {
      return &p;
    }
  }
  return nullptr;
}

bool has_aligned(const BarriersRecord& record) {
  return std::any_of(record.pairs.begin(), record.pairs.end(),
                     [](const BarrierPairRecord& p) { return p.aligned; });
}

// Pairs within one optimizer or between two, of which those with the same seed share their start.
enum class Seeds : uint8_t { any, same, other };
struct PairGroup {
  std::string a, b;  // b empty: within a
  std::vector<size_t> of_a, of_b;
  Seeds seeds = Seeds::any;

  std::string words() const {
    if (b.empty()) return str("within ", a);
    return str("between ", a, " and ", b,
               seeds == Seeds::same    ? ", same seed"
               : seeds == Seeds::other ? ", other seeds"
                                       : "");
  }
};

bool in_group(const BarriersRecord& record, const PairGroup& group, size_t i, size_t j) {
  if (group.seeds == Seeds::any) return true;
  return (record.networks[i].seed == record.networks[j].seed) == (group.seeds == Seeds::same);
}

// The pairs of two optimizers, split by seed where all seeds are known and some are shared.
std::vector<PairGroup> split_by_seed(const BarriersRecord& record, const PairGroup& whole) {
  int64_t same = 0, other = 0;
  for (const size_t i : whole.of_a) {
    for (const size_t j : whole.of_b) {
      const std::string &a = record.networks[i].seed, &b = record.networks[j].seed;
      if (a.empty() || b.empty()) return {whole};
      ++(a == b ? same : other);
    }
  }
  if (same == 0) return {whole};
  std::vector<PairGroup> out;
  for (const Seeds seeds : {Seeds::same, Seeds::other}) {
    if (seeds == Seeds::other && other == 0) continue;
    out.push_back(whole);
    out.back().seeds = seeds;
  }
  return out;
}

// `split`: pairs of two optimizers by seed.
std::vector<PairGroup> groups_of(const BarriersRecord& record, bool split) {
  const std::vector<std::string> names = optimizers_of(record);
  const auto members = [&](const std::string& optimizer) {
    std::vector<size_t> out;
    for (size_t i = 0; i < record.networks.size(); ++i) {
      if (record.networks[i].optimizer == optimizer) out.push_back(i);
    }
    return out;
  };
  std::vector<PairGroup> out;
  for (const std::string& a : names) {
    if (members(a).size() >= 2) out.push_back({a, "", members(a), {}});
  }
  for (size_t x = 0; x < names.size(); ++x) {
    for (size_t y = x + 1; y < names.size(); ++y) {
      const PairGroup whole{names[x], names[y], members(names[x]), members(names[y])};
      const std::vector<PairGroup> parts =
          split ? split_by_seed(record, whole) : std::vector<PairGroup>{whole};
      out.insert(out.end(), parts.begin(), parts.end());
    }
  }
  return out;
}

// Pairs with the same seed share no network where every optimizer has each seed once, and their
// mean has the t interval of independent values; others share networks.
Estimate group_mean(const BarriersRecord& record, const PairGroup& group, bool aligned,
                    double (*of)(const BarrierPairRecord&)) {
  std::vector<double> apart;
  std::vector<int> uses(record.networks.size(), 0);
  const auto value = [&](size_t i, size_t j) {
    const BarrierPairRecord* p =
        in_group(record, group, i, j) ? pair_at(record, i, j, aligned) : nullptr;
    return p == nullptr ? std::numeric_limits<double>::quiet_NaN() : of(*p);
  };
  for (const size_t i : group.of_a) {
    for (const size_t j : group.of_b) {
      const double v = value(std::min(i, j), std::max(i, j));
      if (std::isfinite(v)) apart.push_back(v), ++uses[i], ++uses[j];
    }
  }
  const bool independent = std::ranges::all_of(uses, [](int n) { return n <= 1; });
  if (group.seeds == Seeds::same && independent && !apart.empty()) {
    return mean_estimate(apart, 0.95, "mean over pairs that share no network");
  }
  return mean_over_pairs(group.of_a, group.of_b, value);
}

double cka_of(const BarrierPairRecord& p) { return p.cka; }
double distance_of(const BarrierPairRecord& p) { return p.distance; }

NamedTable answer_table(const BarriersRecord& record, const Metric& metric) {
  NamedTable out{"barrier_means", {}, {}};
  out.page.caption =
      "Means over pairs with 95 % intervals by the jackknife over networks (pairs share networks); "
      "of pairs with the same seed, which share none, the t interval";
  out.page.columns = {"pairs", "aligned", "count"};
  CsvTable csv({"pairs", "aligned", "quantity", "value", "standard_error", "low", "high", "level",
                "count", "method"});
  std::vector<Quantity> all = quantities(metric.name);
  all.push_back({"distance", "distance", distance_of});
  all.push_back({"cka", str("CKA of ", record.cka_layer), cka_of});
  for (const Quantity& q : all) out.page.columns.push_back(q.words);
  out.page.numeric = columns_of(out.page.columns.size(), {2, 3, 4, 5, 6, 7, 8});
  for (const PairGroup& group : groups_of(record, true)) {
    for (const bool aligned : {false, true}) {
      if (aligned && !has_aligned(record)) continue;
      std::vector<ReportCell> row{group.words(), aligned ? "yes" : "no"};
      for (const Quantity& q : all) {
        const Estimate e = group_mean(record, group, aligned, q.of);
        if (row.size() == 2) row.emplace_back(str(e.samples));
        row.emplace_back(interval_text(e));
        std::vector<CsvCell> cells{group.words(), aligned ? 1 : 0, q.name};
        add_estimate(cells, e);
        csv.row(cells);
      }
      out.page.rows.push_back(std::move(row));
    }
  }
  out.csv = csv.text();
  return out;
}

NamedTable network_table(const BarriersRecord& record, const Metric& metric) {
  NamedTable out{"barrier_networks", {}, {}};
  const std::string word = metric_word(metric.name);
  out.page.caption = "The networks at the ends of the lines";
  out.page.columns = {"network",   "optimizer",        "checkpoint",  "training loss",
                      "test loss", "training " + word, "test " + word};
  out.page.numeric = columns_of(7, {3, 4, 5, 6});
  CsvTable csv({"name", "optimizer", "checkpoint", "weights_sha256", "train_loss", "test_loss",
                "train_metric", "test_metric", "metric"});
  for (const BarrierNetworkRecord& n : record.networks) {
    out.page.rows.push_back({n.name, n.optimizer, n.checkpoint, readable(n.train_loss),
                             readable(n.test_loss), metric_value_text(metric, n.train_metric),
                             metric_value_text(metric, n.test_metric)});
    csv.row({n.name, n.optimizer, n.checkpoint, n.weights_sha256, n.train_loss, n.test_loss,
             n.train_metric, n.test_metric, metric.name});
  }
  out.csv = csv.text();
  return out;
}

NamedTable pair_table(const BarriersRecord& record) {
  NamedTable out{"barrier_pairs", {}, {}};
  out.page.caption = "Every pair";
  out.page.columns = {
      "from", "to", "aligned", "units moved", "distance", "train loss barrier", "test loss barrier",
      "CKA"};
  out.page.numeric = columns_of(8, {3, 4, 5, 6, 7});
  CsvTable csv({"from", "to", "aligned", "settled", "moved", "units", "distance", "cosine",
                "train_loss_barrier", "train_loss_at", "test_loss_barrier", "test_loss_at",
                "train_metric_barrier", "train_metric_at", "test_metric_barrier", "test_metric_at",
                "cka"});
  for (const BarrierPairRecord& p : record.pairs) {
    const std::string& a = record.networks[static_cast<size_t>(p.from)].name;
    const std::string& b = record.networks[static_cast<size_t>(p.to)].name;
    out.page.rows.push_back({a, b, p.aligned ? "yes" : "no",
                             p.aligned ? str(p.moved, " of ", p.units) : "-", readable(p.distance),
                             readable(p.train_loss_barrier.height),
                             readable(p.test_loss_barrier.height), readable(p.cka)});
    csv.row({a, b, p.aligned ? 1 : 0, p.settled ? 1 : 0, p.moved, p.units, p.distance, p.cosine,
             p.train_loss_barrier.height, p.train_loss_barrier.at, p.test_loss_barrier.height,
             p.test_loss_barrier.at, p.train_metric_barrier.height, p.train_metric_barrier.at,
             p.test_metric_barrier.height, p.test_metric_barrier.at, p.cka});
  }
  out.csv = csv.text();
  return out;
}

// Rows and columns are the networks; a network with itself has no barrier, and a CKA of 1.
struct MatrixRows {
  std::vector<HeatMapRow> rows;
  double low = INFINITY, high = -INFINITY;
};

void add_rows(const BarriersRecord& record, bool aligned, const std::string& group,
              double (*of)(const BarrierPairRecord&), double itself, MatrixRows& out) {
  const size_t n = record.networks.size();
  for (size_t i = 0; i < n; ++i) {
    HeatMapRow row{str(record.networks[i].name, " (", i + 1, ")"), group,
                   std::vector<double>(n, itself)};
    for (size_t j = 0; j < n; ++j) {
      if (i == j) continue;
      const BarrierPairRecord* p = pair_at(record, std::min(i, j), std::max(i, j), aligned);
      const double v = p == nullptr ? std::numeric_limits<double>::quiet_NaN() : of(*p);
      row.values[j] = v;
      if (std::isfinite(v)) out.low = std::min(out.low, v), out.high = std::max(out.high, v);
    }
    out.rows.push_back(std::move(row));
  }
}

Figure matrix_figure(const BarriersRecord& record, const Quantity& q, bool both, double itself,
                     const FigureConditions& conditions) {
  MatrixRows matrix;
  add_rows(record, false, both ? "as trained" : "", q.of, itself, matrix);
  if (both) add_rows(record, true, "aligned", q.of, itself, matrix);
  HeatMap map;
  map.title = str("Between networks: ", q.words);
  map.column_axis = "network";
  map.row_axis = "network";
  map.value_axis = q.words;
  map.decimals = 2;
  CsvTable csv({"from", "to", "aligned", q.name});
  for (size_t i = 0; i < record.networks.size(); ++i) map.columns.push_back(str(i + 1));
  for (size_t r = 0; r < matrix.rows.size(); ++r) {
    for (size_t c = 0; c < map.columns.size(); ++c) {
      csv.row({record.networks[r % record.networks.size()].name, record.networks[c].name,
               r < record.networks.size() ? 0 : 1, matrix.rows[r].values[c]});
    }
  }
  map.rows = std::move(matrix.rows);
  map.low = std::min(itself, std::isfinite(matrix.low) ? matrix.low : itself);
  map.high = std::max(itself, std::isfinite(matrix.high) ? matrix.high : itself);
  if (!(map.high > map.low)) map.high = map.low + 1;
  Figure out{.name = "barriers-" + q.name, .title = map.title};
  std::replace(out.name.begin(), out.name.end(), '_', '-');
  out.svg = heat_map_svg(map);
  out.csv = csv.text();
  out.alt = str("Heat map of ", q.words, " between ", record.networks.size(),
                " networks, pairs from ", readable(matrix.low), " to ", readable(matrix.high), ".");
  return finish_figure(std::move(out),
                       str(q.words, ". Batch norm statistics: ", record.statistics, "."),
                       conditions);
}

// Whether a shared start decides more than the optimizer: the groups of one pair of optimizers.
std::string seeds_sentence(const BarriersRecord& record, const std::vector<PairGroup>& groups,
                           bool aligned) {
  const auto of = [](const BarrierPairRecord& p) { return p.test_loss_barrier.height; };
  std::string out;
  for (size_t g = 0; g + 1 < groups.size(); ++g) {
    const PairGroup &same = groups[g], &other = groups[g + 1];
    if (same.seeds != Seeds::same || other.seeds != Seeds::other || same.b != other.b) continue;
    const Estimate s = group_mean(record, same, aligned, of),
                   o = group_mean(record, other, aligned, of);
    out += str(" Trainings of ", same.a, " and ", same.b,
               " with the same seed, which share their start and the order of the data, lie behind "
               "a barrier of ",
               interval_text(s), aligned ? " after alignment" : "", ", with other seeds ",
               interval_text(o), ": ",
               !std::isfinite(s.interval.low) || !std::isfinite(o.interval.low)
                   ? "too few for intervals"
               : s.interval.high < o.interval.low ? "the start counts"
               : s.interval.low > o.interval.high ? "the shared start does not bring them closer"
                                                  : "the intervals do not tell the two apart",
               ".");
  }
  return out;
}

// "0.8 [0.5, 1.1] within adamw, ..", then the same aligned, then what follows from the intervals.
std::string answer(const BarriersRecord& record) {
  const auto of = [](const BarrierPairRecord& p) { return p.test_loss_barrier.height; };
  const std::vector<PairGroup> groups = groups_of(record, true);
  const auto sentence = [&](bool aligned) {
    std::vector<std::string> words;
    for (const PairGroup& group : groups) {
      words.push_back(
          str(interval_text(group_mean(record, group, aligned, of)), " ", group.words()));
    }
    return joined(words);
  };
  std::string out = str("Mean barrier of the test loss on straight lines: ", sentence(false), ".");
  const bool aligned = has_aligned(record);
  if (aligned) {
    out += str(" After permuting hidden units to match: ", sentence(true), ".");
  }
  for (const PairGroup& group : groups) {
    const Estimate e = group_mean(record, group, aligned, of);
    const bool known = std::isfinite(e.interval.low), above = e.interval.low > 0;
    out += str(" Pairs ", group.words(), ": ",
               !known  ? "too few for an interval, so that nothing follows"
               : above ? "a barrier stands between them"
                       : "no barrier is told from zero",
               aligned && above ? ", which no permutation found here takes away" : "", ".");
  }
  return out + seeds_sentence(record, groups, aligned);
}

std::string key_of(const PairGroup& group) {
  return str(group.a, "_", group.b.empty() ? group.a : group.b,
             group.seeds == Seeds::same    ? "_same_seed"
             : group.seeds == Seeds::other ? "_other_seeds"
                                           : "");
}

}  // namespace

Record barrier_numbers(const BarriersRecord& record) {
  Record out;
  out.add("networks", std::ssize(record.networks));
  std::vector<Quantity> all = quantities("");
  all.push_back({"distance", "", distance_of});
  std::vector<PairGroup> groups = groups_of(record, false);
  for (const PairGroup& group : groups_of(record, true)) {
    if (group.seeds != Seeds::any) groups.push_back(group);
  }
  for (const PairGroup& group : groups) {
    for (const bool aligned : {false, true}) {
      if (aligned && !has_aligned(record)) continue;
      for (const Quantity& q : all) {
        const Estimate e = group_mean(record, group, aligned, q.of);
        const std::string key = str(q.name, "_", key_of(group), aligned ? "_aligned" : "");
        out.add(key, e.value).add(key + "_low", e.interval.low).add(key + "_high", e.interval.high);
      }
    }
    const Estimate cka = group_mean(record, group, false, cka_of);
    const std::string key = "cka_" + key_of(group);
    out.add(key, cka.value)
        .add(key + "_low", cka.interval.low)
        .add(key + "_high", cka.interval.high);
  }
  return out;
}

PartReport barriers_report(const BarriersRecord& record, const Metric& metric,
                           const FigureConditions& conditions) {
  PartReport out;
  PartSection means{"Barriers", answer(record), {answer_table(record, metric)}, {}};
  const bool both = has_aligned(record);
  for (const Quantity& q : quantities(metric.name)) {
    means.figures.push_back(matrix_figure(record, q, both, 0, conditions));
  }
  PartSection alike{
      "Representations",
      str("Debiased linear CKA of ", record.cka_layer,
          " on test examples, which no permutation of hidden units changes."),
      {},
      {matrix_figure(record, {"cka", "CKA of " + record.cka_layer, cka_of}, false, 1, conditions)}};
  PartSection all{"Networks and pairs",
                  str("Batch norm statistics: ", record.statistics, "."),
                  {network_table(record, metric), pair_table(record)},
                  {}};
  for (const BarrierNetworkRecord& n : record.networks) {
    if (n.same_data) continue;
    out.warnings.push_back(str(n.name, ": measured on the data of ", record.networks.front().name,
                               ", which its own settings do not name (another folder, or another "
                               "draw by another seed)"));
  }
  for (const BarrierPairRecord& p : record.pairs) {
    const auto failed = std::count_if(p.test_loss.begin(), p.test_loss.end(),
                                      [](double v) { return !std::isfinite(v); });
    const std::string who = str(record.networks[static_cast<size_t>(p.from)].name, " and ",
                                record.networks[static_cast<size_t>(p.to)].name);
    if (failed > 0) {
      out.warnings.push_back(str(who, ": ", failed, " points of the line have no finite loss"));
    }
    if (!p.settled) {
      out.warnings.push_back(str(who, ": the alignment had not settled when it was stopped"));
    }
  }
  out.sections = {std::move(means), std::move(alike), std::move(all)};
  return out;
}

}  // namespace basin::tools
