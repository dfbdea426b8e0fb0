// Measurements along a training: see training_probe.h.
#include "basin/train/training_probe.h"

#include <algorithm>
#include <cmath>

#include "basin/analysis/lanczos.h"
#include "basin/analysis/ranks.h"
#include "basin/analysis/trace.h"
#include "basin/models/symmetry.h"

namespace basin {
namespace {

constexpr int64_t kBatch = 32;
constexpr int64_t kSymmetryShapes = 4;

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (double v : values) sum += v;
  return values.empty() ? NAN : sum / static_cast<double>(values.size());
}

void add_curvature(Record& line, const CurvatureOperator& h, const ProbePlan& plan,
                   uint64_t seed) {
  LanczosOptions lanczos_options;
  lanczos_options.tolerance = 1e-3;
  lanczos_options.max_products = plan.steps;
  lanczos_options.find_copies = false;
  lanczos_options.seed = seed;
  const LanczosResult top = lanczos(h, lanczos_options);
  TraceOptions trace_options;
  trace_options.products = plan.probes;
  trace_options.lanes = plan.probes;
  trace_options.seed = seed;
  const Estimate trace = hutchinson_trace(h, trace_options).estimate;
  line.add("lambda_max", top.top.front().value)
      .add("lambda_max_residual", top.top.front().residual)
      .add("lambda_max_converged", top.top.front().converged)
      .add("lambda_products", top.products)
      .add("trace", trace.value)
      .add("trace_standard_error", trace.standard_error)
      .add("trace_low", trace.interval.low)
      .add("trace_high", trace.interval.high)
      .add("trace_probes", trace.samples);
}

// The largest error at the logits over rotations and permutations that the network declares.
void add_symmetry(Record& line, const Model& model, const ModelState& state,
                  const PointBatch& batch, uint64_t seed) {
  const auto declared = [&](SymmetryKind k) { return declares_symmetry(model.name, k); };
  if (std::none_of(std::begin(kSymmetryKinds), std::end(kSymmetryKinds), declared)) return;
  const int64_t n = std::min(kSymmetryShapes, batch.points.size(0));
  const Tensor few =
      Tensor::from(std::span(batch.points.data<float>(),
                             static_cast<size_t>(n * batch.points.size(1) * batch.points.size(2))),
                   {n, batch.points.size(1), batch.points.size(2)});
  SymmetryOptions options;
  options.transformations = 1;
  options.seed = seed;
  const SymmetryReport report = measure_symmetry(model, state, few, options);
  for (SymmetryKind k : kSymmetryKinds) {
    if (!declared(k)) continue;
    line.add(str("equivariance_error_", name_of(k)), report.at(k, DType::f32, "logits").largest());
  }
}

}  // namespace

ProbePlan parse_probe_plan(const std::string& text) {
  ProbePlan plan;
  TextReader in(text);
  for (std::string part; std::getline(in, part, ',');) {
    const size_t equals = part.find('=');
    const std::string key = part.substr(0, equals);
    int64_t* target = key == "every"    ? &plan.every
                      : key == "shapes" ? &plan.shapes
                      : key == "probes" ? &plan.probes
                      : key == "steps"  ? &plan.steps
                                        : nullptr;
    const int64_t low = key == "probes" || key == "steps" ? 2 : 1;
    check(target != nullptr && equals != part.npos &&
              parse_int64(part.substr(equals + 1), *target) && *target >= low,
          "probe: expected every=E[,shapes=S,probes=P,steps=L] with E, S >= 1 and P, L >= 2, "
          "given '",
          text, "'");
  }
  check(text.empty() || plan.every > 0, "probe: expected every=E among '", text, "'");
  return plan;
}

TrainingProbe::TrainingProbe(const TrainConfig& config, const Model& model,
                             const PointCloudSet& train)
    : plan_(parse_probe_plan(config.probe)), config_(config), model_(model) {
  if (plan_.every == 0) return;
  data_ = probe_data(train, "training", config, plan_.shapes, kBatch, config.seed);
}

void TrainingProbe::watch(Optimizer& optimizer) { optimizer.set_observer(meter_.observer()); }

void TrainingProbe::measure(const ModelState& trained, int64_t epoch, int64_t step, double lr,
                            MetricsFile& metrics) const {
  const ModelState state = trained.to(Device::cpu);  // the estimators' vectors live there
  const CurvatureOperator h(loss_batches(model_, state.buffers, data_, NormStatistics::frozen,
                                         config_.label_smoothing, config_.dtype),
                            state.params);
  const Tensor gradient = h.gradient();
  const WeightSpectra weights = weight_spectra(state.params);
  const WeightSpectra gradients = weight_spectra(state.params, h.space().unflatten(gradient));
  std::vector<Record> matrices;
  std::vector<double> stable, effective, nuclear;
  for (size_t i = 0; i < weights.matrices.size(); ++i) {
    const MatrixSpectrum& w = weights.matrices[i];
    const RankNumbers& g = gradients.matrices[i].ranks;
    stable.push_back(w.ranks.relative(w.ranks.stable));
    effective.push_back(w.ranks.relative(w.ranks.effective));
    nuclear.push_back(g.relative(g.nuclear));
    Record line;
    line.add("event", "probe_matrix")
        .add("epoch", epoch)
        .add("step", step)
        .add("name", w.name)
        .add("spectral_norm", w.singular_values.at(0))
        .add("stable_rank", w.ranks.stable)
        .add("effective_rank", w.ranks.effective)
        .add("gradient_nuclear_rank", g.nuclear)
        .add("gradient_stable_rank", g.stable);
    for (const UpdateSize& u : meter_.parameters()) {
      if (u.name == state.params[static_cast<size_t>(w.parameter)].name) {
        line.add("update_rms", u.rms).add("update_spectral", u.spectral);
      }
    }
    matrices.push_back(std::move(line));
  }
  double update = 0;
  int64_t elements = 0;
  for (const UpdateSize& u : meter_.parameters()) {
    update += u.rms * u.rms * static_cast<double>(u.elements);
    elements += u.elements;
  }
  double square = 0;
  for (int64_t i = 0; i < gradient.numel(); ++i) square += gradient.at(i) * gradient.at(i);
  Record line;
  line.add("event", "probe")
      .add("epoch", epoch)
      .add("step", step)
      .add("probe_shapes", data_.examples)
      .add("probe_loss", h.loss())
      .add("gradient_norm", std::sqrt(square));
  add_curvature(line, h, plan_, config_.seed);
  line.add("two_over_lr", lr > 0 ? 2 / lr : NAN)
      .add("stable_rank_share", mean_of(stable))
      .add("effective_rank_share", mean_of(effective))
      .add("gradient_nuclear_rank_share", mean_of(nuclear))
      .add("update_rms", elements > 0 ? std::sqrt(update / static_cast<double>(elements)) : NAN);
  add_symmetry(line, model_, state, data_.batches.front(), config_.seed);
  metrics.append(line);
  for (const Record& m : matrices) metrics.append(m);
}

}  // namespace basin
