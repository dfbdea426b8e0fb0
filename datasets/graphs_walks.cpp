// Return probabilities of random walks.
#include <algorithm>
#include <cmath>

#include "basin/core/parallel.h"
#include "basin/datasets/graphs.h"

namespace basin {
namespace {

constexpr int64_t kColumns = 64;  // nodes whose walks are followed together

// One graph: S = D^(-1/2) A D^(-1/2) by rows, X_a = S^a restricted to some columns.
class Walks {
 public:
  Walks(const GraphSet& set, int64_t graph)
      : nodes_(set.nodes_of(graph)),
        first_(set.edge_start[static_cast<size_t>(graph)]),
        last_(set.edge_start[static_cast<size_t>(graph) + 1]),
        set_(set),
        weight_(static_cast<size_t>(nodes_)) {
    for (int64_t e = first_; e < last_; ++e) weight_[at(set.receiver, e)] += 1;
    for (double& w : weight_) w = w > 0 ? 1 / std::sqrt(w) : 0;
  }

  void run(int64_t steps, float* out) {  // [nodes, steps]
    for (int64_t begin = 0; begin < nodes_; begin += kColumns) {
      const int64_t columns = std::min(kColumns, nodes_ - begin);
      std::vector<double> now(static_cast<size_t>(nodes_ * columns)), next(now.size());
      for (int64_t c = 0; c < columns; ++c) now[static_cast<size_t>((begin + c) * columns + c)] = 1;
      for (int64_t t = 1; t <= steps; t += 2) {
        multiply(now, next, columns);  // t = a + (a + 1), then (a + 1) + (a + 1)
        put(now, next, columns, out + begin * steps + t - 1, steps);
        if (t < steps) put(next, next, columns, out + begin * steps + t, steps);
        now.swap(next);
      }
    }
  }

 private:
  static size_t at(const std::vector<int32_t>& ends, int64_t e) {
    return static_cast<size_t>(ends[static_cast<size_t>(e)]);
  }

  void multiply(const std::vector<double>& x, std::vector<double>& y, int64_t columns) const {
    std::fill(y.begin(), y.end(), 0.0);
    const auto width = static_cast<size_t>(columns);
    for (int64_t e = first_; e < last_; ++e) {
      const size_t i = at(set_.receiver, e), j = at(set_.sender, e);
      const double s = weight_[i] * weight_[j];
      for (size_t c = 0; c < width; ++c) y[i * width + c] += s * x[j * width + c];
    }
  }

  // The diagonal entries of S^a S^b.
  static void put(const std::vector<double>& a, const std::vector<double>& b, int64_t columns,
                  float* out, int64_t stride) {
    std::array<double, kColumns> sum{};
    const auto width = static_cast<size_t>(columns);
    for (size_t i = 0; i < a.size(); i += width) {
      for (size_t c = 0; c < width; ++c) sum[c] += a[i + c] * b[i + c];
    }
    for (int64_t c = 0; c < columns; ++c) {
      out[c * stride] = static_cast<float>(sum[static_cast<size_t>(c)]);
    }
  }

  int64_t nodes_, first_, last_;
  const GraphSet& set_;
  std::vector<double> weight_;  // D^(-1/2)
};

}  // namespace

std::vector<float> random_walks(const GraphSet& set, int64_t steps) {
  std::vector<float> out(static_cast<size_t>(set.node_start.back() * steps));
  parallel_for(set.graphs(), 16, [&](int64_t g, int64_t last) {
    for (; g < last; ++g) {
      Walks(set, g).run(steps, out.data() + set.node_start[static_cast<size_t>(g)] * steps);
    }
  });
  return out;
}

}  // namespace basin
