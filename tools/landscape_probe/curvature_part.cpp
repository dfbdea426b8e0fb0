// Curvature of one checkpoint: eigenvalues, trace by layer and by rule of the optimizer, spectral
// density, and the plain estimators of published studies beside them.
#include <algorithm>
#include <cmath>

#include "basin/analysis/lanczos.h"
#include "basin/analysis/power_iteration.h"
#include "basin/analysis/spectral_density.h"
#include "basin/analysis/trace.h"
#include "basin/core/safetensors.h"
#include "basin/tools/landscape_probe/probe.h"
#include "basin/tools/shell/environment.h"
#include "basin/tools/shell/progress.h"

namespace basin::tools {
namespace {

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
  file.metadata["weights_sha256"] =
      parse_record(context.subject.facts().line(), "facts").text("weights_sha256");
  write_safetensors(eigenvector_file(context.dir), file);
}

void measure_eigenvalues(const ProbeContext& context, const SymmetricOperator& h, bool keep,
                         CurvatureRecord& out) {
  const ProbeSettings& s = context.settings;
  LanczosOptions options;
  options.top = s.top;
  options.bottom = s.bottom;
  options.tolerance = s.tolerance;
  options.max_products = s.lanczos_steps;
  options.seed = s.seed;
  const LanczosResult found = lanczos(h, options);
  out.top = records_of(found.top);
  out.bottom = records_of(found.bottom);
  out.converged = found.converged;
  out.note = found.note;
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

void add_blocks(const Subject& subject, const ParameterSpace& space, const BlockTraces& traces,
                CurvatureRecord& out) {
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
  const std::vector<RoutingRow>& routing = subject.routing();
  add("group", grouped(space, [&](size_t i) {
        const auto p = static_cast<size_t>(space.indices()[i]);
        return p < routing.size() ? routing[p].optimizer : std::string("all");
      }));
  add("layer", grouped(space, [&](size_t i) { return layer_of(space.names()[i]); }));
}

void measure_trace(const ProbeContext& context, const WatchedOperator& h,
                   const ParameterSpace& space, CurvatureRecord& out) {
  const ProbeSettings& s = context.settings;
  TraceOptions options;
  options.products = s.probes;
  options.relative = s.trace_error;
  options.seed = s.seed;
  options.lanes = s.lanes;
  if (s.estimator == "hutchinson") {
    const BlockTraces traces = block_traces(h, member_offsets(space), options);
    out.trace = traces.total.estimate;
    out.trace_samples = traces.total.samples;
    add_blocks(context.subject, space, traces, out);
    return;
  }
  const TraceResult trace =
      s.estimator == "xtrace" ? xtrace(h, options) : hutch_plus_plus_trace(h, options);
  out.trace = trace.estimate;
}

void measure_density(const ProbeContext& context, const SymmetricOperator& h,
                     CurvatureRecord& out) {
  const ProbeSettings& s = context.settings;
  if (s.density_probes == 0) return;
  QuadratureOptions options;
  options.probes = s.density_probes;
  options.steps = s.density_steps;
  options.seed = s.seed;
  options.lanes = s.lanes;
  const SpectralQuadrature q = spectral_quadrature(h, options);
  for (const SpectralRule& rule : q.rules) out.density.push_back({rule.nodes, rule.weights});
  out.negative_share = negative_share(q);
}

void measure_paper(const ProbeContext& context, const SymmetricOperator& h, CurvatureRecord& out) {
  PowerOptions power;
  power.seed = context.settings.seed;
  const PowerResult top = power_iteration(h, power).front();
  PaperTraceOptions plain;
  plain.seed = context.settings.seed;
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
  options.indices = context.subject.subset(subset);
  options.keep_bytes = context.settings.keep_bytes;
  const CurvatureOperator curvature(batches, context.state.params, options);
  const WatchedOperator h(curvature, str(context.subject.label(), ", ", kind, ", ", subset));
  CurvatureRecord out;
  out.kind = kind;
  out.subset = subset;
  out.size = h.size();
  out.loss = curvature.loss();
  out.gradient_norm = norm_of(curvature.gradient());
  measure_eigenvalues(context, h, keep, out);
  measure_trace(context, h, curvature.space(), out);
  measure_density(context, h, out);
  if (context.settings.paper_protocol) measure_paper(context, h, out);
  out.products = h.products();
  out.seconds = seconds_now() - start;
  return out;
}

}  // namespace

std::vector<CurvatureRecord> measure_curvature(const ProbeContext& context) {
  const ProbeSettings& s = context.settings;
  const Subject& subject = context.subject;
  const ProbeData data =
      probe_data(subject.train_set(), "training", subject.train(), s.shapes, s.batch, s.seed);
  const std::vector<LossBatch> batches =
      loss_batches(subject.model(), context.state.buffers, data, s.batch_norm,
                   subject.train().label_smoothing, s.dtype);
  std::vector<CurvatureRecord> out;
  for (const std::string& kind : s.kinds) {
    for (const std::string& subset : s.subsets) {
      const bool keep = kind == s.kinds.front() && subset == "all";
      out.push_back(measure_one(context, batches, kind, subset, keep));
    }
  }
  return out;
}

}  // namespace basin::tools
