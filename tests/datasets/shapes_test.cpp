// Embedded shapes: a pure function of the seed, balanced, and beyond a linear model or simple
// statistics.
#include "basin/datasets/shapes.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "basin/core/parallel.h"
#include "basin/tests/core/files.h"

using namespace basin;

namespace {

using Features = std::vector<std::vector<double>>;  // [shapes][features]

// Zero mean and unit spread by the training set.
void standardise(Features& train, Features& test) {
  for (size_t f = 0; f < train[0].size(); ++f) {
    double mean = 0, square = 0;
    for (const auto& x : train) mean += x[f], square += x[f] * x[f];
    mean /= static_cast<double>(train.size());
    const double spread =
        std::sqrt(square / static_cast<double>(train.size()) - mean * mean) + 1e-9;
    for (Features* set : {&train, &test}) {
      for (auto& x : *set) x[f] = (x[f] - mean) / spread;
    }
  }
}

// Multinomial logistic regression by full-batch gradient descent with momentum; test accuracy.
double logistic_accuracy(Features train, const std::vector<int64_t>& y, Features test,
                         const std::vector<int64_t>& yt, size_t classes) {
  standardise(train, test);
  const size_t d = train[0].size();
  std::vector<double> w(classes * (d + 1)), velocity(w.size());
  const auto scores = [&](const std::vector<double>& x) {
    std::vector<double> s(classes);
    for (size_t c = 0; c < classes; ++c) {
      s[c] = std::inner_product(x.begin(), x.end(), &w[c * (d + 1)], w[c * (d + 1) + d]);
    }
    return s;
  };
  for (int step = 0; step < 100; ++step) {
    std::vector<double> gradient(w.size());
    for (size_t i = 0; i < train.size(); ++i) {
      std::vector<double> p = scores(train[i]);
      const double top = *std::max_element(p.begin(), p.end());
      double total = 0;
      for (double& v : p) total += v = std::exp(v - top);
      for (size_t c = 0; c < classes; ++c) {
        const double g =
            (p[c] / total - (y[i] == static_cast<int64_t>(c))) / static_cast<double>(train.size());
        for (size_t f = 0; f < d; ++f) gradient[c * (d + 1) + f] += g * train[i][f];
        gradient[c * (d + 1) + d] += g;
      }
    }
    for (size_t k = 0; k < w.size(); ++k) {
      velocity[k] = 0.9 * velocity[k] + gradient[k] + 1e-3 * w[k];
      w[k] -= 0.1 * velocity[k];
    }
  }
  double right = 0;
  for (size_t i = 0; i < test.size(); ++i) {
    const auto s = scores(test[i]);
    right += std::max_element(s.begin(), s.end()) - s.begin() == yt[i];
  }
  return right / static_cast<double>(test.size());
}

double centroid_accuracy(Features train, const std::vector<int64_t>& y, Features test,
                         const std::vector<int64_t>& yt, size_t classes) {
  standardise(train, test);
  const size_t d = train[0].size();
  Features centre(classes, std::vector<double>(d));
  std::vector<double> count(classes);
  for (size_t i = 0; i < train.size(); ++i) {
    ++count[static_cast<size_t>(y[i])];
    for (size_t f = 0; f < d; ++f) centre[static_cast<size_t>(y[i])][f] += train[i][f];
  }
  double right = 0;
  for (size_t i = 0; i < test.size(); ++i) {
    std::vector<double> distance(classes);
    for (size_t c = 0; c < classes; ++c) {
      for (size_t f = 0; f < d; ++f)
        distance[c] += std::pow(test[i][f] - centre[c][f] / count[c], 2);
    }
    right += std::min_element(distance.begin(), distance.end()) - distance.begin() == yt[i];
  }
  return right / static_cast<double>(test.size());
}

// The first 64 points as they come, or in the order of their height.
Features coordinates(const PointCloudSet& set, bool sorted) {
  Features out;
  const auto* xyz = set.points.data<float>();
  for (int64_t r = 0; r < set.size(); ++r, xyz += 3 * set.points_per_cloud()) {
    std::vector<std::array<double, 3>> p;
    for (int i = 0; i < 64; ++i) p.push_back({xyz[3 * i + 2], xyz[3 * i], xyz[3 * i + 1]});
    if (sorted) std::sort(p.begin(), p.end());
    std::vector<double> x;
    for (const auto& q : p) x.insert(x.end(), q.begin(), q.end());
    out.push_back(std::move(x));
  }
  return out;
}

// Spread, mean size and range of every axis; mean, spread and fourth moment of the radius.
Features statistics(const PointCloudSet& set) {
  Features out;
  const int64_t points = set.points_per_cloud();
  const auto* xyz = set.points.data<float>();
  for (int64_t r = 0; r < set.size(); ++r, xyz += 3 * points) {
    std::vector<double> x(15);
    for (int64_t i = 0; i < points; ++i) {
      double square = 0;
      for (size_t axis = 0; axis < 3; ++axis) {
        const double v = xyz[3 * i + static_cast<int64_t>(axis)];
        x[axis] += v * v, x[3 + axis] += std::abs(v), square += v * v;
        x[6 + axis] = std::min(x[6 + axis], v), x[9 + axis] = std::max(x[9 + axis], v);
      }
      x[12] += std::sqrt(square), x[13] += square, x[14] += square * square;
    }
    out.push_back(std::move(x));
  }
  return out;
}

}  // namespace

TEST_CASE("shapes: a pure function of the seed for any thread count") {
  const int threads = num_threads();
  set_num_threads(1);
  const PointCloudSplits a = embedded_shapes(3, 2, 100, 5);
  set_num_threads(3);
  const PointCloudSplits b = embedded_shapes(3, 2, 100, 5);
  set_num_threads(threads);
  CHECK(a.train.content_hash == b.train.content_hash);
  CHECK(a.test.content_hash == b.test.content_hash);
  CHECK(a.train.content_hash != a.test.content_hash);
  CHECK(embedded_shapes(3, 2, 100, 6).train.content_hash != a.train.content_hash);
  // More shapes per class begin with the same ones.
  const PointCloudSplits more = embedded_shapes(5, 2, 100, 5);
  for (int64_t i = 0; i < a.train.points.numel(); ++i)
    REQUIRE(more.train.points.at(i) == a.train.points.at(i));
}

TEST_CASE("shapes: balanced classes and normalised clouds") {
  const PointCloudSplits s = embedded_shapes(4, 3, 64, 0);
  CHECK(s.train.classes() >= 12);
  CHECK(class_counts(s.train) == std::vector<int64_t>(static_cast<size_t>(s.train.classes()), 4));
  CHECK(class_counts(s.test) == std::vector<int64_t>(static_cast<size_t>(s.train.classes()), 3));
  for (int64_t r = 0; r < s.train.size(); ++r) {
    double largest = 0;
    for (int64_t i = 64 * r; i < 64 * (r + 1); ++i) {
      largest = std::max(largest, std::hypot(s.train.points.at(3 * i), s.train.points.at(3 * i + 1),
                                             s.train.points.at(3 * i + 2)));
    }
    CHECK(largest == doctest::Approx(1).epsilon(1e-6));
  }
  LoadOptions o;
  o.points = 32, o.limit = 30, o.seed = 1;
  const PointCloudSplits few = load_dataset("embedded", o);
  CHECK(few.train.points.shape() == Shape{30, 32, 3});
  CHECK(few.description.find("embedded shapes, 30 training") == 0);
  test::check_error(ErrorKind::usage, {"positive"}, [] { embedded_shapes(0, 1, 1, 0); });
}

TEST_CASE("shapes: linear models and simple statistics fail") {
  const PointCloudSplits s = embedded_shapes(60, 20, 256, 0);
  const auto y = s.train.labels.to_vector<int64_t>(), yt = s.test.labels.to_vector<int64_t>();
  const auto classes = static_cast<size_t>(s.train.classes());
  const auto linear = [&](bool sorted) {
    return logistic_accuracy(coordinates(s.train, sorted), y, coordinates(s.test, sorted), yt,
                             classes);
  };
  const double plain = linear(false), sorted = linear(true);
  const double simple = centroid_accuracy(statistics(s.train), y, statistics(s.test), yt, classes);
  MESSAGE("logistic regression on 64 points ", plain, ", sorted by height ", sorted,
          ", nearest centroid on statistics ", simple);
  CHECK(plain < 0.5);
  CHECK(sorted < 0.5);
  CHECK(simple < 0.5);
}
