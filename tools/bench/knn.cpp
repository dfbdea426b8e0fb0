// Case knn: the k nearest neighbours (k = 20, the point itself among them) of all points of a
// batch, for several dimensions. Points lie on a sphere in three dimensions, as the surface of a
// shape does, and are normal in others. Naive count: 2 B N^2 D, the product alone. Where the header
// of nanoflann was found when Basin was configured, its k-d tree (built and asked for every point,
// one cloud per task) takes turns with ours in three dimensions, and the distances are compared.
#include <cmath>

#include "basin/autograd/ops.h"
#include "basin/core/random.h"
#include "basin/tools/bench/bench.h"
#include "basin/tools/bench/knn_tree.h"
#include "basin/tools/shell/environment.h"

namespace basin::tools {
namespace {

constexpr int64_t kNeighbours = 20;

Tensor bench_clouds(int64_t batch, int64_t points, int64_t dims) {
  Rng rng(0, stream_id("bench knn"));
  std::vector<float> x(static_cast<size_t>(batch * points * dims));
  for (float& value : x) value = static_cast<float>(rng.normal());
  if (dims == 3) {
    for (size_t i = 0; i < x.size(); i += 3) {
      const float length = std::hypot(x[i], x[i + 1], x[i + 2]);
      for (size_t d = 0; d < 3; ++d) x[i + d] /= length;
    }
  }
  return Tensor::from(x, {batch, points, dims});
}

// The q-th distances of both lists must agree to the rounding of f32: ties may swap the points.
void check_same_distances(const Tensor& x, const Tensor& ours, const Tensor& theirs) {
  const float* v = x.data<float>();
  const int32_t *a = ours.data<int32_t>(), *b = theirs.data<int32_t>();
  const int64_t points = x.size(1), dims = x.size(2), k = ours.size(2);
  const auto distance = [&](int64_t from, int64_t to) {
    double sum = 0;
    for (int64_t d = 0; d < dims; ++d) {
      const double difference = double{v[from * dims + d]} - double{v[to * dims + d]};
      sum += difference * difference;
    }
    return sum;
  };
  for (int64_t e = 0; e < ours.numel(); ++e) {
    const int64_t from = e / k, cloud = from / points * points;
    const double one = distance(from, cloud + a[e]), other = distance(from, cloud + b[e]);
    check(std::fabs(one - other) <= 1e-5 * std::fmax(one, other), "bench knn: neighbour ", e % k,
          " of point ", from, " is at squared distance ", one, ", by the tree at ", other);
  }
}

void bench_dims(int64_t dims, const std::string& section, const BenchOptions& options, double peak,
                BenchReport& report) {
  const int64_t k = options.k > 0 ? options.k : kNeighbours;
  const Tensor x = bench_clouds(options.batch, options.points, dims).to(options.device);
  const auto queries = static_cast<double>(options.batch * options.points);
  const Work work{2 * queries * static_cast<double>(options.points * dims), 0, 0};
  const std::string key = str(section, "d", dims);
  std::vector<std::function<void()>> bodies{[&] { knn(x, k, true); }};
  Tensor theirs;
  const bool tree = dims == 3 && options.device == Device::cpu && knn_tree_available();
  if (tree) {
    theirs = Tensor::empty({options.batch, options.points, k}, DType::i32);
    bodies.emplace_back([&] { knn_by_tree(x, k, theirs); });
  }
  const std::vector<Timing> times = measure_in_turn(options, bodies);
  report.add(key, str("D = ", dims, ", k = ", k), times[0], work, peak);
  report.value(key + ".us_per_query", 1e6 * times[0].median / queries);
  report.note(str("  ", 1e6 * times[0].median / queries, " us per query"));
  if (!tree) return;
  report.add(key + ".nanoflann", "  nanoflann", times[1], {}, 0);
  report.value(key + ".ratio_to_nanoflann", times[1].median / times[0].median);
  check_same_distances(x, knn(x, k, true), theirs);
  report.note(str("  nanoflann takes ", times[1].median / times[0].median,
                  " times as long; the distances agree"));
}

}  // namespace

void run_knn(const BenchOptions& options, BenchReport& report) {
  for (const Place& place : places(options)) {
    const std::string section = str("knn.", place.key(), ".");
    const double peak =
        begin_section(str("k nearest neighbours, B=", options.batch, ", N=", options.points),
                      section, place, report);
    for (const int64_t dims : options.dims) bench_dims(dims, section, options, peak, report);
    report.value(section + "peak_rss_bytes", static_cast<double>(peak_rss_bytes()));
    if (place.device == Device::cpu && !knn_tree_available())
      report.note("nanoflann: its header was not found, not measured");
  }
}

}  // namespace basin::tools
