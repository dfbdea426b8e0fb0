// Ranks of representations and their standard errors. Decompositions are serial inside, so layers,
// centrings and resamples run in parallel; every resample is a stream of its own.
#include "basin/analysis/representation.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "basin/analysis/statistics.h"
#include "basin/core/error.h"
#include "basin/core/parallel.h"
#include "basin/core/random.h"
#include "basin/kernels/linalg.h"

namespace basin {
namespace {

// Subtracts the column means, weighted by `weight` (all one when empty). A column that is the same
// in every row becomes 0, not the rounding of its mean.   x [n, C] in place
void centre(Tensor& x, std::span<const double> weight = {}) {
  const int64_t n = x.size(0), c = x.size(1);
  double* v = x.mutable_data<double>();
  std::vector<double> mean(c, 0.0), raw(c, 0.0), left(c, 0.0);
  double total = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double w = weight.empty() ? 1 : weight[i];
    total += w;
    for (int64_t j = 0; j < c; ++j) {
      mean[j] += w * v[i * c + j];
      raw[j] += v[i * c + j] * v[i * c + j];
    }
  }
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < c; ++j) {
      v[i * c + j] -= mean[j] / total;
      left[j] += v[i * c + j] * v[i * c + j];
    }
  }
  for (int64_t j = 0; j < c; ++j) {
    if (left[j] > 1e-28 * static_cast<double>(n) * raw[j]) continue;
    for (int64_t i = 0; i < n; ++i) v[i * c + j] = 0;
  }
}

RankNumbers ranks_of(const Tensor& s, int64_t limit) {
  return rank_numbers({s.data<double>(), static_cast<size_t>(std::min(limit, s.numel()))}, limit);
}

Estimate with_interval(double value, double standard_error, int64_t samples, double df,
                       double level, const char* method) {
  Estimate out;
  out.value = value;
  out.standard_error = standard_error;
  out.samples = samples;
  out.method = method;
  if (standard_error == 0) {
    out.interval = {value, value, level};
  } else {
    out.interval = t_interval(value, standard_error, df, level);
  }
  return out;
}

// Standard errors by the influence of each sample.   f: of X [n, C]
//   stable:    dT / d ln s_k = 2 (s_k^2 / s_1^2 - T [k = 1])
//   effective: dT / d ln s_k = -T q_k (ln q_k + ln T)
struct StandardErrors {
  double stable = 0;
  double effective = 0;
};
StandardErrors influence(const SvdFactors& f, const RankNumbers& ranks) {
  const double* s = f.s.data<double>();
  const double* u = f.u.data<double>();
  const int64_t n = f.u.size(0), p = f.u.size(1);
  if (s[0] == 0) return {};
  double sum = 0;
  for (int64_t k = 0; k < ranks.limit; ++k) sum += s[k];
  std::vector<double> stable(p, 0.0), effective(p, 0.0);
  for (int64_t k = 0; k < ranks.limit; ++k) {
    const double r = s[k] / s[0], q = s[k] / sum;
    stable[k] = 2 * r * r;
    if (q > 0) effective[k] = -ranks.effective * q * (std::log(q) + std::log(ranks.effective));
  }
  stable[0] -= 2 * ranks.stable;
  double stable_squares = 0, effective_squares = 0;
  for (int64_t i = 0; i < n; ++i) {
    double a = 0, b = 0;
    for (int64_t k = 0; k < ranks.limit; ++k) {
      const double rate = (static_cast<double>(n) * u[i * p + k] * u[i * p + k] - 1) / 2;
      a += stable[k] * rate;
      b += effective[k] * rate;
    }
    stable_squares += a * a;
    effective_squares += b * b;
  }
  const double scale = static_cast<double>(n) * static_cast<double>(n - 1);
  return {std::sqrt(stable_squares / scale), std::sqrt(effective_squares / scale)};
}

// The ranks of rows drawn with replacement: a row that came m times counts as one, sqrt(m) long.
//   y [n, p]
RankNumbers resampled(const Tensor& y, Rng rng, bool centred, int64_t limit) {
  const int64_t n = y.size(0), p = y.size(1);
  std::vector<int64_t> times(n, 0);
  for (int64_t i = 0; i < n; ++i) ++times[rng.below(n)];
  std::vector<double> weight;
  for (const int64_t m : times) {
    if (m > 0) weight.push_back(static_cast<double>(m));
  }
  Tensor rows = Tensor::empty({static_cast<int64_t>(weight.size()), p}, DType::f64);
  double* out = rows.mutable_data<double>();
  int64_t at = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (times[i] > 0) std::copy_n(y.data<double>() + i * p, p, out + p * at++);
  }
  if (centred) centre(rows, weight);
  for (int64_t i = 0; i < rows.size(0); ++i) {
    for (int64_t j = 0; j < p; ++j) out[i * p + j] *= std::sqrt(weight[i]);
  }
  return ranks_of(SingularValues::cpu(rows), limit);
}

// The resamples work on the rows of U S, which have the singular values of X in min(n, C) columns.
StandardErrors bootstrap_errors(const SvdFactors& f, bool centred, int64_t limit,
                                const RepresentationOptions& options) {
  Tensor y = f.u.clone();
  const int64_t n = y.size(0), p = y.size(1);
  double* v = y.mutable_data<double>();
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t k = 0; k < p; ++k) v[i * p + k] *= f.s.data<double>()[k];
  }
  std::vector<double> stable(options.resamples), effective(options.resamples);
  parallel_tiles(options.resamples, [&](int64_t r) {
    const Rng rng(options.seed, stream_id("representation_ranks", static_cast<uint64_t>(r)));
    const RankNumbers ranks = resampled(y, rng, centred, limit);
    stable[r] = ranks.stable;
    effective[r] = ranks.effective;
  });
  return {std::sqrt(variance(stable)), std::sqrt(variance(effective))};
}

RepresentationSpectrum spectrum_of(const Tensor& x, bool centred,
                                   const RepresentationOptions& options) {
  Tensor y = x;
  if (centred) {
    y = x.clone();
    centre(y);
  }
  const SvdFactors f = Svd::cpu(y);
  const int64_t n = x.size(0);
  RepresentationSpectrum out;
  const int64_t limit = std::min(centred ? n - 1 : n, x.size(1));
  out.singular_values = Tensor::empty({limit}, DType::f64);
  std::copy_n(f.s.data<double>(), limit, out.singular_values.mutable_data<double>());
  out.ranks = ranks_of(f.s, limit);
  const bool influences = options.interval == RankInterval::influence;
  const StandardErrors se =
      influences ? influence(f, out.ranks) : bootstrap_errors(f, centred, limit, options);
  const int64_t count = influences ? n : options.resamples;
  const char* method = influences ? "infinitesimal jackknife" : "bootstrap";
  const double df = static_cast<double>(n - 1);
  out.stable = with_interval(out.ranks.stable, se.stable, count, df, options.level, method);
  out.effective =
      with_interval(out.ranks.effective, se.effective, count, df, options.level, method);
  return out;
}

void check_layer(const std::string& layer, const Tensor& x) {
  check(x.defined() && x.rank() == 2 && is_float(x.dtype()), "representation_ranks: layer '", layer,
        "': expects a matrix [samples, channels] of floats, got ", x,
        "; pool over the points first");
  check(x.size(0) >= 3 && x.size(1) >= 1, "representation_ranks: layer '", layer,
        "': expects at least 3 samples and one channel, got ", x.shape());
  dispatch_float(x.dtype(), "representation_ranks", [&](auto t) {
    const auto* v = x.data<decltype(t)>();
    for (int64_t i = 0; i < x.numel(); ++i) {
      if (std::isfinite(v[i])) continue;
      fail(ErrorKind::numerical, "representation_ranks: layer '", layer, "': sample ",
           i / x.size(1), ", channel ", i % x.size(1), " is ", v[i]);
    }
  });
}

}  // namespace

Tensor mean_pooled(const Tensor& activation) {
  check(activation.defined() && is_float(activation.dtype()) &&
            (activation.rank() == 2 || activation.rank() == 3),
        "mean_pooled: expects [samples, points, channels] or [samples, channels], got ",
        activation);
  const Tensor host = activation.detach().to(Device::cpu);
  if (host.rank() == 2) return host.to(DType::f64);
  const int64_t n = activation.size(0), points = activation.size(1), c = activation.size(2);
  check(points >= 1, "mean_pooled: no points in ", activation.shape());
  Tensor out = Tensor::zeros({n, c}, DType::f64);
  double* y = out.mutable_data<double>();
  dispatch_float(activation.dtype(), "mean_pooled", [&](auto t) {
    const auto* x = host.data<decltype(t)>();
    parallel_for(n, 16, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        for (int64_t q = 0; q < points; ++q) {
          for (int64_t j = 0; j < c; ++j) y[i * c + j] += x[(i * points + q) * c + j];
        }
        for (int64_t j = 0; j < c; ++j) y[i * c + j] /= static_cast<double>(points);
      }
    });
  });
  return out;
}

std::vector<RepresentationRanks> representation_ranks(
    const std::vector<std::pair<std::string, Tensor>>& layers,
    const RepresentationOptions& options) {
  check(options.level > 0 && options.level < 1,
        "representation_ranks: the level must lie in (0, 1), got ", options.level);
  check(options.interval == RankInterval::influence || options.resamples >= 10,
        "representation_ranks: expects at least 10 resamples, got ", options.resamples);
  std::vector<RepresentationRanks> out;
  Tensors host;
  for (const auto& [layer, x] : layers) {
    host.push_back(x.defined() ? x.detach().to(Device::cpu) : x);
    check_layer(layer, host.back());
    RepresentationRanks& r = out.emplace_back();
    r.layer = layer;
    r.samples = x.size(0);
    r.channels = x.size(1);
  }
  parallel_tiles(2 * static_cast<int64_t>(layers.size()), [&](int64_t tile) {
    RepresentationRanks& r = out[tile / 2];
    const bool centred = tile % 2 == 0;
    (centred ? r.centred : r.uncentred) =
        spectrum_of(host[tile / 2].to(DType::f64), centred, options);
  });
  return out;
}

RepresentationRanks representation_ranks(const std::string& layer, const Tensor& x,
                                         const RepresentationOptions& options) {
  return representation_ranks({{layer, x}}, options)[0];
}

}  // namespace basin
