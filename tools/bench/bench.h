// The bench: named cases in a table, each timing one thing on the given numbers of threads. A
// result is a row (median, min and max over the repeats, work, rate, share of the measured peak)
// and a set of keys in a flat JSON object, "pointnet.t1.forward.median_ms". A new case is one file
// and one line in the table of cases.cpp.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "basin/tools/common/json.h"

namespace basin::tools {

struct BenchOptions {
  int64_t batch = 32;
  int64_t points = 1024;
  int64_t hvp_batch = 8;
  int repeats = 7;
  std::vector<int> threads = {1, 2};
};

struct Timing {
  double median = 0, min = 0, max = 0;  // seconds
  double page_faults = 0;               // per call
  double mappings = 0;                  // calls of the allocator to the system, per call
};
// Two calls to warm up, then `repeats` timed ones.
Timing measure(int repeats, const std::function<void()>& body);

// Operations of one call. The reduced count is that of the algorithm in use, the naive one that of
// the textbook; 0: not applicable.
struct Work {
  double naive_flops = 0;
  double reduced_flops = 0;
  double bytes = 0;  // for what is bound by memory
};

class BenchReport {
 public:
  void heading(const std::string& text);
  void note(const std::string& text);
  // peak in FLOP/s of the same number of threads; 0: unknown
  void add(const std::string& key, const std::string& label, const Timing& timing, const Work& work,
           double peak);
  void value(const std::string& key, double number) { json_.add(key, number); }
  JsonObject& json() { return json_; }

 private:
  JsonObject json_;
};

struct BenchCase {
  std::string name;
  std::string summary;
  void (*run)(const BenchOptions&, BenchReport&);
};
const std::vector<BenchCase>& bench_cases();

// Best of several runs of independent fused multiply-adds in registers, all threads at once; the
// widest instruction set of the machine. FLOP/s.
double measure_fma_peak();
const char* fma_peak_name();  // "AVX-512", "AVX2", "portable"

void run_peak(const BenchOptions& options, BenchReport& report);
void run_pointnet(const BenchOptions& options, BenchReport& report);

}  // namespace basin::tools
