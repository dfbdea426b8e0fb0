// Measures a line plot (ranges, labels, legend), then draws it panel by panel; and writes its CSV.
#include "basin/figures/line_plot.h"

#include <algorithm>
#include <cmath>

#include "basin/analysis/csv.h"
#include "basin/core/error.h"
#include "basin/figures/svg.h"

namespace basin {
namespace {

constexpr double kMargin = 18, kTitle = 15, kPanelTitle = 13, kLabel = 11, kGap = 26;
constexpr double kFar = 1e5;  // pixels: beyond, nothing is seen and numbers only grow
constexpr Rgb kMuted{110, 110, 110}, kGrid{230, 230, 230}, kFrame{120, 120, 120};

class Drawing {
 public:
  explicit Drawing(const LinePlot& plot) : plot_(plot) {
    columns_ = plot.panels.size();
    if (plot.columns > 0) columns_ = std::min(columns_, static_cast<size_t>(plot.columns));
    ranges();
  }

  std::string run() {
    const Size size = measure();
    Svg svg(size.width, size.height, plot_.title);
    head(svg);
    for (size_t i = 0; i < plot_.panels.size(); ++i) draw_panel(svg, i);
    return svg.document();
  }

 private:
  struct Size {
    double width, height;
  };
  struct Frame {  // of one panel
    const AxisRange &x, &y;
    double left, top, width, height;
    double px(double v) const { return std::clamp(left + width * x.share(v), -kFar, kFar); }
    double py(double v) const { return std::clamp(top + height * (1 - y.share(v)), -kFar, kFar); }
    bool drawable(double u, double v) const { return x.drawable(u) && y.drawable(v); }
    bool inside(double u, double v) const {
      const auto in = [](double share) { return share > -1e-9 && share < 1 + 1e-9; };
      return in(x.share(u)) && in(y.share(v));
    }
  };

  // ---- ranges ----
  void ranges() {
    for (const PlotPanel& panel : plot_.panels) {
      x_.push_back(gather(panel, true));
      y_.push_back(gather(panel, false));
    }
    if (plot_.share_x) share(x_, true);
    if (plot_.share_y) share(y_, false);
    for (size_t i = 0; i < plot_.panels.size(); ++i) {
      finish(x_[i], plot_.panels[i].x, 0.02, i);
      finish(y_[i], plot_.panels[i].y, 0.06, i);
    }
  }

  static AxisRange gather(const PlotPanel& panel, bool is_x) {
    AxisRange range((is_x ? panel.x : panel.y).scale);
    const AxisRange other((is_x ? panel.y : panel.x).scale);
    for (const PlotSeries& s : panel.series) {
      for (size_t k = 0; k < s.x.size(); ++k) {
        if (!other.drawable(is_x ? s.y[k] : s.x[k])) continue;
        range.include(is_x ? s.x[k] : s.y[k]);
        if (is_x || s.low.empty()) continue;
        range.include(s.low[k]);
        range.include(s.high[k]);
      }
    }
    for (const ReferenceLine& r : panel.references) {
      if (r.vertical == is_x) range.include(r.at);
    }
    if (is_x) {
      for (const double at : panel.rug) range.include(at);
    }
    return range;
  }

  void share(std::vector<AxisRange>& all, bool is_x) const {
    AxisRange joined((is_x ? plot_.panels[0].x : plot_.panels[0].y).scale);
    for (size_t i = 0; i < all.size(); ++i) {
      const AxisScale scale = (is_x ? plot_.panels[i].x : plot_.panels[i].y).scale;
      check(scale == (is_x ? plot_.panels[0].x : plot_.panels[0].y).scale, "line plot: panel '",
            plot_.panels[i].title, "' shares the ", is_x ? "x" : "y",
            " axis but has another scale");
      if (!all[i].any()) continue;
      joined.include(all[i].low());
      joined.include(all[i].high());
    }
    std::fill(all.begin(), all.end(), joined);
  }

  void finish(AxisRange& range, const PlotAxis& axis, double margin, size_t panel) const {
    range.settle(margin);
    for (const double end : {axis.low, axis.high}) {
      check(std::isnan(end) || range.drawable(end), "line plot: panel '", plot_.panels[panel].title,
            "': an axis cannot end at ", end,
            axis.scale == AxisScale::log ? " on a log scale" : "");
    }
    if (!std::isnan(axis.low)) range.fix_low(axis.low);
    if (!std::isnan(axis.high)) range.fix_high(axis.high);
    check(range.low() < range.high(), "line plot: panel '", plot_.panels[panel].title,
          "': an axis expects low < high, given ", range.low(), " and ", range.high());
  }

  // ---- layout ----
  Size measure() {
    for (size_t i = 0; i < plot_.panels.size(); ++i) {
      for (const Tick& t : y_[i].ticks(y_ticks())) {
        tick_width_ = std::max(tick_width_, text_width(t.label, kLabel));
      }
    }
    left_ = 20 + tick_width_ + 10;
    const double row = left_ + plot_.panel_width + kGap;
    width_ = 2 * kMargin + row * static_cast<double>(columns_) - kGap;
    width_ = std::max({width_, text_width(plot_.title, kTitle) + 2 * kMargin, 420.0});
    for (const std::string& n : plot_.notes) {
      for (std::string& line : wrapped(n, kLabel, width_ - 2 * kMargin)) {
        notes_.push_back(std::move(line));
      }
    }
    top_ = kMargin + kTitle + 8 + 15 * static_cast<double>(notes_.size());
    place_legend();
    const size_t rows = (plot_.panels.size() + columns_ - 1) / columns_;
    row_height_ = 26 + plot_.panel_height + 52;
    return {width_, top_ + row_height_ * static_cast<double>(rows) + 6};
  }
  int y_ticks() const { return static_cast<int>(std::clamp(plot_.panel_height / 45, 2.0, 9.0)); }
  int x_ticks() const { return static_cast<int>(std::clamp(plot_.panel_width / 62, 2.0, 9.0)); }

  struct LegendEntry {
    const PlotSeries* series;
    double x, y;
  };
  void place_legend() {
    constexpr double kSample = 34, kSpace = 20;
    double x = kMargin;
    for (const PlotPanel& panel : plot_.panels) {
      for (const PlotSeries& s : panel.series) {
        const bool known = std::any_of(legend_.begin(), legend_.end(), [&](const LegendEntry& e) {
          return e.series->name == s.name;
        });
        if (s.name.empty() || known) continue;
        const double wide = kSample + text_width(s.name, kLabel) + kSpace;
        if (legend_.empty()) top_ += 16;
        if (x > kMargin && x + wide - kSpace > width_ - kMargin) x = kMargin, top_ += 16;
        legend_.push_back({&s, x, top_ - 4});
        x += wide;
      }
    }
    top_ += 4;
  }

  void head(Svg& svg) const {
    svg.text(kMargin, kMargin + kTitle, plot_.title, {.size = kTitle, .bold = true});
    double y = kMargin + kTitle + 18;
    for (const std::string& note : notes_) {
      svg.text(kMargin, y, note, {.size = kLabel, .fill = css(kMuted)});
      y += 15;
    }
    for (const LegendEntry& e : legend_) {
      const PlotSeries& s = *e.series;
      const double opacity = s.faint ? 0.45 : 1;
      if (s.line) {
        svg.line(e.x, e.y, e.x + 27, e.y,
                 {"none", colour_of(s.style), s.faint ? 1 : s.width, opacity, dash_of(s.style)});
      }
      draw_marker(svg, s.style.marker, e.x + 13.5, e.y, 3.4, colour_of(s.style), opacity, {});
      svg.text(e.x + 33, e.y + 4, s.name, {.size = kLabel});
    }
  }

  // ---- one panel ----
  void draw_panel(Svg& svg, size_t i) {
    const PlotPanel& panel = plot_.panels[i];
    const size_t row = i / columns_, column = i % columns_;
    const double left =
        kMargin + left_ + static_cast<double>(column) * (left_ + plot_.panel_width + kGap);
    const double top = top_ + 26 + static_cast<double>(row) * row_height_;
    const Frame f{x_[i], y_[i], left, top, plot_.panel_width, plot_.panel_height};
    svg.text(left, top - 8, panel.title, {.size = kPanelTitle, .bold = true});
    svg.text(left + f.width, top - 8, panel.note,
             {.size = kLabel, .anchor = Anchor::end, .fill = css(kMuted)});
    axes(svg, panel, f, i);
    svg.begin_clip(left, top, f.width, f.height);
    for (const PlotSeries& s : panel.series) band(svg, s, f);
    for (const ReferenceLine& r : panel.references) reference(svg, r, f);
    for (const double at : panel.rug) {
      if (!f.x.drawable(at)) continue;
      svg.line(f.px(at), top + f.height, f.px(at), top + f.height - 7,
               {"none", "#333333", 0.8, 0.6});
    }
    for (const bool faint : {true, false}) {
      for (const PlotSeries& s : panel.series) {
        if (s.faint == faint) series(svg, s, f);
      }
    }
    svg.end_clip();
    reference_labels(svg, panel, f);
    svg.rect(left, top, f.width, f.height, {"none", css(kFrame), 0.9});
    count_missing(svg, panel, f);
  }

  void axes(Svg& svg, const PlotPanel& panel, const Frame& f, size_t i) const {
    const double bottom = f.top + f.height;
    const Paint grid{"none", css(kGrid), 0.75}, mark{"none", css(kFrame), 0.9};
    for (const Tick& t : f.y.ticks(y_ticks())) {
      const double y = f.py(t.at), length = t.label.empty() ? 2.5 : 4;
      if (!t.label.empty()) svg.line(f.left, y, f.left + f.width, y, grid);
      svg.line(f.left - length, y, f.left, y, mark);
      svg.text(f.left - 6, y + 4, t.label, {.size = kLabel, .anchor = Anchor::end});
    }
    double last = -kFar;  // where the last label ends: one that would touch it is left out
    for (const Tick& t : f.x.ticks(x_ticks())) {
      const double x = f.px(t.at), length = t.label.empty() ? 2.5 : 4;
      if (!t.label.empty()) svg.line(x, f.top, x, bottom, grid);
      svg.line(x, bottom, x, bottom + length, mark);
      const double half = text_width(t.label, kLabel) / 2;
      if (t.label.empty() || x - half < last + 3) continue;
      svg.text(x, bottom + 16, t.label, {.size = kLabel, .anchor = Anchor::middle});
      last = x + half;
    }
    svg.text(f.left + f.width / 2, bottom + 32, panel.x.label,
             {.size = kLabel, .anchor = Anchor::middle});
    if (plot_.share_y && i % columns_ != 0 && panel.y.label == plot_.panels[0].y.label) return;
    svg.text(f.left - tick_width_ - 16, f.top + f.height / 2, panel.y.label,
             {.size = kLabel, .anchor = Anchor::middle, .turn = -90});
  }

  static void band(Svg& svg, const PlotSeries& s, const Frame& f) {
    if (s.low.empty()) return;
    const auto drawn = [&](size_t k) {
      return f.drawable(s.x[k], s.low[k]) && f.drawable(s.x[k], s.high[k]);
    };
    const std::string colour = colour_of(s.style);
    for (size_t k = 0; k < s.x.size(); ++k) {
      if (!drawn(k)) continue;
      if (s.bars) {
        const double x = f.px(s.x[k]), y1 = f.py(s.low[k]), y2 = f.py(s.high[k]);
        const Paint stroke{"none", colour, 1.2};
        svg.line(x, y1, x, y2, stroke);
        svg.line(x - 3, y1, x + 3, y1, stroke);
        svg.line(x - 3, y2, x + 3, y2, stroke);
        continue;
      }
      size_t end = k;
      while (end + 1 < s.x.size() && drawn(end + 1)) ++end;
      std::vector<std::pair<double, double>> outline;
      for (size_t j = k; j <= end; ++j) outline.emplace_back(f.px(s.x[j]), f.py(s.high[j]));
      for (size_t j = end + 1; j-- > k;) outline.emplace_back(f.px(s.x[j]), f.py(s.low[j]));
      svg.polyline(outline, {colour, "none", 1, s.faint ? 0.08 : 0.18});
      k = end;
    }
  }

  static void series(Svg& svg, const PlotSeries& s, const Frame& f) {
    const std::string colour = colour_of(s.style);
    const double opacity = s.faint ? 0.4 : 1;
    if (s.line) {
      std::vector<std::pair<double, double>> run;
      const auto flush = [&] {
        const Paint paint{"none", colour, s.faint ? 1 : s.width, opacity, dash_of(s.style)};
        if (run.size() > 1) svg.polyline(run, paint);
        if (run.size() == 1) svg.circle(run[0].first, run[0].second, 1.6, {colour});
        run.clear();
      };
      for (size_t k = 0; k < s.x.size(); ++k) {
        if (f.drawable(s.x[k], s.y[k])) {
          run.emplace_back(f.px(s.x[k]), f.py(s.y[k]));
        } else {
          flush();
        }
      }
      flush();
    }
    if (s.style.marker == Marker::none || (s.faint && s.line)) return;
    const size_t every = s.marker_every > 0 ? static_cast<size_t>(s.marker_every)
                         : s.line           ? std::max<size_t>(1, (s.x.size() + 6) / 12)
                                            : 1;
    for (size_t k = 0; k < s.x.size(); k += every) {
      if (!f.drawable(s.x[k], s.y[k]) || !f.inside(s.x[k], s.y[k])) continue;
      draw_marker(svg, s.style.marker, f.px(s.x[k]), f.py(s.y[k]), s.faint ? 2.2 : 3.2, colour,
                  opacity, str(s.name, s.name.empty() ? "" : ": ", s.x[k], ", ", s.y[k]));
    }
  }

  static void reference(Svg& svg, const ReferenceLine& r, const Frame& f) {
    const Paint paint{"none", "#444444", 1.1, 1, "5 3"};
    if (!(r.vertical ? f.x : f.y).drawable(r.at)) return;
    if (r.vertical) svg.line(f.px(r.at), f.top, f.px(r.at), f.top + f.height, paint);
    if (!r.vertical) svg.line(f.left, f.py(r.at), f.left + f.width, f.py(r.at), paint);
  }

  // On a white ground, inside the frame; those of vertical lines one below the other.
  static void reference_labels(Svg& svg, const PlotPanel& panel, const Frame& f) {
    double down = 0;
    for (const ReferenceLine& r : panel.references) {
      const AxisRange& range = r.vertical ? f.x : f.y;
      if (r.label.empty() || !range.drawable(r.at)) continue;
      const double share = range.share(r.at), wide = text_width(r.label, kLabel);
      if (share < 0 || share > 1) continue;
      double x = f.left + f.width - 5 - wide, y = f.py(r.at) - 4;
      if (r.vertical) {
        const bool fits = f.px(r.at) + 8 + wide < f.left + f.width;
        x = fits ? f.px(r.at) + 4 : f.px(r.at) - 4 - wide;
        y = f.top + 14 + down;
        down += 14;
      } else if (y < f.top + 12) {
        y += 16;
      }
      svg.rect(x - 2, y - 10, wide + 4, 13, {"#ffffff", "none", 1, 0.8});
      svg.text(x, y, r.label, {.size = kLabel, .fill = "#333333"});
    }
  }

  void count_missing(Svg& svg, const PlotPanel& panel, const Frame& f) const {
    int64_t total = 0, missing = 0, outside = 0;
    for (const PlotSeries& s : panel.series) {
      for (size_t k = 0; k < s.x.size(); ++k) {
        ++total;
        const bool drawn = f.drawable(s.x[k], s.y[k]);
        missing += !drawn;
        outside += drawn && !f.inside(s.x[k], s.y[k]);
      }
    }
    std::string words;
    if (missing > 0) {
      const bool log = panel.x.scale == AxisScale::log || panel.y.scale == AxisScale::log;
      words = str(missing, " of ", total, " values not drawn: not finite",
                  log ? " or not positive on a log axis" : "");
    }
    if (outside > 0) words += str(words.empty() ? "" : "; ", outside, " of ", total, " outside");
    svg.text(f.left + f.width / 2, f.top + f.height + 46, words,
             {.size = 10, .anchor = Anchor::middle, .fill = css(kMuted)});
  }

  const LinePlot& plot_;
  size_t columns_ = 1;
  std::vector<AxisRange> x_, y_;
  std::vector<std::string> notes_;
  std::vector<LegendEntry> legend_;
  double tick_width_ = 0, left_ = 0, top_ = 0, width_ = 0, row_height_ = 0;
};

void check_plot(const LinePlot& plot) {
  check(!plot.panels.empty() && plot.panel_width > 0 && plot.panel_height > 0 && plot.columns >= 0,
        "line plot: expects panels of a positive size");
  for (const PlotPanel& panel : plot.panels) {
    for (const PlotSeries& s : panel.series) {
      check(s.x.size() == s.y.size() && s.low.size() == s.high.size() &&
                (s.low.empty() || s.low.size() == s.x.size()),
            "line plot: panel '", panel.title, "', series '", s.name, "' has ", s.x.size(), " x, ",
            s.y.size(), " y, ", s.low.size(), " low and ", s.high.size(), " high values");
    }
  }
}

}  // namespace

std::string line_plot_svg(const LinePlot& plot) {
  check_plot(plot);
  return Drawing(plot).run();
}

std::string line_plot_csv(const LinePlot& plot) {
  check_plot(plot);
  std::string out = "panel,series,x,y,low,high\n";
  for (const PlotPanel& panel : plot.panels) {
    for (const PlotSeries& s : panel.series) {
      for (size_t k = 0; k < s.x.size(); ++k) {
        out += str(csv_text(panel.title), ",", csv_text(s.name), ",", csv_number(s.x[k]), ",",
                   csv_number(s.y[k]), ",", s.low.empty() ? "" : csv_number(s.low[k]), ",",
                   s.low.empty() ? "" : csv_number(s.high[k]), "\n");
      }
    }
  }
  return out;
}

}  // namespace basin
