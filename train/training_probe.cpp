// One measurement along a training, as lines of metrics.jsonl.
#include "basin/train/training_probe.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "basin/analysis/lanczos.h"
#include "basin/analysis/ranks.h"
#include "basin/analysis/spectral_density.h"
#include "basin/analysis/statistics.h"
#include "basin/analysis/trace.h"
#include "basin/core/lines.h"
#include "basin/models/symmetry.h"
#include "basin/train/layer_inputs.h"
#include "basin/train/term_gradients.h"

namespace basin {
namespace {

constexpr int64_t kBatch = 32;
constexpr int64_t kSymmetryExamples = 4;

void add_curvature(Record& line, const CurvatureOperator& h, const ProbePlan& plan, uint64_t seed) {
  LanczosOptions lanczos_options;
  lanczos_options.tolerance = 1e-3;
  lanczos_options.max_products = plan.steps;
  lanczos_options.copies_share = 0;
  lanczos_options.relative = true;
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

std::string list_text(const std::vector<double>& values) {
  std::string out;
  for (const double v : values) out += (out.empty() ? "" : " ") + number_text(v);
  return out;
}

std::vector<Record> density_lines(const CurvatureOperator& h, const ProbePlan& plan, int64_t epoch,
                                  int64_t step, uint64_t seed) {
  std::vector<Record> lines;
  if (plan.density == 0) return lines;
  QuadratureOptions options;
  options.probes = plan.probes;
  options.lanes = plan.probes;
  options.steps = plan.density;
  options.seed = seed;
  const SpectralQuadrature q = spectral_quadrature(h, options);
  for (const SpectralRule& rule : q.rules) {
    lines.emplace_back();
    lines.back()
        .add("event", "probe_density")
        .add("epoch", epoch)
        .add("step", step)
        .add("size", q.n)
        .add("nodes", list_text(rule.nodes))
        .add("weights", list_text(rule.weights));
  }
  return lines;
}

double median_of(std::vector<double> values) {
  if (values.empty()) return NAN;
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

// ratios: nuclear rank of the gradient over the stable rank of the inputs
void add_input_ranks(Record& line, const std::vector<double>& ratios) {
  const auto above = std::count_if(ratios.begin(), ratios.end(), [](double r) { return r > 1; });
  line.add("matrices_with_inputs", static_cast<int64_t>(ratios.size()))
      .add("nuclear_over_input_rank", median_of(ratios))
      .add("nuclear_above_input_share",
           ratios.empty() ? NAN : static_cast<double>(above) / static_cast<double>(ratios.size()));
}

// What the rule itself told of one matrix: "specmuon_r_1", "specmuon_r_2"...
void add_own_numbers(Record& line, const UpdateSize& update, int64_t block) {
  for (const auto& [name, values] : update.numbers) {
    if (block >= values.size(0)) return;  // the optimizer cuts the parameter otherwise
    const int64_t each = values.size(-1);
    for (int64_t j = 0; j < each; ++j) {
      const double value = values.at(block * each + j);  // NaN where another block has more
      if (!std::isnan(value)) line.add(str(update.rule, "_", name, "_", j + 1), value);
    }
  }
}

void add_terms(Record& line, const TermGradients& terms) {
  const std::vector<std::string>& names = terms.names;
  if (names.empty()) return;
  for (size_t i = 0; i < names.size(); ++i) line.add("gradient_norm_" + names[i], terms.norm(i));
  for (size_t i = 0; i < names.size(); ++i) {
    for (size_t j = i + 1; j < names.size(); ++j) {
      line.add(str("gradient_cosine_", names[i], "_", names[j]), terms.cosine(i, j));
    }
  }
  line.add("gradient_alignment", terms.alignment());
}

// What the last intervention on the spectrum asked for and reached (optim/interventions.h).
void add_intervention(Record& line, const UpdateSize& update, int64_t block) {
  constexpr std::array kNames{"asked", "before", "reached", "change"};
  if (!update.spectrum.defined() || std::isnan(update.spectrum.at(4 * block))) return;
  for (int64_t j = 0; j < 4; ++j) {
    line.add(str("spectrum_", kNames[static_cast<size_t>(j)]), update.spectrum.at(4 * block + j));
  }
}

// The largest error at the outputs over the transformations that the network declares.
void add_symmetry(Record& line, const Task& task, const ModelState& state, const Batch& few,
                  uint64_t seed) {
  SymmetryOptions options;
  options.transformations = 1;
  options.seed = seed;
  const size_t count = task.model.inputs.size();
  const Tensors inputs(few.tensors.begin(),
                       few.tensors.begin() + static_cast<std::ptrdiff_t>(count));
  const SymmetryReport report = measure_symmetry(task.model, state, inputs, options);
  for (SymmetryKind k : task.model.symmetries) {
    line.add(str("equivariance_error_", name_of(k)),
             report.at(k, DType::f32, task.model.output_name).largest());
  }
}

}  // namespace

ProbePlan parse_probe_plan(const std::string& text) {
  ProbePlan plan;
  const auto expect = [&](bool held) {
    check(held,
          "probe: expected every=E[,examples=S,probes=P,steps=L,density=M] with E a period (5e, "
          "500), S >= 1, M >= 0 and P, L >= 2, given '",
          text, "'");
  };
  for (const std::string& part : comma_list(text)) {
    const size_t equals = part.find('=');
    expect(equals != part.npos);
    const std::string key = part.substr(0, equals), value = part.substr(equals + 1);
    if (key == "every") {
      int64_t epochs = 0;  // a bare number counts epochs here
      plan.every = parse_int64(value, epochs) ? Period{epochs, true} : parse_period(value);
      expect(plan.every.count >= 1);
      continue;
    }
    int64_t* target = key == "examples" || key == "shapes" ? &plan.examples
                      : key == "probes"                    ? &plan.probes
                      : key == "steps"                     ? &plan.steps
                      : key == "density"                   ? &plan.density
                                                           : nullptr;
    const int64_t low = key == "probes" || key == "steps" ? 2 : key == "density" ? 0 : 1;
    expect(target != nullptr && parse_int64(value, *target) && *target >= low);
  }
  expect(text.empty() || plan.every.count > 0);
  return plan;
}

TrainingProbe::TrainingProbe(const ProbePlan& plan, const Task& task, DType dtype, uint64_t seed)
    : plan_(plan), task_(task), dtype_(dtype), seed_(seed) {
  if (plan_.every.count == 0) return;
  data_ = probe_data(task, Split::train, plan_.examples, kBatch, seed);
  if (task.model.symmetries.empty()) return;
  few_ = task.source({.split = Split::train,
                      .batch = kSymmetryExamples,
                      .limit = plan_.examples,
                      .seed = seed})
             ->batch(0, 0);
}

void TrainingProbe::watch(Optimizer& optimizer) { optimizer.set_observer(meter_.observer()); }

std::vector<double> TrainingProbe::input_ranks(const ModelState& state) const {
  std::vector<Tensors> inputs;
  const auto count = static_cast<std::ptrdiff_t>(task_.model.inputs.size());
  for (const Batch& batch : data_.batches) {
    const Batch there = batch.to(dtype_);
    inputs.emplace_back(there.tensors.begin(), there.tensors.begin() + count);
  }
  return input_stable_ranks(task_.model, state, inputs);
}

void TrainingProbe::measure(const ModelState& trained, int64_t epoch, int64_t step, double lr,
                            MetricsFile& metrics) const {
  const ModelState state = trained.to(Device::cpu);  // the estimators' vectors live there
  const CurvatureOperator h(
      loss_batches(task_, state.buffers, data_, NormStatistics::frozen, dtype_), state.params);
  const Tensor gradient = h.gradient();
  const WeightSpectra weights = weight_spectra(state.params);
  const WeightSpectra gradients = weight_spectra(state.params, h.space().unflatten(gradient));
  std::vector<Record> matrices;
  std::vector<double> stable, effective, nuclear, over_inputs;
  const std::vector<double> inputs = input_ranks(state);
  for (size_t i = 0; i < weights.matrices.size(); ++i) {
    const MatrixSpectrum& w = weights.matrices[i];
    const RankNumbers& g = gradients.matrices[i].ranks;
    // A single row or column has rank 1 by its shape, a matrix that no gradient reaches the ranks
    // of its start: neither says anything of the training.
    if (w.ranks.limit > 1 && g.nuclear > 0) {
      stable.push_back(w.ranks.relative(w.ranks.stable));
      effective.push_back(w.ranks.relative(w.ranks.effective));
      nuclear.push_back(g.relative(g.nuclear));
    }
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
    if (const double rank = inputs[static_cast<size_t>(w.parameter)]; std::isfinite(rank)) {
      line.add("input_stable_rank", rank);
      over_inputs.push_back(g.nuclear / rank);
    }
    for (const UpdateSize& u : meter_.parameters()) {
      if (u.name == state.params[static_cast<size_t>(w.parameter)].name) {
        line.add("update_rms", u.rms).add("update_spectral", u.spectral);
        add_own_numbers(line, u, w.block);
        add_intervention(line, u, w.block);
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
      .add(str("probe_", task_.example, "s"), data_.examples)
      .add("probe_loss", h.loss())
      .add("gradient_norm", std::sqrt(square));
  add_curvature(line, h, plan_, seed_);
  line.add("two_over_lr", lr > 0 ? 2 / lr : NAN)
      .add("stable_rank_share", mean(stable))
      .add("effective_rank_share", mean(effective))
      .add("ranked_matrices", static_cast<int64_t>(stable.size()))
      .add("gradient_nuclear_rank_share", mean(nuclear))
      .add("update_rms", elements > 0 ? std::sqrt(update / static_cast<double>(elements)) : NAN);
  add_input_ranks(line, over_inputs);
  add_terms(line, term_gradients(task_, state, data_));
  if (!few_.tensors.empty()) add_symmetry(line, task_, state, few_, seed_);
  metrics.append(line);
  for (const Record& d : density_lines(h, plan_, epoch, step, seed_)) metrics.append(d);
  for (const Record& m : matrices) metrics.append(m);
}

}  // namespace basin
