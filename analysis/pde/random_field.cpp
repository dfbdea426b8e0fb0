// See random_field.h.
#include "basin/analysis/pde/random_field.h"

#include <cmath>
#include <cstdlib>
#include <numbers>
#include <vector>

#include "basin/core/parallel.h"
#include "basin/core/random.h"
#include "basin/kernels/linalg.h"

extern "C" void dpotrf_(const char*, const int*, double*, const int*, int*, size_t);

namespace basin {
namespace {

using std::numbers::pi;

constexpr double kSmallestJitter = 1e-13, kLargestJitter = 1e-8;

struct Factor {
  Tensor upper;  // L^T [n, n]
  double jitter = 0;
};

// LAPACK's lower triangle by columns is L^T by rows.
Factor cholesky(const Tensor& covariance) {
  const int64_t n = covariance.size(0);
  use_serial_blas();
  for (double jitter = kSmallestJitter; jitter <= 1.5 * kLargestJitter; jitter *= 10) {
    Tensor factor = covariance.clone();
    double* k = factor.mutable_data<double>();
    for (int64_t i = 0; i < n; ++i) k[i * n + i] += jitter;
    const char half = 'L';
    const int size = static_cast<int>(n);
    int info = 0;
    dpotrf_(&half, &size, k, &size, &info, 1);
    if (info == 0) return {std::move(factor), jitter};
  }
  fail(ErrorKind::numerical, "KernelField: the covariance of ", n,
       " points is not positive definite, even with ", kLargestJitter, " added to its diagonal");
}

void check_kernel(const char* name, int64_t n, double length, double low, double domain) {
  check(n >= 4 && n <= 20000, name, ": expects 4 to 20000 points, got ", n);
  check(length > 0 && std::isfinite(length), name, ": expects a positive length, got ", length);
  check(domain > 0 && std::isfinite(domain) && std::isfinite(low), name,
        ": expects a domain of positive length, got ", domain, " from ", low);
}

void check_span(const char* name, const FieldSpan& span) {
  check(span.first >= 0 && span.count >= 1, name,
        ": expects first >= 0 and at least one function, got first ", span.first, ", count ",
        span.count);
}

PeriodicFields draw_spectrum(const char* name, Tensor waves, const FieldSpectrum& spectrum,
                             const FieldSpan& span) {
  check_span(name, span);
  check(spectrum.sigma > 0 && spectrum.tau >= 0 && std::isfinite(spectrum.gamma), name,
        ": expects sigma > 0 and tau >= 0, got ", spectrum.sigma, " and ", spectrum.tau);
  const int64_t modes = waves.size(0), d = waves.size(1);
  std::vector<double> amplitude;
  for (int64_t l = 0; l < modes; ++l) {
    double square = spectrum.tau * spectrum.tau;
    for (int64_t j = 0; j < d; ++j) square += std::pow(2 * pi * waves.at(l * d + j), 2);
    amplitude.push_back(std::sqrt(2.0) * spectrum.sigma * std::pow(square, -spectrum.gamma / 2));
  }
  PeriodicFields out{std::move(waves), Tensor::empty({span.count, modes}, DType::f64),
                     Tensor::empty({span.count, modes}, DType::f64)};
  double *a = out.cosine.mutable_data<double>(), *b = out.sine.mutable_data<double>();
  for (int64_t i = 0; i < span.count; ++i) {
    Rng rng(span.seed, stream_id(name, static_cast<uint64_t>(span.first + i)));
    for (const double scale : amplitude) {
      *a++ = scale * rng.normal();
      *b++ = scale * rng.normal();
    }
  }
  return out;
}

}  // namespace

KernelField::KernelField(int64_t n, double low, double length, bool periodic, double spacing,
                         const std::function<double(double)>& kernel)
    : points_(Tensor::empty({n}, DType::f64)), low_(low), length_(length), periodic_(periodic) {
  // Equidistant points: the covariance depends on the difference of their numbers alone.
  std::vector<double> by_distance;
  double* x = points_.mutable_data<double>();
  for (int64_t i = 0; i < n; ++i) {
    const double distance = spacing * static_cast<double>(i);
    x[i] = low + distance;
    by_distance.push_back(kernel(distance));
  }
  Tensor covariance = Tensor::empty({n, n}, DType::f64);
  double* k = covariance.mutable_data<double>();
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j)
      k[i * n + j] = by_distance[static_cast<size_t>(std::abs(i - j))];
  }
  Factor factor = cholesky(covariance);
  factor_ = std::move(factor.upper);
  jitter_ = factor.jitter;
}

KernelField KernelField::rbf(int64_t n, double length, double low, double high) {
  check_kernel("KernelField::rbf", n, length, low, high - low);
  return KernelField(n, low, high - low, false, (high - low) / static_cast<double>(n - 1),
                     [=](double r) { return std::exp(-0.5 * (r / length) * (r / length)); });
}

KernelField KernelField::periodic(int64_t n, double length, double low, double period) {
  check_kernel("KernelField::periodic", n, length, low, period);
  return KernelField(n, low, period, true, period / static_cast<double>(n), [=](double r) {
    const double s = std::sin(pi * r / period) / length;
    return std::exp(-2 * s * s);
  });
}

// A column of L at a time for a tile of functions: every value is one sum in the order of z,
// whatever the tile.
Tensor KernelField::draw(const FieldSpan& span) const {
  check_span("KernelField::draw", span);
  const int64_t n = points_.size(0);
  Tensor out = Tensor::zeros({span.count, n}, DType::f64);
  double* u = out.mutable_data<double>();
  const double* upper = factor_.data<double>();
  parallel_for(span.count, 8, [&](int64_t begin, int64_t end) {
    std::vector<Rng> draws;
    for (int64_t i = begin; i < end; ++i) {
      draws.emplace_back(span.seed,
                         stream_id("kernel field", static_cast<uint64_t>(span.first + i)));
    }
    for (int64_t j = 0; j < n; ++j) {
      const double* column = upper + j * n;
      for (int64_t i = begin; i < end; ++i) {
        const double z = draws[static_cast<size_t>(i - begin)].normal();
        double* values = u + i * n;
        for (int64_t l = j; l < n; ++l) values[l] += z * column[l];
      }
    }
  });
  return out;
}

Interpolant KernelField::functions(const FieldSpan& span, Interpolation kind) const {
  const Tensor values = draw(span);
  return periodic_ ? Interpolant::periodic(values, low_, length_, kind)
                   : Interpolant::on_line(values, low_, low_ + length_, kind);
}

PeriodicFields spectral_field(const FieldSpectrum& spectrum, const FieldSpan& span) {
  return draw_spectrum("spectral_field", line_waves(spectrum.modes), spectrum, span);
}

PeriodicFields spectral_field_2d(const FieldSpectrum& spectrum, const FieldSpan& span) {
  return draw_spectrum("spectral_field_2d", square_waves(spectrum.modes), spectrum, span);
}

}  // namespace basin
