// Repeats and times a body on each place that was asked for, and prints and keeps the rows.
#include <algorithm>
#include <cmath>
#include <ctime>
#include <iostream>

#include "basin/autograd/ops.h"
#include "basin/core/error.h"
#include "basin/core/parallel.h"
#include "basin/core/storage.h"
#include "basin/tools/bench/bench.h"
#include "basin/tools/shell/environment.h"

namespace basin::tools {

namespace {

struct Samples {
  std::vector<double> seconds;
  std::vector<double> cpu;
  int64_t page_faults = 0;
  uint64_t mappings = 0;
  size_t peak_bytes = 0;
};

// Of all threads of this process.
double cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

void call_once(Device device, const std::function<void()>& body, Samples& samples) {
  reset_peak_bytes(device);
  const int64_t faults = page_faults();
  const uint64_t mappings = allocator_stats(device).mappings;
  synchronize(device);
  const double cpu = cpu_seconds();
  const double start = seconds_now();
  body();
  synchronize(device);
  samples.seconds.push_back(seconds_now() - start);
  samples.cpu.push_back(cpu_seconds() - cpu);
  samples.page_faults += page_faults() - faults;
  const AllocatorStats stats = allocator_stats(device);
  samples.mappings += stats.mappings - mappings;
  samples.peak_bytes = std::max(samples.peak_bytes, stats.peak_bytes);
}

double median_of(std::vector<double>& values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

Timing summary(Samples samples) {
  std::vector<double>& times = samples.seconds;
  const auto calls = static_cast<double>(times.size());
  Timing out;
  out.page_faults = static_cast<double>(samples.page_faults) / calls;
  out.mappings = static_cast<double>(samples.mappings) / calls;
  out.peak_bytes = static_cast<double>(samples.peak_bytes);
  out.median = median_of(times);  // and sorts them
  out.cpu = median_of(samples.cpu);
  out.min = times.front();
  out.max = times.back();
  return out;
}

// A line of the table: the label on the left, the cells right-aligned, a remark behind them.
void print_row(std::string label, const std::vector<std::string>& cells,
               const std::string& remark = {}) {
  constexpr size_t kLabel = 28, kWidths[] = {10, 10, 10, 9, 9, 7, 7, 7, 8};
  label.resize(std::max(label.size(), kLabel), ' ');
  for (size_t i = 0; i < cells.size(); ++i) {
    const size_t width = kWidths[i];
    label += " " + std::string(width - std::min(width, cells[i].size()), ' ') + cells[i];
  }
  std::cout << label << remark << std::endl;
}

}  // namespace

bool BenchOptions::wants(const std::string& part) const {
  return parts.empty() || std::find(parts.begin(), parts.end(), part) != parts.end();
}

std::string Place::key() const {
  return device == Device::cpu ? str("t", threads) : std::string(name_of(device));
}
std::string Place::text() const {
  if (device != Device::cpu) return std::string(name_of(device));
  return str(threads, threads == 1 ? " thread" : " threads");
}

std::vector<Place> places(const BenchOptions& options) {
  if (options.device != Device::cpu) return {{options.device, 0}};
  std::vector<Place> out;
  for (const int threads : options.threads) out.push_back({Device::cpu, threads});
  return out;
}

std::vector<Timing> measure_in_turn(const BenchOptions& options,
                                    const std::vector<std::function<void()>>& bodies) {
  constexpr int kWarmUp = 2;
  std::vector<Samples> samples(bodies.size());
  for (int round = 0; round < kWarmUp + options.repeats; ++round) {
    if (round == kWarmUp) samples.assign(bodies.size(), {});
    for (size_t i = 0; i < bodies.size(); ++i) call_once(options.device, bodies[i], samples[i]);
  }
  std::vector<Timing> out;
  for (Samples& s : samples) out.push_back(summary(std::move(s)));
  return out;
}

Timing measure(const BenchOptions& options, const std::function<void()>& body) {
  return measure_in_turn(options, {body}).front();
}

double begin_section(const std::string& title, const std::string& prefix, const Place& place,
                     BenchReport& report) {
  if (place.device != Device::cpu) {
    report.heading(str(title, ", ", describe_device(place.device)));
    return 0;
  }
  set_num_threads(place.threads);
  const double peak = measure_fma_peak();
  report.heading(str(title, ", ", place.text(), "; measured f32 peak ", std::lround(peak * 1e-9),
                     " GFLOP/s (", fma_peak_name(), ")"));
  report.value(prefix + "peak_gflops", peak * 1e-9);
  return peak;
}

double begin_products(DType dtype, const std::string& prefix, BenchReport& report) {
  constexpr int64_t kSide = 1024;
  constexpr int kTries = 7;
  const Tensor a = Tensor::full({kSide, kSide}, dtype, 1), b = Tensor::full(a.shape(), dtype, 1);
  double best = 0;
  for (int i = 0; i < kTries; ++i) {
    const double start = seconds_now();
    matmul(a, b);
    best = std::max(best, 2.0 * kSide * kSide * kSide / (seconds_now() - start));
  }
  report.note(str("a product of ", kSide, " x ", kSide, " matrices, ", name_of(dtype), ": ",
                  std::lround(best * 1e-9), " GFLOP/s"));
  report.value(prefix + "products_gflops", best * 1e-9);
  return best;
}

void BenchReport::heading(const std::string& text) {
  std::cout << '\n' << text << '\n';
  print_row("", {"median ms", "min ms", "max ms", "GF/s", "GF/s red.", "% peak", "% red.", "faults",
                 "peak MB"});
}

void BenchReport::note(const std::string& text) { std::cout << text << std::endl; }

void BenchReport::add(const std::string& key, const std::string& label, const Timing& t,
                      const Work& work, double peak, double products) {
  rows_.push_back({key, label, t});
  json_.add(key + ".median_ms", 1e3 * t.median)
      .add(key + ".min_ms", 1e3 * t.min)
      .add(key + ".max_ms", 1e3 * t.max)
      .add(key + ".cpu_ms", 1e3 * t.cpu)
      .add(key + ".page_faults", t.page_faults)
      .add(key + ".mappings", t.mappings)
      .add(key + ".peak_bytes", t.peak_bytes);
  const auto cell = [](double value, int digits) {
    return value > 0 ? fixed_text(value, digits) : std::string("-");
  };
  const double naive = work.naive_flops / t.median;
  const double reduced = work.reduced_flops / t.median;
  if (work.naive_flops > 0) json_.add(key + ".naive_gflops", naive * 1e-9);
  if (work.reduced_flops > 0) json_.add(key + ".reduced_gflops", reduced * 1e-9);
  if (work.bytes > 0) json_.add(key + ".gbytes_per_second", work.bytes / t.median * 1e-9);
  if (peak > 0 && naive > 0) json_.add(key + ".naive_share_of_peak", naive / peak);
  if (peak > 0 && reduced > 0) json_.add(key + ".reduced_share_of_peak", reduced / peak);
  if (products > 0 && reduced > 0) {
    json_.add(key + ".reduced_share_of_products", reduced / products);
  }
  std::string remark;
  if (work.bytes > 0) remark += "  " + fixed_text(work.bytes / t.median * 1e-9, 1) + " GB/s";
  if (products > 0 && reduced > 0) {
    remark += "  " + fixed_text(100 * reduced / products, 1) + " % of a product";
  }
  const auto share = [&](double rate) { return peak > 0 ? 100 * rate / peak : 0; };
  print_row(
      label,
      {fixed_text(1e3 * t.median, 2), fixed_text(1e3 * t.min, 2), fixed_text(1e3 * t.max, 2),
       cell(naive * 1e-9, 1), cell(reduced * 1e-9, 1), cell(share(naive), 1),
       cell(share(reduced), 1), fixed_text(t.page_faults, 1), fixed_text(1e-6 * t.peak_bytes, 1)},
      remark);
}

}  // namespace basin::tools
