// The figure of curvature bars: its layout is its own, since no line plot has bars in slots.
#include <algorithm>
#include <cmath>

#include "basin/analysis/csv_table.h"
#include "basin/core/error.h"
#include "basin/figures/curvature_figures.h"
#include "basin/figures/detail/figure_drawing.h"

namespace basin {
namespace {

constexpr double kBar = 30, kBarGap = 8, kGroupGap = 26, kGroupMin = 104, kHeight = 250,
                 kRatioBand = 48, kPanelGap = 26, kAxisRoom = 64, kWidest = 1000, kLine = 14;

template <class T>
void add_once(std::vector<T>& list, const T& item) {
  if (std::find(list.begin(), list.end(), item) == list.end()) list.push_back(item);
}

// What one panel shows: the quantities that its network has.
struct Panel {
  std::string network;
  std::vector<std::string> quantities;
};

class Drawing {
 public:
  explicit Drawing(const CurvatureBars& data) : data_(data) {
    std::vector<std::string> networks;
    for (const CurvatureBar& b : data.bars) {
      add_once(networks, b.network);
      add_once(optimizers_, b.optimizer);
    }
    for (const std::string& n : networks) {
      panels_.push_back({n, {}});
      for (const CurvatureBar& b : data.bars) {
        if (b.network == n) add_once(panels_.back().quantities, b.quantity);
      }
    }
    styles_ = series_styles(optimizers_);
    axis_ = common_axis();
    arrange();
  }

  std::string svg() {
    Svg out(width_, height_, data_.title);
    draw_head(&out, width_, data_.title, data_.conditions, legend());
    for (size_t p = 0; p < panels_.size(); ++p) draw_panel(out, p);
    return out.document();
  }
  const std::vector<std::string>& optimizers() const { return optimizers_; }
  int64_t arrows() const { return arrows_; }

 private:
  const CurvatureBar* find(const std::string& network, const std::string& quantity,
                           const std::string& optimizer) const {
    for (const CurvatureBar& b : data_.bars) {
      if (b.network == network && b.quantity == quantity && b.optimizer == optimizer) return &b;
    }
    return nullptr;
  }

  // Values and dots always lie on the axis; the lower end of an interval only within two decades
  // below the smallest value, so that a whisker near zero does not press the bars together.
  AxisRange common_axis() const {
    std::vector<double> seen;
    for (const CurvatureBar& b : data_.bars) {
      seen.push_back(b.estimate.value);
      seen.insert(seen.end(), b.runs.begin(), b.runs.end());
    }
    double least = INFINITY;
    for (const double v : seen) {
      if (v > 0) least = std::min(least, v);
    }
    for (const CurvatureBar& b : data_.bars) {
      seen.push_back(b.estimate.interval.high);
      if (b.estimate.interval.low > least / 100) seen.push_back(b.estimate.interval.low);
    }
    return axis_around(seen, AxisScale::log);
  }

  double group_width() const {
    const auto n = static_cast<double>(optimizers_.size());
    return std::max(kGroupMin, n * kBar + (n - 1) * kBarGap + kGroupGap);
  }
  double panel_width(const Panel& p) const {
    return group_width() * static_cast<double>(p.quantities.size());
  }

  std::vector<LegendEntry> legend() const {
    std::vector<LegendEntry> out;
    for (size_t o = 0; o < optimizers_.size(); ++o) {
      out.push_back({optimizers_[o], styles_[o]});
    }
    return out;
  }

  // Panels from left to right, in as many rows as kWidest asks for.
  void arrange() {
    size_t lines = 1;
    for (const Panel& p : panels_) {
      for (const std::string& q : p.quantities) {
        lines = std::max(lines, wrapped(q, kLabelSize, group_width() - 8).size());
      }
    }
    below_ = 12 + kLine * static_cast<double>(lines);
    const double panel_height = 24 + kRatioBand + kHeight + below_ + 16;
    double x = kFigureMargin + kAxisRoom, y = 0;
    for (const Panel& p : panels_) {
      if (x > kFigureMargin + kAxisRoom && x + panel_width(p) > kWidest) {
        x = kFigureMargin + kAxisRoom, y += panel_height;
      }
      places_.push_back({x, y});
      x += panel_width(p);
      width_ = std::max(width_, x + kFigureMargin);
      x += kPanelGap;
    }
    width_ = std::max(width_, 420.0);
    const double top = draw_head(nullptr, width_, data_.title, data_.conditions, legend());
    for (auto& place : places_) place.second += top;
    height_ = y + panel_height + top;
  }

  void draw_panel(Svg& svg, size_t index) {
    const Panel& panel = panels_[index];
    const auto [x, y] = places_[index];
    svg.text(x, y + 14, panel.network, {.size = kPanelTitleSize, .bold = true});
    const PlotArea area{x, y + 24 + kRatioBand, panel_width(panel), kHeight, axis_};
    draw_axis(svg, area, "value (log scale)", x <= kFigureMargin + kAxisRoom);
    for (size_t q = 0; q < panel.quantities.size(); ++q) {
      const double left = x + group_width() * static_cast<double>(q);
      if (q > 0) {
        svg.line(left, area.y, left, area.y + kHeight, {"none", css(kGridInk), 0.75});
      }
      draw_group(svg, area, panel, panel.quantities[q], left + group_width() / 2);
    }
  }

  void draw_group(Svg& svg, const PlotArea& area, const Panel& panel, const std::string& quantity,
                  double middle) {
    double y = area.y + kHeight + 16;
    for (const std::string& line : wrapped(quantity, kLabelSize, group_width() - 8)) {
      svg.text(middle, y, line, {.size = kLabelSize, .anchor = Anchor::middle});
      y += kLine;
    }
    draw_ratios(svg, area, panel.network, quantity, middle);
    const auto n = static_cast<double>(optimizers_.size());
    double x = middle - (n * kBar + (n - 1) * kBarGap) / 2 + kBar / 2;
    for (size_t o = 0; o < optimizers_.size(); ++o, x += kBar + kBarGap) {
      const CurvatureBar* bar = find(panel.network, quantity, optimizers_[o]);
      if (bar != nullptr) draw_bar(svg, area, *bar, styles_[o], x);
    }
  }

  // From top to bottom: what is divided by what, the ratio, its interval.
  void draw_ratios(Svg& svg, const PlotArea& area, const std::string& network,
                   const std::string& quantity, double middle) {
    for (const CurvatureRatio& r : data_.ratios) {
      if (r.network != network || r.quantity != quantity || !std::isfinite(r.ratio.value)) continue;
      const TextStyle small{.size = 9.5, .anchor = Anchor::middle, .fill = css(kMutedInk)};
      const Interval& i = r.ratio.interval;
      svg.text(middle, area.y - 34, shortened(r.words, 9.5, group_width() - 4), small);
      svg.text(middle, area.y - 20, readable(r.ratio.value) + "x",
               {.size = 12, .anchor = Anchor::middle, .bold = true});
      if (std::isfinite(i.low) && std::isfinite(i.high)) {
        svg.text(middle, area.y - 7, str("[", readable(i.low), ", ", readable(i.high), "]"), small);
      }
      return;  // one per group: the others stand in the CSV and in the alternative text
    }
  }

  void draw_bar(Svg& svg, const PlotArea& area, const CurvatureBar& bar, const SeriesStyle& style,
                double x) {
    const double bottom = area.y + kHeight, value = bar.estimate.value;
    const Rgb colour = ink_of(style);
    const std::string hint =
        str(bar.network, ", ", bar.quantity, ", ", bar.optimizer, ": ", readable(bar.estimate));
    if (!(value > 0) || std::isinf(value)) {
      const std::string words = std::isfinite(value) ? readable(value) : "no value";
      svg.text(x + 4, bottom - 6, words, {.size = kLabelSize, .fill = css(colour), .turn = -90});
      return;
    }
    const double top = area.height_of(value);
    svg.rect(x - kBar / 2, top, kBar, bottom - top,
             {css(mix(colour, {255, 255, 255}, 0.62)), css(colour), 1.5, 1, dash_of(style)}, hint);
    for (const double run : bar.runs) {  // beside the whisker
      if (!holds(area.axis, run)) continue;
      svg.circle(x - 0.32 * kBar, area.height_of(run), kDotRadius,
                 {.fill = css(mix(colour, {0, 0, 0}, 0.3)), .opacity = 0.7});
    }
    draw_whisker(svg, area, x, bar.estimate.interval, colour);
    if (bar.estimate.interval.low < area.axis.low()) ++arrows_;
    draw_marker(svg, style.marker, x, top, 3.2, css(colour));
  }

  const CurvatureBars& data_;
  std::vector<std::string> optimizers_;
  std::vector<Panel> panels_;
  std::vector<SeriesStyle> styles_;
  std::vector<std::pair<double, double>> places_;
  AxisRange axis_;
  double width_ = 0, height_ = 0, below_ = 0;
  int64_t arrows_ = 0;
};

std::string bars_csv(const CurvatureBars& data) {
  CsvTable csv({"network", "quantity", "optimizer", "kind", "value", "low", "high", "level",
                "standard_error", "samples", "method"});
  for (const CurvatureBar& b : data.bars) {
    const Estimate& e = b.estimate;
    csv.row({b.network, b.quantity, b.optimizer, "value", e.value, e.interval.low, e.interval.high,
             e.interval.level, e.standard_error, e.samples, e.method});
    for (const double run : b.runs) {
      csv.row({b.network, b.quantity, b.optimizer, "run", run, "", "", "", "", "", ""});
    }
  }
  for (const CurvatureRatio& r : data.ratios) {
    const Estimate& e = r.ratio;
    csv.row({r.network, r.quantity, r.words, "ratio", e.value, e.interval.low, e.interval.high,
             e.interval.level, e.standard_error, e.samples, e.method});
  }
  return csv.text();
}

std::string bars_alt(const CurvatureBars& data) {
  std::string out = "Bars on a log scale.";
  std::string network, quantity;
  for (const CurvatureBar& b : data.bars) {
    const bool same = b.network == network && b.quantity == quantity;
    out += same ? "; " : str(" ", b.network, ", ", b.quantity, ": ");
    out += str(b.optimizer, " ", readable(b.estimate));
    network = b.network, quantity = b.quantity;
    const bool last =
        &b == &data.bars.back() || (&b + 1)->network != network || (&b + 1)->quantity != quantity;
    if (!last) continue;
    for (const CurvatureRatio& r : data.ratios) {
      if (r.network != network || r.quantity != quantity) continue;
      out += str("; ", r.words, " ", readable(r.ratio));
    }
    out += ".";
  }
  return out;
}

int64_t count_holes(const CurvatureBars& data) {
  int64_t holes = 0;
  for (const CurvatureBar& b : data.bars) {
    holes += std::isfinite(b.estimate.value) ? 0 : 1;
    holes +=
        std::count_if(b.runs.begin(), b.runs.end(), [](double v) { return !std::isfinite(v); });
  }
  return holes;
}

}  // namespace

Figure curvature_bars_figure(const CurvatureBars& data) {
  check(!data.bars.empty(), "curvature bars: expects at least one bar, given none");
  Drawing drawing(data);
  Figure figure{.name = "hessian_bars", .title = data.title, .svg = drawing.svg()};
  figure.csv = bars_csv(data);
  figure.alt = bars_alt(data);
  figure.holes = count_holes(data);
  std::string what = "Bars: estimates; whiskers: intervals";
  if (std::any_of(data.bars.begin(), data.bars.end(),
                  [](const CurvatureBar& b) { return !b.runs.empty(); })) {
    what += "; dots: single runs";
  }
  if (!data.ratios.empty()) what += "; above: ratio with its interval";
  what += ".";
  if (drawing.arrows() > 0) what += " An arrow marks an interval that goes on below the axis.";
  for (const CurvatureBar& b : data.bars) {
    if (std::isfinite(b.estimate.value) && b.estimate.value <= 0) {
      what += str(" ", b.network, ", ", b.quantity, ", ", b.optimizer, " is ", readable(b.estimate),
                  ": no bar on a log axis.");
    }
  }
  return finish_figure(std::move(figure), what, data.conditions);
}

}  // namespace basin
