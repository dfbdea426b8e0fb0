// The bench: named cases in a table, each timing one thing on the given numbers of threads. A
// result is a row (median, min and max over the repeats, work, rate, share of the measured peak,
// page faults, peak of the allocator) and a set of keys in a flat JSON object,
// "pointnet.t1.forward.median_ms". A new case is one file and one line in the table of main.cpp; a
// network is one NetworkCase (network.h).
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "basin/core/device.h"
#include "basin/core/dtype.h"
#include "basin/core/record.h"

namespace basin::tools {

struct BenchOptions {
  int64_t batch = 32;
  int64_t points = 0;     // per cloud; 0: the case's own, BenchCase::points
  int64_t k = 0;          // neighbours; 0: each case's own
  int64_t hvp_batch = 0;  // clouds of the Hessian-vector products; 0: each case's own
  int repeats = 7;
  std::vector<int> threads = {1, 2};
  Device device = Device::cpu;               // a GPU: one section, whatever `threads` says
  std::vector<int64_t> dims = {3, 64, 128};  // of the case knn
  std::vector<std::string> parts = {};       // of a network; empty: all
  std::string prefix = {};                   // of the keys, where a case runs others
  std::string export_to = {};                // a folder: write networks there, measure nothing

  bool wants(const std::string& part) const;
  bool asks_for(const std::string& part) const { return !parts.empty() && wants(part); }
};

// One block of rows: on the CPU for a number of threads, or on a GPU.
struct Place {
  Device device = Device::cpu;
  int threads = 1;
  std::string key() const;   // "t2", "cuda"
  std::string text() const;  // "2 threads", "cuda"
};
std::vector<Place> places(const BenchOptions& options);

struct Timing {
  double median = 0, min = 0, max = 0;  // seconds
  double cpu = 0;                       // seconds of all threads together, median
  double page_faults = 0;               // per call
  double mappings = 0;                  // calls of the allocator to the system, per call
  double peak_bytes = 0;                // most that the allocator had handed out at once
};
// Two calls to warm up, then `repeats` timed ones, each until the device is done.
Timing measure(const BenchOptions& options, const std::function<void()>& body);
// The same for several bodies in turn, round by round: what drifts, drifts for all of them.
std::vector<Timing> measure_in_turn(const BenchOptions& options,
                                    const std::vector<std::function<void()>>& bodies);

// Operations of one call. The reduced count is that of the algorithm in use, the naive one that of
// the textbook; 0: not applicable.
struct Work {
  double naive_flops = 0;
  double reduced_flops = 0;
  double bytes = 0;  // for what is bound by memory
};

// One measurement, as it was added.
struct BenchRow {
  std::string key, label;
  Timing timing;
};

class BenchReport {
 public:
  void heading(const std::string& text);
  void note(const std::string& text);
  // peak and the rate of a large product in FLOP/s of the same number of threads; 0: unknown
  void add(const std::string& key, const std::string& label, const Timing& timing, const Work& work,
           double peak, double products = 0);
  void value(const std::string& key, double number) { json_.add(key, number); }
  Record& json() { return json_; }
  const std::vector<BenchRow>& rows() const { return rows_; }

 private:
  Record json_;
  std::vector<BenchRow> rows_;
};

struct BenchCase {
  std::string name;
  std::string summary;
  void (*run)(const BenchOptions&, BenchReport&);
  int64_t points = 1024;  // per cloud, where the options do not say
};
const std::vector<BenchCase>& bench_cases();

// On the CPU sets the number of threads, measures the peak, prints "TITLE, 2 threads; measured ..."
// above the rows and records the peak under prefix + "peak_gflops". FLOP/s; 0, unknown, on a GPU.
double begin_section(const std::string& title, const std::string& prefix, const Place& place,
                     BenchReport& report);

// Measures what Basin's matrix product reaches on large square matrices, the best of several,
// prints it and records it under prefix + "products_gflops". FLOP/s.
double begin_products(DType dtype, const std::string& prefix, BenchReport& report);

// Best of several runs of independent fused multiply-adds in registers, all threads at once; the
// widest instruction set of the machine. FLOP/s.
double measure_fma_peak();
const char* fma_peak_name();  // "AMX", "AVX-512", "AVX2", "portable"

void run_peak(const BenchOptions& options, BenchReport& report);
void run_knn(const BenchOptions& options, BenchReport& report);
void run_newton_schulz(const BenchOptions& options, BenchReport& report);
void run_top_svd(const BenchOptions& options, BenchReport& report);
void run_pointnet(const BenchOptions& options, BenchReport& report);
void run_dgcnn(const BenchOptions& options, BenchReport& report);
void run_egnn(const BenchOptions& options, BenchReport& report);
void run_gotennet(const BenchOptions& options, BenchReport& report);
void run_gine(const BenchOptions& options, BenchReport& report);
void run_pinn(const BenchOptions& options, BenchReport& report);
const std::vector<std::string>& pinn_parts();  // that --parts chooses from
void run_hvp(const BenchOptions& options, BenchReport& report);
void run_replay(const BenchOptions& options, BenchReport& report);
void run_loader(const BenchOptions& options, BenchReport& report);

}  // namespace basin::tools
