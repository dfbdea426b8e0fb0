// Case top_svd: the k largest singular triples beside the whole decomposition by LAPACK, in turn,
// in f64 and to the residual that SpecMuon asks for. Two spectra: s_j = 1 / j, and that of
// independent N(0, 1), where no triple leads and the iteration may have to give way to the whole
// decomposition. How many times as fast: by the time of the CPU, which holds beside other work too.
// Accuracy, relative to s_1: the largest difference of a value from LAPACK's, the largest residual
// |A v - s u| or |A^T u - s v|.
#include <algorithm>
#include <array>
#include <cmath>

#include "basin/autograd/ops.h"
#include "basin/core/random.h"
#include "basin/kernels/linalg.h"
#include "basin/tools/bench/bench.h"

namespace basin::tools {
namespace {

constexpr double kTolerance = 1e-10;  // that of SpecMuon
constexpr std::array<std::pair<int64_t, int64_t>, 5> kShapes{
    {{64, 64}, {128, 128}, {512, 128}, {512, 512}, {1024, 512}}};
constexpr std::array<int64_t, 3> kLeading{1, 6, 16};

Tensor normals(int64_t rows, int64_t cols, uint64_t stream) {
  Rng rng(0, stream_id("bench top svd", stream));
  std::vector<double> v(static_cast<size_t>(rows * cols));
  for (double& x : v) x = rng.normal();
  return Tensor::from(v, {rows, cols});
}

// m >= n
Tensor with_slow_decay(int64_t m, int64_t n) {
  std::vector<double> s;
  for (int64_t j = 1; j <= n; ++j) s.push_back(1 / static_cast<double>(j));
  const Tensor u = QrBasis::cpu(normals(m, n, 1)), v = QrBasis::cpu(normals(n, n, 2));
  return matmul(u * Tensor::from(s, {1, n}), v, false, true);
}

double largest(const Tensor& t) { return max(abs(reshape(t, {t.numel()})), 0).item(); }

// The largest column norm of A v - s u and of A^T u - s v.
double residual_of(const Tensor& a, const SvdFactors& f) {
  const Tensor v = transpose(f.vt), s = reshape(f.s, {1, f.s.numel()});
  const auto columns = [](const Tensor& r) { return largest(sqrt(sum(square(r), 0))); };
  return std::max(columns(matmul(a, v) - f.u * s), columns(matmul(a, f.u, true) - v * s));
}

void bench_matrix(const Tensor& a, const std::string& name, const std::string& section,
                  const BenchOptions& options, double peak, BenchReport& report) {
  const std::string shape = str(a.size(0), "x", a.size(1));
  std::vector<std::function<void()>> bodies{[&] { Svd::cpu(a); }};
  for (const int64_t k : kLeading) bodies.push_back([&a, k] { TopSvd::cpu(a, k, kTolerance); });
  const std::vector<Timing> timings = measure_in_turn(options, bodies);
  const std::string key = str(section, name, ".", shape);
  report.add(key + ".all", str(shape, " ", name, ", all"), timings[0], {}, peak);
  const SvdFactors all = Svd::cpu(a);
  const double first = all.s.at(0);
  for (size_t i = 0; i < kLeading.size(); ++i) {
    const int64_t k = kLeading[i];
    const std::string own = str(key, ".k", k);
    report.add(own, str(shape, " ", name, ", k = ", k), timings[i + 1], {}, peak);
    const SvdFactors f = TopSvd::cpu(a, k, kTolerance);
    const double error = largest(f.s - slice(all.s, 0, 0, k)) / first,
                 residual = residual_of(a, f) / first;
    const double faster = timings[0].cpu / timings[i + 1].cpu;
    report.value(own + ".times_faster", faster);
    report.value(own + ".value_error", error);
    report.value(own + ".residual", residual);
    report.note(str("    ", fixed_text(faster, 2), " times as fast (CPU); values off by ",
                    scientific_text(error, 1), ", residual ", scientific_text(residual, 1)));
  }
}

}  // namespace

void run_top_svd(const BenchOptions& options, BenchReport& report) {
  for (const Place& place : places(options)) {
    if (place.device != Device::cpu) {
      report.note("top_svd: on the CPU alone, not measured");
      continue;
    }
    const std::string section = str("top_svd.", place.key(), ".");
    const double peak = begin_section("Leading singular triples, f64", section, place, report);
    for (const auto& [m, n] : kShapes) {
      bench_matrix(with_slow_decay(m, n), "decaying", section, options, peak, report);
      bench_matrix(normals(m, n, 3), "gaussian", section, options, peak, report);
    }
  }
}

}  // namespace basin::tools
