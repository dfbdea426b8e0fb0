// The figure of single runs.
#include "basin/figures/seed_dots.h"

#include <algorithm>
#include <cmath>

#include "basin/analysis/csv_table.h"
#include "basin/core/error.h"
#include "basin/figures/detail/figure_drawing.h"

namespace basin {
namespace {

constexpr double kColumnWidth = 74, kDotsHeight = 210, kAxisWidth = 64, kGap = 26, kNames = 34;
constexpr double kWidest = 900;

std::vector<LegendEntry> entries_of(const SeedDots& data) {
  std::vector<std::string> names;
  for (const SeedPanel& p : data.panels) {
    for (const SeedColumn& c : p.columns) {
      if (std::ranges::find(names, c.optimizer) == names.end()) names.push_back(c.optimizer);
    }
  }
  std::vector<LegendEntry> out;
  for (const std::string& name : names) out.push_back({name, style_among(names, name)});
  return out;
}

class DotsDrawing {
 public:
  explicit DotsDrawing(const SeedDots& data) : data_(data), entries_(entries_of(data)) {
    size_t columns = 0;
    for (const SeedPanel& p : data.panels) columns = std::max(columns, p.columns.size());
    plot_width_ = kColumnWidth * static_cast<double>(columns);
    for (const SeedPanel& p : data.panels) {  // name and note share a line
      constexpr double kBold = 1.1, kBetween = 12;
      plot_width_ = std::max(plot_width_, kBold * text_width(p.network, kPanelTitleSize) +
                                              kBetween + text_width(p.note, kLabelSize));
    }
    const double panel = kAxisWidth + plot_width_ + kGap;
    per_row_ = std::clamp<size_t>(static_cast<size_t>(kWidest / panel), 1, data.panels.size());
    width_ = std::max(2 * kFigureMargin + panel * static_cast<double>(per_row_), 420.0);
    const double rows =
        std::ceil(static_cast<double>(data.panels.size()) / static_cast<double>(per_row_));
    const double top = draw_head(nullptr, width_, data.title, data.conditions, entries_);
    height_ = top + rows * row_height() + kFigureMargin;
  }

  std::string run() {
    Svg svg(width_, height_, data_.title);
    const double top = draw_head(&svg, width_, data_.title, data_.conditions, entries_);
    for (size_t i = 0; i < data_.panels.size(); ++i) {
      const double x = kFigureMargin + kAxisWidth +
                       static_cast<double>(i % per_row_) * (kAxisWidth + plot_width_ + kGap);
      const double y = top + static_cast<double>(i / per_row_) * row_height() + 24;
      draw_panel(svg, data_.panels[i], x, y);
    }
    return svg.document();
  }

 private:
  double row_height() const { return 24 + kDotsHeight + kNames; }

  AxisRange axis_of(const SeedPanel& panel) const {
    AxisRange axis(data_.log_axis ? AxisScale::log : AxisScale::linear);
    for (const SeedColumn& c : panel.columns) {
      for (const double v : c.values) axis.include(v);
      axis.include(c.mean.interval.low);
      axis.include(c.mean.interval.high);
    }
    axis.settle(0.08);
    return axis;
  }

  void draw_panel(Svg& svg, const SeedPanel& panel, double x, double y) const {
    const PlotArea area{x, y, plot_width_, kDotsHeight, axis_of(panel)};
    draw_axis(svg, area, data_.quantity, true);
    svg.text(x, y - 8, panel.network, {.size = kPanelTitleSize, .bold = true});
    svg.text(x + plot_width_, y - 8, panel.note,
             {.size = kLabelSize, .anchor = Anchor::end, .fill = css(kMutedInk)});
    for (size_t c = 0; c < panel.columns.size(); ++c) {
      const double middle = x + kColumnWidth * (static_cast<double>(c) + 0.5);
      draw_column(svg, area, panel.columns[c], middle);
      svg.text(middle, y + kDotsHeight + 16,
               shortened(panel.columns[c].optimizer, kLabelSize, kColumnWidth - 4),
               {.size = kLabelSize, .anchor = Anchor::middle});
    }
  }

  // The dots at the left, mean and interval at the right of the column.
  void draw_column(Svg& svg, const PlotArea& area, const SeedColumn& column, double middle) const {
    const auto entry = std::ranges::find(entries_, column.optimizer, &LegendEntry::name);
    const std::string colour = colour_of(entry->style);
    const auto n = static_cast<double>(column.values.size());
    for (size_t i = 0; i < column.values.size(); ++i) {
      if (!area.axis.drawable(column.values[i])) continue;
      const double share = (static_cast<double>(i) + 0.5) / n;
      draw_marker(svg, entry->style.marker, middle - 30 + 34 * share,
                  area.height_of(column.values[i]), 3.4, colour, 0.75,
                  str(column.runs.empty() ? str("run ", i + 1) : column.runs[i], ": ",
                      readable(column.values[i])));
    }
    if (!area.axis.drawable(column.mean.value)) return;
    const double y = area.height_of(column.mean.value);
    svg.line(middle + 9, y, middle + 29, y, {.stroke = colour, .width = 2.4});
    draw_whisker(svg, area, middle + 19, column.mean.interval, ink_of(entry->style));
  }

  const SeedDots& data_;
  std::vector<LegendEntry> entries_;
  double plot_width_ = 0, width_ = 0, height_ = 0;
  size_t per_row_ = 1;
};

}  // namespace

Figure seed_dots_figure(const SeedDots& data) {
  check(!data.panels.empty(), "seed dots: expects panels, given none");
  Figure figure{.name = data.name, .title = data.title};
  CsvTable csv({"network", "optimizer", "run", "value", "mean", "low", "high"});
  for (const SeedPanel& panel : data.panels) {
    check(!panel.columns.empty(), "seed dots: panel ", panel.network, " has no columns");
    figure.alt += str(figure.alt.empty() ? "" : " ", panel.network, ":");
    for (const SeedColumn& c : panel.columns) {
      check(c.runs.empty() || c.runs.size() == c.values.size(), "seed dots: ", c.optimizer, " has ",
            c.runs.size(), " names for ", c.values.size(), " values");
      for (size_t i = 0; i < c.values.size(); ++i) {
        csv.row({panel.network, c.optimizer, c.runs.empty() ? str("run ", i + 1) : c.runs[i],
                 c.values[i], c.mean.value, c.mean.interval.low, c.mean.interval.high});
        figure.holes += !std::isfinite(c.values[i]) || (data.log_axis && c.values[i] <= 0);
      }
      figure.alt += str(&c == panel.columns.data() ? " " : ", ", c.optimizer, " ", readable(c.mean),
                        " over ", c.values.size(), " runs");
    }
    figure.alt += ".";
  }
  figure.svg = DotsDrawing(data).run();
  figure.csv = csv.text();
  return finish_figure(std::move(figure),
                       str(data.quantity, " of every run, with ",
                           data.log_axis ? "geometric mean" : "mean", " and its interval."),
                       data.conditions);
}

}  // namespace basin
