// Contour lines by marching squares, and the figure that fills a grid of losses with them.
#include "basin/figures/contour.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "basin/analysis/csv_table.h"
#include "basin/core/error.h"
#include "basin/figures/plot_axis.h"
#include "basin/figures/svg.h"

namespace basin {
namespace {

constexpr double kLeft = 66, kGap = 40, kTop = 74, kBottom = 64, kBar = 92;

// An edge of the grid, between neighbouring points: where a level crosses it.
using Edge = std::pair<int64_t, int64_t>;  // indices of its ends, ascending
struct Segment {
  Edge a, b;
};

Edge edge(int64_t p, int64_t q) { return {std::min(p, q), std::max(p, q)}; }

std::pair<double, double> crossing(const SliceGrid& g, const std::vector<double>& v, const Edge& e,
                                   double level) {
  const double va = v[static_cast<size_t>(e.first)], vb = v[static_cast<size_t>(e.second)];
  const double t = (level - va) / (vb - va);
  const auto at = [&](const SliceAxis& axis, int i, int j) {
    return axis.at(i) + t * (axis.at(j) - axis.at(i));
  };
  return {at(g.x, g.ix(e.first), g.ix(e.second)), at(g.y, g.iy(e.first), g.iy(e.second))};
}

// A point counts as above when its value is >= level, so a level that meets a value is no special
// case.
void add_cell(const SliceGrid& g, const std::vector<double>& v, double level, int ix, int iy,
              std::vector<Segment>& out) {
  const std::array<int64_t, 4> corner{g.index(ix, iy), g.index(ix + 1, iy), g.index(ix + 1, iy + 1),
                                      g.index(ix, iy + 1)};
  double sum = 0;
  int above = 0;
  for (int k = 0; k < 4; ++k) {
    const double value = v[static_cast<size_t>(corner[static_cast<size_t>(k)])];
    if (!std::isfinite(value)) return;
    sum += value;
    if (value >= level) above |= 1 << k;
  }
  std::vector<Edge> cut;  // in order round the cell
  for (size_t k = 0; k < 4; ++k) {
    const size_t next = (k + 1) % 4;
    if ((above >> k & 1) != (above >> next & 1)) cut.push_back(edge(corner[k], corner[next]));
  }
  if (cut.size() == 2) out.push_back({cut[0], cut[1]});
  if (cut.size() != 4) return;
  // A saddle: the mean says whether the two high corners are joined through the middle. Edge k lies
  // between corners k and k + 1; edges 3, 0 enclose corner 0.
  const bool joined = sum / 4 >= level;
  const bool first_high = (above & 1) != 0;
  if (joined == first_high) {  // corners 1 and 3 are cut off
    out.push_back({cut[0], cut[1]});
    out.push_back({cut[2], cut[3]});
  } else {
    out.push_back({cut[3], cut[0]});
    out.push_back({cut[1], cut[2]});
  }
}

// Segments that share an edge, strung together; open curves begin at their ends.
std::vector<std::vector<Edge>> chained(const std::vector<Segment>& segments) {
  std::map<Edge, std::vector<size_t>> at;
  for (size_t i = 0; i < segments.size(); ++i) {
    at[segments[i].a].push_back(i);
    at[segments[i].b].push_back(i);
  }
  std::vector<bool> used(segments.size(), false);
  const auto follow = [&](size_t start, Edge from) {
    std::vector<Edge> chain{from};
    for (size_t i = start; !used[i];) {
      used[i] = true;
      chain.push_back(segments[i].a == chain.back() ? segments[i].b : segments[i].a);
      for (size_t next : at[chain.back()]) {
        if (!used[next]) i = next;
      }
    }
    return chain;
  };
  std::vector<std::vector<Edge>> out;
  for (const bool open : {true, false}) {
    for (size_t i = 0; i < segments.size(); ++i) {
      if (used[i]) continue;
      const Edge from = at[segments[i].a].size() == 1   ? segments[i].a
                        : at[segments[i].b].size() == 1 ? segments[i].b
                                                        : segments[i].a;
      if (open && at[from].size() != 1) continue;
      out.push_back(follow(i, from));
    }
  }
  return out;
}

std::string path_of(const std::vector<ContourLine>& lines, const auto& x, const auto& y) {
  std::string out;
  for (const ContourLine& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) {
      out +=
          str(i == 0 ? "M" : "L", svg_number(x(line[i].first)), " ", svg_number(y(line[i].second)));
    }
  }
  return out;
}

// The quadratic on a grid fine enough for smooth curves.
std::vector<ContourLine> model_lines(const SliceGrid& grid, const LocalQuadratic& model,
                                     double level) {
  SliceGrid fine = grid;
  fine.x.count = fine.y.count = 101;
  std::vector<double> values;
  for (int64_t i = 0; i < fine.size(); ++i) {
    values.push_back(model.at(fine.x.at(fine.ix(i)), fine.y.at(fine.iy(i))));
  }
  return contour_lines(fine, values, level);
}

std::string reason_of(const Slice& slice, int64_t index) {
  const auto found = slice.reasons.find(index);
  return found == slice.reasons.end() ? "no reason given" : found->second;
}

std::string level_text(double level) { return readable(level); }

class Drawing {
 public:
  Drawing(const ContourPlot& plot, std::vector<double> levels)
      : plot_(plot),
        levels_(std::move(levels)),
        subtitle_("Full curves: the measured loss, at the levels on the right."),
        grid_(plot.panels.front().slice.grid),
        panel_(plot.panel),
        svg_(width(), kTop + panel_ + kBottom, plot.title) {
    const auto has_model = [](const ContourPanel& p) { return p.model.has_value(); };
    if (std::any_of(plot.panels.begin(), plot.panels.end(), has_model)) {
      subtitle_ += " Dashed: the local quadratic, at the same levels.";
    }
  }

  std::string draw() {
    svg_.text(kLeft, 24, plot_.title, {.size = 15, .bold = true});
    svg_.text(kLeft, 42, subtitle_, {.size = 11, .fill = "#555555"});
    for (size_t i = 0; i < plot_.panels.size(); ++i) panel(i);
    bar();
    return svg_.document();
  }

 private:
  double width() const {
    const auto n = static_cast<double>(plot_.panels.size());
    const double title = kLeft + text_width(plot_.title, 15) * 1.08 + 16;  // bold is wider
    return std::max({kLeft + n * panel_ + (n - 1) * kGap + kBar, 560.0, title});
  }
  double left(size_t i) const { return kLeft + static_cast<double>(i) * (panel_ + kGap); }

  // Dark is low, as in a basin.
  Rgb colour(double value) const {
    if (levels_.size() < 2) return sequential_colour(0.5);
    const bool logarithmic = log_levels();
    const auto u = [&](double v) { return logarithmic ? std::log(std::max(v, 1e-300)) : v; };
    const double share = (u(value) - u(levels_.front())) / (u(levels_.back()) - u(levels_.front()));
    return sequential_colour(0.85 * (1 - std::clamp(share, 0.0, 1.0)));
  }
  bool log_levels() const { return levels_.front() > 0 && levels_.back() > 10 * levels_.front(); }

  void panel(size_t i) {
    const ContourPanel& p = plot_.panels[i];
    const double x0 = left(i);
    const auto x = [&](double v) {
      return x0 + panel_ * (v - grid_.x.low) / (grid_.x.high - grid_.x.low);
    };
    const auto y = [&](double v) {
      return kTop + panel_ * (grid_.y.high - v) / (grid_.y.high - grid_.y.low);
    };
    svg_.text(x0, kTop - 10, p.title, {.size = 12, .bold = true});
    svg_.begin_clip(x0, kTop, panel_, panel_);
    cells(p.slice, x, y);
    for (double level : levels_) {
      const Paint full{.stroke = css(ink_on(colour(level))), .width = 1};
      const std::string data = path_of(contour_lines(grid_, p.slice.loss, level), x, y);
      if (!data.empty()) svg_.path(data, full, "loss " + level_text(level));
      if (!p.model) continue;
      const Paint dashed{.stroke = "#d55e00", .width = 1.2, .dash = "5 4"};
      const std::string model = path_of(model_lines(grid_, *p.model, level), x, y);
      if (!model.empty()) svg_.path(model, dashed, "quadratic " + level_text(level));
    }
    for (const ContourTrail& t : p.trails) trail(t, x, y);
    marks(p, x, y);
    svg_.end_clip();
    frame(x0, i == 0, x, y);
  }

  void cells(const Slice& slice, const auto& x, const auto& y) {
    const double w = panel_ / (grid_.x.count - 1), h = panel_ / (grid_.y.count - 1);
    for (int64_t i = 0; i < grid_.size(); ++i) {
      const auto k = static_cast<size_t>(i);
      const double cx = x(grid_.x.at(grid_.ix(i))), cy = y(grid_.y.at(grid_.iy(i)));
      Paint paint;
      std::string hint;
      if (slice.state[k] == PointState::done) {
        paint.fill = css(colour(slice.loss[k]));
        hint = "loss " + readable(slice.loss[k]);
      } else {
        if (hatch_.empty()) hatch_ = svg_.hatch({90, 90, 90}, {255, 255, 255});
        paint.fill = hatch_;
        hint = slice.state[k] == PointState::failed ? "failed: " + reason_of(slice, i)
                                                    : "not computed";
      }
      svg_.rect(cx - w / 2 - 0.2, cy - h / 2 - 0.2, w + 0.4, h + 0.4, paint, hint);
    }
  }

  // A dot at every point, larger and hollow at the last.
  void trail(const ContourTrail& t, const auto& x, const auto& y) {
    std::string path;
    for (size_t i = 0; i < t.x.size(); ++i) {
      path += str(i == 0 ? "M" : "L", svg_number(x(t.x[i])), " ", svg_number(y(t.y[i])));
    }
    for (const auto& [ink, width] : {std::pair{"#ffffff", 4.0}, std::pair{"#d55e00", 2.0}}) {
      svg_.path(path, {.stroke = ink, .width = width}, t.name);
    }
    for (size_t i = 0; i < t.x.size(); ++i) {
      const bool last = i + 1 == t.x.size();
      svg_.circle(x(t.x[i]), y(t.y[i]), last ? 5 : 2.6,
                  {.fill = last ? "#ffffff" : "#d55e00", .stroke = last ? "#d55e00" : "#ffffff",
                   .width = last ? 2.0 : 0.8},
                  str(t.name, ", checkpoint ", i + 1));
    }
  }

  // Named points as crosses with their names, else the checkpoint as a plus; the lowest point as a
  // ring.
  void marks(const ContourPanel& p, const auto& x, const auto& y) {
    const bool inside =
        grid_.x.low <= 0 && 0 <= grid_.x.high && grid_.y.low <= 0 && 0 <= grid_.y.high;
    for (const auto& [ink, width] : {std::pair{"#ffffff", 4.0}, std::pair{"#000000", 1.6}}) {
      const Paint paint{.stroke = ink, .width = width};
      if (inside && p.marks.empty() && p.trails.empty()) cross(x(0), y(0), paint);
      for (const ContourMark& m : p.marks) cross(x(m.x), y(m.y), paint);
      if (const int64_t low = p.slice.lowest(); low >= 0) {
        svg_.circle(x(grid_.x.at(grid_.ix(low))), y(grid_.y.at(grid_.iy(low))), 5, paint,
                    "the lowest point");
      }
    }
    for (const ContourMark& m : p.marks) name_mark(m, x(m.x), y(m.y));
  }

  void cross(double cx, double cy, const Paint& paint) {
    svg_.line(cx - 6, cy, cx + 6, cy, paint);
    svg_.line(cx, cy - 6, cx, cy + 6, paint);
  }

  // On white, so that it reads on any colour.
  void name_mark(const ContourMark& m, double cx, double cy) {
    const double w = text_width(m.name, 12) * 1.08 + 8;
    svg_.rect(cx + 8, cy - 20, w, 17, {.fill = "#ffffff", .stroke = "#000000", .width = 0.8});
    svg_.text(cx + 12, cy - 7, m.name, {.size = 12, .bold = true});
  }

  void frame(double x0, bool labels, const auto& x, const auto& y) {
    const Paint line{.stroke = "#444444", .width = 1};
    svg_.rect(x0, kTop, panel_, panel_, line);
    for (const Tick& t : linear_ticks(grid_.x.low, grid_.x.high)) {
      svg_.line(x(t.at), kTop + panel_, x(t.at), kTop + panel_ + 5, line);
      svg_.text(x(t.at), kTop + panel_ + 19, t.label, {.size = 11, .anchor = Anchor::middle});
    }
    svg_.text(x0 + panel_ / 2, kTop + panel_ + 40, grid_.x.label,
              {.size = 12, .anchor = Anchor::middle});
    for (const Tick& t : linear_ticks(grid_.y.low, grid_.y.high)) {
      svg_.line(x0 - 5, y(t.at), x0, y(t.at), line);
      if (labels) svg_.text(x0 - 8, y(t.at) + 4, t.label, {.size = 11, .anchor = Anchor::end});
    }
    if (labels) {
      svg_.text(18, kTop + panel_ / 2, grid_.y.label,
                {.size = 12, .anchor = Anchor::middle, .turn = -90});
    }
  }

  // Every level with its colour.
  void bar() {
    const double x0 = left(plot_.panels.size() - 1) + panel_ + 18;
    svg_.text(x0, kTop - 10, "loss", {.size = 12});
    const double h =
        std::min(panel_ / std::max<double>(1, static_cast<double>(levels_.size())), 24.0);
    for (size_t i = 0; i < levels_.size(); ++i) {
      const double y = kTop + h * static_cast<double>(levels_.size() - 1 - i);
      svg_.rect(x0, y, 16, h, {.fill = css(colour(levels_[i])), .stroke = "#1b1b1b", .width = 0.6});
      svg_.text(x0 + 22, y + h / 2 + 4, level_text(levels_[i]), {.size = 11});
    }
  }

  const ContourPlot& plot_;
  std::vector<double> levels_;
  std::string subtitle_;
  SliceGrid grid_;
  double panel_;
  Svg svg_;
  std::string hatch_;
};

// "2 points failed, 1 was not computed"
std::string holes_in_words(int64_t failed, int64_t missing) {
  std::string out;
  if (failed > 0) out = str(failed, failed == 1 ? " point failed" : " points failed");
  if (missing > 0) {
    out += str(failed > 0 ? ", " : "", missing,
               failed > 0     ? ""
               : missing == 1 ? " point"
                              : " points",
               missing == 1 ? " was not computed" : " were not computed");
  }
  return out;
}

std::string panel_in_words(const ContourPanel& p) {
  const int64_t low = p.slice.lowest();
  std::string out = p.title + ": no loss";
  if (low >= 0) {
    const double lowest = p.slice.loss[static_cast<size_t>(low)];
    double highest = lowest;
    for (double v : p.slice.loss) highest = std::isfinite(v) ? std::max(highest, v) : highest;
    out = str(p.title, ": loss from ", readable(lowest), " to ", readable(highest));
  }
  const std::string holes =
      holes_in_words(p.slice.count(PointState::failed), p.slice.count(PointState::missing));
  return out + (holes.empty() ? "" : "; ") + holes + ".";
}

std::string csv_of(const ContourPlot& plot) {
  CsvTable out({"panel", "x", "y", "loss", plot.panels.front().slice.metric_name(), "state",
                "quadratic"});
  for (const ContourPanel& p : plot.panels) {
    const SliceGrid& g = p.slice.grid;
    for (int64_t i = 0; i < g.size(); ++i) {
      const auto k = static_cast<size_t>(i);
      const double x = g.x.at(g.ix(i)), y = g.y.at(g.iy(i));
      const PointState state = p.slice.state[k];
      out.row({p.title, x, y, p.slice.loss[k], p.slice.metric[k],
               state == PointState::done     ? "done"
               : state == PointState::failed ? "failed: " + reason_of(p.slice, i)
                                             : std::string("missing"),
               p.model ? p.model->at(x, y) : std::nan("")});
    }
  }
  // Points of the plane that the picture names: no loss of the grid belongs to them.
  for (const ContourPanel& p : plot.panels) {
    for (const ContourMark& m : p.marks) out.row({p.title, m.x, m.y, "", "", m.name, ""});
    for (const ContourTrail& t : p.trails) {
      for (size_t i = 0; i < t.x.size(); ++i) {
        out.row({p.title, t.x[i], t.y[i], "", "", str(t.name, ", checkpoint ", i + 1), ""});
      }
    }
  }
  return out.text();
}

}  // namespace

std::vector<ContourLine> contour_lines(const SliceGrid& grid, const std::vector<double>& values,
                                       double level) {
  check(grid.x.count >= 2 && grid.y.count >= 2,
        "contour_lines: expects at least 2 x 2 points, given ", grid.x.count, " x ", grid.y.count);
  check(static_cast<int64_t>(values.size()) == grid.size(), "contour_lines: expects ", grid.size(),
        " values, given ", values.size());
  std::vector<Segment> segments;
  for (int iy = 0; iy + 1 < grid.y.count; ++iy) {
    for (int ix = 0; ix + 1 < grid.x.count; ++ix) add_cell(grid, values, level, ix, iy, segments);
  }
  std::vector<ContourLine> out;
  for (const std::vector<Edge>& chain : chained(segments)) {
    ContourLine line;
    for (const Edge& e : chain) line.push_back(crossing(grid, values, e, level));
    out.push_back(std::move(line));
  }
  return out;
}

std::vector<double> contour_levels(const std::vector<const std::vector<double>*>& values,
                                   int count) {
  double low = INFINITY, high = -INFINITY;
  for (const auto* list : values) {
    for (double v : *list) {
      if (!std::isfinite(v)) continue;
      low = std::min(low, v);
      high = std::max(high, v);
    }
  }
  std::vector<double> out;
  if (!(low < high)) return out;
  const bool logarithmic = low > 0 && high > 10 * low;
  for (int i = 0; i < count; ++i) {
    const double t = (i + 0.5) / count;
    out.push_back(logarithmic ? low * std::pow(high / low, t) : low + t * (high - low));
  }
  return out;
}

Figure contour_figure(const ContourPlot& plot) {
  check(!plot.panels.empty(), "contour figure: expects panels, given none");
  std::vector<const std::vector<double>*> values;
  Figure out;
  for (const ContourPanel& p : plot.panels) {
    check(p.slice.grid == plot.panels.front().slice.grid, "contour figure: panel '", p.title,
          "' has another grid than the first");
    check(p.slice.grid.y.count > 1, "contour figure: expects slices along two directions");
    values.push_back(&p.slice.loss);
  }
  std::vector<double> levels = plot.levels.empty() ? contour_levels(values) : plot.levels;
  std::sort(levels.begin(), levels.end());
  out.name = plot.name;
  out.title = plot.title;
  out.svg = Drawing(plot, std::move(levels)).draw();
  out.csv = csv_of(plot);
  int64_t failed = 0, missing = 0;
  for (const ContourPanel& p : plot.panels) {
    out.alt += (out.alt.empty() ? "" : " ") + panel_in_words(p);
    failed += p.slice.count(PointState::failed);
    missing += p.slice.count(PointState::missing);
  }
  std::string what =
      plot.caption.empty()
          ? "Loss on a plane through the weights; plus: the checkpoint, ring: the lowest point. All "
            "panels share axes and levels."
          : plot.caption;
  if (failed + missing > 0) what += " Hatched: " + holes_in_words(failed, missing) + ".";
  Figure finished = finish_figure(std::move(out), what, plot.conditions);
  finished.holes = failed + missing;  // the caption has told them apart already
  return finished;
}

}  // namespace basin
