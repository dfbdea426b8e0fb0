// PointNet against an independent evaluation: scalar loops over named parameters, written from the
// published description, with none of the engine's ops.
#include <doctest/doctest.h>

#include "basin/tests/models/pointnet_fixture.h"

namespace basin {
namespace {

struct Rows {  // [count, channels]
  int64_t count = 0, channels = 0;
  std::vector<double> v;
  double& at(int64_t r, int64_t c) { return v[static_cast<size_t>(r * channels + c)]; }
  double at(int64_t r, int64_t c) const { return v[static_cast<size_t>(r * channels + c)]; }
};

Rows make_rows(int64_t count, int64_t channels) {
  return {count, channels, std::vector<double>(static_cast<size_t>(count * channels))};
}

struct Loops {
  const ModelState& state;
  bool batch_statistics;
  double eps;

  double param(const std::string& name, int64_t i) const {
    return state.params.at(name).value.at(i);
  }

  Rows linear(const std::string& name, const Rows& x) const {
    Rows y = make_rows(x.count, state.params.at(name + ".bias").value.numel());
    for (int64_t r = 0; r < y.count; ++r) {
      for (int64_t o = 0; o < y.channels; ++o) {
        double total = param(name + ".bias", o);
        for (int64_t i = 0; i < x.channels; ++i) {
          total += x.at(r, i) * param(name + ".weight", o * x.channels + i);
        }
        y.at(r, o) = total;
      }
    }
    return y;
  }

  Rows norm(const std::string& name, Rows x, bool relu) const {
    for (int64_t c = 0; c < x.channels; ++c) {
      double mean = 0, var = 0;
      if (batch_statistics) {
        const double n = static_cast<double>(x.count);
        for (int64_t r = 0; r < x.count; ++r) mean += x.at(r, c) / n;
        for (int64_t r = 0; r < x.count; ++r) var += (x.at(r, c) - mean) * (x.at(r, c) - mean) / n;
      } else {
        mean = state.buffers.at(name + ".running_mean").value.at(c);
        var = state.buffers.at(name + ".running_var").value.at(c);
      }
      for (int64_t r = 0; r < x.count; ++r) {
        const double y = param(name + ".weight", c) * (x.at(r, c) - mean) / std::sqrt(var + eps) +
                         param(name + ".bias", c);
        x.at(r, c) = relu ? std::max(y, 0.0) : y;
      }
    }
    return x;
  }

  Rows layer(const std::string& prefix, const char* map, const char* bn, const Rows& x,
             bool relu = true) const {
    return norm(prefix + bn, linear(prefix + map, x), relu);
  }

  static Rows max_over_points(const Rows& x, int64_t clouds) {
    Rows y = make_rows(clouds, x.channels);
    const int64_t n = x.count / clouds;
    for (int64_t b = 0; b < clouds; ++b) {
      for (int64_t c = 0; c < x.channels; ++c) {
        y.at(b, c) = x.at(b * n, c);
        for (int64_t i = 1; i < n; ++i) y.at(b, c) = std::max(y.at(b, c), x.at(b * n + i, c));
      }
    }
    return y;
  }

  Rows tnet(const std::string& prefix, const Rows& x, int64_t clouds) const {  // [B, K K]
    Rows h = layer(prefix, "conv1", "bn1", x);
    h = layer(prefix, "conv2", "bn2", h);
    h = max_over_points(layer(prefix, "conv3", "bn3", h), clouds);
    h = layer(prefix, "fc1", "bn4", h);
    h = layer(prefix, "fc2", "bn5", h);
    h = linear(prefix + "fc3", h);
    for (int64_t b = 0; b < clouds; ++b) {
      for (int64_t i = 0; i < x.channels; ++i) h.at(b, i * x.channels + i) += 1;
    }
    return h;
  }

  static Rows transform(const Rows& x, const Rows& t) {  // row vectors times matrices
    Rows y = make_rows(x.count, x.channels);
    const int64_t n = x.count / t.count;
    for (int64_t r = 0; r < x.count; ++r) {
      for (int64_t o = 0; o < x.channels; ++o) {
        for (int64_t i = 0; i < x.channels; ++i) {
          y.at(r, o) += x.at(r, i) * t.at(r / n, i * x.channels + o);
        }
      }
    }
    return y;
  }

  Rows port(const Rows& points, int64_t clouds, double& penalty) const {
    Rows x = transform(points, tnet("feat.stn.", points, clouds));
    x = layer("feat.", "conv1", "bn1", x);
    const Rows t = tnet("feat.fstn.", x, clouds);
    penalty = 0;
    for (int64_t b = 0; b < clouds; ++b)
      penalty += std::sqrt(defect(t, b)) / static_cast<double>(clouds);
    x = layer("feat.", "conv2", "bn2", transform(x, t));
    x = max_over_points(layer("feat.", "conv3", "bn3", x, false), clouds);
    return linear("fc3", layer("", "fc2", "bn2", layer("", "fc1", "bn1", x)));
  }

  Rows original(const Rows& points, int64_t clouds, double& penalty) const {
    Rows x = transform(points, tnet("feat.stn.", points, clouds));
    x = layer("feat.", "conv2", "bn2", layer("feat.", "conv1", "bn1", x));
    const Rows t = tnet("feat.fstn.", x, clouds);
    penalty = 0;
    for (int64_t b = 0; b < clouds; ++b) penalty += defect(t, b) / 2;
    x = layer("feat.", "conv3", "bn3", transform(x, t));
    x = layer("feat.", "conv5", "bn5", layer("feat.", "conv4", "bn4", x));
    x = max_over_points(x, clouds);
    return linear("fc3", layer("", "fc2", "bn2", layer("", "fc1", "bn1", x)));
  }

  static double defect(const Rows& t, int64_t b) {  // sum of (A A^T - I)^2
    const int64_t k = static_cast<int64_t>(std::lround(std::sqrt(double(t.channels))));
    double total = 0;
    for (int64_t i = 0; i < k; ++i) {
      for (int64_t j = 0; j < k; ++j) {
        double d = i == j ? -1 : 0;
        for (int64_t m = 0; m < k; ++m) d += t.at(b, i * k + m) * t.at(b, j * k + m);
        total += d * d;
      }
    }
    return total;
  }
};

TEST_CASE("pointnet: logits and penalty of both presets against scalar loops") {
  constexpr int64_t kClouds = 5, kPoints = 8;
  for (const bool original : {false, true}) {
    PointNetConfig config = testing::tiny_config(original);
    config.classes = 3;
    config.widths = {.w1 = 4, .w2 = 5, .w3 = 9, .fc1 = 7, .fc2 = 6};
    config.bn_eps = 1e-3;
    const Model model = make_pointnet(config);
    const ModelState state = testing::generic_state(model, 17);
    const Tensor points = testing::random_tensor({kClouds, kPoints, 3}, 23);
    for (const bool batch_statistics : {false, true}) {
      CAPTURE(original);
      CAPTURE(batch_statistics);
      const Loops loops{state, batch_statistics, config.bn_eps};
      const Rows rows{kClouds * kPoints, 3, points.to_vector<double>()};
      double penalty = 0;
      const Rows expected =
          original ? loops.original(rows, kClouds, penalty) : loops.port(rows, kClouds, penalty);
      ForwardOptions options;
      options.batch_statistics = batch_statistics;
      const ForwardResult result =
          model.forward(state.params.values(), state.buffers.values(), {points}, options);
      CHECK(testing::difference(result.outputs[0], Tensor::from(expected.v, {kClouds, 3})) < 1e-12);
      CHECK(result.penalty.item() == doctest::Approx(config.penalty * penalty).epsilon(1e-12));
      CHECK(result.batch_stats.size() == (batch_statistics ? 2 * state.buffers.size() / 3 : 0));
    }
  }
}

}  // namespace
}  // namespace basin
