// Part "curvature": eigenvalues, trace by layer and by rule of the optimizer, spectral density, and
// the plain estimators of published studies beside them.
#include "basin/tools/landscape_probe/detail/curvature.h"

#include <algorithm>
#include <cmath>

#include "basin/analysis/lanczos.h"
#include "basin/analysis/power_iteration.h"
#include "basin/analysis/spectral_density.h"
#include "basin/analysis/trace.h"
#include "basin/core/printable.h"
#include "basin/core/safetensors.h"
#include "basin/tools/landscape_probe/detail/builtin_parts.h"
#include "basin/tools/landscape_probe/probed.h"
#include "basin/tools/landscape_probe/settings.h"
#include "basin/tools/landscape_probe/watched.h"
#include "basin/tools/shell/environment.h"

namespace basin::tools {
namespace {

std::vector<Setting> curvature_settings() {
  using enum Purpose;
  return {
      {"examples", Kind::integer, "1024", "Training examples of the curvature; 0: all", result,
       "shapes"},
      {"curvature", Kind::text, "hessian", "hessian, gauss_newton, or both by a comma"},
      {"subset", Kind::text, "all",
       "Comma list of parameter subsets: all, layer:PATTERN (with *), role:ROLE, group:RULE "
       "(group:muon, group:adamw)"},
      {"top", Kind::integer, "10", "Largest eigenvalues"},
      {"bottom", Kind::integer, "5", "Smallest eigenvalues"},
      {"lanczos_steps", Kind::integer, "40", "Largest number of Lanczos steps"},
      {"tolerance", Kind::number, "1e-4",
       "An eigenvalue has converged when its residual is below this share of |lambda|max"},
      {"estimator", Kind::text, "hutchinson", "Of the trace: hutchinson, hutch++ or xtrace"},
      {"probes", Kind::integer, "24", "Probes of the trace"},
      {"trace_error", Kind::number, "0",
       "> 0: add probes until the half width of the interval is below this share (hutchinson)"},
      {"density_probes", Kind::integer, "2", "Starts of the spectral density; 0: no density"},
      {"density_steps", Kind::integer, "24", "Lanczos steps per start"},
      {"paper_protocol", Kind::flag, "false",
       "Also the plain estimators: power iteration and Hutchinson, 100 iterations or 1e-3"},
  };
}

std::vector<std::string> kinds_of(const Config& config) {
  return setting_words(config, "curvature", {"hessian", "gauss_newton"});
}
std::vector<std::string> subsets_of(const Config& config) {
  return setting_words(config, "subset", {});
}
std::string estimator_of(const Config& config) {
  return setting_word(config, "estimator", {"hutchinson", "hutch++", "xtrace"});
}

void check_curvature_settings(const Config& config, const std::vector<std::string>&) {
  at_least(config, "examples", 0);
  kinds_of(config);
  subsets_of(config);
  at_least(config, "top", 1);
  at_least(config, "bottom", 0);
  at_least(config, "lanczos_steps", 2);
  positive(config, "tolerance");
  const bool plain = estimator_of(config) == "hutchinson";  // the others need a basis and probes
  at_least(config, "probes", plain ? 2 : 6);
  at_least(config, "density_probes", 0);
  at_least(config, "density_steps", 2);
}

std::vector<EigenRecord> records_of(const std::vector<Eigenpair>& pairs) {
  std::vector<EigenRecord> out;
  for (const Eigenpair& p : pairs) out.push_back({p.value, p.residual, p.converged});
  return out;
}

// Leading eigenvectors, for the slices and for whoever wants to go on from here.
void save_eigenvectors(const ProbeContext& context, const std::vector<Eigenpair>& top) {
  SafetensorsFile file;
  for (size_t i = 0; i < std::min<size_t>(2, top.size()); ++i) {
    file.tensors.emplace_back(str("top.", i), top[i].vector);
  }
  file.metadata["weights_sha256"] = sha256_hex_of_file(context.trained.file);
  write_safetensors(eigenvector_file(context.dir), file);
}

void measure_eigenvalues(const ProbeContext& context, const SymmetricOperator& h, bool keep,
                         CurvatureRecord& out) {
  LanczosOptions options;
  options.top = context.config.integer("top");
  options.bottom = context.config.integer("bottom");
  options.tolerance = context.config.number("tolerance");
  options.max_products = context.config.integer("lanczos_steps");
  options.seed = context.seed;
  const LanczosResult found = lanczos(h, options);
  out.top = records_of(found.top);
  out.bottom = records_of(found.bottom);
  out.converged = found.converged;
  out.note = found.note;
  out.copies = copies_text(found);
  if (keep) save_eigenvectors(context, found.top);
}

// Where each member of the space starts, with the end.
std::vector<int64_t> member_offsets(const ParameterSpace& space) {
  std::vector<int64_t> out;
  for (size_t i = 0; i < space.names().size(); ++i) out.push_back(space.offset(i));
  out.push_back(space.size());
  return out;
}

// Members by the name that `label` gives them, in order of appearance.
template <class Label>
std::vector<std::pair<std::string, std::vector<int>>> grouped(const ParameterSpace& space,
                                                              Label&& label) {
  std::vector<std::pair<std::string, std::vector<int>>> out;
  for (size_t i = 0; i < space.names().size(); ++i) {
    const std::string name = label(i);
    const auto same = [&](const auto& g) { return g.first == name; };
    const auto at = std::find_if(out.begin(), out.end(), same);
    if (at == out.end()) {
      out.push_back({name, {static_cast<int>(i)}});
    } else {
      at->second.push_back(static_cast<int>(i));
    }
  }
  return out;
}

void add_blocks(const std::vector<RoutingRow>& routing, const ParameterSpace& space,
                const BlockTraces& traces, CurvatureRecord& out) {
  const std::vector<int64_t> offsets = member_offsets(space);
  const auto add = [&](const char* kind, const auto& groups) {
    for (const auto& [name, members] : groups) {
      int64_t size = 0;
      for (int m : members) {
        size += offsets[static_cast<size_t>(m) + 1] - offsets[static_cast<size_t>(m)];
      }
      out.blocks.push_back({kind, name, size, traces.group(members)});
    }
  };
  add("group", grouped(space, [&](size_t i) {
        const auto p = static_cast<size_t>(space.indices()[i]);
        return p < routing.size() ? routing[p].optimizer : std::string("all");
      }));
  add("layer", grouped(space, [&](size_t i) { return layer_of(space.names()[i]); }));
}

void measure_trace(const ProbeContext& context, const WatchedOperator& h,
                   const ParameterSpace& space, CurvatureRecord& out) {
  TraceOptions options;
  options.products = context.config.integer("probes");
  options.relative = context.config.number("trace_error");
  options.seed = context.seed;
  options.lanes = context.lanes;
  const std::string estimator = estimator_of(context.config);
  if (estimator == "hutchinson") {
    const BlockTraces traces = block_traces(h, member_offsets(space), options);
    out.trace = traces.total.estimate;
    out.trace_samples = traces.total.samples;
    add_blocks(context.routing, space, traces, out);
    return;
  }
  const TraceResult trace =
      estimator == "xtrace" ? xtrace(h, options) : hutch_plus_plus_trace(h, options);
  out.trace = trace.estimate;
}

void measure_density(const ProbeContext& context, const SymmetricOperator& h,
                     CurvatureRecord& out) {
  QuadratureOptions options;
  options.probes = context.config.integer("density_probes");
  if (options.probes == 0) return;
  options.steps = context.config.integer("density_steps");
  options.seed = context.seed;
  options.lanes = context.lanes;
  const SpectralQuadrature q = spectral_quadrature(h, options);
  for (const SpectralRule& rule : q.rules) out.density.push_back({rule.nodes, rule.weights});
  out.negative_share = negative_share(q);
}

void measure_paper(const ProbeContext& context, const SymmetricOperator& h, CurvatureRecord& out) {
  PowerOptions power;
  power.seed = context.seed;
  const PowerResult top = power_iteration(h, power).front();
  PaperTraceOptions plain;
  plain.seed = context.seed;
  const PaperTrace trace = paper_protocol_trace(h, plain);
  out.paper = {true,
               top.value,
               top.residual,
               top.iterations,
               top.settled,
               trace.estimate.value,
               static_cast<int64_t>(trace.running.size())};
}

double norm_of(const Tensor& v) {
  double sum = 0;
  for (int64_t i = 0; i < v.numel(); ++i) sum += v.data<double>()[i] * v.data<double>()[i];
  return std::sqrt(sum);
}

CurvatureRecord measure_one(const ProbeContext& context, const std::vector<LossBatch>& batches,
                            const std::string& kind, const std::string& subset, bool keep) {
  const double start = seconds_now();
  CurvatureOptions options;
  options.kind = kind == "hessian" ? CurvatureKind::hessian : CurvatureKind::gauss_newton;
  options.indices = parameters_in(context, subset);
  options.keep_bytes = context.keep_bytes;
  const CurvatureOperator curvature(batches, context.state.params, options);
  const WatchedOperator h(curvature, str(context.label(), ", ", kind, ", ", subset));
  CurvatureRecord out;
  out.kind = kind;
  out.subset = subset;
  out.size = h.size();
  out.loss = curvature.loss();
  out.gradient_norm = norm_of(curvature.gradient());
  measure_eigenvalues(context, h, keep, out);
  measure_trace(context, h, curvature.space(), out);
  measure_density(context, h, out);
  if (context.config.flag("paper_protocol")) measure_paper(context, h, out);
  out.products = h.products();
  out.seconds = seconds_now() - start;
  return out;
}

CurvatureRecords measure_curvature(const ProbeContext& context) {
  const std::vector<std::string> kinds = kinds_of(context.config);
  for (const std::string& kind : kinds) {
    check(kind != "gauss_newton" || context.trained.task.likelihood != Likelihood::none,
          context.config.origin("curvature"), ": the loss of the task ", context.trained.task.name,
          " is the negative logarithm of no likelihood, so there is no Gauss-Newton matrix to "
          "measure; --curvature hessian");
  }
  const ProbeData data = context.data(Split::train, "examples");
  const std::vector<LossBatch> batches = context.loss_batches(data);
  CurvatureRecords out;
  for (const std::string& kind : kinds) {
    for (const std::string& subset : subsets_of(context.config)) {
      const bool keep = kind == kinds.front() && subset == "all";
      out.push_back(measure_one(context, batches, kind, subset, keep));
      out.back().data = data.description;
    }
  }
  return out;
}

}  // namespace

void fields(FieldWalk& walk, EigenRecord& r) {
  walk("value", r.value), walk("residual", r.residual), walk("converged", r.converged);
}
void fields(FieldWalk& walk, BlockRecord& r) {
  walk("kind", r.kind), walk("name", r.name), walk("size", r.size), walk("trace", r.trace);
}
void fields(FieldWalk& walk, QuadratureRecord& r) {
  walk("nodes", r.nodes), walk("weights", r.weights);
}
void fields(FieldWalk& walk, PaperRecord& r) {
  walk("measured", r.measured), walk("lambda", r.lambda), walk("residual", r.residual);
  walk("iterations", r.iterations), walk("stopped_by_tolerance", r.stopped_by_tolerance);
  walk("trace", r.trace), walk("probes", r.probes);
}
void fields(FieldWalk& walk, CurvatureRecord& r) {
  walk("kind", r.kind), walk("subset", r.subset), walk.optional("data", r.data);
  walk("size", r.size), walk("loss", r.loss), walk("gradient_norm", r.gradient_norm);
  walk("top", r.top), walk("bottom", r.bottom);
  walk("converged", r.converged), walk("note", r.note), walk.optional("copies", r.copies);
  walk("products", r.products);
  walk("trace", r.trace), walk("trace_samples", r.trace_samples), walk("blocks", r.blocks);
  walk("density", r.density), walk("negative_share", r.negative_share), walk("paper", r.paper);
  walk("seconds", r.seconds);
}

// The figures take these for granted.
void check_record(const CurvatureRecords& record, const std::string& file) {
  for (const CurvatureRecord& c : record) {
    for (const QuadratureRecord& q : c.density) {
      const auto finite = [](double x) { return std::isfinite(x); };
      if (q.nodes.empty() || q.nodes.size() != q.weights.size() ||
          !std::all_of(q.nodes.begin(), q.nodes.end(), finite) ||
          !std::all_of(q.weights.begin(), q.weights.end(), finite)) {
        fail(ErrorKind::data, file, ": 'density' of ", printable(c.kind), " ", printable(c.subset),
             " is expected to hold finite nodes and as many finite weights, it holds ",
             q.nodes.size(), " and ", q.weights.size());
      }
    }
  }
}

const CurvatureRecords& curvature_of(const LoadedProbe& p) {
  static const CurvatureRecords none;
  const CurvatureRecords* found = p.record<CurvatureRecords>(kCurvature);
  return found == nullptr ? none : *found;
}

Estimate eigen_estimate(const EigenRecord& e) {
  Estimate out;
  out.value = e.value;
  out.standard_error = 0;
  // Certain, hence an interval of any level.
  out.interval = {e.value - e.residual, e.value + e.residual, 0.95};
  out.method = "lanczos";
  return out;
}

PartInfo curvature_part() {
  PartInfo info{.name = kCurvature, .summary = "eigenvalues, trace and density of the Hessian"};
  info.settings = curvature_settings();
  info.depends_on = {"examples",       "batch",  "batch_norm",  "dtype",          "curvature",
                     "subset",         "top",    "bottom",      "lanczos_steps",  "tolerance",
                     "estimator",      "probes", "trace_error", "density_probes", "density_steps",
                     "paper_protocol", "seed"};
  info.check = check_curvature_settings;
  info.report = curvature_report;
  info.verdicts = add_curvature_verdicts;
  info.over_seeds = curvature_over_seeds;
  return part_of<CurvatureRecords>(std::move(info), measure_curvature);
}

}  // namespace basin::tools
