// Case newton_schulz: the orthogonalisation of Muon, five quintic steps, on one matrix and on a
// stack of equal ones; beside it the four steps of minimax4. Naive count of a step of an m x n
// matrix, m <= n: 4 m^2 n + 2 m^3; the reduced one takes symmetric products at half, 3 m^2 n + m^3.
#include <algorithm>
#include <array>
#include <utility>

#include "basin/core/random.h"
#include "basin/optim/newton_schulz.h"
#include "basin/tools/bench/bench.h"

namespace basin::tools {
namespace {

struct Stack {
  int64_t count, rows, cols;
};
constexpr std::array<Stack, 4> kStacks{
    {{32, 64, 64}, {1, 512, 1024}, {1, 1024, 1024}, {8, 512, 512}}};

Tensor stack_of(const Stack& s, Device device) {
  Rng rng(0, stream_id("bench newton schulz"));
  std::vector<float> v(static_cast<size_t>(s.count * s.rows * s.cols));
  for (float& x : v) x = static_cast<float>(rng.normal());
  return Tensor::from(v, {s.count, s.rows, s.cols}, device);
}

}  // namespace

void run_newton_schulz(const BenchOptions& options, BenchReport& report) {
  for (const Place& place : places(options)) {
    const std::string section = str("newton_schulz.", place.key(), ".");
    const double peak = begin_section("Newton-Schulz, f32", section, place, report);
    for (const Stack& s : kStacks) {
      const Tensor m = stack_of(s, options.device);
      const auto p = static_cast<double>(std::min(s.rows, s.cols));
      const auto q = static_cast<double>(std::max(s.rows, s.cols));
      const auto count = static_cast<double>(s.count);
      const std::string shape = str(s.count, "x", s.rows, "x", s.cols);
      const std::pair<std::string, OrthogonaliseConfig> variants[] = {
          {"", {}}, {"minimax4", {.set = "minimax4"}}, {"bf16", {.precision = NsPrecision::bf16}}};
      for (const auto& [name, config] : variants) {
        const double steps = default_steps(config.set);
        const Work work{count * steps * (4 * p * p * q + 2 * p * p * p),
                        count * steps * (3 * p * p * q + p * p * p), 0};
        report.add(section + shape + (name.empty() ? "" : "." + name),
                   shape + (name.empty() ? "" : ", " + name),
                   measure(options, [&] { orthogonalise(m, config); }), work, peak);
      }
    }
  }
}

}  // namespace basin::tools
