// Timing and the rows of the bench: see bench.h.
#include <algorithm>
#include <array>
#include <cstdio>
#include <iostream>

#include "basin/core/storage.h"
#include "basin/tools/bench/bench.h"
#include "basin/tools/common/environment.h"

namespace basin::tools {

Timing measure(int repeats, const std::function<void()>& body) {
  constexpr int kWarmUp = 2;
  for (int i = 0; i < kWarmUp; ++i) body();
  const int64_t faults = page_faults();
  const uint64_t mappings = allocator_stats().mappings;
  std::vector<double> times(static_cast<size_t>(repeats));
  for (double& t : times) {
    const double start = seconds_now();
    body();
    t = seconds_now() - start;
  }
  Timing out;
  out.page_faults = static_cast<double>(page_faults() - faults) / repeats;
  out.mappings = static_cast<double>(allocator_stats().mappings - mappings) / repeats;
  std::sort(times.begin(), times.end());
  const size_t middle = times.size() / 2;
  out.median = times.size() % 2 == 1 ? times[middle] : (times[middle - 1] + times[middle]) / 2;
  out.min = times.front();
  out.max = times.back();
  return out;
}

void BenchReport::heading(const std::string& text) {
  std::cout << '\n' << text << '\n';
  std::printf("%-28s %10s %10s %10s %9s %9s %7s %7s %7s\n", "", "median ms", "min ms", "max ms",
              "GF/s", "GF/s red.", "% peak", "% red.", "faults");
  std::fflush(stdout);
}

void BenchReport::note(const std::string& text) { std::cout << text << std::endl; }

void BenchReport::add(const std::string& key, const std::string& label, const Timing& t,
                      const Work& work, double peak) {
  json_.add(key + ".median_ms", 1e3 * t.median)
      .add(key + ".min_ms", 1e3 * t.min)
      .add(key + ".max_ms", 1e3 * t.max)
      .add(key + ".page_faults", t.page_faults)
      .add(key + ".mappings", t.mappings);
  const auto cell = [](double value, int width, int digits) {
    std::array<char, 32> buffer{};
    if (value <= 0) {
      std::snprintf(buffer.data(), buffer.size(), "%*s", width, "-");
    } else {
      std::snprintf(buffer.data(), buffer.size(), "%*.*f", width, digits, value);
    }
    return std::string(buffer.data());
  };
  const double naive = work.naive_flops / t.median;
  const double reduced = work.reduced_flops / t.median;
  if (work.naive_flops > 0) json_.add(key + ".naive_gflops", naive * 1e-9);
  if (work.reduced_flops > 0) json_.add(key + ".reduced_gflops", reduced * 1e-9);
  if (work.bytes > 0) json_.add(key + ".gbytes_per_second", work.bytes / t.median * 1e-9);
  if (peak > 0 && naive > 0) json_.add(key + ".naive_share_of_peak", naive / peak);
  if (peak > 0 && reduced > 0) json_.add(key + ".reduced_share_of_peak", reduced / peak);
  std::printf("%-28s %10.2f %10.2f %10.2f %s %s %s %s %7.1f", label.c_str(), 1e3 * t.median,
              1e3 * t.min, 1e3 * t.max, cell(naive * 1e-9, 9, 1).c_str(),
              cell(reduced * 1e-9, 9, 1).c_str(),
              cell(peak > 0 ? 100 * naive / peak : 0, 7, 1).c_str(),
              cell(peak > 0 ? 100 * reduced / peak : 0, 7, 1).c_str(), t.page_faults);
  if (work.bytes > 0) std::printf("  %.1f GB/s", work.bytes / t.median * 1e-9);
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace basin::tools
