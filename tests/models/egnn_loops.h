// A tiny EGNN and its definition, evaluated in scalar loops over nodes and edges.
#pragma once
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "basin/models/egnn.h"
#include "basin/tests/models/dense_hessian.h"

namespace basin::testing {

inline EgnnConfig tiny_egnn() {
  EgnnConfig config;
  config.classes = 2;
  config.hidden = 3;
  config.layers = 2;
  config.k = 3;
  return config;
}

// For one cloud.
struct EgnnLoops {
  const ModelState& state;
  std::optional<double> relax = {};  // of a fixed frame
  using Row = std::vector<double>;

  Row map(const std::string& name, const Row& x) const {
    const Tensor& w = state.params.at(name + ".weight").value;
    REQUIRE(w.size(1) == static_cast<int64_t>(x.size()));
    const bool has_bias = state.params.find(name + ".bias") >= 0;
    Row y;
    for (int64_t o = 0; o < w.size(0); ++o) {
      double sum = has_bias ? state.params.at(name + ".bias").value.at(o) : 0;
      for (int64_t i = 0; i < w.size(1); ++i) sum += w.at(o * w.size(1) + i) * x[i];
      y.push_back(sum);
    }
    return y;
  }

  static Row silu_of(Row x) {
    for (double& v : x) v = v / (1 + std::exp(-v));
    return x;
  }

  static Row joined(std::initializer_list<Row> parts) {
    Row all;
    for (const Row& p : parts) all.insert(all.end(), p.begin(), p.end());
    return all;
  }

  static std::vector<size_t> nearest(const std::vector<Row>& x, size_t i, size_t k) {
    std::vector<std::pair<double, size_t>> all;
    for (size_t j = 0; j < x.size(); ++j) {
      if (j != i) all.emplace_back(squared(x[i], x[j]), j);
    }
    std::sort(all.begin(), all.end());
    std::vector<size_t> out;
    for (size_t q = 0; q < k; ++q) out.push_back(all[q].second);
    return out;
  }

  static double squared(const Row& a, const Row& b) {
    double sum = 0;
    for (size_t c = 0; c < 3; ++c) sum += (a[c] - b[c]) * (a[c] - b[c]);
    return sum;
  }

  Row logits(std::vector<Row> x, size_t k, int layers) const {
    const std::vector<Row> input = x;
    std::vector<Row> h;
    for (const Row& p : x) {
      h.push_back(map("embedding_in",
                      relax ? Row{1, *relax * p[0], *relax * p[1], *relax * p[2]} : Row{1}));
    }
    for (int l = 0; l < layers; ++l) {
      const std::string gcl = str("gcl_", l, ".");
      std::vector<Row> next_x = x, next_h = h;
      for (size_t i = 0; i < x.size(); ++i) {
        Row total(h[i].size(), 0.0);
        for (const size_t j : nearest(input, i, k)) {
          Row seen = joined({h[i], h[j], {squared(x[i], x[j])}});
          for (size_t c = 0; relax && c < 3; ++c) seen.push_back(*relax * (x[i][c] - x[j][c]));
          Row m = silu_of(map(gcl + "edge_mlp.0", seen));
          m = silu_of(map(gcl + "edge_mlp.2", m));
          const double gate = 1 / (1 + std::exp(-map(gcl + "att_mlp.0", m)[0]));
          for (double& v : m) v *= gate;
          const double step = map(gcl + "coord_mlp.2", silu_of(map(gcl + "coord_mlp.0", m)))[0];
          for (size_t c = 0; c < 3; ++c) {
            next_x[i][c] += (x[i][c] - x[j][c]) * step / static_cast<double>(k);
          }
          for (size_t c = 0; c < m.size(); ++c) total[c] += m[c];
        }
        const Row update =
            map(gcl + "node_mlp.2", silu_of(map(gcl + "node_mlp.0", joined({h[i], total}))));
        for (size_t c = 0; c < update.size(); ++c) next_h[i][c] += update[c];
      }
      x = next_x;
      h = next_h;
    }
    Row average(h[0].size(), 0.0), top = h[0];
    for (const Row& row : h) {
      for (size_t c = 0; c < row.size(); ++c) {
        average[c] += row[c] / static_cast<double>(h.size());
        top[c] = std::max(top[c], row[c]);
      }
    }
    return map("embedding_out", silu_of(map("readout.0", joined({average, top}))));
  }
};

// Of `clouds` clouds of ten points, three neighbours a point and three layers.
inline void check_loops(EgnnConfig config, int64_t clouds, std::optional<double> relax = {}) {
  config.attention = true;
  config.layers = 3;
  const Model model = make_egnn(config);
  const ModelState state = generic_state(model, 17);
  const Tensor points = random_clouds(clouds, 10, 4);
  const Tensor logits = model.forward(state.params.values(), {}, {points}, {}).outputs[0];
  for (int64_t b = 0; b < clouds; ++b) {
    std::vector<EgnnLoops::Row> cloud;
    for (int64_t i = 0; i < 10; ++i) {
      const int64_t at = (b * 10 + i) * 3;
      cloud.push_back({points.at(at), points.at(at + 1), points.at(at + 2)});
    }
    const EgnnLoops::Row expected = EgnnLoops{state, relax}.logits(cloud, 3, 3);
    for (int64_t c = 0; c < 2; ++c) {
      CHECK(logits.at(2 * b + c) == doctest::Approx(expected[c]).epsilon(1e-11));
    }
  }
}

}  // namespace basin::testing
