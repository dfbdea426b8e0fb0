// The PAC-Bayes scale by bisection. The probes are streams of (seed, pair), drawn anew at every
// scale: the mean rise is one smooth function of the scale.
#include "basin/analysis/pac_bayes.h"

#include <cmath>
#include <limits>

#include "basin/analysis/detail/orthonormal_basis.h"
#include "basin/analysis/statistics.h"
#include "basin/core/error.h"
#include "basin/core/random.h"

namespace basin {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int kMaxDoublings = 60;

struct Noise {
  const LossSurface& surface;
  const PacBayesOptions& options;

  // The variance of the noise on weight i at a scale.
  double variance_of(int64_t i, double scale) const {
    if (!options.magnitude_aware) return scale * scale;
    const double w = surface.weights().data<double>()[i];
    return scale * scale * w * w + options.epsilon * options.epsilon;
  }

  // The rise of each pair; Inf where the loss is not finite.
  std::vector<double> rises(double scale) const {
    std::vector<double> out;
    for (int64_t r = 0; r < options.pairs; ++r) {
      Tensor d = normal_vector(surface.size(), options.seed,
                               stream_id("pac_bayes_sharpness", static_cast<uint64_t>(r)));
      double* x = d.mutable_data<double>();
      for (int64_t i = 0; i < d.numel(); ++i) x[i] *= std::sqrt(variance_of(i, scale));
      const double plus = surface.loss_at(d);
      for (int64_t i = 0; i < d.numel(); ++i) x[i] = -x[i];
      const double rise = (plus + surface.loss_at(d)) / 2 - surface.loss();
      out.push_back(std::isfinite(rise) ? rise : kInfinity);
    }
    return out;
  }
  double mean_rise(double scale) const { return mean(rises(scale)); }
};

// [low, high] with mean rise <= target at low and > target at high; low = 0 or high infinite when
// there is no such pair within the range.
struct Bracket {
  double low = 0;
  double high = kInfinity;
};
Bracket bracket(const Noise& noise) {
  const double target = noise.options.rise;
  double s = noise.options.start;
  if (noise.mean_rise(s) <= target) {
    for (int k = 0; k < kMaxDoublings; ++k) {
      if (noise.mean_rise(2 * s) > target) return {s, 2 * s};
      s *= 2;
    }
    return {s, kInfinity};
  }
  for (int k = 0; k < kMaxDoublings; ++k) {
    s /= 2;
    if (noise.mean_rise(s) <= target) return {s, 2 * s};
  }
  return {0, s};
}

double divergence(const Noise& noise, double scale, const Tensor& initial) {
  const LossSurface& surface = noise.surface;
  const int64_t n = surface.size();
  auto squared_distance = [&](int64_t i) {
    const double d =
        surface.weights().data<double>()[i] - (initial.defined() ? initial.data<double>()[i] : 0);
    return d * d;
  };
  double distance = 0, variances = 0, logs = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double v = noise.variance_of(i, scale);
    distance += squared_distance(i);
    variances += v;
    logs += std::log(v);
  }
  if (!noise.options.magnitude_aware) return distance / (2 * scale * scale);
  const double count = static_cast<double>(n);
  return (count * std::log((variances + distance) / count) - logs) / 2;
}

void check_options(const LossSurface& surface, int64_t examples, const Tensor& initial,
                   const PacBayesOptions& o) {
  check(
      o.rise > 0 && o.start > 0 && o.tolerance > 0 && o.pairs >= 2,
      "pac_bayes_sharpness: rise, start and tolerance must be positive and pairs at least 2, got ",
      o.rise, ", ", o.start, ", ", o.tolerance, ", ", o.pairs);
  check(o.confidence > 0 && o.confidence < 1 && o.level > 0 && o.level < 1,
        "pac_bayes_sharpness: confidence and level must lie in (0, 1), got ", o.confidence, ", ",
        o.level);
  check(!o.magnitude_aware || o.epsilon > 0, "pac_bayes_sharpness: epsilon must be positive, got ",
        o.epsilon, "; a weight of exactly 0 would have no noise and KL no bound");
  check(examples >= 2, "pac_bayes_sharpness: the bound needs at least 2 examples, got ", examples);
  check(!initial.defined() ||
            (initial.dtype() == DType::f64 && initial.shape() == surface.weights().shape()),
        "pac_bayes_sharpness: the initial weights must be a vector of ", surface.size(),
        " f64 numbers");
}

}  // namespace

PacBayes pac_bayes_sharpness(const LossSurface& surface, int64_t examples, const Tensor& initial,
                             const PacBayesOptions& options) {
  check_options(surface, examples, initial, options);
  const int64_t before = surface.evaluations();
  const Noise noise{surface, options};
  PacBayes out;
  auto [low, high] = bracket(noise);
  const bool found = low > 0 && high < kInfinity;
  while (found && high / low > 1 + options.tolerance) {
    const double middle = std::sqrt(low * high);
    (noise.mean_rise(middle) <= options.rise ? low : high) = middle;
  }
  const double scale = found ? low : low > 0 ? kInfinity : 0;
  out.scale.value = scale;
  out.scale.samples = options.pairs;
  out.scale.method = "bisection, common random numbers";
  out.scale.interval.level = options.level;
  if (found) {
    out.rise = mean_estimate(noise.rises(scale), options.level, "antithetic Monte Carlo");
    const double step = 0.02 * scale;
    const double slope = (out.rise.value - noise.mean_rise(scale - step)) / step;
    out.scale.standard_error = out.rise.standard_error / std::abs(slope);
    out.scale.interval = t_interval(scale, out.scale.standard_error,
                                    static_cast<double>(options.pairs - 1), options.level);
  }
  const double n = static_cast<double>(examples);
  out.kl = scale == 0 ? kInfinity : scale == kInfinity ? 0 : divergence(noise, scale, initial);
  out.bound = std::sqrt((out.kl + std::log(2 * n / options.confidence)) / (2 * (n - 1)));
  out.evaluations = surface.evaluations() - before;
  return out;
}

}  // namespace basin
