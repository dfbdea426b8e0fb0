// Line search for the strong Wolfe conditions (More, Thuente, ACM TOMS 20, 1994): along a descent
// direction with value f and slope f' find t > 0 with
//   f(t) <= f(0) + c1 t f'(0)   and   |f'(t)| <= c2 |f'(0)|
// by an interval that holds such a point and shrinks, cubic and quadratic interpolation, and at
// first the function f(t) - c1 t f'(0) in place of f.
#pragma once
#include <functional>

namespace basin {

struct LinePoint {
  double t = 0, value = 0, slope = 0;
};

struct WolfeOptions {
  double c1 = 1e-3;
  double c2 = 0.9;
  double width = 0.1;  // the search ends when the interval is that narrow, relative to its end
  double largest = 1e10;
  int evaluations = 20;
};

struct WolfeResult {
  LinePoint at;        // the best point of the search; t = 0 when it found nothing better
  bool holds = false;  // both conditions
};

// start: at t = 0, slope below 0. A value that is not finite counts as a step too far.
WolfeResult strong_wolfe(const std::function<LinePoint(double t)>& line, const LinePoint& start,
                         double first, const WolfeOptions& options);

}  // namespace basin
