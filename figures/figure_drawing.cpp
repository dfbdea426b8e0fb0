// The pieces that figures with named categories are put together from, each drawn in one place.
#include "basin/figures/detail/figure_drawing.h"

#include <algorithm>
#include <cmath>

#include "basin/core/error.h"

namespace basin {
namespace {

constexpr double kLine = 15, kSample = 28, kGap = 20;

// The next 1, 2 or 5 times a power of ten below or above.
double round_end(double value, bool up) {
  const double power = std::pow(10.0, std::floor(std::log10(value)));
  double below = power;
  for (const double factor : {1.0, 2.0, 5.0, 10.0}) {
    const double at = factor * power;
    if (up && at >= value) return at;
    if (at <= value) below = at;
  }
  return below;
}

bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

}  // namespace

AxisRange axis_around(const std::vector<double>& values, AxisScale scale) {
  AxisRange axis(scale);
  for (const double v : values) axis.include(v);
  if (scale == AxisScale::linear) axis.include(0);
  const double low = axis.low(), high = axis.high();
  axis.settle(0.06);
  if (scale == AxisScale::linear) {
    if (low == 0) axis.fix_low(0);
    if (high == 0 && low < 0) axis.fix_high(0);
  } else if (axis.any()) {
    axis.fix_low(round_end(low / 1.1, false));
    axis.fix_high(round_end(high * 1.1, true));
  }
  return axis;
}

bool holds(const AxisRange& axis, double value) {
  return axis.drawable(value) && axis.low() <= value && value <= axis.high();
}

void draw_axis(Svg& svg, const PlotArea& area, std::string_view label, bool labels) {
  const double right = area.x + area.width, bottom = area.y + area.height;
  double widest = 0;
  for (const Tick& tick : area.axis.ticks(5)) {
    const double y = area.height_of(tick.at);
    if (tick.label.empty()) continue;
    svg.line(area.x, y, right, y, {"none", css(kGridInk), 0.75});
    if (!labels) continue;
    svg.text(area.x - 6, y + 4, tick.label, {.size = kLabelSize, .anchor = Anchor::end});
    widest = std::max(widest, text_width(tick.label, kLabelSize));
  }
  svg.rect(area.x, area.y, area.width, area.height, {"none", css(kMutedInk), 0.75});
  if (!labels || label.empty()) return;
  svg.text(area.x - 16 - widest, (area.y + bottom) / 2, label,
           {.size = kLabelSize, .anchor = Anchor::middle, .turn = -90});
}

void draw_whisker(Svg& svg, const PlotArea& area, double x, const Interval& interval, Rgb colour) {
  if (!std::isfinite(interval.low) || !std::isfinite(interval.high)) return;
  if (interval.low >= interval.high || interval.high < area.axis.low() ||
      interval.low > area.axis.high()) {
    return;
  }
  constexpr double kCap = 4;
  const Paint paint{"none", css(colour), 1.5}, filled{css(colour), css(colour), 0.5};
  const double bottom = area.y + area.height;
  const double y0 = interval.low < area.axis.low() ? bottom : area.height_of(interval.low);
  const double y1 = interval.high > area.axis.high() ? area.y : area.height_of(interval.high);
  svg.line(x, y0, x, y1, paint);
  const auto end = [&](double y, bool cut, double inwards) {
    if (!cut) return svg.line(x - kCap, y, x + kCap, y, paint);
    const double base = y + 8 * inwards;
    svg.polyline({{x, y}, {x - kCap, base}, {x + kCap, base}, {x, y}}, filled);
  };
  end(y0, interval.low < area.axis.low(), -1);
  end(y1, interval.high > area.axis.high(), 1);
}

double draw_legend(Svg* svg, double x, double y, double width,
                   const std::vector<LegendEntry>& entries) {
  double at = x, line = 0;
  for (const LegendEntry& entry : entries) {
    const std::string name = shortened(entry.name, kLabelSize, width - kSample - 8);
    const double need = kSample + 6 + text_width(name, kLabelSize);
    if (at > x && at + need > x + width) at = x, ++line;
    const double middle = y + kLine * (line + 0.5);
    if (svg != nullptr) {
      const std::string colour = css(ink_of(entry.style));
      svg->line(at, middle, at + kSample, middle, {"none", colour, 1.8, 1, dash_of(entry.style)});
      draw_marker(*svg, entry.style.marker, at + kSample / 2, middle, 3.8, colour);
      svg->text(at + kSample + 6, middle + 4, name, {.size = kLabelSize});
    }
    at += need + kGap;
  }
  return entries.empty() ? 0 : kLine * (line + 1);
}

double draw_head(Svg* svg, double width, const std::string& title,
                 const FigureConditions& conditions, const std::vector<LegendEntry>& entries) {
  const double room = width - 2 * kFigureMargin;
  double y = kFigureMargin;
  for (const std::string& line : wrapped(title, kTitleSize, room)) {
    if (svg != nullptr) {
      svg->text(kFigureMargin, y + kTitleSize, line, {.size = kTitleSize, .bold = true});
    }
    y += kTitleSize + 5;
  }
  for (const std::string& line : wrapped(conditions_line(conditions), kLabelSize, room)) {
    if (svg != nullptr) {
      svg->text(kFigureMargin, y + kLabelSize, line, {.size = kLabelSize, .fill = css(kMutedInk)});
    }
    y += kLine;
  }
  y += 4;
  return y + draw_legend(svg, kFigureMargin, y, room, entries) + 8;
}

std::string shortened(std::string_view words, double size, double width) {
  if (text_width(words, size) <= width) return std::string(words);
  constexpr std::string_view kDots = "...";
  const auto keep = static_cast<size_t>(
      std::max(2.0, width / text_width("n", size) - static_cast<double>(kDots.size())));
  // The end of a layer's name tells more than its beginning: keep more of it.
  size_t head = std::min(keep / 3, words.size());
  size_t tail = words.size() - std::min(keep - keep / 3, words.size() - head);
  while (head > 0 && continues_character(words[head])) --head;
  while (tail < words.size() && continues_character(words[tail])) ++tail;
  return str(words.substr(0, head), kDots, words.substr(tail));
}

std::vector<std::string> condition_lines(const FigureConditions& conditions, const LinePlot& plot) {
  const std::string line = conditions_line(conditions);
  if (line.empty()) return {};
  const auto panels = static_cast<double>(plot.panels.size());
  const double columns = plot.columns > 0 ? std::min<double>(plot.columns, panels) : panels;
  return wrapped(line, kLabelSize, columns * (plot.panel_width + 40));
}

}  // namespace basin
