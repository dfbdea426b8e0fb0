// See spectral.h. Two real functions go as one complex vector z = u + i v through a transform:
// diffusion and the derivative act on its spectrum as on either, the square is taken part by part.
// With c = h L, L = -nu (2 pi k)^2 and the rest N(z) = -(1/2) d/dx (u^2 + i v^2), a step is
//   a = e^{c/2} z + Q N(z)    b = e^{c/2} z + Q N(a)    d = e^{c/2} a + Q (2 N(b) - N(z))
//   z' = e^c z + f1 N(z) + 2 f2 (N(a) + N(b)) + f3 N(d).
#include "basin/analysis/pde/spectral.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdlib>
#include <numbers>
#include <vector>

#include "basin/analysis/detail/fourier.h"
#include "basin/core/parallel.h"

namespace basin {
namespace {

using detail::ComplexLanes;
using detail::Fourier;
using detail::kLanes;
using std::numbers::pi;

constexpr int64_t kPerBlock = 2 * kLanes;  // functions that are advanced together

// The wave number of element j of a spectrum of n.
int64_t wave_number(int64_t j, int64_t n) { return 2 * j < n ? j : j - n; }
// The product of two waves below n / 3 has no alias below n / 3.
bool is_resolved(int64_t k, int64_t n) { return 3 * std::abs(k) < n; }

struct Etdrk4 {
  std::vector<double> decay, half_decay, q, f1, f2, f3;  // [n]

  Etdrk4(int64_t n, double nu, double h) {
    for (int64_t j = 0; j < n; ++j) {
      const double wave = 2 * pi * static_cast<double>(wave_number(j, n));
      const double c = -nu * wave * wave * h;
      decay.push_back(std::exp(c));
      half_decay.push_back(std::exp(c / 2));
      // c is real: the half circle above the axis has the mean of the whole one as its real part.
      constexpr int kCircle = 32;
      double means[4] = {};
      for (int m = 0; m < kCircle; ++m) {
        const std::complex<double> r = c + std::polar(1.0, pi * (m + 0.5) / kCircle);
        const std::complex<double> e = std::exp(r), cube = r * r * r;
        means[0] += ((std::exp(r / 2.0) - 1.0) / r).real();
        means[1] += ((-4.0 - r + e * (4.0 - 3.0 * r + r * r)) / cube).real();
        means[2] += ((2.0 + r + e * (r - 2.0)) / cube).real();
        means[3] += ((-4.0 - 3.0 * r - r * r + e * (4.0 - r)) / cube).real();
      }
      std::vector<double>* const terms[] = {&q, &f1, &f2, &f3};
      for (int i = 0; i < 4; ++i) terms[i]->push_back(h * means[i] / kCircle);
    }
  }
};

// out = f x + g y, factors by wave.
void combine(const std::vector<double>& f, const std::vector<double>& x,
             const std::vector<double>& g, const std::vector<double>& y, std::vector<double>& out) {
  for (size_t j = 0; j < f.size(); ++j) {
    for (size_t i = j * kLanes; i < (j + 1) * kLanes; ++i) out[i] = f[j] * x[i] + g[j] * y[i];
  }
}

// 2 kLanes solutions of one equation.
class FlowBlock {
 public:
  FlowBlock(const Fourier& fourier, const Etdrk4& scheme)
      : fourier_(fourier), scheme_(scheme), z_(fourier.size()) {}

  // Rows first .. first + count - 1 of initial [., n].
  void start(const Tensor& initial, int64_t first, int64_t count) {
    const int64_t n = fourier_.size();
    const double* u = initial.data<double>();
    for (int64_t row = 0; row < count; ++row) {
      std::vector<double>& part = row % 2 == 0 ? z_.re : z_.im;
      for (int64_t j = 0; j < n; ++j) {
        part[static_cast<size_t>(j * kLanes + row / 2)] = u[(first + row) * n + j];
      }
    }
    fourier_.forward(z_, scratch_);
    for (int64_t j = 0; j < n; ++j) {
      if (is_resolved(wave_number(j, n), n)) continue;
      std::fill_n(z_.re.begin() + j * kLanes, kLanes, 0.0);
      std::fill_n(z_.im.begin() + j * kLanes, kLanes, 0.0);
    }
  }

  void step() {
    nonlinear(z_, nz_);
    for (const auto part : {&ComplexLanes::re, &ComplexLanes::im}) {
      combine(scheme_.half_decay, z_.*part, scheme_.q, nz_.*part, a_.*part);
    }
    nonlinear(a_, na_);
    for (const auto part : {&ComplexLanes::re, &ComplexLanes::im}) {
      combine(scheme_.half_decay, z_.*part, scheme_.q, na_.*part, b_.*part);
    }
    nonlinear(b_, nb_);
    for (const auto part : {&ComplexLanes::re, &ComplexLanes::im}) {
      const std::vector<double>&nz = nz_.*part, &nb = nb_.*part;
      std::vector<double>& d = b_.*part;
      for (size_t i = 0; i < d.size(); ++i) d[i] = 2 * nb[i] - nz[i];
      combine(scheme_.half_decay, a_.*part, scheme_.q, d, d);
    }
    nonlinear(b_, nd_);
    for (const auto part : {&ComplexLanes::re, &ComplexLanes::im}) {
      const std::vector<double>&nz = nz_.*part, &na = na_.*part, &nb = nb_.*part, &nd = nd_.*part;
      std::vector<double>& z = z_.*part;
      for (size_t j = 0; j < scheme_.q.size(); ++j) {
        for (size_t i = j * kLanes; i < (j + 1) * kLanes; ++i) {
          z[i] = scheme_.decay[j] * z[i] + scheme_.f1[j] * nz[i] +
                 2 * scheme_.f2[j] * (na[i] + nb[i]) + scheme_.f3[j] * nd[i];
        }
      }
    }
  }

  const ComplexLanes& spectrum() const { return z_; }

 private:
  void nonlinear(const ComplexLanes& z, ComplexLanes& out) {
    out.re = z.re;
    out.im = z.im;
    fourier_.inverse(out, scratch_);
    for (double& x : out.re) x *= x;
    for (double& x : out.im) x *= x;
    fourier_.forward(out, scratch_);
    const int64_t n = fourier_.size();
    for (int64_t j = 0; j < n; ++j) {
      const int64_t k = wave_number(j, n);
      const double factor = is_resolved(k, n) ? -pi * static_cast<double>(k) : 0.0;  // times i
      for (int64_t i = j * kLanes; i < (j + 1) * kLanes; ++i) {
        double &re = out.re[static_cast<size_t>(i)], &im = out.im[static_cast<size_t>(i)];
        const double real = re;
        re = -factor * im;
        im = factor * real;
      }
    }
  }

  const Fourier& fourier_;
  const Etdrk4& scheme_;
  ComplexLanes z_, a_{z_}, b_{z_}, nz_{z_}, na_{z_}, nb_{z_}, nd_{z_}, scratch_{z_};
};

// exp(2 pi i k x) / n for the resolved waves of a spectrum.
struct WaveTable {
  std::vector<int64_t> elements;     // of the spectrum, [waves]
  std::vector<double> cosine, sine;  // [m, waves]

  WaveTable(const Tensor& points, int64_t n) {
    for (int64_t j = 0; j < n; ++j) {
      if (is_resolved(wave_number(j, n), n)) elements.push_back(j);
    }
    for (const double x : points.to_vector<double>()) {
      for (const int64_t j : elements) {
        const double turns = static_cast<double>(wave_number(j, n)) * (x - std::floor(x));
        const double angle = 2 * pi * (turns - std::round(turns));
        cosine.push_back(std::cos(angle) / static_cast<double>(n));
        sine.push_back(std::sin(angle) / static_cast<double>(n));
      }
    }
  }

  // The values at every point: out [count, stride of `row`], from its first element on. Whether all
  // are finite.
  bool evaluate(const ComplexLanes& z, int64_t count, double* out, int64_t row) const {
    const size_t waves = elements.size(), points = cosine.size() / waves;
    bool finite = true;
    for (size_t p = 0; p < points; ++p) {
      double re[kLanes] = {}, im[kLanes] = {};
      for (size_t w = 0; w < waves; ++w) {
        const double c = cosine[p * waves + w], s = sine[p * waves + w];
        const double* zre = z.re.data() + elements[w] * kLanes;
        const double* zim = z.im.data() + elements[w] * kLanes;
        for (int64_t l = 0; l < kLanes; ++l) {
          re[l] += c * zre[l] - s * zim[l];
          im[l] += c * zim[l] + s * zre[l];
        }
      }
      for (int64_t i = 0; i < count; ++i) {
        const double value = i % 2 == 0 ? re[i / 2] : im[i / 2];
        out[i * row + static_cast<int64_t>(p)] = value;
        finite = finite && std::isfinite(value);
      }
    }
    return finite;
  }
};

void check_flow(const Tensor& initial, const Tensor& points, const BurgersFlow& o) {
  check(initial.defined() && initial.rank() == 2 && initial.dtype() == DType::f64,
        "burgers_flow: expects initial values [count, n] in f64, got ", initial);
  const int64_t n = initial.size(1);
  check(n >= 8 && n <= 65536 && (n & (n - 1)) == 0,
        "burgers_flow: expects a power of two from 8 to 65536 points, got ", n);
  check(points.defined() && points.rank() == 1 && points.dtype() == DType::f64,
        "burgers_flow: expects output points [m] in f64, got ", points);
  check(
      o.nu >= 0 && o.duration > 0 && o.largest_step > 0 && o.outputs >= 2,
      "burgers_flow: expects nu >= 0, duration > 0, largest_step > 0 and at least 2 outputs, got ",
      o.nu, ", ", o.duration, ", ", o.largest_step, ", ", o.outputs);
}

}  // namespace

Tensor burgers_flow(const Tensor& initial, const Tensor& points, const BurgersFlow& o) {
  check_flow(initial, points, o);
  const int64_t count = initial.size(0), n = initial.size(1), m = points.size(0);
  const double interval = o.duration / static_cast<double>(o.outputs - 1);
  // A step that divides the interval up to rounding is not cut in two.
  const auto steps = static_cast<int64_t>(std::ceil(interval / o.largest_step * (1 - 1e-12)));
  const Fourier fourier(n);
  const Etdrk4 scheme(n, o.nu, interval / static_cast<double>(steps));
  const WaveTable waves(points, n);
  Tensor out = Tensor::empty({count, o.outputs, m}, DType::f64);
  double* u = out.mutable_data<double>();
  parallel_for(count, kPerBlock, [&](int64_t first, int64_t last) {
    FlowBlock block(fourier, scheme);
    block.start(initial, first, last - first);
    for (int64_t output = 0; output < o.outputs; ++output) {
      for (int64_t step = 0; output > 0 && step < steps; ++step) block.step();
      double* at = u + (first * o.outputs + output) * m;
      if (!waves.evaluate(block.spectrum(), last - first, at, o.outputs * m)) {
        fail(ErrorKind::numerical, "burgers_flow: a solution of functions ", first, " to ",
             last - 1, " is not finite at time ", interval * static_cast<double>(output),
             "; choose a smaller largest_step");
      }
    }
  });
  return out;
}

}  // namespace basin
