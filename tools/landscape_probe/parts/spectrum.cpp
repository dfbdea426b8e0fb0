// Part "spectrum": all eigenvalues of the Hessian, of networks small enough for its dense matrix
// (n products and one decomposition): what share of directions is flat, which no Lanczos run of
// some steps can count. Of a larger network the record is empty.
#include <algorithm>
#include <cmath>

#include "basin/analysis/curvature.h"
#include "basin/figures/curvature_figures.h"
#include "basin/kernels/linalg.h"
#include "basin/tools/landscape_probe/detail/builtin_parts.h"
#include "basin/tools/landscape_probe/probed.h"
#include "basin/tools/landscape_probe/watched.h"

namespace basin::tools {
namespace {

// An eigenvalue below this share of the largest counts as flat.
constexpr double kFlat = 1e-6;

struct SpectrumRecord {
  std::string data;
  std::vector<double> values;  // descending
};

void fields(FieldWalk& walk, SpectrumRecord& r) {
  walk.optional("data", r.data);
  walk("values", r.values);
}

void check_record(const SpectrumRecord& r, const std::string& file) {
  for (const double v : r.values) {
    if (!std::isfinite(v)) fail(ErrorKind::data, file, ": 'values' are expected to be finite");
  }
  if (!std::is_sorted(r.values.rbegin(), r.values.rend())) {
    fail(ErrorKind::data, file, ": 'values' are expected to descend");
  }
}

SpectrumRecord measure_spectrum(const ProbeContext& context) {
  SpectrumRecord out;
  const int64_t limit = context.config.integer("dense");
  const ProbeData data = context.data(Split::train, "examples");
  CurvatureOptions options;
  options.keep_bytes = context.keep_bytes;
  const int64_t size = ParameterSpace(context.state.params).size();
  if (size > limit) return out;
  const CurvatureOperator curvature(context.loss_batches(data), context.state.params, options);
  const WatchedOperator h(curvature, str(context.label(), ", whole spectrum"));
  Tensor dense = dense_matrix(h);
  // Rounding leaves it nearly symmetric; the decomposition reads one triangle.
  double* a = dense.mutable_data<double>();
  for (int64_t i = 0; i < size; ++i) {
    for (int64_t j = 0; j < i; ++j) {
      a[i * size + j] = a[j * size + i] = (a[i * size + j] + a[j * size + i]) / 2;
    }
  }
  out.values = Eigh::cpu(dense).values.to_vector<double>();
  std::sort(out.values.rbegin(), out.values.rend());
  out.data = data.description;
  return out;
}

const SpectrumRecord* spectrum_of(const LoadedProbe& p) {
  const auto* record = p.record<SpectrumRecord>("spectrum");
  return record == nullptr || record->values.empty() ? nullptr : record;
}

double largest_of(const std::vector<double>& values) {
  return std::max(std::abs(values.front()), std::abs(values.back()));
}

int64_t flat_of(const std::vector<double>& values) {
  const double limit = kFlat * largest_of(values);
  return std::count_if(values.begin(), values.end(), [&](double v) { return std::abs(v) < limit; });
}

NamedTable spectrum_table(const std::vector<LoadedProbe>& probes) {
  NamedTable out{"spectrum", {}, {}};
  out.page.caption = str("All eigenvalues of the Hessian; flat: below ", short_text(kFlat, 1),
                         " of the largest in absolute value");
  out.page.columns = {"network", "optimizer", "n",    "λ max",
                      "λ min",   "negative",  "flat", "share flat"};
  out.page.numeric = columns_of(8, {2, 3, 4, 5, 6, 7});
  CsvTable csv(
      {"network", "optimizer", "n", "lambda_max", "lambda_min", "negative", "flat", "flat_below"});
  for (const LoadedProbe& p : probes) {
    const SpectrumRecord* r = spectrum_of(p);
    if (r == nullptr) continue;
    const std::vector<double>& v = r->values;
    const double limit = kFlat * largest_of(v);
    const int64_t flat = flat_of(v), negative = std::count_if(v.begin(), v.end(),
                                                              [&](double x) { return x < -limit; });
    out.page.rows.push_back(
        {p.network, p.optimizer, str(v.size()), readable(v.front()), readable(v.back()),
         str(negative), str(flat),
         fixed_text(100.0 * static_cast<double>(flat) / static_cast<double>(v.size()), 1) + " %"});
    csv.row({p.network, p.optimizer, std::ssize(v), v.front(), v.back(), negative, flat, kFlat});
  }
  out.csv = csv.text();
  return out;
}

Figure spectrum_figure(const std::vector<LoadedProbe>& probes, const std::string& command) {
  Scree out;
  out.title = "Whole spectrum of the Hessian";
  for (const std::string& network : networks_of(probes)) {
    ScreePanel panel{network, {}};
    for (const LoadedProbe& p : of_network(probes, network)) {
      const SpectrumRecord* r = spectrum_of(p);
      if (r != nullptr) panel.series.push_back({p.optimizer, r->values});
    }
    if (!panel.series.empty()) out.panels.push_back(std::move(panel));
  }
  out.conditions = conditions_of(probes, command);
  out.conditions.level = 0;
  Figure figure = scree_figure(out);
  figure.name = "whole-spectrum";
  return figure;
}

PartReport spectrum_report(const std::vector<LoadedProbe>& probes, const std::string& command) {
  if (std::none_of(probes.begin(), probes.end(),
                   [](const LoadedProbe& p) { return spectrum_of(p) != nullptr; })) {
    return {};
  }
  PartSection section{"Whole spectrum", "Every eigenvalue, from the dense Hessian.", {}, {}};
  section.tables.push_back(spectrum_table(probes));
  section.figures.push_back(spectrum_figure(probes, command));
  return {{std::move(section)}};
}

}  // namespace

PartInfo spectrum_part() {
  PartInfo info{.name = "spectrum", .summary = "all eigenvalues, of small networks"};
  info.settings = {{"dense", Kind::integer, "1024",
                    "Networks of at most so many parameters get their whole spectrum (to 4096)"}};
  info.depends_on = {"examples", "batch", "batch_norm", "dtype", "dense", "seed"};
  info.check = [](const Config& config, const std::vector<std::string>&) {
    const int64_t limit = config.integer("dense");
    check(limit >= 0 && limit <= 4096, config.origin("dense"),
          ": dense is expected to be 0 to 4096, given ", limit);
  };
  info.report = spectrum_report;
  return part_of<SpectrumRecord>(std::move(info), measure_spectrum);
}

}  // namespace basin::tools
