// The figures of ranks per layer, of weights and of representations: one layout for both, with the
// names of layers cut to what tells them apart.
#include <algorithm>
#include <cmath>

#include "basin/analysis/csv_table.h"
#include "basin/core/error.h"
#include "basin/figures/detail/figure_drawing.h"
#include "basin/figures/spectrum_figures.h"

namespace basin {
namespace {

constexpr double kHeight = 170, kAxisRoom = 58, kPanelGap = 34, kWidth = 760, kSlotLeast = 22,
                 kSlotMost = 74, kNameRoom = 170;
constexpr double kSlope = 0.7072;  // of names that are turned by 45 degrees

// The parts between dots that all names begin or end with say nothing: of "net.conv1.weight" and
// "net.conv2.weight" stay "conv1" and "conv2", and `pattern` is "net.*.weight"; empty when nothing
// is left out.
struct ShortNames {
  std::vector<std::string> names;
  std::string pattern;
};

ShortNames short_names(const std::vector<std::string>& names) {
  std::vector<std::vector<std::string>> parts;
  for (const std::string& name : names) {
    std::vector<std::string> own;
    for (size_t at = 0; at <= name.size();) {
      const size_t dot = std::min(name.find('.', at), name.size());
      own.push_back(name.substr(at, dot - at));
      at = dot + 1;
    }
    parts.push_back(own);
  }
  const std::vector<std::string>& first = parts.front();
  size_t head = first.size(), tail = head, fewest = head;
  for (const auto& own : parts) {
    fewest = std::min(fewest, own.size());
    head = std::min<size_t>(
        head,
        std::mismatch(first.begin(), first.end(), own.begin(), own.end()).first - first.begin());
    tail = std::min<size_t>(
        tail, std::mismatch(first.rbegin(), first.rend(), own.rbegin(), own.rend()).first -
                  first.rbegin());
  }
  if (names.size() < 2 || fewest < 2 || head + tail == 0) return {names, ""};
  head = std::min(head, fewest - 1);
  tail = std::min(tail, fewest - 1 - head);
  ShortNames out;
  for (const auto& own : parts) {
    out.names.push_back(joined(std::span(own).subspan(head, own.size() - head - tail), "."));
  }
  const std::span all(first);
  out.pattern = str(joined(all.first(head), "."), head > 0 ? "." : "", "*", tail > 0 ? "." : "",
                    joined(all.last(tail), "."));
  return out;
}

class Drawing {
 public:
  explicit Drawing(const LayerRanks& data) : data_(data) {
    const ShortNames shorter = short_names(data.layers);
    names_ = shorter.names;
    axis_label_ = "layer, from input to output";
    if (!shorter.pattern.empty()) axis_label_ += str(" (", shorter.pattern, ")");
    std::vector<double> seen;
    for (const LayerPanel& panel : data.panels) {
      for (const LayerSeries& s : panel.series) {
        collect(s, seen);
        auto& list = s.reference ? references_ : optimizers_;
        if (std::find(list.begin(), list.end(), s.optimizer) == list.end()) {
          list.push_back(s.optimizer);
        }
      }
    }
    styles_ = series_styles(optimizers_);
    axis_ = axis_around(seen, data.log_axis ? AxisScale::log : AxisScale::linear);
    const auto layers = static_cast<double>(names_.size());
    slot_ = std::clamp(kWidth / layers, kSlotLeast, kSlotMost);
    double longest = 0;
    for (const std::string& n : names_) longest = std::max(longest, text_width(n, kLabelSize));
    below_ = 14 + kSlope * std::min(longest, kNameRoom) + 20;
    // The first name reaches to the left of its slot.
    left_ = std::max(kFigureMargin + kAxisRoom,
                     kFigureMargin + kSlope * text_width(names_.front(), kLabelSize) - slot_ / 2);
    width_ = std::max(420.0, left_ + slot_ * layers + kFigureMargin);
    top_ = draw_head(nullptr, width_, data.title, data.conditions, legend());
    height_ = top_ + static_cast<double>(data.panels.size()) * (24 + kHeight + kPanelGap) -
              kPanelGap + below_ + kFigureMargin;
  }

  std::string svg() const {
    Svg out(width_, height_, data_.title);
    draw_head(&out, width_, data_.title, data_.conditions, legend());
    for (size_t p = 0; p < data_.panels.size(); ++p) draw_panel(out, p);
    const double base = top_ +
                        static_cast<double>(data_.panels.size()) * (24 + kHeight + kPanelGap) -
                        kPanelGap + 14;
    for (size_t l = 0; l < names_.size(); ++l) {
      out.text(middle(l) + 4, base, shortened(names_[l], kLabelSize, kNameRoom),
               {.size = kLabelSize, .anchor = Anchor::end, .turn = -45});
    }
    out.text(left_ + slot_ * static_cast<double>(names_.size()) / 2, height_ - kFigureMargin + 4,
             axis_label_, {.size = kLabelSize, .anchor = Anchor::middle});
    return out.document();
  }

 private:
  static void collect(const LayerSeries& s, std::vector<double>& seen) {
    for (const Estimate& e : s.values) {
      seen.insert(seen.end(), {e.value, e.interval.low, e.interval.high});
    }
    for (const auto& layer : s.runs) seen.insert(seen.end(), layer.begin(), layer.end());
  }

  double middle(size_t layer) const { return left_ + slot_ * (static_cast<double>(layer) + 0.5); }

  SeriesStyle style_of(const LayerSeries& s) const {
    if (s.reference) return reference_style();
    const auto at = std::find(optimizers_.begin(), optimizers_.end(), s.optimizer);
    return styles_[static_cast<size_t>(at - optimizers_.begin())];
  }

  std::vector<LegendEntry> legend() const {
    std::vector<LegendEntry> out;
    for (size_t o = 0; o < optimizers_.size(); ++o) out.push_back({optimizers_[o], styles_[o]});
    for (const std::string& r : references_) out.push_back({r, reference_style()});
    return out;
  }

  void draw_panel(Svg& svg, size_t index) const {
    const LayerPanel& panel = data_.panels[index];
    const double y = top_ + static_cast<double>(index) * (24 + kHeight + kPanelGap);
    const PlotArea area{left_, y + 24, slot_ * static_cast<double>(names_.size()), kHeight, axis_};
    svg.text(left_, y + 14, panel.title, {.size = kPanelTitleSize, .bold = true});
    draw_axis(svg, area, data_.axis, true);
    // Neighbours within a layer stand apart, so that their whiskers do not cover each other.
    const auto n = static_cast<double>(panel.series.size());
    const double apart = std::min(7.0, 0.6 * slot_ / n);
    for (const bool reference : {true, false}) {
      for (size_t s = 0; s < panel.series.size(); ++s) {
        if (panel.series[s].reference != reference) continue;
        draw_series(svg, area, panel.series[s], apart * (static_cast<double>(s) - (n - 1) / 2));
      }
    }
  }

  void draw_series(Svg& svg, const PlotArea& area, const LayerSeries& series, double shift) const {
    const SeriesStyle style = style_of(series);
    const Rgb colour = ink_of(style);
    const Paint line{"none", css(colour), series.reference ? 1.2 : 1.6, 1, dash_of(style)};
    const auto drawable = [&](double v) { return std::isfinite(v) && holds(area.axis, v); };
    std::vector<std::pair<double, double>> run;
    const auto flush = [&] {
      if (run.size() > 1) svg.polyline(run, line);
      run.clear();
    };
    for (size_t l = 0; l < series.values.size(); ++l) {
      const double v = series.values[l].value;
      if (!drawable(v)) {
        flush();
      } else {
        run.emplace_back(middle(l) + shift, area.height_of(v));
      }
    }
    flush();
    for (size_t l = 0; l < series.values.size(); ++l) {
      const Estimate& e = series.values[l];
      const double x = middle(l) + shift;
      if (l < series.runs.size()) {
        for (const double v : series.runs[l]) {
          if (!drawable(v)) continue;
          svg.circle(x, area.height_of(v), kDotRadius, {.fill = css(colour), .opacity = 0.45});
        }
      }
      if (!drawable(e.value)) continue;
      draw_whisker(svg, area, x, e.interval, colour);
      draw_marker(svg, style.marker, x, area.height_of(e.value), series.reference ? 2.8 : 3.6,
                  css(colour), 1, str(data_.layers[l], ", ", series.optimizer, ": ", readable(e)));
    }
  }

  const LayerRanks& data_;
  std::vector<std::string> names_, optimizers_, references_;
  std::string axis_label_;
  std::vector<SeriesStyle> styles_;
  AxisRange axis_;
  double slot_ = 0, below_ = 0, left_ = 0, width_ = 0, height_ = 0, top_ = 0;
};

void check_ranks(const LayerRanks& data, const char* what) {
  check(!data.layers.empty() && !data.panels.empty(), what,
        ": expects at least one layer and one panel, given ", data.layers.size(), " and ",
        data.panels.size());
  for (const LayerPanel& panel : data.panels) {
    check(!panel.series.empty(), what, ": panel ", panel.title, " has no series");
    for (const LayerSeries& s : panel.series) {
      check(s.values.size() == data.layers.size(), what, ": panel ", panel.title, ", ", s.optimizer,
            " has ", s.values.size(), " values for ", data.layers.size(), " layers");
      check(s.runs.empty() || s.runs.size() == data.layers.size(), what, ": panel ", panel.title,
            ", ", s.optimizer, " has runs for ", s.runs.size(), " of ", data.layers.size(),
            " layers");
    }
  }
}

std::string ranks_csv(const LayerRanks& data) {
  CsvTable csv({"panel", "series", "depth", "layer", "kind", "value", "low", "high", "level",
                "samples", "reason"});
  for (const LayerPanel& panel : data.panels) {
    for (const LayerSeries& s : panel.series) {
      for (size_t l = 0; l < data.layers.size(); ++l) {
        const Estimate& e = s.values[l];
        const auto depth = static_cast<int64_t>(l);
        csv.row({panel.title, s.optimizer, depth, data.layers[l],
                 s.reference ? "reference" : "value", e.value, e.interval.low, e.interval.high,
                 e.interval.level, e.samples, ""});
        if (s.runs.empty()) continue;
        for (const double v : s.runs[l]) {
          csv.row({panel.title, s.optimizer, depth, data.layers[l], "run", v, "", "", "", "", ""});
        }
      }
    }
  }
  for (const SkippedLayer& s : data.skipped) {
    csv.row({"", "", "", s.layer, "skipped", "", "", "", "", "", s.reason});
  }
  return csv.text();
}

std::string ranks_alt(const LayerRanks& data) {
  std::string out = str("Lines over ", data.layers.size(), " layers, from ", data.layers.front(),
                        " to ", data.layers.back(), ".");
  for (const LayerPanel& panel : data.panels) {
    out += str(" ", panel.title, ": ");
    for (size_t i = 0; i < panel.series.size(); ++i) {
      const LayerSeries& s = panel.series[i];
      size_t least = s.values.size(), most = least;
      double sum = 0;
      int64_t count = 0;
      for (size_t l = 0; l < s.values.size(); ++l) {
        const double v = s.values[l].value;
        if (!std::isfinite(v)) continue;
        if (least == s.values.size() || v < s.values[least].value) least = l;
        if (most == s.values.size() || v > s.values[most].value) most = l;
        sum += v, ++count;
      }
      out += i == 0 ? "" : "; ";
      if (count == 0) {
        out += s.optimizer + " has no value";
        continue;
      }
      out += str(s.optimizer, " mean ", readable(sum / static_cast<double>(count)), ", from ",
                 readable(s.values[least].value), " at ", data.layers[least], " to ",
                 readable(s.values[most].value), " at ", data.layers[most]);
    }
    out += ".";
  }
  return out;
}

int64_t count_holes(const LayerRanks& data) {
  int64_t holes = 0;
  for (const LayerPanel& panel : data.panels) {
    for (const LayerSeries& s : panel.series) {
      holes += std::count_if(s.values.begin(), s.values.end(),
                             [](const Estimate& e) { return !std::isfinite(e.value); });
    }
  }
  return holes;
}

std::string counted(int64_t n, const std::string& one, const std::string& many) {
  return str(n, " ", n == 1 ? one : many);
}

// " Skipped: 36 vectors (18 biases, 18 gains); a.weight (one row)."
std::string skipped_words(const std::vector<SkippedLayer>& skipped) {
  constexpr size_t kNamed = 4;
  int64_t biases = 0, gains = 0;
  std::vector<std::string> parts;
  for (const SkippedLayer& s : skipped) {
    biases += s.role == "bias";
    gains += s.role == "gain";
    if (s.role != "bias" && s.role != "gain") parts.push_back(str(s.layer, " (", s.reason, ")"));
  }
  if (parts.size() > kNamed) {
    const size_t more = parts.size() - kNamed;
    parts.resize(kNamed);
    parts.push_back(str(more, " more, in the CSV"));
  }
  if (biases + gains > 0) {
    std::vector<std::string> kinds;
    if (biases > 0) kinds.push_back(counted(biases, "bias", "biases"));
    if (gains > 0) kinds.push_back(counted(gains, "gain", "gains"));
    parts.insert(parts.begin(),
                 str(counted(biases + gains, "vector", "vectors"), " (", joined(kinds), ")"));
  }
  return parts.empty() ? "" : " Skipped: " + joined(parts, "; ") + ".";
}

Figure ranks_figure(const LayerRanks& data, const char* what, std::string name) {
  check_ranks(data, what);
  Figure figure{.name = std::move(name), .title = data.title, .svg = Drawing(data).svg()};
  figure.csv = ranks_csv(data);
  figure.alt = ranks_alt(data);
  figure.holes = count_holes(data);
  const auto any = [&](auto predicate) {
    return std::any_of(data.panels.begin(), data.panels.end(), [&](const LayerPanel& p) {
      return std::any_of(p.series.begin(), p.series.end(), predicate);
    });
  };
  std::string words = str("For each layer, in order of depth: ", data.axis);
  if (any([](const LayerSeries& s) {
        return std::any_of(s.values.begin(), s.values.end(),
                           [](const Estimate& e) { return e.interval.low < e.interval.high; });
      })) {
    words += "; whiskers: intervals";
  }
  if (any([](const LayerSeries& s) { return !s.runs.empty(); })) words += "; dots: single runs";
  if (any([](const LayerSeries& s) { return s.reference; })) words += "; grey: for reference";
  words += ".";
  words += skipped_words(data.skipped);
  return finish_figure(std::move(figure), words, data.conditions);
}

}  // namespace

Figure weight_rank_figure(const LayerRanks& data) {
  return ranks_figure(data, "weight ranks", "weight_rank");
}

Figure representation_rank_figure(const LayerRanks& data) {
  return ranks_figure(data, "representation ranks", "representation_rank");
}

}  // namespace basin
