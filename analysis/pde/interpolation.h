// Functions given at equidistant points, one per row, as piecewise polynomials: linear, or cubic
// splines (twice continuously differentiable; not-a-knot at the ends, de Boor 1978, or periodic).
// They are evaluated anywhere and integrated exactly, so that u = int v has an exact answer for the
// interpolant itself.
#pragma once
#include <cstdint>

#include "basin/core/tensor.h"

namespace basin {

enum class Interpolation : uint8_t { linear, cubic };

class Interpolant {
 public:
  // values [count, n] (f64) at low + i (high - low) / (n - 1); n >= 2, cubic: n >= 4.
  static Interpolant on_line(const Tensor& values, double low, double high, Interpolation kind);
  // values [count, n] at low + i period / n; low + period is the first point again. n >= 3.
  static Interpolant periodic(const Tensor& values, double low, double period, Interpolation kind);

  // x [m] -> [count, m]. On a line low <= x <= high, usage error otherwise; periodic: any x, so
  // that the solution of u_t + u_x = 0 is the value at x - t.
  Tensor operator()(const Tensor& x) const;
  // Every function at points of its own: x [count, m] -> [count, m].
  Tensor at_own_points(const Tensor& x) const;
  // int_low^x, exact for the interpolant: x [m] -> [count, m]; periodic: any x.
  Tensor antiderivative(const Tensor& x) const;

 private:
  struct Place;
  Interpolant(Tensor values, double low, double length, Interpolation kind, bool periodic);
  Place place(double x) const;
  double value(int64_t row, const Place& at) const;
  double integral(int64_t row, const Place& at) const;  // from the cell's left node
  Tensor at_places(const Tensor& x, bool integrate) const;
  double low_ = 0, length_ = 0;
  int64_t cells_ = 0;
  bool periodic_ = false;
  Tensor values_;     // [count, cells + 1]
  Tensor moments_;    // [count, cells + 1] second derivatives; undefined where linear
  Tensor integrals_;  // [count, cells + 1] from low to every node
};

}  // namespace basin
