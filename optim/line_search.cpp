// The search of More and Thuente. Names: `best` is the end of the interval with the smaller value,
// `other` the opposite end, `trial` the point under test.
#include "basin/optim/detail/line_search.h"

#include <algorithm>
#include <cmath>

namespace basin {
namespace {

struct Interval {
  LinePoint best, other;
  bool bracketed = false;  // a minimum lies between the ends
};

// Where the cubic through values and slopes of a and b has its minimum, as a share of the way from
// a to b; `sign` picks the root.
struct Cubic {
  double theta, gamma;
  Cubic(const LinePoint& a, const LinePoint& b) {
    theta = 3 * (a.value - b.value) / (b.t - a.t) + a.slope + b.slope;
    const double size = std::max({std::abs(theta), std::abs(a.slope), std::abs(b.slope)});
    const double inside = (theta / size) * (theta / size) - (a.slope / size) * (b.slope / size);
    gamma = size * std::sqrt(std::max(0.0, inside));
    if (b.t < a.t) gamma = -gamma;
  }
};

double secant(const LinePoint& a, const LinePoint& b) {  // zero of the slope, from b
  return b.t + b.slope / (b.slope - a.slope) * (a.t - b.t);
}

double cubic_from(const LinePoint& from, const LinePoint& to) {
  const Cubic c(from, to);
  const double share = (c.gamma - from.slope + c.theta) / (2 * c.gamma - from.slope + to.slope);
  return from.t + share * (to.t - from.t);
}

double farther(double from, double a, double b) {
  return std::abs(a - from) > std::abs(b - from) ? a : b;
}
double nearer(double from, double a, double b) {
  return std::abs(a - from) < std::abs(b - from) ? a : b;
}

// The slope has the sign of the best point's and is smaller: the cubic may have no minimum ahead.
double step_on(const Interval& in, const LinePoint& trial, double low, double high) {
  const LinePoint& best = in.best;
  const Cubic c(trial, best);
  const double share = (c.gamma - trial.slope + c.theta) / (2 * c.gamma - trial.slope + best.slope);
  const bool ahead = share < 0 && c.gamma != 0;
  const double cubic = ahead ? trial.t + share * (best.t - trial.t) : trial.t > best.t ? high : low;
  const double linear = secant(best, trial);
  if (!in.bracketed) return std::clamp(farther(trial.t, cubic, linear), low, high);
  const double next = nearer(trial.t, cubic, linear);
  const double limit = trial.t + 0.66 * (in.other.t - trial.t);
  return trial.t > best.t ? std::min(limit, next) : std::max(limit, next);
}

// The next trial from the four cases of the paper; the interval takes the old one in.
double advance(Interval& in, const LinePoint& trial, double low, double high) {
  const LinePoint best = in.best;
  const bool turned = trial.slope * std::copysign(1.0, best.slope) < 0;
  double next = 0;
  if (trial.value > best.value) {
    const double cubic = cubic_from(best, trial);
    const double fall = (best.value - trial.value) / (trial.t - best.t) + best.slope;
    const double quadratic = best.t + best.slope / fall / 2 * (trial.t - best.t);
    next = std::abs(cubic - best.t) < std::abs(quadratic - best.t)
               ? cubic
               : cubic + (quadratic - cubic) / 2;
    in.bracketed = true;
  } else if (turned) {
    next = farther(trial.t, cubic_from(trial, best), secant(best, trial));
    in.bracketed = true;
  } else if (std::abs(trial.slope) < std::abs(best.slope)) {
    next = step_on(in, trial, low, high);
  } else if (in.bracketed) {
    next = cubic_from(trial, in.other);
  } else {
    next = trial.t > best.t ? high : low;
  }
  if (trial.value > best.value) {
    in.other = trial;
  } else {
    if (turned) in.other = best;
    in.best = trial;
  }
  return next;
}

LinePoint tilted(LinePoint p, double slope) {
  p.value -= slope * p.t;
  p.slope -= slope;
  return p;
}

}  // namespace

WolfeResult strong_wolfe(const std::function<LinePoint(double t)>& line, const LinePoint& start,
                         double first, const WolfeOptions& options) {
  const double least_fall = options.c1 * start.slope;
  Interval in{start, start};
  bool tilting = true;
  double t = std::min(first, options.largest), largest = options.largest;
  double low = 0, high = 5 * t, width = largest, width_before = 2 * width;
  for (int count = 0; count < options.evaluations; ++count) {
    const LinePoint trial = line(t);
    if (!std::isfinite(trial.value) || !std::isfinite(trial.slope)) {
      largest = t;
      t = in.best.t + (t - in.best.t) / 4;
      high = std::min(high, largest);
      continue;
    }
    const double enough = start.value + t * least_fall;
    if (trial.value <= enough && std::abs(trial.slope) <= -options.c2 * start.slope) {
      return {trial, true};
    }
    if (trial.value <= enough && trial.slope >= 0) tilting = false;
    if (tilting && trial.value <= in.best.value && trial.value > enough) {
      Interval leaning{tilted(in.best, least_fall), tilted(in.other, least_fall), in.bracketed};
      t = advance(leaning, tilted(trial, least_fall), low, high);
      in = {tilted(leaning.best, -least_fall), tilted(leaning.other, -least_fall),
            leaning.bracketed};
    } else {
      t = advance(in, trial, low, high);
    }
    if (in.bracketed) {
      const double now = std::abs(in.other.t - in.best.t);
      if (now >= 0.66 * width_before) t = in.best.t + (in.other.t - in.best.t) / 2;
      width_before = width;
      width = now;
      low = std::min(in.best.t, in.other.t);
      high = std::max(in.best.t, in.other.t);
    } else {
      low = t + 1.1 * (t - in.best.t);
      high = t + 4 * (t - in.best.t);
    }
    t = std::clamp(t, 0.0, largest);
    if (in.bracketed && (t <= low || t >= high || high - low <= options.width * high)) {
      break;
    }
  }
  return {in.best.value < start.value ? in.best : start, false};
}

}  // namespace basin
