// Measures the strip plot, then draws it panel by panel: axis, names, strips of dots.
#include "basin/figures/strip_plot.h"

#include <algorithm>
#include <cmath>

#include "basin/core/error.h"
#include "basin/figures/svg.h"

namespace basin {
namespace {

constexpr double kSlot = 42, kPlotHeight = 210, kMargin = 18, kZeroBand = 22, kLeft = 62,
                 kPanelGap = 20, kDot = 2.6;
constexpr double kLabel = 11, kTitle = 15;
constexpr Rgb kMuted{110, 110, 110}, kGrid{228, 228, 228}, kTint{236, 244, 236};

class Drawing {
 public:
  explicit Drawing(const StripPlot& plot) : plot_(plot), svg_(measure()) {}

  std::string run() {
    head();
    for (size_t i = 0; i < plot_.panels.size(); ++i) draw_panel(i);
    return svg_.document();
  }

 private:
  size_t columns() const {
    return std::min(plot_.panels.size(), static_cast<size_t>(plot_.panel_columns));
  }

  Svg measure() {
    double low = INFINITY, high = -INFINITY;
    for (const StripPanel& panel : plot_.panels) {
      for (const auto& category : panel.values) {
        for (const auto& series : category) {
          for (const double v : series) {
            if (!(v > 0) || !std::isfinite(v)) continue;
            low = std::min(low, std::log10(v)), high = std::max(high, std::log10(v));
          }
        }
      }
    }
    if (low > high) low = high = 0;
    low_ = std::floor(low), high_ = std::max(std::ceil(high), low_ + 1);
    for (const std::string& c : plot_.categories) {
      names_ = std::max(names_, 0.72 * text_width(c, kLabel));  // turned by 45 degrees
    }
    top_ = kMargin + kTitle + 10 + 15 * static_cast<double>(plot_.notes.size()) + 26;
    panel_width_ = kLeft + kSlot * static_cast<double>(plot_.categories.size());
    panel_height_ = 24 + kPlotHeight + kZeroBand + names_ + 22;
    const size_t rows = (plot_.panels.size() + columns() - 1) / columns();
    double widest = text_width(plot_.title, kTitle);
    for (const std::string& n : plot_.notes) widest = std::max(widest, text_width(n, kLabel));
    const double width =
        kMargin + static_cast<double>(columns()) * (panel_width_ + kPanelGap) + kMargin;
    return {std::max(width, widest + 2 * kMargin),
            top_ + static_cast<double>(rows) * panel_height_ + kMargin, plot_.title};
  }

  void head() {
    svg_.text(kMargin, kMargin + kTitle, plot_.title, {.size = kTitle, .bold = true});
    double y = kMargin + kTitle + 20;
    for (const std::string& note : plot_.notes) {
      svg_.text(kMargin, y, note, {.size = kLabel, .fill = css(kMuted)});
      y += 15;
    }
    double x = kMargin;
    for (size_t s = 0; s < plot_.series.size(); ++s) {
      svg_.circle(x + 4, y + 3, 4, {css(categorical_colour(static_cast<int>(s)))});
      svg_.text(x + 13, y + 7, plot_.series[s], {.size = kLabel});
      x += 13 + text_width(plot_.series[s], kLabel) + 22;
    }
  }

  double height_of(double log_value) const {  // above the bottom of the plot
    return kPlotHeight * (log_value - low_) / (high_ - low_);
  }

  void draw_panel(size_t index) {
    const StripPanel& panel = plot_.panels[index];
    const size_t row = index / columns(), column = index % columns();
    const double x0 = kMargin + static_cast<double>(column) * (panel_width_ + kPanelGap) + kLeft;
    const double y0 = top_ + static_cast<double>(row) * panel_height_ + 24;
    const double width = panel_width_ - kLeft, bottom = y0 + kPlotHeight;
    svg_.rect(x0, y0, width, kPlotHeight + kZeroBand,
              {panel.marked ? css(kTint) : "#ffffff", css(kMuted), 0.75});
    svg_.text(x0, y0 - 8, panel.title, {.size = 13, .bold = true});
    svg_.text(x0 + width, y0 - 8, panel.note,
              {.size = kLabel, .anchor = Anchor::end, .fill = css(kMuted)});
    axis(x0, y0, width, bottom);
    for (size_t c = 0; c < plot_.categories.size(); ++c) {
      const double x = x0 + kSlot * (static_cast<double>(c) + 0.5);
      const double base = bottom + kZeroBand + 12;
      svg_.text(x + 4, base, plot_.categories[c],
                {.size = kLabel, .anchor = Anchor::end, .turn = -45});
      for (size_t s = 0; s < plot_.series.size(); ++s) {
        strip(panel, c, s, x + kSlot * offset(s), y0, bottom);
      }
    }
  }

  double offset(size_t s) const {
    const auto n = static_cast<double>(plot_.series.size());
    return ((static_cast<double>(s) + 0.5) / n - 0.5) * 0.8;
  }

  void axis(double x0, double y0, double width, double bottom) {
    const int step = static_cast<int>(std::ceil((high_ - low_) / 8));
    for (int e = static_cast<int>(low_); e <= static_cast<int>(high_); e += step) {
      const double y = bottom - height_of(e);
      if (y > y0 && y < bottom) svg_.line(x0, y, x0 + width, y, {"none", css(kGrid), 0.75});
      svg_.text(x0 - 6, y + 4, str("1e", e), {.size = kLabel, .anchor = Anchor::end});
    }
    svg_.line(x0, bottom, x0 + width, bottom, {"none", css(kMuted), 0.5, 1, "3 3"});
    svg_.text(x0 - 6, bottom + kZeroBand - 2, "0", {.size = kLabel, .anchor = Anchor::end});
    svg_.text(x0 - 46, (y0 + bottom) / 2, plot_.value_axis,
              {.size = kLabel, .anchor = Anchor::middle, .turn = -90});
  }

  // The dots are spread evenly across the strip in the order of the measurements.
  void strip(const StripPanel& panel, size_t c, size_t s, double x, double y0, double bottom) {
    const std::vector<double>& values = panel.values[c][s];
    const std::string colour = css(categorical_colour(static_cast<int>(s)));
    const double spread = 0.5 * 0.8 * kSlot / static_cast<double>(plot_.series.size());
    double top = bottom + kZeroBand;
    for (size_t i = 0; i < values.size(); ++i) {
      const double v = values[i];
      const double share =
          (static_cast<double>(i) + 0.5) / static_cast<double>(values.size()) - 0.5;
      const double y = v == 0             ? bottom + kZeroBand / 2
                       : std::isfinite(v) ? bottom - height_of(std::log10(v))
                                          : y0;
      top = std::min(top, y);
      svg_.circle(x + spread * share, y, kDot, {.fill = colour, .opacity = 0.6},
                  str(plot_.categories[c], ", ", plot_.series[s], ": ", v));
    }
    if (values.empty()) return;
    const double half = 0.45 * 0.8 * kSlot / static_cast<double>(plot_.series.size());
    svg_.line(x - half, top, x + half, top, {"none", colour, 1.6});
  }

  const StripPlot& plot_;
  double low_ = 0, high_ = 1, names_ = 0, top_ = 0, panel_width_ = 0, panel_height_ = 0;
  Svg svg_;
};

}  // namespace

std::string strip_plot_svg(const StripPlot& plot) {
  check(!plot.panels.empty() && !plot.categories.empty() && !plot.series.empty() &&
            plot.panel_columns > 0,
        "strip plot: expects panels, categories and series");
  for (const StripPanel& panel : plot.panels) {
    check(panel.values.size() == plot.categories.size(), "strip plot: panel ", panel.title, " has ",
          panel.values.size(), " categories, expected ", plot.categories.size());
    for (const auto& category : panel.values) {
      check(category.size() == plot.series.size(), "strip plot: panel ", panel.title, " has ",
            category.size(), " series, expected ", plot.series.size());
    }
  }
  return Drawing(plot).run();
}

}  // namespace basin
