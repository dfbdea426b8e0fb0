// Where ticks stand and what they say, and how wide an axis is around its values: arithmetic alone,
// without drawing, so that every kind of figure has the same axes.
#include "basin/figures/plot_axis.h"

#include <algorithm>
#include <cmath>

#include "basin/core/error.h"

namespace basin {
namespace {

// "1.50e-07" -> "1.5e-7"
std::string scientific(int digits, double value) {
  const std::string text = scientific_text(value, digits);
  const size_t e = text.find('e');
  std::string mantissa = text.substr(0, e), exponent = text.substr(e + 1);
  if (mantissa.find('.') != mantissa.npos) {
    mantissa.erase(mantissa.find_last_not_of('0') + 1);
    if (mantissa.back() == '.') mantissa.pop_back();
  }
  const bool negative = exponent[0] == '-';
  exponent.erase(0, exponent.find_first_not_of("+-0"));
  return mantissa + "e" + (negative ? "-" : "") + (exponent.empty() ? "0" : exponent);
}

std::string label_of(double value, double step, double largest) {
  if (value == 0) return "0";
  const int power = static_cast<int>(std::floor(std::log10(step) + 1e-9));
  if (largest >= 1e5 || step < 1e-4) {
    const int own = static_cast<int>(std::floor(std::log10(std::abs(value)) + 1e-9));
    return scientific(std::clamp(own - power, 0, 15), value);
  }
  return fixed_text(value, std::max(0, -power));
}

std::string log_label(double value) {
  if (value >= 0.9e-3 && value < 0.99e4) {
    const int power = static_cast<int>(std::floor(std::log10(value) + 1e-9));
    return fixed_text(value, std::max(0, -power));
  }
  return scientific(0, value);
}

void check_range(double low, double high) {
  check(std::isfinite(low) && std::isfinite(high) && low < high,
        "figure: an axis expects low < high, given ", low, " and ", high);
}

}  // namespace

std::vector<Tick> linear_ticks(double low, double high, int about) {
  check_range(low, high);
  const double raw = (high - low) / std::max(about, 1);
  const double power = std::pow(10, std::floor(std::log10(raw)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.0, 1.0}) {
    if (factor * power >= raw * (1 - 1e-9)) step = factor * power;
  }
  const double largest = std::max(std::abs(low), std::abs(high)), slack = 1e-9 * step;
  std::vector<Tick> out;
  for (double k = std::ceil((low - slack) / step); k * step <= high + slack; ++k) {
    if (out.size() > 100) break;  // step below the spacing of doubles at `low`
    out.push_back({k * step, label_of(k * step, step, largest)});
  }
  return out;
}

std::vector<Tick> log_ticks(double low, double high, int at_most, double fine_decades) {
  check_range(low, high);
  check(low > 0, "figure: a log axis expects ends > 0, given ", low);
  const int first = static_cast<int>(std::floor(std::log10(low))),
            last = static_cast<int>(std::ceil(std::log10(high)));
  const double decades = std::log10(high) - std::log10(low);
  const int stride = std::max(1, static_cast<int>(std::ceil(decades / std::max(at_most, 1))));
  std::vector<Tick> out;
  for (int e = first; e <= last; ++e) {
    for (int m = 1; m <= 9; ++m) {
      const double at = m * std::pow(10.0, e);
      if (at < low * (1 - 1e-9) || at > high * (1 + 1e-9)) continue;
      const bool power = m == 1 && e % stride == 0;
      const bool between = decades < fine_decades && (m == 2 || m == 5);
      if (power || between) out.push_back({at, log_label(at)});
      if (!power && !between && (stride == 1 || m == 1)) out.push_back({at, {}});
    }
  }
  const auto labelled =
      std::count_if(out.begin(), out.end(), [](const Tick& t) { return !t.label.empty(); });
  return labelled >= 2 ? out : linear_ticks(low, high, 4);
}

bool AxisRange::drawable(double value) const {
  return std::isfinite(value) && (scale_ == AxisScale::linear || value > 0);
}

void AxisRange::include(double value) {
  if (!drawable(value)) return;
  low_ = any_ ? std::min(low_, value) : value;
  high_ = any_ ? std::max(high_, value) : value;
  any_ = true;
}

void AxisRange::settle(double margin) {
  if (scale_ == AxisScale::log) {
    if (!any_) low_ = 1, high_ = 10;
    const double span = std::log10(high_) - std::log10(low_);  // the ratio may overflow
    const double wider = span > 1e-6 ? margin * span : 0.3;
    low_ = std::max(low_ * std::pow(10, -wider), 1e-300);
    high_ = std::min(high_ * std::pow(10, wider), 1e300);
    return;
  }
  if (!any_) low_ = 0, high_ = 1;
  const double span = high_ - low_, size = std::max(std::abs(low_), std::abs(high_));
  const double wider = span > 1e-9 * size ? margin * span : size > 0 ? 0.05 * size : 0.5;
  low_ -= wider, high_ += wider;
}

double AxisRange::share(double value) const {
  if (scale_ == AxisScale::linear) return (value - low_) / (high_ - low_);
  return (std::log(value) - std::log(low_)) / (std::log(high_) - std::log(low_));
}

std::vector<Tick> AxisRange::ticks(int about) const {
  return scale_ == AxisScale::linear ? linear_ticks(low_, high_, about)
                                     : log_ticks(low_, high_, about + 2);
}

}  // namespace basin
