// Draws each map as two paths per colour, of the even and the odd rows, whose rectangles are runs
// of equal cells in a row: rows overlap a little, and paths are filled by the even-odd rule.
#include "basin/figures/field_maps.h"

#include <algorithm>
#include <cmath>

#include "basin/analysis/csv_table.h"
#include "basin/core/error.h"
#include "basin/figures/detail/figure_drawing.h"

namespace basin {
namespace {

constexpr int kShades = 64;
constexpr double kMapWidth = 330, kMapHeight = 210, kBarWidth = 12;
constexpr double kLeft = 52, kRight = 92, kAbove = 30, kBelow = 44;
constexpr double kOverlap = 0.35;  // pixels, against seams between neighbouring shapes

void check_maps(const FieldMaps& data) {
  check(!data.maps.empty(), "field maps: expects at least one map, given none");
  for (const std::vector<double>* axis : {&data.x, &data.y}) {
    check(axis->size() >= 2 && std::is_sorted(axis->begin(), axis->end(), std::less_equal<>()),
          "field maps: an axis has to ascend over two points or more");
  }
  for (const FieldMap& m : data.maps) {
    check(m.values.size() == data.x.size() * data.y.size(), "field maps: ", m.name, " has ",
          m.values.size(), " values for a grid of ", data.y.size(), " x ", data.x.size());
  }
}

AxisScale scale_of(const FieldMap& m) { return m.log_colour ? AxisScale::log : AxisScale::linear; }

AxisRange colour_range(const FieldMap& m) {
  AxisRange range(scale_of(m));
  for (const double v : m.values) range.include(v);
  range.settle(0);
  if (!std::isnan(m.low)) range.fix_low(m.low);
  if (!std::isnan(m.high)) range.fix_high(m.high);
  return range;
}

// Where the cells of an axis begin and end, as shares of its length: [n + 1].
std::vector<double> cell_edges(const std::vector<double>& at) {
  std::vector<double> edges(at.size() + 1, at.front());
  for (size_t i = 1; i < at.size(); ++i) edges[i] = (at[i - 1] + at[i]) / 2;
  edges.back() = at.back();
  const double span = at.back() - at.front();
  for (double& e : edges) e = (e - at.front()) / span;
  return edges;
}

int shade_of(const AxisRange& range, double value) {
  if (!range.drawable(value)) return kShades;  // a hole
  const double share = range.share(value);
  return std::clamp(static_cast<int>(share * kShades), 0, kShades - 1);
}

Rgb shade_colour(int shade) { return sequential_colour((shade + 0.5) / kShades); }

class MapDrawing {
 public:
  explicit MapDrawing(const FieldMaps& data)
      : data_(data), x_(cell_edges(data.x)), y_(cell_edges(data.y)) {}

  std::string run() {
    const size_t columns = std::min<size_t>(2, data_.maps.size());
    const double width = static_cast<double>(columns) * kPanelWidth;
    const double top = draw_head(nullptr, width, data_.title, data_.conditions, {});
    const auto rows = static_cast<double>((data_.maps.size() + columns - 1) / columns);
    Svg svg(width, top + rows * kPanelHeight, data_.title);
    hole_ = svg.hatch(kGridInk, {250, 250, 250});
    draw_head(&svg, width, data_.title, data_.conditions, {});
    for (size_t i = 0; i < data_.maps.size(); ++i) {
      const auto row = static_cast<double>(i / columns), column = static_cast<double>(i % columns);
      draw_map(svg, data_.maps[i], column * kPanelWidth + kLeft, top + row * kPanelHeight + kAbove);
    }
    return svg.document();
  }

 private:
  static constexpr double kPanelWidth = kLeft + kMapWidth + kRight;
  static constexpr double kPanelHeight = kAbove + kMapHeight + kBelow;

  void draw_map(Svg& svg, const FieldMap& m, double left, double top) const {
    const AxisRange range = colour_range(m);
    svg.text(left, top - 10, m.name, {.size = kPanelTitleSize, .bold = true});
    draw_cells(svg, m, range, left, top);
    draw_frame(svg, left, top);
    draw_bar(svg, range, left + kMapWidth + 14, top);
  }

  void draw_cells(Svg& svg, const FieldMap& m, const AxisRange& range, double left,
                  double top) const {
    std::vector<std::string> paths(2 * (kShades + 1));
    for (size_t iy = 0; iy < data_.y.size(); ++iy) {
      const double above = top + kMapHeight * (1 - y_[iy + 1]) - kOverlap;
      const double below = top + kMapHeight * (1 - y_[iy]);
      const double* row = m.values.data() + iy * data_.x.size();
      for (size_t ix = 0; ix < data_.x.size();) {
        const int shade = shade_of(range, row[ix]);
        size_t end = ix + 1;
        while (end < data_.x.size() && shade_of(range, row[end]) == shade) ++end;
        const std::string l = svg_number(left + kMapWidth * x_[ix]),
                          r = svg_number(left + kMapWidth * x_[end] + kOverlap),
                          a = svg_number(above), b = svg_number(below);
        paths[2 * static_cast<size_t>(shade) + iy % 2] +=
            str("M", l, " ", a, "L", r, " ", a, "L", r, " ", b, "L", l, " ", b, "Z");
        ix = end;
      }
    }
    svg.begin_clip(left, top, kMapWidth, kMapHeight);
    for (size_t i = 0; i < paths.size(); ++i) {
      const int shade = static_cast<int>(i / 2);
      if (paths[i].empty()) continue;
      svg.path(paths[i], {shade == kShades ? hole_ : css(shade_colour(shade))});
    }
    svg.end_clip();
  }

  void draw_frame(Svg& svg, double left, double top) const {
    const Paint ink{"none", css(kMutedInk), 0.75};
    svg.rect(left, top, kMapWidth, kMapHeight, ink);
    for (const Tick& t : linear_ticks(data_.x.front(), data_.x.back())) {
      const double at = left + kMapWidth * share(data_.x, t.at);
      svg.line(at, top + kMapHeight, at, top + kMapHeight + 4, ink);
      svg.text(at, top + kMapHeight + 16, t.label, {kLabelSize, Anchor::middle});
    }
    for (const Tick& t : linear_ticks(data_.y.front(), data_.y.back())) {
      const double at = top + kMapHeight * (1 - share(data_.y, t.at));
      svg.line(left - 4, at, left, at, ink);
      svg.text(left - 7, at + 4, t.label, {kLabelSize, Anchor::end});
    }
    svg.text(left + kMapWidth / 2, top + kMapHeight + 32, data_.x_name,
             {kLabelSize, Anchor::middle});
    svg.text(left - 38, top + kMapHeight / 2, data_.y_name,
             {.size = kLabelSize, .anchor = Anchor::middle, .turn = -90});
  }

  static double share(const std::vector<double>& axis, double at) {
    return (at - axis.front()) / (axis.back() - axis.front());
  }

  static void draw_bar(Svg& svg, const AxisRange& range, double x, double top) {
    const Paint ink{"none", css(kMutedInk), 0.75};
    const double step = kMapHeight / kShades;
    for (int i = 0; i < kShades; ++i) {
      svg.rect(x, top + step * (kShades - 1 - i) - kOverlap, kBarWidth, step + kOverlap,
               {css(shade_colour(i))});
    }
    svg.rect(x, top, kBarWidth, kMapHeight, ink);
    for (const Tick& t : range.ticks(5)) {
      const double at = top + kMapHeight * (1 - range.share(t.at));
      svg.line(x + kBarWidth, at, x + kBarWidth + 4, at, ink);
      svg.text(x + kBarWidth + 7, at + 4, t.label, {kLabelSize});
    }
  }

  const FieldMaps& data_;
  std::vector<double> x_, y_;
  std::string hole_;
};

std::string maps_csv(const FieldMaps& data) {
  std::string out = str(csv_text(data.x_name), ",", csv_text(data.y_name));
  for (const FieldMap& m : data.maps) out += "," + csv_text(m.name);
  out += "\n";
  for (size_t i = 0; i < data.x.size() * data.y.size(); ++i) {
    out += str(csv_number(data.x[i % data.x.size()]), ",", csv_number(data.y[i / data.x.size()]));
    for (const FieldMap& m : data.maps) out += "," + csv_number(m.values[i]);
    out += "\n";
  }
  return out;
}

size_t nearest_row(const std::vector<double>& axis, double at) {
  size_t best = 0;
  for (size_t i = 1; i < axis.size(); ++i) {
    if (std::abs(axis[i] - at) < std::abs(axis[best] - at)) best = i;
  }
  return best;
}

}  // namespace

Figure field_maps_figure(const FieldMaps& data) {
  check_maps(data);
  Figure figure{.name = "field-maps", .title = data.title};
  figure.alt = str("Maps over ", data.x_name, " and ", data.y_name, ".");
  for (const FieldMap& m : data.maps) {
    const AxisRange range = colour_range(m);
    figure.holes += std::count_if(m.values.begin(), m.values.end(),
                                  [&](double v) { return !range.drawable(v); });
    figure.alt += range.any() ? str(" ", m.name, ": from ", readable(range.low()), " to ",
                                    readable(range.high()), ".")
                              : str(" ", m.name, ": no value.");
  }
  figure.svg = MapDrawing(data).run();
  figure.csv = maps_csv(data);
  return finish_figure(
      std::move(figure),
      str("Maps over (", data.x_name, ", ", data.y_name, "), each with its own colour bar."),
      data.conditions);
}

Figure field_lines_figure(const FieldMaps& data, const std::vector<double>& at) {
  check_maps(data);
  check(!at.empty(), "field lines: expects at least one value of ", data.y_name);
  Figure figure{.name = "field-lines", .title = data.title};
  LinePlot plot{.title = data.title, .columns = 2, .share_x = true, .share_y = true};
  plot.panel_height = 180;
  figure.alt = str("Lines over ", data.x_name, ".");
  for (const double place : at) {
    const size_t row = nearest_row(data.y, place);
    PlotPanel panel;
    panel.title = str(data.y_name, " = ", readable(data.y[row]));
    panel.x.label = data.x_name;
    figure.alt += str(" At ", panel.title, ":");
    for (size_t k = 0; k < data.maps.size(); ++k) {
      const auto first =
          data.maps[k].values.begin() + static_cast<std::ptrdiff_t>(row * data.x.size());
      PlotSeries line;
      line.name = data.maps[k].name;
      line.x = data.x;
      line.y.assign(first, first + std::ssize(data.x));
      line.style = series_style(static_cast<int>(k));
      const auto [low, high] = std::minmax_element(line.y.begin(), line.y.end());
      figure.alt +=
          str(k == 0 ? " " : "; ", line.name, " from ", readable(*low), " to ", readable(*high));
      figure.holes +=
          std::count_if(line.y.begin(), line.y.end(), [](double v) { return !std::isfinite(v); });
      panel.series.push_back(std::move(line));
    }
    figure.alt += ".";
    plot.panels.push_back(std::move(panel));
  }
  plot.notes = condition_lines(data.conditions, plot);
  figure.svg = line_plot_svg(plot);
  figure.csv = line_plot_csv(plot);
  return finish_figure(std::move(figure),
                       str("Lines over ", data.x_name, " at values of ", data.y_name, "."),
                       data.conditions);
}

}  // namespace basin
