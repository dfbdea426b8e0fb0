// bench CASE... --sweep points=128,256,512: the cases over several sizes, with curves of time and
// peak memory and their exponents.
#pragma once
#include <string>
#include <vector>

#include "basin/figures/figure.h"
#include "basin/tools/bench/bench.h"

namespace basin::tools {

struct Sweep {
  std::string variable;         // "batch", "points" or "k"; empty: none
  std::vector<int64_t> values;  // ascending, two or more
};
// From NAME=V,V,..; an empty text is no sweep. usage error naming `origin`.
Sweep sweep_from(const std::string& text, const std::string& origin);
// The options with the variable at one of its values.
BenchOptions at_value(BenchOptions options, const Sweep& sweep, int64_t value);

// y = c x^exponent, by least squares in the logarithms.
double fitted_exponent(const std::vector<double>& x, const std::vector<double>& y);

// One measurement over the values of a sweep.
struct Curve {
  std::string key, label;
  std::vector<double> sizes = {};
  std::vector<double> seconds = {};  // medians
  std::vector<double> bytes = {};    // peak of the allocator
  double time_exponent = 0, memory_exponent = 0;
};
// What all of `rows`, those of one value each, have measured. Exponents are those of the larger
// half of the values (two at least), where fixed costs weigh least.
std::vector<Curve> curves_of(const Sweep& sweep, const std::vector<std::vector<BenchRow>>& rows);

// The figure "bench-CASE-VARIABLE": time and peak memory on logarithmic axes, a panel each; in the
// legend the exponents.
Figure curves_figure(const std::string& name, const Sweep& sweep, const std::vector<Curve>& curves,
                     const std::string& command);

}  // namespace basin::tools
