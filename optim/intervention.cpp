// Interventions around an optimizer. The matrices of a step share the threads.
#include "basin/optim/detail/intervention.h"

#include <algorithm>
#include <cmath>

#include "basin/core/io.h"
#include "basin/core/lines.h"
#include "basin/core/parallel.h"
#include "basin/core/record.h"
#include "basin/kernels/elementwise.h"
#include "basin/kernels/launch.h"
#include "basin/optim/detail/matrix_blocks.h"
#include "basin/optim/detail/spectral.h"
#include "basin/optim/newton_schulz.h"
#include "basin/optim/state.h"

namespace basin {
namespace {

using SpectrumKind = SpectrumRule::Kind;
using SpectrumSham = SpectrumRule::Sham;
constexpr double kUnset = std::numeric_limits<double>::quiet_NaN();
constexpr std::string_view kPrefix = "spectrum.";

std::span<const double> numbers_in(const Tensor& t) {
  return {t.data<double>(), static_cast<size_t>(t.numel())};
}

std::string_view field_of(SpectrumKind kind) {
  return kind == SpectrumKind::cap           ? "spectral_norm"
         : kind == SpectrumKind::stable_rank ? "stable_rank"
                                             : "spectrum_change";
}

// By matrix the rows (step, value) of the lines "probe_matrix".
std::map<std::string, std::vector<double>> recorded_targets(const SpectrumRule& rule) {
  const std::string text = read_text_file(rule.file), field(field_of(rule.kind));
  std::map<std::string, std::vector<double>> out;
  LineReader lines(text);
  for (std::string_view line; lines.next(line);) {
    if (line.find("probe_matrix") == line.npos) continue;
    const RecordFields f = parse_record(line, str(rule.file, ":", lines.number()));
    if (!f.has(field)) continue;
    std::vector<double>& rows = out[f.text("name")];
    const auto step = static_cast<double>(f.integer("step"));
    const double value = f.number(field);
    if (!(std::isfinite(value) && value >= 0) || (!rows.empty() && step <= rows[rows.size() - 2])) {
      fail(ErrorKind::data, rule.file, ":", lines.number(), ": expected steps that rise and a ",
           field, " of at least 0, got ", value, " at step ", f.integer("step"));
    }
    rows.insert(rows.end(), {step, value});
  }
  return out;
}

// Straight lines between the points, constant outside.
double target_at(const Tensor& points, double step) {
  const double* p = points.data<double>();
  const int64_t n = points.size(0);
  int64_t next = 0;
  while (next < n && p[2 * next] <= step) ++next;
  if (next == 0 || next == n) return p[2 * (next == 0 ? 0 : n - 1) + 1];
  const double* a = p + 2 * (next - 1);
  return a[1] + (a[3] - a[1]) * ((step - a[0]) / (a[2] - a[0]));
}

double norm_of(std::span<const double> x) {
  double sum = 0;
  for (const double v : x) sum += v * v;
  return std::sqrt(sum);
}

double distance(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum);
}

Tensor added(const Tensor& a, const Tensor& b) {
  Tensor out = Tensor::empty(a.shape(), a.dtype(), a.device());
  launch<BinaryMap>(a.device(), Binary::add, a, b, out);
  return out;
}

Tensor finite_matrix(const Param& p, const ChosenMatrix& at) {
  const Tensor w = matrix_of(p, at.block);
  const auto values = numbers_in(w);
  if (!std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); })) {
    fail(ErrorKind::numerical, "spectrum: the weights of '", at.name, "' are not finite");
  }
  return w;
}

}  // namespace

Intervention::Intervention(const SpectrumRule& spectrum, const PenaltyRule& penalty,
                           const ParamList& params, std::unique_ptr<Optimizer> inner)
    : rule_(spectrum), penalty_(penalty), inner_(std::move(inner)) {
  check(inner_->loss_use() != LossUse::line_search, name(),
        ": its line search knows of no spectrum and no penalty; take them away");
  if (penalty.any()) penalised_ = chosen_matrices(params, penalty.matrices, "penalty");
  if (spectrum.kind == SpectrumKind::none) return;
  std::map<std::string, std::vector<double>> recorded;
  if (!spectrum.file.empty()) recorded = recorded_targets(spectrum);
  for (ChosenMatrix& at : chosen_matrices(params, spectrum.matrices)) {
    const MatrixBlock& b = params[at.param].view[at.block];
    std::vector<double> rows{0, spectrum.value};
    if (!spectrum.file.empty()) {
      const auto found = recorded.find(at.name);
      if (found == recorded.end()) {
        fail(ErrorKind::data, spectrum.file, ": expected lines probe_matrix with ",
             field_of(spectrum.kind), " of '", at.name, "', found none");
      }
      rows = found->second;
    }
    watched_.push_back({std::move(at),
                        Tensor::from(rows, {static_cast<int64_t>(rows.size() / 2), 2}),
                        Tensor::full({std::min(b.rows, b.cols)}, DType::f64, kUnset),
                        Tensor::full({4}, DType::f64, kUnset)});
  }
}

// What the first step finds: the spectrum to keep, or where the way to the first target begins.
void Intervention::begin(const ParamList& params, int64_t step) {
  parallel_tiles(static_cast<int64_t>(watched_.size()), [&](int64_t i) {
    Watched& m = watched_[static_cast<size_t>(i)];
    const bool keep = rule_.kind == SpectrumKind::frozen && std::isnan(m.start.at(0));
    const bool lead = !rule_.file.empty() && rule_.kind != SpectrumKind::turn &&
                      m.targets.at(0) > static_cast<double>(step);
    if (!keep && !lead) return;
    const Tensor s = SingularValues::cpu(finite_matrix(params[m.at.param], m.at));
    if (keep) {
      m.start = s;
      return;
    }
    std::vector<double> rows{static_cast<double>(step), rule_.kind == SpectrumKind::cap
                                                            ? s.at(0)
                                                            : stable_rank(numbers_in(s))};
    const auto known = numbers_in(m.targets);
    rows.insert(rows.end(), known.begin(), known.end());
    m.targets = Tensor::from(rows, {static_cast<int64_t>(rows.size() / 2), 2});
  });
}

Tensors Intervention::penalised(const ParamList& params, const Tensors& grads) const {
  Tensors parts(penalised_.size()), out = grads;
  parallel_tiles(static_cast<int64_t>(parts.size()), [&](int64_t tile) {
    const ChosenMatrix& at = penalised_[static_cast<size_t>(tile)];
    parts[static_cast<size_t>(tile)] =
        penalty_gradient(penalty_, finite_matrix(params[at.param], at));
  });
  for (size_t i = 0; i < parts.size(); ++i) {
    const ChosenMatrix& at = penalised_[i];
    Param part = params[at.param];
    part.value = zeros_like(part.value);
    put_matrix(part, at.block, parts[i]);
    Tensor& g = out[at.param];
    g = g.defined() ? added(g, part.value) : part.value;
  }
  return out;
}

Tensor Intervention::set_spectrum(const Tensor& w, size_t index, int64_t step,
                                  Tensor& numbers) const {
  const Watched& m = watched_[index];
  const double asked = target_at(m.targets, static_cast<double>(step));
  Rng rng(rule_.seed, stream_id("spectrum turn", static_cast<uint64_t>(step), index));
  const auto noted = [&](double before, double reached, double change) {
    numbers = Tensor::from(std::vector<double>{asked, before, reached, change}, {4});
  };
  if (rule_.kind == SpectrumKind::turn) {
    const double size = norm_of(numbers_in(w));
    const Tensor out = isospectral_turn(w, asked * size, rng);
    const double change = size > 0 ? distance(numbers_in(out), numbers_in(w)) / size : 0;
    noted(0, change, change);
    return out;
  }
  const SvdFactors f = Svd::cpu(w);
  const auto s = numbers_in(f.s);
  const auto rank = static_cast<size_t>(numerical_rank(f.s, w.size(0), w.size(1)));
  std::vector<double> wanted(s.begin(), s.end());
  if (rule_.kind == SpectrumKind::cap) {
    for (double& v : wanted) v = std::min(v, asked);
  } else if (rule_.kind == SpectrumKind::frozen) {
    wanted = m.start.to_vector<double>();
  } else {
    const std::vector<double> some = with_stable_rank(s.first(rank), asked);
    std::copy(some.begin(), some.end(), wanted.begin());
  }
  const double size = norm_of(s), moved = distance(wanted, s);
  const auto value = [&](std::span<const double> x) {
    return rule_.kind == SpectrumKind::cap           ? x[0]
           : rule_.kind == SpectrumKind::stable_rank ? stable_rank(x)
                                                     : distance(x, numbers_in(m.start));
  };
  noted(value(s), rule_.sham == SpectrumSham::off ? value(wanted) : value(s),
        size == 0 || rule_.sham == SpectrumSham::own ? 0 : std::min(moved / size, 2.0));
  if (moved == 0 && rule_.sham != SpectrumSham::own) return {};
  if (rule_.sham == SpectrumSham::turn) return isospectral_turn(w, moved, rng);
  if (rule_.sham == SpectrumSham::own) wanted.assign(s.begin(), s.end());
  return recombined(f, f.s.numel(), [&](int64_t i) { return wanted[static_cast<size_t>(i)]; });
}

// `step`: how many are made.
void Intervention::set_spectra(ParamList& params, int64_t step) {
  Tensors found(watched_.size());
  parallel_tiles(static_cast<int64_t>(watched_.size()), [&](int64_t tile) {
    const auto i = static_cast<size_t>(tile);
    Watched& m = watched_[i];
    found[i] = set_spectrum(finite_matrix(params[m.at.param], m.at), i, step, m.last);
  });
  for (size_t i = 0; i < found.size(); ++i) {
    const ChosenMatrix& at = watched_[i].at;
    if (found[i].defined()) put_matrix(params[at.param], at.block, found[i]);
  }
}

// What the inner optimizer told, with the change as it is now and the numbers of the intervention.
void Intervention::report(UpdateRecord record, const Tensors& grads, const Tensors& before) const {
  const auto blocks = static_cast<int64_t>(record.param->view.size());
  for (const Watched& m : watched_) {
    if (m.at.param != record.index) continue;
    if (!record.spectrum.defined()) {
      record.spectrum = Tensor::full({blocks, 4}, DType::f64, kUnset);
    }
    std::copy_n(m.last.data<double>(), 4,
                record.spectrum.mutable_data<double>() + 4 * static_cast<int64_t>(m.at.block));
  }
  record.gradient = grads[record.index];
  if (!record.spectrum.defined()) {
    observer()(record);
  } else {
    report_applied(observer(), std::move(record), before[record.index]);
  }
}

void Intervention::step(ParamList& params, const Tensors& grads, const StepInfo& info) {
  begin(params, info.step);
  std::vector<UpdateRecord> applied;
  Tensors before(params.size());
  inner_->set_observer({});
  if (observer()) {
    for (const Watched& m : watched_) before[m.at.param] = params[m.at.param].value.clone();
    inner_->set_observer([&](const UpdateRecord& record) {
      if (record.stage == UpdateStage::before) return observer()(record);
      applied.push_back(record);
    });
  }
  inner_->step(params, penalised(params, grads), info);
  inner_->set_observer({});
  if (!watched_.empty() && (info.step + 1) % rule_.every == 0) set_spectra(params, info.step + 1);
  for (UpdateRecord& record : applied) report(std::move(record), grads, before);
}

OptimizerState Intervention::save() const {
  OptimizerState state = inner_->save();
  for (const Watched& m : watched_) {
    const auto add = [&](const char* what, const Tensor& t) {
      state.tensors.emplace_back(str(kPrefix, what, ".", m.at.name), t.clone());
    };
    add("last", m.last);
    if (rule_.kind == SpectrumKind::frozen) add("start", m.start);
    if (!rule_.file.empty()) add("targets", m.targets);
  }
  return state;
}

void Intervention::load(const OptimizerState& state) {
  OptimizerState others = state, own = begin_state(name());
  others.tensors.clear();
  for (const auto& entry : state.tensors) {
    (entry.first.starts_with(kPrefix) ? own : others).tensors.push_back(entry);
  }
  StateReader reader(own, name());
  std::vector<Watched> fresh = watched_;
  for (Watched& m : fresh) {
    m.last = reader.tensor(str(kPrefix, "last.", m.at.name), m.last);
    if (rule_.kind == SpectrumKind::frozen) {
      m.start = reader.tensor(str(kPrefix, "start.", m.at.name), m.start);
    }
    if (rule_.file.empty()) continue;
    const std::string key = str(kPrefix, "targets.", m.at.name);
    const auto found = std::find_if(own.tensors.begin(), own.tensors.end(),
                                    [&](const auto& entry) { return entry.first == key; });
    const bool rows = found != own.tensors.end() && found->second.shape().rank() == 2 &&
                      found->second.size(0) > 0 && found->second.size(1) == 2;
    // The file may have grown since.
    m.targets =
        reader.tensor(key, rows ? Tensor::empty(found->second.shape(), DType::f64) : m.targets);
  }
  reader.finish();
  inner_->load(others);
  watched_ = std::move(fresh);
}

std::vector<RoutingRow> Intervention::routing() const {
  std::vector<RoutingRow> rows = inner_->routing();
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto here = [&](const ChosenMatrix& at) { return at.param == i; };
    if (std::any_of(watched_.begin(), watched_.end(),
                    [&](const Watched& m) { return here(m.at); })) {
      rows[i].why += ", spectrum set";
    }
    if (std::any_of(penalised_.begin(), penalised_.end(), here)) rows[i].why += ", penalty";
  }
  return rows;
}

}  // namespace basin
