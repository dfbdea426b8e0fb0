// Layout, words and numbers of the forest plot. Rows are placed once, so that what is measured is
// what is drawn; everything that a mark says is decided in kind_of, for picture, caption and CSV.
#include "basin/figures/forest_plot.h"

#include <algorithm>
#include <cmath>

#include "basin/analysis/csv_table.h"
#include "basin/core/error.h"
#include "basin/figures/detail/figure_drawing.h"

namespace basin {
namespace {

constexpr double kPlotWidth = 400, kGap = 16, kLabelMost = 270, kNoteMost = 190, kRow = 21,
                 kLine = 14, kHeading = 24, kFurthest = 1000, kStretch = 3;
constexpr Rgb kInk{0, 84, 158}, kOpenInk{96, 96, 96}, kStripe{244, 246, 248};

// What the row's interval says of 1; `bare` has none, `undefined` no place on the axis.
enum class Kind { excludes, holds, bare, undefined };

Kind kind_of(const ForestRow& row) {
  if (!std::isfinite(row.ratio) || row.ratio <= 0) return Kind::undefined;
  if (std::isnan(row.low) || std::isnan(row.high)) return Kind::bare;
  return row.low > 1 || row.high < 1 ? Kind::excludes : Kind::holds;
}

std::string number_words(const ForestRow& row) {
  if (std::isnan(row.low) || std::isnan(row.high)) return readable(row.ratio);
  return str(readable(row.ratio), " [", readable(row.low), ", ", readable(row.high), "]");
}

std::vector<std::string> groups_of(const ForestPlot& plot) {
  std::vector<std::string> out;
  for (const ForestRow& row : plot.rows) {
    if (std::find(out.begin(), out.end(), row.group) == out.end()) out.push_back(row.group);
  }
  return out;
}

AxisRange axis_of(const ForestPlot& plot) {
  double low = 1, high = 1;
  for (const ForestRow& row : plot.rows) {
    if (kind_of(row) == Kind::undefined) continue;
    if (row.ratio >= 1 / kFurthest) low = std::min(low, row.ratio);
    if (row.ratio <= kFurthest) high = std::max(high, row.ratio);
  }
  AxisRange axis(AxisScale::log);
  for (const double end : {low, high, 0.9, 1.1}) axis.include(end);
  for (const ForestRow& row : plot.rows) {
    if (kind_of(row) == Kind::undefined) continue;
    for (const double end : {row.low, row.high}) {
      if (end >= low / kStretch && end <= high * kStretch) axis.include(end);
    }
  }
  axis.settle(0.04);
  return axis;
}

class Drawing {
 public:
  explicit Drawing(const ForestPlot& plot) : plot_(plot), axis_(axis_of(plot)) {
    for (const ForestRow& row : plot.rows) {
      labels_ = std::max(labels_, text_width(row.label, kLabelSize));
      numbers_ = std::max(numbers_, text_width(number_words(row), kLabelSize));
      notes_ = std::max(notes_, text_width(row.note, kLabelSize));
    }
    labels_ = std::min(labels_, kLabelMost), notes_ = std::min(notes_, kNoteMost);
    left_ = kFigureMargin + 8 + labels_ + kGap;
    right_ = left_ + kPlotWidth;
    width_ = right_ + kGap + numbers_ + (notes_ > 0 ? kGap + notes_ : 0) + kFigureMargin;
    top_ = draw_head(nullptr, width_, plot.title, plot.conditions, {}) +
           (plot.below.empty() && plot.above.empty() ? 28 : 42);  // room for the two sides
    place_rows();
  }

  std::string svg() {
    Svg out(width_, bottom_ + 68, plot_.title);
    draw_head(&out, width_, plot_.title, plot_.conditions, {});
    stripes(out);
    axes(out);
    for (const Heading& h : headings_) {
      out.text(kFigureMargin, h.y + kHeading - 7, h.words, {.size = kLabelSize + 1, .bold = true});
    }
    for (const Place& place : places_) draw_row(out, place);
    legend(out);
    return out.document();
  }
  bool arrows() const { return arrows_; }

 private:
  struct Heading {
    double y;
    std::string words;
  };
  struct Place {
    const ForestRow* row;
    double y, height;
    std::vector<std::string> label, note;
    bool striped;
  };

  std::vector<std::string> lines(const std::string& words, double room) const {
    std::vector<std::string> out = wrapped(words, kLabelSize, room);
    for (std::string& line : out) line = shortened(line, kLabelSize, room);
    return out;
  }

  void place_rows() {
    double y = top_;
    for (const std::string& group : groups_of(plot_)) {
      if (!group.empty()) {
        headings_.push_back({y, shortened(group, kLabelSize + 1, left_ - kFigureMargin - kGap)});
        y += kHeading;
      }
      bool striped = true;
      for (const ForestRow& row : plot_.rows) {
        if (row.group != group) continue;
        Place place{&row, y, 0, lines(row.label, labels_), lines(row.note, kNoteMost), striped};
        const size_t most = std::max({place.label.size(), place.note.size(), size_t{1}});
        place.height = kRow + kLine * static_cast<double>(most - 1);
        y += place.height;
        places_.push_back(std::move(place));
        striped = !striped;
      }
      y += 4;
    }
    bottom_ = y;
  }

  double x_of(double value) const { return left_ + kPlotWidth * axis_.share(value); }

  void stripes(Svg& svg) const {
    for (const Place& p : places_) {
      if (!p.striped) continue;
      svg.rect(kFigureMargin, p.y, width_ - 2 * kFigureMargin, p.height, {css(kStripe)});
    }
  }

  void axes(Svg& svg) const {
    const Paint mark{"none", css(kMutedInk), 0.9};
    const double decades = std::log10(axis_.high() / axis_.low());
    double last = -1e9;  // where the last label ends: one that would touch it is left out
    for (const Tick& tick : log_ticks(axis_.low(), axis_.high(), 8, 4)) {
      const double x = x_of(tick.at), half = text_width(tick.label, kLabelSize) / 2;
      const bool labelled = !tick.label.empty() && x - half > last + 4;
      if (labelled) svg.line(x, top_, x, bottom_, {"none", css(kGridInk), 0.75});
      if (labelled || decades < 4) svg.line(x, bottom_, x, bottom_ + (labelled ? 4 : 2.5), mark);
      if (!labelled) continue;
      svg.text(x, bottom_ + 16, tick.label, {.size = kLabelSize, .anchor = Anchor::middle});
      last = x + half;
    }
    svg.line(left_, bottom_, right_, bottom_, mark);
    const double one = x_of(1);
    svg.line(one, top_ - 34, one, bottom_, {"none", "#222222", 1.3});
    svg.text(left_ + kPlotWidth / 2, bottom_ + 31, plot_.axis,
             {.size = kLabelSize, .anchor = Anchor::middle});
    side(svg, plot_.below, one, -1);
    side(svg, plot_.above, one, 1);
    const std::string level =
        plot_.conditions.level > 0 ? readable(100 * plot_.conditions.level) + " % interval" : "";
    svg.text(right_ + kGap, top_ - 9, str("ratio", level.empty() ? "" : " [" + level + "]"),
             {.size = kLabelSize, .fill = css(kMutedInk)});
  }

  // The words on one side of the line at 1, with an arrow away from it; above the head of the
  // numbers, which they reach where that side of the axis is short.
  void side(Svg& svg, const std::string& words, double one, int direction) const {
    if (words.empty()) return;
    const double y = top_ - 26, tip = one + direction * 22;
    svg.line(one + direction * 6, y, tip, y, {"none", css(kMutedInk), 1});
    svg.polyline({{tip + direction * 5, y}, {tip, y - 3}, {tip, y + 3}, {tip + direction * 5, y}},
                 {css(kMutedInk)});
    svg.text(tip + direction * 10, y + 4, words,
             {.size = kLabelSize,
              .anchor = direction > 0 ? Anchor::start : Anchor::end,
              .fill = css(kMutedInk)});
  }

  void draw_row(Svg& svg, const Place& place) {
    const ForestRow& row = *place.row;
    const Kind kind = kind_of(row);
    const double y = place.y + place.height / 2;
    paragraph(svg, kFigureMargin + 8, y, place.label, "#222222");
    paragraph(svg, right_ + kGap + numbers_ + kGap, y, place.note, css(kMutedInk));
    svg.text(right_ + kGap, y + 4, number_words(row),
             {.size = kLabelSize,
              .fill = kind == Kind::undefined ? css(kMutedInk) : "#222222",
              .bold = kind == Kind::excludes});
    if (kind == Kind::undefined) return;
    if (kind != Kind::bare) bar(svg, row, y, kind);
    if (row.ratio < axis_.low()) return arrow(svg, left_, y, -1, kind);
    if (row.ratio > axis_.high()) return arrow(svg, right_, y, 1, kind);
    mark(svg, kind, x_of(row.ratio), y, str(row.label, ": ", number_words(row)));
  }

  static void paragraph(Svg& svg, double x, double middle, const std::vector<std::string>& lines,
                        const std::string& fill) {
    double y = middle + 4 - kLine * (static_cast<double>(lines.size()) - 1) / 2;
    for (const std::string& line : lines) {
      svg.text(x, y, line, {.size = kLabelSize, .fill = fill});
      y += kLine;
    }
  }

  static Rgb ink(Kind kind) { return kind == Kind::excludes ? kInk : kOpenInk; }

  void bar(Svg& svg, const ForestRow& row, double y, Kind kind) {
    if (row.high < axis_.low()) return arrow(svg, left_, y, -1, kind);
    if (row.low > axis_.high()) return arrow(svg, right_, y, 1, kind);
    const bool cut_low = row.low<axis_.low(), cut_high = row.high> axis_.high();
    const double from = cut_low ? left_ : x_of(row.low), to = cut_high ? right_ : x_of(row.high);
    const Paint paint{"none", css(ink(kind)), kind == Kind::excludes ? 2.2 : 1.2};
    constexpr double kCap = 4;
    svg.line(from, y, to, y, paint);
    if (cut_low) arrow(svg, from, y, -1, kind);
    if (cut_high) arrow(svg, to, y, 1, kind);
    if (!cut_low) svg.line(from, y - kCap, from, y + kCap, paint);
    if (!cut_high) svg.line(to, y - kCap, to, y + kCap, paint);
  }

  void arrow(Svg& svg, double tip, double y, int direction, Kind kind) {
    const double base = tip - direction * 9;
    svg.polyline({{tip, y}, {base, y - 4.5}, {base, y + 4.5}, {tip, y}}, {css(ink(kind))});
    arrows_ = true;
  }

  static void mark(Svg& svg, Kind kind, double x, double y, std::string_view hint) {
    const std::string colour = css(ink(kind));
    if (kind == Kind::excludes) draw_marker(svg, Marker::diamond, x, y, 5, colour, 1, hint);
    if (kind == Kind::holds) svg.circle(x, y, 3.8, {"#ffffff", colour, 1.5}, hint);
    if (kind == Kind::bare) draw_marker(svg, Marker::cross, x, y, 3.6, colour, 1, hint);
  }

  void legend(Svg& svg) const {
    double x = kFigureMargin + 8;
    const double y = bottom_ + 50;
    for (const auto& [kind, words] : {std::pair{Kind::excludes, "interval excludes 1"},
                                      {Kind::holds, "interval holds 1"},
                                      {Kind::bare, "no interval"}}) {
      const bool any = std::any_of(plot_.rows.begin(), plot_.rows.end(),
                                   [k = kind](const ForestRow& r) { return kind_of(r) == k; });
      if (!any) continue;
      if (kind != Kind::bare) {
        svg.line(x, y, x + 26, y, {"none", css(ink(kind)), kind == Kind::excludes ? 2.2 : 1.2});
      }
      mark(svg, kind, x + 13, y, {});
      svg.text(x + 32, y + 4, words, {.size = kLabelSize});
      x += 32 + text_width(words, kLabelSize) + 22;
    }
  }

  const ForestPlot& plot_;
  AxisRange axis_;
  std::vector<Heading> headings_;
  std::vector<Place> places_;
  double labels_ = 0, numbers_ = text_width("ratio [95 % interval]", kLabelSize), notes_ = 0;
  double left_ = 0, right_ = 0, width_ = 0, top_ = 0, bottom_ = 0;
  bool arrows_ = false;
};

std::string forest_csv(const ForestPlot& plot) {
  CsvTable csv({"group", "label", "ratio", "low", "high", "excludes_one", "drawn", "note"});
  for (const ForestRow& row : plot.rows) {
    const Kind kind = kind_of(row);
    const char* excludes = kind == Kind::excludes ? "yes" : kind == Kind::holds ? "no" : "";
    csv.row({row.group, row.label, row.ratio, row.low, row.high, excludes,
             kind == Kind::undefined ? "no" : "yes", row.note});
  }
  return csv.text();
}

int64_t count(const ForestPlot& plot, Kind kind) {
  return std::count_if(plot.rows.begin(), plot.rows.end(),
                       [kind](const ForestRow& row) { return kind_of(row) == kind; });
}

std::string forest_alt(const ForestPlot& plot) {
  const int64_t excludes = count(plot, Kind::excludes), holds = count(plot, Kind::holds);
  std::string out = str("Ratios with intervals on a logarithmic axis; ", excludes, " of ",
                        excludes + holds, " intervals exclude 1.");
  for (const std::string& group : groups_of(plot)) {
    std::vector<std::string> words;
    for (const ForestRow& row : plot.rows) {
      if (row.group == group) words.push_back(str(row.label, " ", number_words(row)));
    }
    out += str(" ", group, group.empty() ? "" : ": ", joined(words, "; "), ".");
  }
  return out;
}

}  // namespace

Figure forest_figure(const ForestPlot& plot) {
  check(!plot.rows.empty(), "forest plot: expects at least one row, given none");
  for (const ForestRow& row : plot.rows) {
    check(!(row.low > row.high), "forest plot: row '", row.label, "' expects low <= high, given ",
          row.low, " and ", row.high);
  }
  Drawing drawing(plot);
  Figure figure{.name = "ratios", .title = plot.title, .svg = drawing.svg()};
  figure.csv = forest_csv(plot);
  figure.alt = forest_alt(plot);
  std::string words = plot.caption;
  if (!words.empty() && words.back() != '.') words += '.';
  words += str(words.empty() ? "" : " ", "Bars: intervals; a filled diamond and a bold number: ",
               "the interval excludes 1; a hollow circle: it holds 1.");
  if (count(plot, Kind::bare) > 0) words += " A cross: no interval is known.";
  if (drawing.arrows()) words += " An arrow: the bar or the ratio lies beyond the axis.";
  const int64_t undefined = count(plot, Kind::undefined);
  if (undefined > 0) {
    words += str(" ", undefined, undefined == 1 ? " ratio is" : " ratios are",
                 " not drawn: not finite or not positive.");
  }
  figure = finish_figure(std::move(figure), words, plot.conditions);
  figure.holes = undefined;  // the caption has said it
  return figure;
}

}  // namespace basin
