// XTrace (Epperly, Tropp, Webber 2024) for symmetric A, with resphered probes:
//   Y = A Omega = Q R, omega_i uniform on the sphere of radius sqrt(n), P_i the projector on
//   span{y_j : j != i} = span Q minus the direction q = Q s_i, s_i ~ R^-T e_i
//   t_i = tr(P_i A P_i)
//         + (n - m + 1) / |(I - P_i) omega_i|^2  omega_i^T (I - P_i) A (I - P_i) omega_i
// In the coordinates of Q only m x m matrices remain, R, H = Q^T A Q and W = Q^T Omega, because
// Q^T A Omega is R itself. Probes are drawn again for W instead of being kept.
#include <algorithm>
#include <cmath>
#include <limits>

#include "basin/analysis/detail/orthonormal_basis.h"
#include "basin/analysis/statistics.h"
#include "basin/analysis/trace.h"
#include "basin/core/error.h"
#include "basin/core/random.h"

namespace basin {
namespace {

using Column = std::vector<double>;

constexpr int64_t kFewestProbes = 8;  // least probes of a pilot, and of what follows it
constexpr double kProbeMargin = 1.5;  // of the probes that the pilot asks for

double dot(const Column& a, const Column& b) {
  double sum = 0;
  for (size_t k = 0; k < a.size(); ++k) sum += a[k] * b[k];
  return sum;
}

// a + f b
Column plus(Column a, double f, const Column& b) {
  for (size_t k = 0; k < a.size(); ++k) a[k] += f * b[k];
  return a;
}

Column times(const std::vector<Column>& h, const Column& x) {
  Column out;
  for (const Column& row : h) out.push_back(dot(row, x));
  return out;
}

// What Q's coordinates know of m probes; each column has m numbers.
struct Coordinates {
  int64_t n = 0;
  std::vector<Column> r, w, h;
};

// A unit vector s of Q's coordinates with H s.
struct Direction {
  Column s, hs;
};

// s_i, orthogonal to every column of R but the i-th: R^T s = e_i by forward substitution.
std::vector<Direction> lone_directions(const Coordinates& c, size_t first) {
  const size_t m = c.r.size();
  std::vector<Direction> out;
  for (size_t i = first; i < m; ++i) {
    Column s(m, 0.0);
    for (size_t k = i; k < m; ++k) {
      double rest = k == i ? 1.0 : 0.0;
      for (size_t j = i; j < k; ++j) rest -= c.r[k][j] * s[j];
      s[k] = rest / c.r[k][k];
      if (std::abs(s[k]) > 1e100) {
        for (double& v : s) v *= 1e-100;
      }
    }
    const double length = std::sqrt(dot(s, s));
    for (double& v : s) v /= length;
    Column hs = times(c.h, s);
    out.push_back({std::move(s), std::move(hs)});
  }
  return out;
}

// The estimate of probe i when `removed`, orthonormal, is taken out of the basis.
double estimate_of(const Coordinates& c, size_t i, const Column& hw, double all,
                   std::initializer_list<const Direction*> removed) {
  Column u = c.w[i], hu = hw;  // the probe's part inside the basis
  double trace = all;
  for (const Direction* d : removed) {
    const double b = dot(d->s, c.w[i]);
    u = plus(std::move(u), -b, d->s);
    hu = plus(std::move(hu), -b, d->hs);
    trace -= dot(d->s, d->hs);
  }
  const auto inside = static_cast<double>(c.r.size() - removed.size());
  const auto n = static_cast<double>(c.n);
  const double rest = dot(c.w[i], c.r[i]) - 2 * dot(c.r[i], u) + dot(u, hu);
  return trace + rest * (n - inside) / (n - dot(u, u));
}

// b without its part along a, as a unit vector; false when they are one direction.
bool orthogonal(const Direction& a, const Direction& b, Direction& out) {
  out = b;
  for (int pass = 0; pass < 2; ++pass) {
    const double g = dot(a.s, out.s);
    out.s = plus(std::move(out.s), -g, a.s);
    out.hs = plus(std::move(out.hs), -g, a.hs);
    const double length = std::sqrt(dot(out.s, out.s));
    if (length < 1e-12) return false;
    for (double& v : out.s) v /= length;
    for (double& v : out.hs) v /= length;
  }
  return true;
}

struct Estimates {
  Column t;       // t_i
  Column shared;  // mean over j of (t_i - t_i\j)(t_j - t_j\i)
};

// Of the probes from `first` on; earlier ones only serve the basis.
Estimates estimates_of(const Coordinates& c, size_t first) {
  const size_t m = c.r.size() - first;
  double all = 0;
  for (size_t k = 0; k < c.h.size(); ++k) all += c.h[k][k];
  const std::vector<Direction> lone = lone_directions(c, first);
  std::vector<Column> hw;
  Estimates out;
  out.shared.assign(m, 0.0);
  for (size_t i = 0; i < m; ++i) {
    hw.push_back(times(c.h, c.w[first + i]));
    out.t.push_back(estimate_of(c, first + i, hw[i], all, {&lone[i]}));
  }
  Direction other;
  for (size_t i = 0; i < m; ++i) {
    for (size_t j = i + 1; j < m; ++j) {
      if (!orthogonal(lone[i], lone[j], other)) continue;
      const double di = out.t[i] - estimate_of(c, first + i, hw[i], all, {&lone[i], &other});
      const double dj = out.t[j] - estimate_of(c, first + j, hw[j], all, {&lone[i], &other});
      out.shared[i] += di * dj / static_cast<double>(m - 1);
      out.shared[j] += di * dj / static_cast<double>(m - 1);
    }
  }
  return out;
}

// V and its degrees of freedom (trace.h). A negative mean product counts as zero.
Estimate estimate_from(const Estimates& x, double level) {
  const double m = static_cast<double>(x.t.size());
  const double own = variance(x.t) / m, shared = std::max(0.0, mean(x.shared));
  const double v = own + shared;
  Estimate e;
  e.value = mean(x.t);
  e.samples = static_cast<int64_t>(x.t.size());
  e.method = "xtrace";
  e.standard_error = std::sqrt(v);
  e.interval = t_interval(e.value, e.standard_error, m, level);
  if (!(v > 0)) return e;  // no width, or NaN from a single probe
  Column part;             // of each probe in V
  for (size_t i = 0; i < x.t.size(); ++i) {
    const double d = x.t[i] - e.value;
    part.push_back(d * d / (m - 1) + (shared > 0 ? 2 * x.shared[i] : 0));
  }
  const double normal = own > 0 ? (m - 1) * (v / own) * (v / own) : m - 1;
  const double df = std::clamp(2 * v * v * m / variance(part), 1.0, std::max(1.0, normal));
  e.interval = t_interval(e.value, e.standard_error, df, level);
  return e;
}

// Probes and products so far; grows by extend().
class Probes {
 public:
  Probes(const SymmetricOperator& a, const TraceOptions& options)
      : a_(a), options_(options), q_(a.size()) {}

  int64_t products() const { return products_; }
  int64_t count() const { return q_.size(); }
  // The basis has the whole space, or some product lay in the span of the others, and then it has
  // the whole range of A.
  bool complete() const { return complete_ || q_.size() == a_.size(); }
  double inside() const {
    double sum = 0;
    for (size_t k = 0; k < h_.size(); ++k) sum += h_[k][k];
    return sum;
  }

  void extend(int64_t target) {
    const int64_t first = q_.size();
    while (q_.size() < target && !complete_)
      add_probes(std::min(options_.lanes, target - q_.size()));
    for (int64_t at = first; at < q_.size(); at += options_.lanes) {
      add_rows(at, std::min(options_.lanes, q_.size() - at));
    }
  }

  Coordinates coordinates() const {
    const auto m = static_cast<size_t>(q_.size());
    Coordinates c{a_.size(), r_, {}, h_};
    for (size_t i = 0; i < m; ++i) {
      c.r[i].resize(m, 0.0);
      c.h[i].resize(m, 0.0);
      Tensor omega = probe(static_cast<int64_t>(i));
      c.w.push_back(q_.project_out(omega).coefficients);
    }
    for (size_t i = 0; i < m; ++i) {  // rows are complete up to the look at which they were made
      for (size_t j = 0; j < i; ++j) {
        const bool both = h_[j].size() > i;
        c.h[j][i] = c.h[i][j] = both ? (h_[i][j] + h_[j][i]) / 2 : h_[i][j];
      }
    }
    return c;
  }

 private:
  Tensor probe(int64_t i) const {
    const int64_t n = a_.size();
    Tensor z = normal_vector(n, options_.seed, stream_id("xtrace", static_cast<uint64_t>(i)));
    const double scale = std::sqrt(static_cast<double>(n)) / norm(z);
    double* x = z.mutable_data<double>();
    for (int64_t k = 0; k < n; ++k) x[k] *= scale;
    return z;
  }

  Tensor product(const Tensor& rows) {
    products_ += rows.size(0);
    return a_.apply(rows);
  }

  void add_probes(int64_t lanes) {
    const int64_t n = a_.size();
    Tensor rows = Tensor::empty({lanes, n}, DType::f64);
    for (int64_t l = 0; l < lanes; ++l) {
      std::copy_n(probe(q_.size() + l).data<double>(), n, rows.mutable_data<double>() + l * n);
    }
    const Tensor y = product(rows);
    for (int64_t l = 0; l < lanes && !complete_; ++l) {
      Tensor w = copy_row(y, l);
      OrthonormalBasis::Projection p = q_.project_out(w);
      if (!std::isfinite(p.before)) {
        fail(ErrorKind::numerical, "xtrace: the product with probe ", q_.size(),
             " is not finite; check the operator at this point");
      }
      complete_ = !(p.after > kDependent * p.before);
      if (complete_) return;
      p.coefficients.push_back(p.after);
      r_.push_back(std::move(p.coefficients));
      q_.append(std::move(w), p.after);
    }
  }

  // Rows of Q^T A Q.
  void add_rows(int64_t at, int64_t lanes) {
    const int64_t n = a_.size();
    Tensor rows = Tensor::empty({lanes, n}, DType::f64);
    for (int64_t l = 0; l < lanes; ++l) {
      std::copy_n(q_[at + l].data<double>(), n, rows.mutable_data<double>() + l * n);
    }
    const Tensor y = product(rows);
    for (int64_t l = 0; l < lanes; ++l) {
      Tensor w = copy_row(y, l);
      h_.push_back(q_.project_out(w).coefficients);
      if (!std::isfinite(h_.back().back())) {
        fail(ErrorKind::numerical, "xtrace: the product with basis vector ", at + l,
             " is not finite; check the operator at this point");
      }
    }
  }

  const SymmetricOperator& a_;
  const TraceOptions& options_;
  OrthonormalBasis q_;
  std::vector<Column> r_, h_;
  int64_t products_ = 0;
  bool complete_ = false;
};

// Extends to m probes and estimates from those after the first `pilot`.
void finish(Probes& probes, int64_t pilot, int64_t m, const TraceOptions& options,
            TraceResult& out) {
  probes.extend(m);
  if (probes.complete()) {
    const double value = probes.inside();
    out.estimate = {value, 0, {value, value, options.level}, probes.count(), "xtrace (exact)"};
    out.samples.clear();
    out.reached = true;
    return;
  }
  Estimates x = estimates_of(probes.coordinates(), static_cast<size_t>(pilot));
  out.estimate = estimate_from(x, options.level);
  out.samples = std::move(x.t);
  const double half = (out.estimate.interval.high - out.estimate.interval.low) / 2;
  out.reached = half <= options.relative * std::abs(out.estimate.value);
}

// To a precision: a pilot says how many fresh probes to take; its own stay in the basis but leave
// the average, so that the choice never sees what the interval is made of. A larger basis only
// helps, so the prediction by m^-1/2 is a safe one.
void to_precision(Probes& probes, int64_t most, const TraceOptions& options, TraceResult& out) {
  int64_t pilot = std::clamp<int64_t>(most / 2, 1, kFewestProbes);
  for (;; pilot += pilot / 2) {
    finish(probes, 0, pilot, options, out);
    if (probes.complete()) return;
    const double half = (out.estimate.interval.high - out.estimate.interval.low) / 2;
    const double ratio = half / (options.relative * std::abs(out.estimate.value));
    const double wanted = kProbeMargin * static_cast<double>(pilot) * ratio * ratio;
    const bool last = pilot + pilot / 2 > most / 2 || pilot == 1;
    if (!last && !(wanted <= static_cast<double>(pilot))) continue;
    const int64_t room = most - pilot;
    const int64_t fresh =
        wanted < static_cast<double>(room) ? static_cast<int64_t>(std::ceil(wanted)) : room;
    finish(probes, pilot, pilot + std::min(std::max(fresh, kFewestProbes), room), options, out);
    return;
  }
}

}  // namespace

TraceResult xtrace(const SymmetricOperator& a, const TraceOptions& options) {
  check(options.products >= 6, "xtrace: expects at least 6 products, got ", options.products);
  check(options.lanes >= 1, "xtrace: expects at least one lane, got ", options.lanes);
  check(options.relative >= 0, "xtrace: expects a relative precision >= 0, got ", options.relative);
  check(options.level > 0 && options.level < 1, "xtrace: expects a level between 0 and 1, got ",
        options.level);
  check(a.size() >= 1, "xtrace: expects an operator of size at least 1, got ", a.size());
  const int64_t most = std::min(options.products / 2, a.size());
  Probes probes(a, options);
  TraceResult out;
  if (options.relative > 0) {
    to_precision(probes, most, options, out);
  } else {
    finish(probes, 0, most, options, out);
    out.reached = true;
  }
  out.products = probes.products();
  return out;
}

}  // namespace basin
