// Axes of figures: from values to pixels, linear or logarithmic, and where the ticks stand. Linear
// ticks stand at multiples of 1, 2 or 5 times a power of ten; logarithmic ones at powers of ten,
// with 2 and 5 between them where the axis spans less than two decades (or as many as asked for).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace basin {

enum class AxisScale : uint8_t { linear, log };

struct Tick {
  double at = 0;
  std::string label = {};  // empty: a minor tick
};

// Both: usage error unless low < high and finite, and for log ticks low > 0.
std::vector<Tick> linear_ticks(double low, double high, int about = 5);
std::vector<Tick> log_ticks(double low, double high, int at_most = 8, double fine_decades = 2);

// The range of values as an axis shows it: what is drawable only, with a margin.
class AxisRange {
 public:
  explicit AxisRange(AxisScale scale = AxisScale::linear) : scale_(scale) {}
  bool drawable(double value) const;  // finite, and positive on a log axis
  void include(double value);         // ignored when not drawable
  // The ends, wider by `margin` of the span; low < high also for one value or none.
  void settle(double margin);
  void fix_low(double value) { low_ = value; }
  void fix_high(double value) { high_ = value; }
  bool any() const { return any_; }  // whether a value was included
  double low() const { return low_; }
  double high() const { return high_; }
  double share(double value) const;  // 0 at low, 1 at high, of a drawable value
  std::vector<Tick> ticks(int about) const;

 private:
  AxisScale scale_;
  bool any_ = false;
  double low_ = 0, high_ = 1;
};

}  // namespace basin
