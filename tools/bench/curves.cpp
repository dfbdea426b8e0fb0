#include "basin/tools/bench/curves.h"

#include <algorithm>
#include <cmath>

#include "basin/core/error.h"
#include "basin/core/io.h"
#include "basin/core/lines.h"
#include "basin/core/text.h"
#include "basin/figures/line_plot.h"

namespace basin::tools {
namespace {

constexpr std::string_view kVariables[] = {"batch", "points", "k"};

std::string exponent_text(double exponent) { return fixed_text(exponent, 2); }

// The larger half, two values at least.
double exponent_of(const std::vector<double>& x, const std::vector<double>& y) {
  const auto skip = static_cast<std::ptrdiff_t>(x.size() - std::max<size_t>(2, (x.size() + 1) / 2));
  return fitted_exponent({x.begin() + skip, x.end()}, {y.begin() + skip, y.end()});
}

PlotPanel panel_of(const std::string& title, const std::string& variable, const std::string& label,
                   const std::vector<Curve>& curves, bool memory) {
  PlotPanel panel;
  panel.title = title;
  panel.x = {.label = variable, .scale = AxisScale::log};
  panel.y = {.label = label, .scale = AxisScale::log};
  for (size_t i = 0; i < curves.size(); ++i) {
    const Curve& c = curves[i];
    PlotSeries series{.name = str(c.label, ": ", exponent_text(c.time_exponent), ", ",
                                  exponent_text(c.memory_exponent)),
                      .x = c.sizes,
                      .style = series_style(static_cast<int>(i)),
                      .marker_every = 1};
    for (const double y : memory ? c.bytes : c.seconds) {
      series.y.push_back(y * (memory ? 1e-6 : 1e3));
    }
    panel.series.push_back(std::move(series));
  }
  return panel;
}

}  // namespace

Sweep sweep_from(const std::string& text, const std::string& origin) {
  if (text.empty()) return {};
  const size_t sign = text.find('=');
  Sweep out{text.substr(0, sign), {}};
  check(sign != text.npos && std::find(std::begin(kVariables), std::end(kVariables),
                                       out.variable) != std::end(kVariables),
        origin, ": expected batch, points or k, '=' and values, given '", text, "'");
  for (const std::string& word : comma_list(text.substr(sign + 1))) {
    int64_t value = 0;
    check(parse_int64(word, value) && value >= 1 && value <= 1000000 &&
              (out.values.empty() || value > out.values.back()),
          origin, ": expected ascending values of 1 to 1000000, given '", text, "'");
    out.values.push_back(value);
  }
  check(out.values.size() >= 2, origin, ": a sweep has two values or more, given '", text, "'");
  return out;
}

BenchOptions at_value(BenchOptions options, const Sweep& sweep, int64_t value) {
  (sweep.variable == "batch" ? options.batch
   : sweep.variable == "k"   ? options.k
                             : options.points) = value;
  return options;
}

double fitted_exponent(const std::vector<double>& x, const std::vector<double>& y) {
  const auto n = static_cast<double>(x.size());
  double mx = 0, my = 0, xx = 0, xy = 0;
  for (size_t i = 0; i < x.size(); ++i) mx += std::log(x[i]) / n, my += std::log(y[i]) / n;
  for (size_t i = 0; i < x.size(); ++i) {
    const double dx = std::log(x[i]) - mx;
    xx += dx * dx, xy += dx * (std::log(y[i]) - my);
  }
  return xy / xx;
}

std::vector<Curve> curves_of(const Sweep& sweep, const std::vector<std::vector<BenchRow>>& rows) {
  std::vector<Curve> out;
  for (const BenchRow& first : rows.front()) {
    Curve curve{.key = first.key, .label = first.label};
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto same = std::find_if(rows[i].begin(), rows[i].end(),
                                     [&](const BenchRow& r) { return r.key == first.key; });
      if (same == rows[i].end()) break;
      curve.sizes.push_back(static_cast<double>(sweep.values[i]));
      curve.seconds.push_back(same->timing.median);
      curve.bytes.push_back(same->timing.peak_bytes);
    }
    if (curve.sizes.size() < rows.size()) continue;
    curve.time_exponent = exponent_of(curve.sizes, curve.seconds);
    curve.memory_exponent = exponent_of(curve.sizes, curve.bytes);
    out.push_back(std::move(curve));
  }
  return out;
}

Figure curves_figure(const std::string& name, const Sweep& sweep, const std::vector<Curve>& curves,
                     const std::string& command) {
  const std::string title = str(name, " over ", sweep.variable);
  LinePlot plot{.title = title,
                .notes = {"legend: exponent of the time, of the memory, over the larger half"}};
  plot.panels = {panel_of("time", sweep.variable, "median ms", curves, false),
                 panel_of("memory", sweep.variable, "peak MB of the allocator", curves, true)};
  Figure figure{.name = str("bench-", name, "-", sweep.variable),
                .title = title,
                .svg = line_plot_svg(plot),
                .csv = line_plot_csv(plot)};
  figure.alt = str("Median time and peak memory against ", sweep.variable, ".");
  for (const Curve& c : curves) {
    figure.alt += str(" ", c.label, ": time grows with the power ", exponent_text(c.time_exponent),
                      ", memory with ", exponent_text(c.memory_exponent), ".");
  }
  return finish_figure(std::move(figure),
                       str("Time and peak memory over ", sweep.variable,
                           ", on logarithmic axes; the exponents are least squares in the "
                           "logarithms over the larger half of the values."),
                       {.level = 0, .command = command});
}

}  // namespace basin::tools
