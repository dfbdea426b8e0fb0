// Training on from a network and from a rotated copy of it.
#include "basin/tools/landscape_probe/detail/gauge.h"

#include <algorithm>
#include <cmath>

#include "basin/core/random.h"
#include "basin/figures/line_plot.h"
#include "basin/kernels/linalg.h"
#include "basin/optim/registry.h"
#include "basin/tools/landscape_probe/detail/compare.h"
#include "basin/tools/landscape_probe/detail/probe.h"
#include "basin/tools/landscape_probe/probed.h"
#include "basin/tools/landscape_probe/settings.h"
#include "basin/tools/landscape_probe/watched.h"
#include "basin/tools/shell/progress.h"

namespace basin::tools {
namespace {

constexpr const char* kGauge = "gauge";

const std::vector<std::string>& gauge_depends_on() {
  static const std::vector<std::string> keys{"gauge_steps",   "gauge_records", "gauge_optimizers",
                                             "path_examples", "batch",         "seed"};
  return keys;
}

std::vector<HiddenUnits> rotating(const Model& model) {
  std::vector<HiddenUnits> out;
  for (const HiddenUnits& units : model.hidden) {
    if (units.rotates) out.push_back(units);
  }
  return out;
}

// Uniform on O(n) but for signs, which no distance feels.
Tensor random_basis(int64_t n, uint64_t seed, const std::string& name) {
  Rng rng(seed, stream_id(name));
  Tensor gaussian = Tensor::empty({n, n}, DType::f64);
  for (int64_t i = 0; i < n * n; ++i) gaussian.mutable_data<double>()[i] = rng.normal();
  return QrBasis::cpu(gaussian);
}

double rms_between(const Tensors& a, const Tensors& b) {
  double sum = 0;
  int64_t count = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    for (int64_t k = 0; k < a[i].numel(); ++k, ++count) {
      const double d = a[i].at(k) - (b.empty() ? 0 : b[i].at(k));
      sum += d * d;
    }
  }
  return std::sqrt(sum / static_cast<double>(count));
}

struct Rule {
  std::string optimizer;
  double lr = 0;
};

// "muon", at its default rate, or "sgd=0.001".
std::vector<Rule> rules_of(const Config& config) {
  std::vector<Rule> out;
  for (const std::string& word : setting_words(config, "gauge_optimizers", {})) {
    const size_t sign = std::min(word.find('='), word.size());
    const std::string name = word.substr(0, sign);
    const std::vector<std::string> known = optimizer_names();
    check(std::find(known.begin(), known.end(), name) != known.end(),
          config.origin("gauge_optimizers"), ": there is no optimizer '", name, "'",
          [&] { return name_suggestion(name, known); });
    Rule rule{name, optimizer_info(name).default_lr};
    check(sign == word.size() || (parse_double(word.substr(sign + 1), rule.lr) && rule.lr > 0 &&
                                  std::isfinite(rule.lr)),
          config.origin("gauge_optimizers"),
          ": expected OPTIMIZER or OPTIMIZER=RATE with a positive rate, given '", word, "'");
    out.push_back(std::move(rule));
  }
  check(!out.empty(), config.origin("gauge_optimizers"),
        ": gauge_optimizers is expected to name an optimizer");
  return out;
}

// A copy of the network with its own optimizer over the parameters that move.
class Course {
 public:
  Course(const Task& task, ModelState state, std::vector<size_t> moving, const Rule& rule)
      : task_(task), state_(std::move(state)), moving_(std::move(moving)) {
    for (const size_t i : moving_) part_.add(state_.params[i]);
    optimizer_ = make_optimizer({.name = rule.optimizer, .lr = rule.lr}, part_);
  }

  double step(const Batch& batch, int64_t number) {
    const Objective asked =
        task_.objective(state_.buffers.values(), batch, ForwardOptions::evaluation());
    const ValueGrad vg = value_and_grad(training_loss(asked))(values());
    const double loss = vg.value.item();
    if (!std::isfinite(loss)) {
      fail(ErrorKind::numerical, "gauge: the loss under ", optimizer_->name(), " at step ", number,
           " is ", loss);
    }
    Tensors grads;
    for (const size_t i : moving_) grads.push_back(vg.grads[i]);
    optimizer_->step(part_, grads, {.step = number, .loss = loss});
    return loss;
  }

  Tensors outputs(const std::vector<Batch>& batches) const {
    Tensors out;
    for (const Batch& batch : batches) {
      const Objective asked =
          task_.objective(state_.buffers.values(), batch, ForwardOptions::evaluation());
      for (Tensor& t : outputs_only(asked)(values())) out.push_back(std::move(t));
    }
    return out;
  }

 private:
  Tensors values() const {
    Tensors out = state_.params.values();
    for (size_t k = 0; k < moving_.size(); ++k) out[moving_[k]] = part_[k].value;
    return out;
  }

  const Task& task_;
  ModelState state_;
  std::vector<size_t> moving_;  // positions of the parameters that are trained
  ParamList part_;              // those
  std::unique_ptr<Optimizer> optimizer_;
};

class GaugeMeasurement {
 public:
  GaugeMeasurement(const Trained& trained, const Config& config, const fs::path& dir)
      : task_(trained.task), config_(config), context_(probe_context(trained, config, dir)) {
    start_ = trained.state.to(DType::f64);
    turned_ = start_.clone();
    for (const HiddenUnits& units : rotating(task_.model)) {
      turned_ = rotated(turned_, units, random_basis(units.count, context_.seed, units.name));
    }
    ProbeData data = context_.data(Split::test, "path_examples");
    description_ = data.description;
    for (const Batch& b : data.batches) test_.push_back(b.to(DType::f64));
    source_ = task_.source(
        {.split = Split::train, .training = true, .batch = context_.batch, .seed = context_.seed});
  }

  GaugeRecord measure() {
    GaugeRecord out;
    out.data = description_;
    for (const HiddenUnits& units : rotating(task_.model)) {
      out.groups += str(out.groups.empty() ? "" : ", ", units.name, " (", units.count, ")");
    }
    for (size_t i = 0; i < start_.params.size(); ++i) {
      const bool touched = rms_between({start_.params[i].value}, {turned_.params[i].value}) > 0;
      out.turned += touched ? 1 : 0;
    }
    const std::vector<size_t> every = moving(false), matrices = moving(true);
    out.held = std::ssize(every) - std::ssize(matrices);
    const Rule any = rules_of(config_).front();
    const Tensors at_start = Course(task_, start_.clone(), every, any).outputs(test_);
    out.size = rms_between(at_start, {});
    out.at_start = rms_between(Course(task_, turned_.clone(), every, any).outputs(test_), at_start);
    for (const bool matrices_only : {false, true}) {
      for (const Rule& rule : rules_of(config_)) {
        out.paths.push_back(path(rule, matrices_only, at_start));
        const GaugePathRecord& p = out.paths.back();
        log_line(str(kGauge, ": ", rule.optimizer, matrices_only ? ", matrices alone" : "",
                     ": distance ", readable(p.distance.back()), " after ", p.step.back(),
                     " steps, moved ", readable(p.moved.back())));
      }
    }
    return out;
  }

 private:
  // All parameters, or those that Muon orthogonalises.
  std::vector<size_t> moving(bool matrices_only) const {
    std::vector<size_t> out;
    const std::vector<RoutingRow> rows = make_optimizer({.name = "muon"}, start_.params)->routing();
    for (size_t i = 0; i < start_.params.size(); ++i) {
      if (!matrices_only || rows[i].optimizer == "muon") out.push_back(i);
    }
    return out;
  }

  GaugePathRecord path(const Rule& rule, bool matrices_only, const Tensors& at_start) const {
    const std::vector<size_t> which = moving(matrices_only);
    Course plain(task_, start_.clone(), which, rule), other(task_, turned_.clone(), which, rule);
    GaugePathRecord out{.optimizer = rule.optimizer, .matrices_only = matrices_only, .lr = rule.lr};
    const int64_t steps = config_.integer("gauge_steps"),
                  apart = std::max<int64_t>(1, steps / config_.integer("gauge_records"));
    double loss = NAN, rotated_loss = NAN;
    for (int64_t step = 0; step <= steps; ++step) {
      heed_signals();
      if (step % apart == 0 || step == steps) {
        const Tensors f = plain.outputs(test_);
        out.step.push_back(step);
        out.distance.push_back(rms_between(other.outputs(test_), f));
        out.moved.push_back(rms_between(f, at_start));
        out.loss.push_back(loss), out.rotated_loss.push_back(rotated_loss);
      }
      if (step == steps) break;
      const int64_t per_epoch = source_->batches();
      const Batch batch = source_->batch(step / per_epoch, step % per_epoch).to(DType::f64);
      loss = plain.step(batch, step);
      rotated_loss = other.step(batch, step);
    }
    return out;
  }

  const Task& task_;
  const Config& config_;
  ProbeContext context_;
  ModelState start_, turned_;
  std::vector<Batch> test_;
  std::string description_;
  std::shared_ptr<const Source> source_;
};

NamedTable gauge_table(const GaugeRecord& record) {
  NamedTable out{"gauge", {}, {}};
  out.page.caption =
      "Distance between the functions learnt from a network and from its rotated copy, rms over "
      "test outputs";
  out.page.columns = {"optimizer", "trained",     "rate",  "steps",
                      "distance",  "path length", "ratio", "stays"};
  out.page.numeric = columns_of(8, {2, 3, 4, 5, 6});
  CsvTable csv({"optimizer", "trained", "lr", "step", "distance", "moved", "loss", "rotated_loss"});
  for (const GaugePathRecord& p : record.paths) {
    const std::string trained = p.matrices_only ? "hidden matrices" : "all";
    const double ratio = p.distance.back() / p.moved.back();
    out.page.rows.push_back({p.optimizer, trained, readable(p.lr), str(p.step.back()),
                             readable(p.distance.back()), readable(p.moved.back()), readable(ratio),
                             ratio < 1e-6 ? "yes" : "no"});
    for (size_t k = 0; k < p.step.size(); ++k) {
      csv.row({p.optimizer, trained, p.lr, p.step[k], p.distance[k], p.moved[k], p.loss[k],
               p.rotated_loss[k]});
    }
  }
  out.page.columns[5] = "moved from the start";
  out.csv = csv.text();
  return out;
}

Figure gauge_figure(const GaugeRecord& record, const std::string& command) {
  LinePlot plot;
  plot.title = "Distance in function space after a rotation of hidden bases";
  plot.notes = {str("rotated: ", record.groups, "; the same batches; f64")};
  plot.share_y = true;
  std::string alt;
  for (const bool matrices_only : {false, true}) {
    PlotPanel panel;
    panel.title = matrices_only ? "hidden matrices trained, the rest held" : "all trained";
    panel.x.label = "step";
    panel.y.label = "rms distance of outputs";
    panel.y.scale = AxisScale::log;
    int number = 0;
    for (const GaugePathRecord& p : record.paths) {
      if (p.matrices_only != matrices_only) continue;
      PlotSeries series;
      if (!matrices_only) series.name = p.optimizer;
      series.style = series_style(number++);
      for (size_t k = 0; k < p.step.size(); ++k) {
        if (!(p.distance[k] > 0)) continue;  // equal to the bit: nothing to draw on a log axis
        series.x.push_back(static_cast<double>(p.step[k]));
        series.y.push_back(p.distance[k]);
      }
      panel.series.push_back(std::move(series));
      alt += str(alt.empty() ? "" : " ", panel.title, ", ", p.optimizer, ": from ",
                 readable(p.distance.front()), " to ", readable(p.distance.back()), ".");
    }
    plot.panels.push_back(std::move(panel));
  }
  Figure out{.name = "gauge-distance", .title = plot.title};
  out.svg = line_plot_svg(plot);
  out.csv = line_plot_csv(plot);
  out.alt = alt;
  return finish_figure(std::move(out),
                       "Two copies of one function in different hidden bases, trained alike.",
                       {.data = record.data, .dtype = "f64", .level = 0, .command = command});
}

std::string gauge_answer(const GaugeRecord& record) {
  std::vector<std::string> stays, leaves;
  for (const GaugePathRecord& p : record.paths) {
    const std::string who = p.optimizer + (p.matrices_only ? " (hidden matrices alone)" : "");
    (p.distance.back() < 1e-6 * p.moved.back() ? stays : leaves).push_back(who);
  }
  return str("Rotating ", record.groups, " changes the outputs by ", readable(record.at_start),
             " (rms; outputs ", readable(record.size), "). Trained on, the function does not ",
             "depend on the basis under ", stays.empty() ? "none" : joined(stays),
             "; it does under ", leaves.empty() ? "none" : joined(leaves), ".");
}

Record gauge_numbers(const GaugeRecord& record) {
  Record out;
  out.add("distance_at_start", record.at_start);
  for (const GaugePathRecord& p : record.paths) {
    const std::string key = p.optimizer + (p.matrices_only ? "_matrices" : "_all");
    out.add("distance_" + key, p.distance.back()).add("moved_" + key, p.moved.back());
  }
  return out;
}

}  // namespace

std::vector<Setting> gauge_settings() {
  using enum Purpose;
  return {
      {"gauge_steps", Kind::integer, "100", "gauge: training steps from both copies"},
      {"gauge_records", Kind::integer, "20", "gauge: how often the distance is measured"},
      {"gauge_optimizers", Kind::text, "sgd=0.001,adam,adamw,muon",
       "gauge: comma list of optimizers, each at its default rate or NAME=RATE"},
  };
}

void check_gauge_settings(const Config& config) {
  at_least(config, "gauge_steps", 1);
  at_least(config, "gauge_records", 1);
  rules_of(config);
}

std::string gauge_paths(const std::string& network, const Config& config, const fs::path& out,
                        const std::string& command) {
  const Trained trained = load_probed(network, config);
  check(!rotating(trained.task.model).empty(), "gauge: no hidden units of the network ",
        trained.task.model.name,
        " can be rotated without changing its function (egnn-qm9 has some)");
  const fs::path dir = out.empty() ? fs::path("runs") / str("gauge-", short_name(trained)) : out;
  const Record facts = facts_of(trained);
  const Record identity = identity_of(facts, trained.task.example, config, gauge_depends_on());
  const PartFiles files(dir);
  if (files.has(kGauge)) {
    files.refuse_other(kGauge, identity);
    log_line(str(kGauge, ": there already, ", files.file(kGauge).string()));
  } else {
    RunDir results = open_results(dir, config);
    measure_into(results, facts, command, [&] {
      files.write(kGauge, identity, GaugeMeasurement(trained, config, dir).measure());
    });
  }
  const auto record = files.read<GaugeRecord>(kGauge);
  const PartSection section{
      "Gauge", gauge_answer(record), {gauge_table(record)}, {gauge_figure(record, command)}};
  write_measured(dir, "Does training depend on the hidden basis", {.sections = {section}}, command);
  if (const std::string& json = config.text("json"); !json.empty()) {
    write_file_atomic(json, gauge_numbers(record).pretty());
  }
  return str(text_table(section.tables.front().page), "\n", section.text,
             "\nreport: ", (dir / "report.html").string(), "\n");
}

void fields(FieldWalk& walk, GaugePathRecord& r) {
  walk("optimizer", r.optimizer), walk("matrices_only", r.matrices_only), walk("lr", r.lr);
  walk("step", r.step), walk("distance", r.distance), walk("moved", r.moved);
  walk("loss", r.loss), walk("rotated_loss", r.rotated_loss);
}
void fields(FieldWalk& walk, GaugeRecord& r) {
  walk("data", r.data), walk("groups", r.groups), walk("at_start", r.at_start);
  walk("size", r.size), walk("turned", r.turned), walk("held", r.held), walk("paths", r.paths);
}
void check_record(const GaugeRecord& record, const std::string& file) {
  for (const GaugePathRecord& p : record.paths) {
    const size_t n = p.step.size();
    if (n > 0 && p.distance.size() == n && p.moved.size() == n && p.loss.size() == n &&
        p.rotated_loss.size() == n) {
      continue;
    }
    fail(ErrorKind::data, file, ": a path is expected to have as many numbers as steps, that of ",
         p.optimizer, " has ", n, " steps and ", p.distance.size(), " distances");
  }
}

}  // namespace basin::tools
