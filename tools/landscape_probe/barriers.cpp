// Measuring barriers between every two of several networks.
#include "basin/tools/landscape_probe/barriers.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "basin/analysis/alignment.h"
#include "basin/analysis/cka.h"
#include "basin/analysis/paths.h"
#include "basin/tools/landscape_probe/detail/compare.h"
#include "basin/tools/landscape_probe/detail/probe.h"
#include "basin/tools/landscape_probe/probed.h"
#include "basin/tools/landscape_probe/settings.h"
#include "basin/tools/landscape_probe/watched.h"
#include "basin/tools/shell/progress.h"

namespace basin::tools {
namespace {

constexpr const char* kBarriers = "barriers";

const std::vector<std::string>& barriers_depend_on() {
  static const std::vector<std::string> keys{
      "path_examples", "interpolate_statistics", "barrier_points", "align", "batch", "dtype",
      "seed"};
  return keys;
}

struct Network {
  Trained trained;
  ModelState state;  // in the precision of the measurement
  std::string sha256;
};

std::vector<Network> load_networks(const std::vector<std::string>& paths, const Config& config) {
  std::vector<Network> out;
  for (const std::string& path : paths) {
    Trained t = load_probed(path, config);
    if (!out.empty()) check_one_kind("barriers", out.front().trained, t);
    ModelState state = probe_context(t, config, {}).state;
    std::string sha256 = sha256_hex_of_file(t.file);
    out.push_back({std::move(t), std::move(state), std::move(sha256)});
  }
  return out;
}

// Height above the straight line between the ends, of values that are better when smaller.
BarrierHeight height_of(const std::vector<double>& t, const std::vector<double>& values,
                        double sign) {
  BarrierHeight out{NAN, 0};
  for (size_t k = 0; k < t.size(); ++k) {
    const double chord = (1 - t[k]) * values.front() + t[k] * values.back();
    const double rise = sign * (values[k] - chord);
    if (!std::isfinite(rise) || !(std::isnan(out.height) || rise > out.height)) continue;
    out = {rise, t[k]};
  }
  return out;
}

class BarrierMeasurement {
 public:
  BarrierMeasurement(const std::vector<Network>& networks, const Config& config,
                     const fs::path& dir)
      : networks_(networks),
        config_(config),
        context_(probe_context(networks.front().trained, config, dir)),
        train_(context_.data(Split::train, "path_examples")),
        test_(context_.data(Split::test, "path_examples")),
        interpolate_(config.flag("interpolate_statistics") || context_.state.buffers.size() == 0) {}

  BarriersRecord measure(const PartFiles& files, const Record& identity) {
    BarriersRecord out;
    out.train_data = train_.description;
    out.test_data = test_.description;
    out.statistics = context_.state.buffers.size() == 0 ? "none"
                     : interpolate_                     ? "interpolated"
                                                        : "estimated anew at every point";
    for (const Network& n : networks_) {
      const Values at = values_at(n.state.params, n.state.buffers);
      const Trained& t = n.trained;
      out.networks.push_back({short_name(t), t.optimizer(),
                              t.checkpoint ? t.checkpoint->path.filename().string() : "weights",
                              n.sha256, at.train.loss, at.test.loss, at.train.metric,
                              at.test.metric,
                              t.task.data().hash == networks_.front().trained.task.data().hash,
                              t.checkpoint ? str(t.settings.train.seed) : ""});
      ends_.push_back(at);
      layers_.push_back(representations(context_.trained.task, n.trained.state, test_));
    }
    const std::vector<Representation>& first = layers_.front();
    layer_ = first.size() > 1 ? first.size() - 2 : 0;
    out.cka_layer = first[layer_].layer;
    const int versions = config_.flag("align") ? 2 : 1;
    for (int version = 0; version < versions; ++version) {
      for (size_t i = 0; i < networks_.size(); ++i) {
        for (size_t j = i + 1; j < networks_.size(); ++j) {
          out.pairs.push_back(pair_of(i, j, version == 1, files, identity));
        }
      }
    }
    return out;
  }

 private:
  struct Values {
    MeanLoss train, test;
  };

  Values values_at(const ParamList& params, const ParamList& interpolated) const {
    heed_signals();
    const Task& task = context_.trained.task;
    const Tensors w = params.values();
    const ParamList buffers =
        interpolate_ ? interpolated : reestimated_buffers(task, w, context_.state.buffers, train_);
    return {mean_loss(task, w, buffers.values(), train_, NormStatistics::frozen),
            mean_loss(task, w, buffers.values(), test_, NormStatistics::frozen)};
  }

  BarrierPairRecord pair_of(size_t i, size_t j, bool aligned, const PartFiles& files,
                            const Record& identity) const {
    const std::string part = str("pair-", i + 1, "-", j + 1, aligned ? "-aligned" : "");
    if (files.has(part)) {
      files.refuse_other(part, identity);
      return files.read<BarrierPairRecord>(part);
    }
    BarrierPairRecord out = measured_pair(i, j, aligned);
    files.write(part, identity, out);
    log_line(str(kBarriers, ": ", short_name(networks_[i].trained), " and ",
                 short_name(networks_[j].trained), aligned ? ", aligned" : "", ": loss barrier ",
                 readable(out.train_loss_barrier.height), " (train), ",
                 readable(out.test_loss_barrier.height), " (test)"));
    return out;
  }

  BarrierPairRecord measured_pair(size_t i, size_t j, bool aligned) const {
    const ModelState& a = networks_[i].state;
    ModelState b = networks_[j].state.clone();
    BarrierPairRecord out{.from = static_cast<int64_t>(i), .to = static_cast<int64_t>(j)};
    out.aligned = aligned;
    if (aligned) {
      const std::vector<HiddenUnits>& hidden = context_.trained.task.model.hidden;
      const Alignment found = align_units(a, b, hidden, {.seed = context_.seed});
      b = reordered(b, hidden, found.orders);
      out.moved = found.moved;
      out.units = found.units;
      out.settled = found.settled;
    }
    const Direction apart = difference_direction(a.params, b.params, "line");
    out.distance = apart.norm();
    out.cosine = cosine_of(a.params, b.params);
    const int64_t points = config_.integer("barrier_points");
    for (int64_t k = 0; k < points; ++k) {
      const double t = static_cast<double>(k) / static_cast<double>(points - 1);
      // The ends are the networks themselves.
      const Values at = k == 0            ? ends_[i]
                        : k == points - 1 ? ends_[j]
                                          : values_at(between(a.params, b.params, t),
                                                      between(a.buffers, b.buffers, t));
      out.t.push_back(t);
      out.train_loss.push_back(at.train.loss), out.test_loss.push_back(at.test.loss);
      out.train_metric.push_back(at.train.metric), out.test_metric.push_back(at.test.metric);
    }
    const double worse = context_.trained.task.metrics.front().larger_is_better ? -1 : 1;
    out.train_loss_barrier = height_of(out.t, out.train_loss, 1);
    out.test_loss_barrier = height_of(out.t, out.test_loss, 1);
    out.train_metric_barrier = height_of(out.t, out.train_metric, worse);
    out.test_metric_barrier = height_of(out.t, out.test_metric, worse);
    out.cka = debiased_linear_cka(layers_[i][layer_].rows, layers_[j][layer_].rows);
    return out;
  }

  static double cosine_of(const ParamList& a, const ParamList& b) {
    double product = 0, of_a = 0, of_b = 0;
    for (size_t p = 0; p < a.size(); ++p) {
      for (int64_t k = 0; k < a[p].value.numel(); ++k) {
        const double x = a[p].value.at(k), y = b[p].value.at(k);
        product += x * y, of_a += x * x, of_b += y * y;
      }
    }
    return product / std::sqrt(of_a * of_b);
  }

  const std::vector<Network>& networks_;
  const Config& config_;
  ProbeContext context_;
  ProbeData train_, test_;
  bool interpolate_;
  std::vector<Values> ends_;
  std::vector<std::vector<Representation>> layers_;
  size_t layer_ = 0;  // whose representations are compared
};

Record barrier_facts(const std::vector<Network>& networks) {
  const Task& task = networks.front().trained.task;
  Record out;
  out.add("task", std::string_view(task.name))
      .add("example", std::string_view(task.example))
      .add("metric", std::string_view(task.metrics.front().name))
      .add("metric_unit", std::string_view(task.metrics.front().unit))
      .add("model", task.model.name)
      .add("data", task.data().source)
      .add("data_hash", task.data().hash);
  for (size_t i = 0; i < networks.size(); ++i) {
    out.add(str("weights_sha256_", i + 1), std::string_view(networks[i].sha256));
  }
  return out;
}

FigureConditions barrier_conditions(const BarriersRecord& record, const RecordFields& identity,
                                    const std::string& command) {
  FigureConditions out;
  out.data = str(record.train_data, "; ", record.test_data);
  out.dtype = identity.text("probe_dtype");
  out.level = 0;
  out.command = command;
  return out;
}

}  // namespace

std::vector<Setting> barriers_settings() {
  using enum Purpose;
  return {
      {"align", Kind::flag, "false",
       "barriers: measure again with hidden units permuted to lie closest to the other's"},
      {"barrier_points", Kind::integer, "25", "barriers: points of each line, ends included"},
  };
}

void check_barriers_settings(const Config& config) { at_least(config, "barrier_points", 3); }

std::string barriers_between(const std::vector<std::string>& networks, const Config& config,
                             const fs::path& out, const std::string& command) {
  check(networks.size() >= 2,
        "barriers: expects two networks at least (run directories, checkpoints or files of "
        "weights), given ",
        networks.size());
  const std::vector<Network> all = load_networks(networks, config);
  const Trained& any = all.front().trained;
  check(!config.flag("align") || !any.task.model.hidden.empty(), config.origin("align"),
        ": align is not possible, the network ", any.task.model.name,
        " does not declare its hidden units");
  const fs::path dir = !out.empty()
                           ? out
                           : fs::path("runs") / str("barriers-", short_name(all.front().trained),
                                                    "-", short_name(all.back().trained));
  const Record facts = barrier_facts(all);
  const Record identity = identity_of(facts, any.task.example, config, barriers_depend_on());
  const PartFiles files(dir);
  if (files.has(kBarriers)) {
    files.refuse_other(kBarriers, identity);
    log_line(str(kBarriers, ": there already, ", files.file(kBarriers).string()));
  } else {
    RunDir results = open_results(dir, config);
    measure_into(results, facts, command, [&] {
      BarrierMeasurement measurement(all, config, dir);
      const PartFiles pairs(dir / "pairs");
      make_folder(dir / "pairs");
      files.write(kBarriers, identity, measurement.measure(pairs, identity));
    });
  }
  const auto record = files.read<BarriersRecord>(kBarriers);
  const PartReport parts =
      barriers_report(record, any.task.metrics.front(),
                      barrier_conditions(record, files.identity(kBarriers), command));
  write_measured(dir, "Same basin or not", parts, command);
  if (const std::string& json = config.text("json"); !json.empty()) {
    write_file_atomic(json, barrier_numbers(record).pretty());
  }
  std::string printed = text_table(parts.sections.front().tables.front().page) + "\n";
  printed += parts.sections.front().text + "\n";
  return printed + str("report: ", (dir / "report.html").string(), "\n");
}

PartReport barriers_report_of(const fs::path& dir, const std::vector<BarrierNames>& names,
                              const std::string& command) {
  const PartFiles files(dir);
  auto record = files.read<BarriersRecord>(kBarriers);
  const RecordFields identity = files.identity(kBarriers);
  if (record.networks.size() != names.size()) {
    fail(ErrorKind::data, files.file(kBarriers).string(), ": expected ", names.size(),
         " networks, found ", record.networks.size());
  }
  for (size_t i = 0; i < names.size(); ++i) {
    BarrierNetworkRecord& n = record.networks[i];
    n.name = names[i].network, n.optimizer = names[i].optimizer, n.seed = names[i].seed;
  }
  return barriers_report(record, {identity.text("metric"), identity.text("metric_unit")},
                         barrier_conditions(record, identity, command));
}

void fields(FieldWalk& walk, BarrierNetworkRecord& r) {
  walk("name", r.name), walk("optimizer", r.optimizer), walk("checkpoint", r.checkpoint);
  walk("weights_sha256", r.weights_sha256), walk("train_loss", r.train_loss);
  walk("test_loss", r.test_loss), walk("train_metric", r.train_metric);
  walk("test_metric", r.test_metric), walk("same_data", r.same_data);
  walk.optional("seed", r.seed);
}
void fields(FieldWalk& walk, BarrierHeight& r) { walk("height", r.height), walk("at", r.at); }
void fields(FieldWalk& walk, BarrierPairRecord& r) {
  walk("from", r.from), walk("to", r.to), walk("aligned", r.aligned);
  walk("distance", r.distance), walk("cosine", r.cosine), walk("moved", r.moved);
  walk("units", r.units), walk("settled", r.settled), walk("t", r.t);
  walk("train_loss", r.train_loss), walk("test_loss", r.test_loss);
  walk("train_metric", r.train_metric), walk("test_metric", r.test_metric);
  walk("train_loss_barrier", r.train_loss_barrier);
  walk("test_loss_barrier", r.test_loss_barrier);
  walk("train_metric_barrier", r.train_metric_barrier);
  walk("test_metric_barrier", r.test_metric_barrier), walk("cka", r.cka);
}
void fields(FieldWalk& walk, BarriersRecord& r) {
  walk("train_data", r.train_data), walk("test_data", r.test_data);
  walk("statistics", r.statistics), walk("cka_layer", r.cka_layer);
  walk("networks", r.networks), walk("pairs", r.pairs);
}

void check_record(const BarriersRecord& record, const std::string& file) {
  const auto n = std::ssize(record.networks);
  for (const BarrierPairRecord& p : record.pairs) {
    if (0 <= p.from && p.from < p.to && p.to < n) continue;
    fail(ErrorKind::data, file, ": a pair is expected to be of two of the ", n,
         " networks in their order, it is ", p.from, " and ", p.to);
  }
}

}  // namespace basin::tools
