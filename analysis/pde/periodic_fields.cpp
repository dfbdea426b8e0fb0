// See periodic_fields.h.
#include "basin/analysis/pde/periodic_fields.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "basin/core/parallel.h"
#include "basin/kernels/gemm.h"

namespace basin {
namespace {

constexpr double kTurn = 2 * std::numbers::pi;

void check_fields(const char* name, const PeriodicFields& f) {
  check(f.waves.defined() && f.waves.rank() == 2 && f.waves.dtype() == DType::f64, name,
        ": expects waves [modes, d] in f64, got ", f.waves);
  for (const Tensor* part : {&f.cosine, &f.sine}) {
    check(part->defined() && part->rank() == 2 && part->dtype() == DType::f64 &&
              part->size(1) == f.waves.size(0) && part->shape() == f.cosine.shape(),
          name, ": expects coefficients [count, ", f.waves.size(0), "] in f64, got ", *part);
  }
}

// 2 pi k . x, whole turns taken out before the product with pi.
double phase(const double* k, const double* x, int64_t d) {
  double turns = 0;
  for (int64_t j = 0; j < d; ++j) turns += k[j] * (x[j] - std::floor(x[j]));
  return kTurn * (turns - std::round(turns));
}

}  // namespace

Tensor PeriodicFields::values(const Tensor& x) const {
  check_fields("PeriodicFields::values", *this);
  const int64_t count = cosine.size(0), modes = waves.size(0), d = waves.size(1);
  check(x.defined() && x.rank() == 2 && x.size(1) == d && x.dtype() == DType::f64,
        "PeriodicFields::values: expects points [n, ", d, "] in f64, got ", x);
  const int64_t n = x.size(0);
  Tensor out = Tensor::empty({count, n}, DType::f64);
  constexpr int64_t kTile = 256;  // points whose sines and cosines are held at a time
  std::vector<double> cosines(static_cast<size_t>(kTile * modes)), sines(cosines.size());
  const double *k = waves.data<double>(), *px = x.data<double>();
  double* u = out.mutable_data<double>();
  for (int64_t begin = 0; begin < n; begin += kTile) {
    const int64_t points = std::min(kTile, n - begin);
    parallel_for(points, 16, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        for (int64_t l = 0; l < modes; ++l) {
          const double angle = phase(k + l * d, px + (begin + i) * d, d);
          cosines[static_cast<size_t>(i * modes + l)] = std::cos(angle);
          sines[static_cast<size_t>(i * modes + l)] = std::sin(angle);
        }
      }
    });
    gemm<double>(false, true, count, points, modes, 1, cosine.data<double>(), modes, cosines.data(),
                 modes, 0, u + begin, n);
    gemm<double>(false, true, count, points, modes, 1, sine.data<double>(), modes, sines.data(),
                 modes, 1, u + begin, n);
  }
  return out;
}

PeriodicFields PeriodicFields::heat(double nu, double t) const {
  check_fields("PeriodicFields::heat", *this);
  check(nu >= 0 && t >= 0 && std::isfinite(nu * t),
        "PeriodicFields::heat: expects nu >= 0 and t >= 0, got ", nu, " and ", t);
  PeriodicFields out{waves, cosine.clone(), sine.clone()};
  const int64_t modes = waves.size(0), d = waves.size(1);
  double *a = out.cosine.mutable_data<double>(), *b = out.sine.mutable_data<double>();
  for (int64_t l = 0; l < modes; ++l) {
    double square = 0;
    for (int64_t j = 0; j < d; ++j) square += std::pow(kTurn * waves.at(l * d + j), 2);
    const double factor = std::exp(-nu * square * t);
    for (int64_t i = 0; i < cosine.size(0); ++i) {
      a[i * modes + l] *= factor;
      b[i * modes + l] *= factor;
    }
  }
  return out;
}

PeriodicFields PeriodicFields::shifted(const std::vector<double>& by) const {
  check_fields("PeriodicFields::shifted", *this);
  const int64_t modes = waves.size(0), d = waves.size(1);
  check(static_cast<int64_t>(by.size()) == d, "PeriodicFields::shifted: expects a shift of ", d,
        " numbers, got ", by.size());
  PeriodicFields out{waves, cosine.clone(), sine.clone()};
  double *a = out.cosine.mutable_data<double>(), *b = out.sine.mutable_data<double>();
  for (int64_t l = 0; l < modes; ++l) {
    const double angle = phase(waves.data<double>() + l * d, by.data(), d);
    const double c = std::cos(angle), s = std::sin(angle);
    for (int64_t i = l; i < cosine.numel(); i += modes) {
      const double a0 = a[i], b0 = b[i];
      a[i] = a0 * c - b0 * s;
      b[i] = a0 * s + b0 * c;
    }
  }
  return out;
}

Tensor line_waves(int64_t modes) {
  check(modes >= 1, "line_waves: expects at least one mode, got ", modes);
  Tensor out = Tensor::empty({modes, 1}, DType::f64);
  for (int64_t k = 0; k < modes; ++k) {
    out.mutable_data<double>()[k] = static_cast<double>(k + 1);
  }
  return out;
}

Tensor square_waves(int64_t modes) {
  check(modes >= 1, "square_waves: expects at least one mode, got ", modes);
  Tensor out = Tensor::empty({2 * modes * (modes + 1), 2}, DType::f64);
  double* k = out.mutable_data<double>();
  for (int64_t first = 0; first <= modes; ++first) {
    for (int64_t second = first == 0 ? 1 : -modes; second <= modes; ++second) {
      *k++ = static_cast<double>(first);
      *k++ = static_cast<double>(second);
    }
  }
  return out;
}

}  // namespace basin
