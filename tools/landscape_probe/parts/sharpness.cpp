// Part "sharpness": definitions that survive a reparameterisation of the network, and curvature in
// the norm in which the optimizer itself steps.
#include <cmath>
#include <limits>

#include "basin/analysis/flatness.h"
#include "basin/analysis/lanczos.h"
#include "basin/analysis/optimizer_norm.h"
#include "basin/analysis/pac_bayes.h"
#include "basin/analysis/sharpness.h"
#include "basin/analysis/trace.h"
#include "basin/core/safetensors.h"
#include "basin/tools/landscape_probe/detail/builtin_parts.h"
#include "basin/tools/landscape_probe/settings.h"
#include "basin/tools/landscape_probe/watched.h"
#include "basin/tools/shell/progress.h"

namespace basin::tools {
namespace {

constexpr const char* kSharpness = "sharpness";
constexpr double kRho = 0.05;

struct SharpnessRecord {
  std::string name, definition;
  Estimate value;
  std::string note;
};
struct SharpnessRecords {
  std::vector<SharpnessRecord> measures;
};

void fields(FieldWalk& walk, SharpnessRecord& r) {
  walk("name", r.name), walk("definition", r.definition), walk("value", r.value);
  walk("note", r.note);
}
void fields(FieldWalk& walk, SharpnessRecords& r) { walk("measures", r.measures); }

// An option of the optimizer as the run had it, or Adam's default.
double adam_option(const OptimizerConfig& optimizer, const std::string& name, double otherwise) {
  const auto found = optimizer.options.find(name);
  double value = otherwise;
  return found != optimizer.options.end() && parse_double(found->second, value) ? value : otherwise;
}

// Parameters that no gradient ever reached (biases in front of a batch norm, dead units) have only
// rounding noise in v and in H, and P^-1/2 would magnify it without limit: an infinite P holds them
// still.
int64_t hold_silent(Tensor& p, double eps) {
  int64_t count = 0;
  double* x = p.mutable_data<double>();
  for (int64_t i = 0; i < p.numel(); ++i) {
    if (x[i] > 100 * eps) continue;
    x[i] = std::numeric_limits<double>::infinity();
    ++count;
  }
  return count;
}

class Measures {
 public:
  Measures(const ProbeContext& context, const LossSurface& surface, const WatchedOperator& h,
           int64_t examples)
      : context_(context), surface_(surface), h_(h), examples_(examples) {}

  SharpnessRecords all() {
    worst_cases();
    averages();
    fisher();
    flatness();
    pac_bayes();
    optimizer_norms();
    return std::move(out_);
  }

 private:
  void add(std::string name, std::string definition, const Estimate& value, std::string note = {}) {
    log_line("  " + name + ": " + fixed_text(value.value, 6));
    out_.measures.push_back({std::move(name), std::move(definition), value, std::move(note)});
  }

  // A number without interval: a bound from one side, or one that no sampling made.
  void add(std::string name, std::string definition, double value, std::string note = {}) {
    Estimate e;
    e.value = value;
    add(std::move(name), std::move(definition), e, std::move(note));
  }

  void worst_cases() {
    WorstCaseOptions options;
    options.rho = kRho;
    options.steps = 10;
    options.seed = context_.seed;
    for (const auto& [norm, words] :
         {std::pair{BallNorm::l2, "l2"}, std::pair{BallNorm::linf, "linf"}}) {
      options.norm = norm;
      // In linf every weight may move by rho of itself; the same rho is a far larger ball.
      options.rho = norm == BallNorm::l2 ? kRho : kRho / 50;
      const WorstCase w = worst_case_sharpness(surface_, options);
      add(str("adaptive worst case, ", words),
          str("max L(w + d) - L(w), ||d / |w| ||_", words, " <= ", options.rho), w.rise,
          str("lower bound; first-order point ", w.first_order, ", gap ", w.gap, ", ", w.steps,
              " steps of ascent"));
    }
  }

  void averages() {
    AverageCaseOptions options;
    options.rho = kRho;
    options.pairs = 8;
    options.seed = context_.seed;
    add("adaptive average case", str("E L(w + d) - L(w), d ~ N(0, (", kRho, " w)^2)"),
        average_case_sharpness(surface_, options));
    Tensor c = surface_.weights().clone();
    for (int64_t i = 0; i < c.numel(); ++i) {
      c.mutable_data<double>()[i] = std::abs(c.data<double>()[i]);
    }
    const auto scaled = scaled_operator(h_, c);
    TraceOptions trace;
    trace.products = 8;
    trace.lanes = context_.lanes;
    trace.seed = context_.seed;
    add("adaptive trace", "tr(diag|w| H diag|w|)", hutchinson_trace(*scaled, trace).estimate);
  }

  void fisher() {
    const Likelihood likelihood = context_.trained.task.likelihood;
    if (!outputs_per_example()) {
      log_line("  Fisher-Rao norm: left out, the loss is not of one output per example");
    } else if (likelihood == Likelihood::softmax) {
      add("Fisher-Rao norm", "w^T F w, F of the softmax outputs", fisher_rao_norm(surface_));
    } else if (likelihood == Likelihood::gaussian) {
      add("Fisher-Rao norm", "w^T F w, F of Gaussian outputs of variance 1",
          fisher_rao_norm(surface_, OutputModel::gaussian));
    } else {
      log_line(str("  Fisher-Rao norm: left out, the loss of the task ", context_.trained.task.name,
                   " has no likelihood whose Fisher matrix is known"));
    }
  }

  // Not so where a loss has several terms at points of their own.
  bool outputs_per_example() const {
    const LossBatch& batch = surface_.batches().front();
    const Tensors outputs = batch.outputs(surface_.params().values());
    return outputs.size() == 1 && outputs.front().size(0) == batch.examples;
  }

  void flatness() {
    RelativeFlatnessOptions options;
    options.probes = 8;
    options.lanes = context_.lanes;
    options.seed = context_.seed;
    const RelativeFlatness f =
        relative_flatness(h_, surface_.space(), context_.state.params, options);
    add("relative flatness", "sum over layers of sum_ss' <w_s, w_s'> tr H_ss'", f.total);
  }

  void pac_bayes() {
    PacBayesOptions options;
    options.pairs = 6;
    options.tolerance = 1e-2;
    options.seed = context_.seed;
    const Tensor initial = surface_.space().flatten(context_.trained.initial.params.values());
    const PacBayes p = pac_bayes_sharpness(surface_, examples_, initial, options);
    add("PAC-Bayes alpha",
        str("largest alpha with a mean rise of ", options.rise,
            " under d ~ N(0, (alpha w)^2 + 1e-6)"),
        p.scale,
        str("bound on the gap ", p.bound, ", KL ", p.kl,
            context_.trained.checkpoint ? "" : "; the prior is a fresh initialisation"));
  }

  void optimizer_norms() {
    SpectralBallOptions options;
    // Random starts end lower where H is indefinite.
    if (const fs::path file = eigenvector_file(context_.dir); fs::exists(file)) {
      const SafetensorsFile vectors = read_safetensors(file);
      if (const Tensor* top = vectors.find("top.0")) options.starts = {*top};
    }
    options.random_starts = 1;
    options.max_iterations = 12;
    options.tolerance = 1e-2;
    options.seed = context_.seed;
    const SpectralBallCurvature s =
        spectral_ball_curvature(h_, surface_.space(), context_.state.params, options);
    add("Muon: spectral ball", "max <u, H u>, ||U_b||_2 <= 1 for every matrix", s.value,
        str("lower bound; gap ", s.gap, s.converged ? "" : ", not converged", ", ", s.iterations,
            " iterations"));
    if (context_.trained.checkpoint) adam_norm(context_.trained.checkpoint->optimizer);
  }

  // Of runs whose every parameter Adam updated; Muon keeps no second moments of its matrices.
  void adam_norm(const OptimizerState& state) {
    Tensors second;
    for (const Param& p : context_.state.params) {
      for (const auto& [name, tensor] : state.tensors) {
        if (name == "adam.v." + p.name) second.push_back(tensor);
      }
    }
    const auto steps = state.scalars.find("adam.steps");
    int64_t taken = 0;
    if (second.size() != context_.state.params.size() || steps == state.scalars.end() ||
        !parse_int64(steps->second, taken)) {
      return;
    }
    const Tensor v = surface_.space().flatten(second);
    const OptimizerConfig& adam = context_.trained.settings.train.optimizer;
    const double eps = adam_option(adam, "eps", 1e-8), beta1 = adam_option(adam, "beta1", 0.9);
    Tensor p = adam_preconditioner(v, adam_option(adam, "beta2", 0.999), taken, eps);
    const int64_t silent = hold_silent(p, eps);
    const auto scaled = preconditioned_operator(h_, p);
    LanczosOptions options;
    options.max_products = 16;
    options.tolerance = 1e-2;
    options.copies_share = 0;
    options.relative = true;
    const Eigenpair top = lanczos(*scaled, options).top.front();
    Estimate e;
    e.value = top.value;
    e.standard_error = 0;
    e.interval = {top.value - top.residual, top.value + top.residual, 0.95};
    e.method = "lanczos";
    add("Adam: preconditioned lambda_max", "lambda_max(P^-1/2 H P^-1/2), P = sqrt(v) + eps", e,
        str("Adam at the base rate becomes unstable beyond (2 + 2 beta1) / ((1 - beta1) lr) = ",
            (2 + 2 * beta1) / ((1 - beta1) * adam.lr.value_or(NAN)), "; ", silent, " of ",
            p.numel(), " parameters without gradient left out"));
  }

  const ProbeContext& context_;
  const LossSurface& surface_;
  const WatchedOperator& h_;
  int64_t examples_;
  SharpnessRecords out_;
};

SharpnessRecords measure_sharpness(const ProbeContext& context) {
  const ProbeData data = context.data(Split::train, "sharpness_examples");
  const std::vector<LossBatch> batches = context.loss_batches(data);
  const LossSurface surface(batches, context.state.params);
  CurvatureOptions options;
  options.keep_bytes = context.keep_bytes;
  const CurvatureOperator curvature(batches, context.state.params, options);
  const WatchedOperator h(curvature, kSharpness);
  return Measures(context, surface, h, data.examples).all();
}

const SharpnessRecords* sharpness_of(const LoadedProbe& p) {
  return p.record<SharpnessRecords>(kSharpness);
}

NamedTable sharpness_table(const std::vector<LoadedProbe>& probes) {
  NamedTable out{"sharpness", {}, {}};
  out.page.caption =
      "Sharpness by several definitions; landscape_probe selftest shows which of "
      "them survive a reparameterisation";
  out.page.columns = {"network", "optimizer", "measure", "value", "definition", "note"};
  CsvTable csv({"network", "optimizer", "measure", "value", "standard_error", "low", "high",
                "level", "samples", "method", "definition", "note"});
  for (const LoadedProbe& p : probes) {
    if (sharpness_of(p) == nullptr) continue;
    for (const SharpnessRecord& s : sharpness_of(p)->measures) {
      const bool open = !std::isfinite(s.value.interval.low);
      out.page.rows.push_back({p.network, p.optimizer, s.name,
                               open ? readable(s.value.value) : interval_text(s.value),
                               s.definition, s.note});
      std::vector<CsvCell> cells{p.network, p.optimizer, s.name};
      add_estimate(cells, s.value);
      cells.insert(cells.end(), {s.definition, s.note});
      csv.row(cells);
    }
  }
  out.page.numeric = columns_of(6, {3});
  out.csv = csv.text();
  return out;
}

void add_sharpness_verdicts(const LoadedProbe& a, const LoadedProbe& b, VerdictList& out) {
  if (sharpness_of(a) == nullptr || sharpness_of(b) == nullptr) return;
  for (const SharpnessRecord& sa : sharpness_of(a)->measures) {
    for (const SharpnessRecord& sb : sharpness_of(b)->measures) {
      if (sa.name == sb.name) out.add(a, b, sa.name, sa.value, sb.value);
    }
  }
}

}  // namespace

PartInfo sharpness_part() {
  PartInfo info{.name = kSharpness, .summary = "sharpness in balls that move with the parameters"};
  info.settings = {{"sharpness_examples", Kind::integer, "128",
                    "Training examples of the sharpness; 0: all", Purpose::result,
                    "sharpness_shapes"}};
  info.depends_on = {"sharpness_examples", "batch", "batch_norm", "dtype", "seed"};
  info.after = {"curvature"};
  info.check = [](const Config& config, const std::vector<std::string>&) {
    if (at_least(config, "sharpness_examples", 0) > 0) at_least(config, "sharpness_examples", 2);
  };
  info.report = [](const std::vector<LoadedProbe>& probes, const std::string&) -> PartReport {
    return {{{"Sharpness by other definitions",
              "Largest eigenvalue and trace change when a network is rewritten into an equal one; "
              "several of these do not.",
              {sharpness_table(probes)},
              {}}}};
  };
  info.verdicts = add_sharpness_verdicts;
  return part_of<SharpnessRecords>(std::move(info), measure_sharpness);
}

}  // namespace basin::tools
