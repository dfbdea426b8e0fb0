// See interpolation.h. On a cell of length h with values y0, y1 and second derivatives M0, M1 at
// its ends, at the fraction s and with A = 1 - s:
//   u        = A y0 + s y1 + h^2 / 6 ((A^3 - A) M0 + (s^3 - s) M1)
//   M_{i-1} + 4 M_i + M_{i+1} = 6 / h^2 (y_{i-1} - 2 y_i + y_{i+1}) at inner nodes
#include "basin/analysis/pde/interpolation.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "basin/core/parallel.h"

namespace basin {

struct Interpolant::Place {
  int64_t cell;
  double s;      // in [0, 1]
  double turns;  // whole periods to the left
};

namespace {

// Solves x_{i-1} + d_i x_i + x_{i+1} = r_i in place of r (Thomas; d dominates). d is used up.
void solve_tridiagonal(std::vector<double>& d, double* r) {
  const size_t n = d.size();
  for (size_t i = 1; i < n; ++i) {
    const double factor = 1 / d[i - 1];
    d[i] -= factor;
    r[i] -= factor * r[i - 1];
  }
  for (size_t i = n; i-- > 0;) r[i] = (r[i] - (i + 1 < n ? r[i + 1] : 0.0)) / d[i];
}

// Not-a-knot, M_0 = 2 M_1 - M_2 and likewise at the other end, makes the first and the last inner
// equation 6 M = r. m holds r_1 .. r_{cells-1} at its inner nodes.
void line_moments(int64_t cells, double* m) {
  m[1] /= 6;
  m[cells - 1] /= 6;
  if (cells > 3) {
    std::vector<double> diagonal(static_cast<size_t>(cells - 3), 4.0);
    m[2] -= m[1];
    m[cells - 2] -= m[cells - 1];
    solve_tridiagonal(diagonal, m + 2);
  }
  m[0] = 2 * m[1] - m[2];
  m[cells] = 2 * m[cells - 1] - m[cells - 2];
}

// The cyclic system by Sherman and Morrison: corners of 1 as u v^T with u = (-4, 0 .. 0, 1),
// v = (1, 0 .. 0, -1/4). m holds r_0 .. r_{cells-1}.
void periodic_moments(int64_t cells, double* m) {
  const auto n = static_cast<size_t>(cells);
  std::vector<double> corner(n, 0.0);
  corner.front() = -4;
  corner.back() = 1;
  for (double* right : {m, corner.data()}) {
    std::vector<double> diagonal(n, 4.0);
    diagonal.front() += 4;
    diagonal.back() += 0.25;
    solve_tridiagonal(diagonal, right);
  }
  const double factor = (m[0] - 0.25 * m[n - 1]) / (1 + corner.front() - 0.25 * corner.back());
  for (size_t i = 0; i < n; ++i) m[i] -= factor * corner[i];
  m[cells] = m[0];
}

void check_values(const char* name, const Tensor& values, double low, double length,
                  int64_t least) {
  check(values.defined() && values.rank() == 2 && values.dtype() == DType::f64 &&
            values.size(1) >= least,
        name, ": expects values [count, n] in f64 with n >= ", least, ", got ", values);
  check(length > 0 && std::isfinite(low) && std::isfinite(length), name,
        ": expects a domain of positive length, got ", length, " from ", low);
}

}  // namespace

Interpolant Interpolant::on_line(const Tensor& values, double low, double high,
                                 Interpolation kind) {
  check_values("Interpolant::on_line", values, low, high - low,
               kind == Interpolation::cubic ? 4 : 2);
  return Interpolant(values.clone(), low, high - low, kind, false);
}

Interpolant Interpolant::periodic(const Tensor& values, double low, double period,
                                  Interpolation kind) {
  check_values("Interpolant::periodic", values, low, period, 3);
  const int64_t count = values.size(0), n = values.size(1);
  Tensor closed = Tensor::empty({count, n + 1}, DType::f64);
  const double* from = values.data<double>();
  double* to = closed.mutable_data<double>();
  for (int64_t row = 0; row < count; ++row) {
    std::copy_n(from + row * n, n, to + row * (n + 1));
    to[row * (n + 1) + n] = from[row * n];
  }
  return Interpolant(std::move(closed), low, period, kind, true);
}

Interpolant::Interpolant(Tensor values, double low, double length, Interpolation kind,
                         bool periodic)
    : low_(low),
      length_(length),
      cells_(values.size(1) - 1),
      periodic_(periodic),
      values_(std::move(values)),
      integrals_(Tensor::zeros(values_.shape(), DType::f64)) {
  const int64_t nodes = cells_ + 1;
  if (kind == Interpolation::cubic) {
    moments_ = Tensor::empty(values_.shape(), DType::f64);
    const double scale = 6 * std::pow(static_cast<double>(cells_) / length_, 2);
    double* moments = moments_.mutable_data<double>();
    parallel_for(values_.size(0), 16, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const double* y = values_.data<double>() + row * nodes;
        double* m = moments + row * nodes;
        for (int64_t i = periodic ? 0 : 1; i < cells_; ++i) {
          m[i] = scale * (y[i == 0 ? cells_ - 1 : i - 1] - 2 * y[i] + y[i + 1]);
        }
        periodic ? periodic_moments(cells_, m) : line_moments(cells_, m);
      }
    });
  }
  double* integrals = integrals_.mutable_data<double>();
  for (int64_t row = 0; row < values_.size(0); ++row) {
    for (int64_t i = 0; i < cells_; ++i) {
      double* at = integrals + row * nodes + i;
      at[1] = at[0] + integral(row, {i, 1, 0});
    }
  }
}

Interpolant::Place Interpolant::place(double x) const {
  double from_low = (x - low_) / length_;
  double turns = 0;
  if (periodic_) {
    check(std::isfinite(x), "Interpolant: expects finite points, got ", x);
    turns = std::floor(from_low);
    from_low -= turns;
  } else {
    check(from_low >= 0 && from_low <= 1, "Interpolant: expects points within [", low_, ", ",
          low_ + length_, "], got ", x);
  }
  const double at = from_low * static_cast<double>(cells_);
  const int64_t cell = std::min(static_cast<int64_t>(at), cells_ - 1);
  return {cell, at - static_cast<double>(cell), turns};
}

double Interpolant::value(int64_t row, const Place& at) const {
  const double* y = values_.data<double>() + row * (cells_ + 1) + at.cell;
  const double s = at.s, a = 1 - s;
  const double straight = a * y[0] + s * y[1];
  if (!moments_) return straight;
  const double h = length_ / static_cast<double>(cells_);
  const double* m = moments_.data<double>() + row * (cells_ + 1) + at.cell;
  return straight - h * h / 6 * s * a * ((2 - s) * m[0] + (1 + s) * m[1]);
}

double Interpolant::integral(int64_t row, const Place& at) const {
  const double* y = values_.data<double>() + row * (cells_ + 1) + at.cell;
  const double h = length_ / static_cast<double>(cells_);
  const double s = at.s, a = 1 - s;
  const double straight = h * s * (y[0] + 0.5 * s * (y[1] - y[0]));
  if (!moments_) return straight;
  const double* m = moments_.data<double>() + row * (cells_ + 1) + at.cell;
  const double left = (1 - a * a) * (a * a - 1) / 4;  // int_0^s of A^3 - A
  const double right = s * s * (s * s - 2) / 4;       // int_0^s of s^3 - s
  return straight + h * h * h / 6 * (left * m[0] + right * m[1]);
}

Tensor Interpolant::at_places(const Tensor& x, bool integrate) const {
  check(x.defined() && x.rank() == 1 && x.dtype() == DType::f64,
        "Interpolant: expects points [m] in f64, got ", x);
  std::vector<Place> places;
  for (const double point : x.to_vector<double>()) places.push_back(place(point));
  const int64_t count = values_.size(0), m = x.size(0);
  Tensor out = Tensor::empty({count, m}, DType::f64);
  double* u = out.mutable_data<double>();
  parallel_for(count, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const double* nodes = integrals_.data<double>() + row * (cells_ + 1);
      for (int64_t i = 0; i < m; ++i) {
        const Place& at = places[static_cast<size_t>(i)];
        u[row * m + i] = integrate ? at.turns * nodes[cells_] + nodes[at.cell] + integral(row, at)
                                   : value(row, at);
      }
    }
  });
  return out;
}

Tensor Interpolant::operator()(const Tensor& x) const { return at_places(x, false); }
Tensor Interpolant::antiderivative(const Tensor& x) const { return at_places(x, true); }

Tensor Interpolant::at_own_points(const Tensor& x) const {
  const int64_t count = values_.size(0);
  check(x.defined() && x.rank() == 2 && x.size(0) == count && x.dtype() == DType::f64,
        "Interpolant::at_own_points: expects points [", count, ", m] in f64, got ", x);
  Tensor out = Tensor::empty(x.shape(), DType::f64);
  const double* points = x.data<double>();
  double* u = out.mutable_data<double>();
  for (int64_t i = 0; i < x.numel(); ++i) u[i] = value(i / x.size(1), place(points[i]));
  return out;
}

}  // namespace basin
