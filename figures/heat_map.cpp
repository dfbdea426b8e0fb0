// Measures the heat map's labels, places its cells row by row and draws them with the colour bar.
#include "basin/figures/heat_map.h"

#include <algorithm>
#include <cmath>

#include "basin/core/error.h"
#include "basin/core/text.h"
#include "basin/figures/svg.h"

namespace basin {
namespace {

constexpr double kCellWidth = 58, kCellHeight = 26, kGap = 10, kMargin = 18;
constexpr double kLabel = 12, kSmall = 11, kTitle = 15;
constexpr Rgb kRule{90, 90, 90}, kMuted{110, 110, 110}, kHatchLine{205, 205, 205},
    kHatchGround{244, 244, 244};

class Drawing {
 public:
  explicit Drawing(const HeatMap& map) : map_(map), svg_(measure()) {
    hatch_ = svg_.hatch(kHatchLine, kHatchGround);
  }

  std::string run() {
    head();
    std::string group;
    double y = top_;
    for (size_t i = 0; i < map_.rows.size(); ++i) {
      const HeatMapRow& row = map_.rows[i];
      if (i == 0 || row.group != group) {
        if (i > 0) y += kGap;
        if (i > 0) svg_.line(kMargin, y - kGap / 2, right(), y - kGap / 2, rule(0.75));
        group_label(i, y);
        group = row.group;
      }
      draw_row(row, y);
      y += kCellHeight;
    }
    svg_.text(left_ + cells_width() / 2, y + 24, map_.column_axis, {kLabel, Anchor::middle});
    colour_bar(y);
    return svg_.document();
  }

 private:
  static Paint rule(double width) { return {"none", css(kRule), width}; }

  // Positions of everything; the size of the picture follows from the labels.
  Svg measure() {
    double labels = 0, groups = 0;
    size_t blocks = 0;
    for (size_t i = 0; i < map_.rows.size(); ++i) {
      labels = std::max(labels, text_width(map_.rows[i].label, kLabel));
      if (i > 0 && map_.rows[i].group == map_.rows[i - 1].group) continue;
      ++blocks;
      if (!map_.rows[i].group.empty()) groups = 20;
    }
    left_ = kMargin + 18 + groups + labels + 10;
    const auto notes = static_cast<double>(map_.notes.size());
    for (const std::string& column : map_.columns) {
      tallest_ = std::max(tallest_, text_width(column, kLabel));
    }
    upright_ = tallest_ > kCellWidth - 4;
    top_ = kMargin + kTitle + 8 + 15 * notes + (upright_ ? tallest_ + 24 : 36);
    const double gaps = kGap * static_cast<double>(blocks > 0 ? blocks - 1 : 0);
    bottom_ = top_ + kCellHeight * static_cast<double>(map_.rows.size()) + gaps;
    double widest = text_width(map_.title, kTitle);
    for (const std::string& note : map_.notes) widest = std::max(widest, text_width(note, kSmall));
    const double width = std::max(right() + 96, kMargin + widest + kMargin);
    return {width, bottom_ + 42, map_.title};
  }

  double cell_x(size_t c) const {
    const bool apart = c + static_cast<size_t>(map_.separated_columns) >= map_.columns.size();
    return left_ + kCellWidth * static_cast<double>(c) + (apart ? kGap : 0);
  }
  double right() const { return cell_x(map_.columns.size() - 1) + kCellWidth; }
  double cells_width() const {
    return kCellWidth *
           static_cast<double>(map_.columns.size() - static_cast<size_t>(map_.separated_columns));
  }

  void head() {
    svg_.text(kMargin, kMargin + kTitle, map_.title, {.size = kTitle, .bold = true});
    double y = kMargin + kTitle + 20;
    for (const std::string& note : map_.notes) {
      svg_.text(kMargin, y, note, {.size = kSmall, .fill = css(kMuted)});
      y += 15;
    }
    for (size_t c = 0; c < map_.columns.size(); ++c) {
      const double x = cell_x(c) + kCellWidth / 2;
      if (upright_) {
        svg_.text(x + 4, top_ - 8, map_.columns[c], {.size = kLabel, .turn = -90});
      } else {
        svg_.text(x, top_ - 8, map_.columns[c], {kLabel, Anchor::middle});
      }
    }
    svg_.text(kMargin + 10, (top_ + bottom_) / 2, map_.row_axis,
              {.size = kLabel, .anchor = Anchor::middle, .turn = -90});
  }

  void group_label(size_t first, double y) {
    size_t n = 0;
    while (first + n < map_.rows.size() && map_.rows[first + n].group == map_.rows[first].group) {
      ++n;
    }
    svg_.text(kMargin + 30, y + kCellHeight * static_cast<double>(n) / 2, map_.rows[first].group,
              {.size = kSmall, .anchor = Anchor::middle, .fill = css(kMuted), .turn = -90});
  }

  void draw_row(const HeatMapRow& row, double y) {
    svg_.text(left_ - 10, y + kCellHeight / 2 + 4, row.label, {kLabel, Anchor::end});
    if (!row.reason.empty()) {
      svg_.rect(left_, y, right() - left_, kCellHeight, {hatch_, "#ffffff"},
                str(row.label, ": ", row.reason));
      const double size = std::min(kSmall, (right() - left_ - 12) / text_width(row.reason, 1));
      svg_.text((left_ + right()) / 2, y + kCellHeight / 2 + 4, row.reason,
                {.size = size, .anchor = Anchor::middle, .fill = "#555555"});
      return;
    }
    check(row.values.size() == map_.columns.size(), "heat map: row ", row.label, " has ",
          row.values.size(), " values for ", map_.columns.size(), " columns and gives no reason");
    for (size_t c = 0; c < row.values.size(); ++c) draw_cell(row, c, y);
  }

  Rgb colour_at(double share) const {
    return map_.diverging ? diverging_colour(share) : sequential_colour(share);
  }

  void draw_cell(const HeatMapRow& row, size_t c, double y) {
    const double value = row.values[c];
    const std::string where = str(row.label, ", ", map_.column_axis, " ", map_.columns[c], ": ");
    if (std::isnan(value)) {
      svg_.rect(cell_x(c), y, kCellWidth, kCellHeight, {hatch_, "#ffffff"}, where + "no value");
      return;
    }
    const Rgb colour = colour_at((value - map_.low) / (map_.high - map_.low));
    const bool nought = std::abs(value) < 0.5 * std::pow(10.0, -map_.decimals);  // not "-0.00"
    const std::string text = fixed_text(nought ? 0 : value, map_.decimals);
    svg_.rect(cell_x(c), y, kCellWidth, kCellHeight, {css(colour), "#ffffff"}, where + text);
    svg_.text(cell_x(c) + kCellWidth / 2, y + kCellHeight / 2 + 4, text,
              {.size = kLabel, .anchor = Anchor::middle, .fill = css(ink_on(colour))});
  }

  void colour_bar(double bottom) {
    constexpr int kSteps = 64;
    constexpr double kWidth = 14;
    const double x = right() + 24, height = std::min(bottom - top_, 260.0);
    const double y = top_ + (bottom - top_ - height) / 2, step = height / kSteps;
    for (int i = 0; i < kSteps; ++i) {
      const Rgb colour = colour_at((kSteps - 1 - i) / (kSteps - 1.0));
      svg_.line(x + kWidth / 2, y + step * i, x + kWidth / 2, y + step * (i + 1) + 0.3,
                {"none", css(colour), kWidth});
    }
    svg_.polyline({{x, y}, {x + kWidth, y}, {x + kWidth, y + height}, {x, y + height}, {x, y}},
                  {"none", css(kMuted), 0.75});
    for (int i = 0; i <= 4; ++i) {
      const double value = map_.high + (map_.low - map_.high) * i / 4;
      const double at = y + height * i / 4;
      svg_.line(x + kWidth, at, x + kWidth + 3, at, {"none", css(kMuted), 0.75});
      svg_.text(x + kWidth + 6, at + 4, fixed_text(value, value == std::round(value) ? 0 : 1),
                {.size = kSmall});
    }
    svg_.text(x + kWidth + 44, y + height / 2, map_.value_axis,
              {.size = kSmall, .anchor = Anchor::middle, .turn = -90});
  }

  const HeatMap& map_;
  double left_ = 0, top_ = 0, bottom_ = 0, tallest_ = 0;
  bool upright_ = false;  // labels of columns wider than a cell stand on end
  Svg svg_;
  std::string hatch_;
};

}  // namespace

std::string heat_map_svg(const HeatMap& map) {
  check(!map.columns.empty() && !map.rows.empty(), "heat map: expects rows and columns");
  check(map.low < map.high, "heat map: expects low < high, given ", map.low, " and ", map.high);
  check(
      map.separated_columns >= 0 && static_cast<size_t>(map.separated_columns) < map.columns.size(),
      "heat map: more separated columns than there are");
  return Drawing(map).run();
}

}  // namespace basin
