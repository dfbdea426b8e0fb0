// Directions: norms per filter, what the other normalisations do instead, equal draws for compared
// checkpoints, the plane through three of them, and points that are rounded once.
#include "basin/analysis/directions.h"

#include <doctest/doctest.h>

#include <cmath>

#include "basin/tests/analysis/slice_problem.h"
#include "basin/tests/core/files.h"

namespace basin {
namespace {

using testing::joined_direction;
using testing::small_params;

double norm_of(const Tensor& t, int64_t offset, int64_t n) {
  const Tensor host = t.to(DType::f64);
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::pow(host.data<double>()[offset + i], 2);
  return std::sqrt(sum);
}

// ||d_f|| / ||w_f|| of every filter.
std::vector<double> filter_ratios(const Direction& d, const ParamList& params) {
  std::vector<double> out;
  for (size_t i = 0; i < params.size(); ++i) {
    for (const MatrixBlock& b : params[i].view) {
      for (int64_t row = 0; row < b.rows; ++row) {
        const int64_t at = b.offset + row * b.cols;
        out.push_back(norm_of(d.parts[i], at, b.cols) / norm_of(params[i].value, at, b.cols));
      }
    }
  }
  return out;
}

TEST_CASE("directions: every filter has the norm of its weights, vectors do not move") {
  const ParamList params = small_params(1);
  const Direction d = random_direction(params, 5, 0);
  const std::vector<double> ratios = filter_ratios(d, params);
  REQUIRE(ratios.size() == 4 + 3 + 2 + 2);  // the rows of all logical matrices
  for (const double ratio : ratios) CHECK(ratio == doctest::Approx(1).epsilon(1e-14));
  CHECK(!d.parts[3].defined());
  CHECK(!d.parts[4].defined());
  CHECK(d.what == "random 0, seed 5, normalised by filter");

  // One factor per tensor is another direction: the norm of the tensor fits, those of filters not.
  const Direction layer = random_direction(params, 5, 0, DirectionNorm::layer);
  double worst = 0;
  for (const double ratio : filter_ratios(layer, params)) {
    worst = std::max(worst, std::abs(ratio - 1));
  }
  CHECK(worst > 0.2);
  for (size_t i = 0; i < 3; ++i) {
    const int64_t n = params[i].value.numel();
    CHECK(norm_of(layer.parts[i], 0, n) ==
          doctest::Approx(norm_of(params[i].value, 0, n)).epsilon(1e-14));
  }
  CHECK(!layer.parts[3].defined());
}

TEST_CASE("directions: weight and none are as named") {
  const ParamList params = small_params(1);
  const Direction raw = random_direction(params, 5, 0, DirectionNorm::none),
                  weight = random_direction(params, 5, 0, DirectionNorm::weight);
  REQUIRE(raw.parts[3].defined());
  const auto *r = raw.parts[0].data<double>(), *w = params[0].value.data<double>(),
             *d = weight.parts[0].data<double>();
  for (int64_t i = 0; i < 8; ++i) CHECK(d[i] == r[i] * w[i]);
  CHECK(!weight.parts[4].defined());
  for (const DirectionNorm n :
       {DirectionNorm::filter, DirectionNorm::layer, DirectionNorm::weight, DirectionNorm::none}) {
    CHECK(direction_norm(name_of(n)) == n);
  }
  test::check_error(ErrorKind::usage, {"'filters'", "filter, layer, weight and none"},
                    [] { direction_norm("filters"); });
}

TEST_CASE("directions: draws without a norm are standard normal") {
  ParamList params;
  constexpr int64_t kCount = 40000;
  params.add({"w", Tensor::zeros({200, 200}, DType::f64), Role::matrix, {}, {200, 200}});
  const Direction drawn = random_direction(params, 5, 0, DirectionNorm::none);
  const double* x = drawn.parts[0].data<double>();
  double moments[3] = {};  // first, second, fourth
  for (int64_t i = 0; i < kCount; ++i) {
    const double square = x[i] * x[i];
    moments[0] += x[i] / kCount, moments[1] += square / kCount,
        moments[2] += square * square / kCount;
  }
  // Variances of x, x^2 and x^4: 1, 2 and 96.
  const double error = 4 / std::sqrt(static_cast<double>(kCount));
  CHECK(std::abs(moments[0]) < error);
  CHECK(std::abs(moments[1] - 1) < error * std::sqrt(2.0));
  CHECK(std::abs(moments[2] - 3) < error * std::sqrt(96.0));
}

TEST_CASE("directions: a filter of zeros stays where it is") {
  ParamList params = small_params(1);
  double* w = params[1].value.mutable_data<double>();
  for (int64_t i = 3; i < 6; ++i) w[i] = 0;
  const Direction d = random_direction(params, 5, 0);
  const double* v = d.parts[1].data<double>();
  for (int64_t i = 3; i < 6; ++i) CHECK(v[i] == 0);
  CHECK(norm_of(d.parts[1], 0, 3) ==
        doctest::Approx(norm_of(params[1].value, 0, 3)).epsilon(1e-14));
  CHECK(norm_of(d.parts[1], 6, 3) > 0);
  // A direction without a component there has none to scale either.
  Direction zero = d;
  zero.parts[0] = Tensor::zeros({4, 2}, DType::f64);
  normalise(zero, params, DirectionNorm::filter);
  CHECK(norm_of(zero.parts[0], 0, 8) == 0);
}

TEST_CASE("directions: matrices that do not cover a parameter are refused") {
  ParamList params = small_params(1);
  params[2].view.pop_back();
  test::check_error(ErrorKind::usage, {"'edge.weight'", "cover 8 of its 12"},
                    [&] { random_direction(params, 5, 0); });
}

TEST_CASE("directions: two checkpoints get the same draw, up to the normalisation") {
  const ParamList a = small_params(1), b = small_params(2);
  const Direction da = random_direction(a, 5, 0), db = random_direction(b, 5, 0);
  for (size_t i = 0; i < 3; ++i) {
    for (const MatrixBlock& block : a[i].view) {
      for (int64_t row = 0; row < block.rows; ++row) {
        const int64_t at = block.offset + row * block.cols;
        const double factor =
            norm_of(a[i].value, at, block.cols) / norm_of(b[i].value, at, block.cols);
        for (int64_t k = at; k < at + block.cols; ++k) {
          CHECK(da.parts[i].data<double>()[k] ==
                doctest::Approx(factor * db.parts[i].data<double>()[k]).epsilon(1e-13));
        }
      }
    }
  }
  // Unnormalised they are the same bits; another seed, index or name is another draw.
  const auto raw = [](const ParamList& p, uint64_t seed, int index) {
    return fingerprint(random_direction(p, seed, index, DirectionNorm::none));
  };
  CHECK(raw(a, 5, 0) == raw(b, 5, 0));
  CHECK(raw(a, 5, 0) != raw(a, 6, 0));
  CHECK(raw(a, 5, 0) != raw(a, 5, 1));
  CHECK(fingerprint(a) != fingerprint(b));
  // The draw of a parameter depends on its name, not on its neighbours.
  ParamList one;
  one.add_matrix("hidden.weight", a[1].value, Role::matrix);
  const Tensor alone = random_direction(one, 5, 0, DirectionNorm::none).parts[0];
  const Tensor among = random_direction(a, 5, 0, DirectionNorm::none).parts[1];
  for (int64_t i = 0; i < 9; ++i) CHECK(alone.data<double>()[i] == among.data<double>()[i]);
}

TEST_CASE("directions: a long parameter has the same draw for any cut into tiles") {
  ParamList params;
  params.add_matrix("w", Tensor::full({3, 8192}, DType::f64, 1.0), Role::matrix);
  const Tensor d = random_direction(params, 5, 0, DirectionNorm::none).parts[0];
  Rng rng(5, stream_id("direction w", 0), 0);
  bool same = true;
  for (int64_t i = 0; i < d.numel(); ++i) same = same && d.data<double>()[i] == rng.normal();
  CHECK(same);
}

TEST_CASE("directions: flat vectors, subsets and back") {
  const ParamList params = small_params(1);
  const Direction d = random_direction(params, 5, 0);
  const Tensor flat = flatten(d, params);
  CHECK(flat.numel() == 34);
  const Direction back = along_vector(params, flat, "back");
  CHECK(joined_direction(back, params) == joined_direction(d, params));
  const std::vector<int> chosen{1, 3};
  const Tensor v = known::matrix_of(std::vector<double>(12, 1.0));  // any 12 x 12
  Tensor row = Tensor::empty({12}, DType::f64);
  for (int64_t i = 0; i < 12; ++i) row.mutable_data<double>()[i] = v.data<double>()[i] + i;
  const Direction part = along_vector(params, row, "part", chosen);
  CHECK(!part.parts[0].defined());
  CHECK(part.parts[3].data<double>()[0] == row.data<double>()[9]);
  const Tensor again = flatten(part, params, chosen);
  for (int64_t i = 0; i < 12; ++i) CHECK(again.data<double>()[i] == row.data<double>()[i]);
  test::check_error(ErrorKind::usage, {"'part'", "'hidden.weight'"},
                    [&] { flatten(part, params, {3}); });
  test::check_error(ErrorKind::usage, {"'part' is [12] f64", "34"},
                    [&] { along_vector(params, row, "part"); });
  test::check_error(ErrorKind::usage, {"ascending", "3 before 1"}, [&] {
    along_vector(params, row, "part", {3, 1});
  });
}

TEST_CASE("directions: the plane through three checkpoints passes through them") {
  const ParamList a = small_params(1), b = small_params(2), c = small_params(3);
  const CheckpointPlane plane = plane_through(a, b, c);
  CHECK(plane.first.norm() == doctest::Approx(1).epsilon(1e-14));
  CHECK(plane.second.norm() == doctest::Approx(1).epsilon(1e-14));
  CHECK(std::abs(plane.first.dot(plane.second)) < 1e-14);
  CHECK(plane.coordinates[1][1] == 0);
  const ParamList* lists[] = {&a, &b, &c};
  for (size_t k = 0; k < 3; ++k) {
    const Tensors at =
        moved(a, &plane.first, plane.coordinates[k][0], &plane.second, plane.coordinates[k][1]);
    const std::vector<double> got = testing::joined_values(at),
                              want = testing::joined_values(lists[k]->values());
    for (size_t i = 0; i < got.size(); ++i) CHECK(std::abs(got[i] - want[i]) < 1e-13);
  }
  const ParamList middle = [&] {
    ParamList m = a.clone();
    const Direction half = difference_direction(a, b, "half");
    const Tensors at = moved(a, &half, 0.5, nullptr, 0);
    for (size_t i = 0; i < m.size(); ++i) m[i].value = at[i];
    return m;
  }();
  test::check_error(ErrorKind::numerical, {"parallel"}, [&] { plane_through(a, b, middle); });
  test::check_error(ErrorKind::usage, {"are equal"}, [&] { plane_through(a, a, c); });
}

TEST_CASE("directions: what is left after a component is taken out") {
  const ParamList params = small_params(1);
  const Direction first = random_direction(params, 5, 0);
  Direction second = random_direction(params, 5, 1);
  const double expected = second.dot(first) / second.norm() / first.norm();
  const double cosine = remove_component(second, first);
  CHECK(cosine == doctest::Approx(expected).epsilon(1e-14));
  CHECK(std::abs(second.dot(first)) < 1e-14 * second.norm() * first.norm());
  CHECK(second.what.find("made orthogonal to random 0, seed 5") != std::string::npos);
  Direction same = first;
  test::check_error(ErrorKind::numerical, {"parallel", "cosine 1"},
                    [&] { remove_component(same, first); });
}

TEST_CASE("directions: checkpoints of two networks make no line") {
  const ParamList a = small_params(1);
  ParamList b = small_params(2);
  b[1].name = "other.weight";
  test::check_error(ErrorKind::usage, {"'hidden.weight'", "'other.weight'"},
                    [&] { difference_direction(a, b, "a to b"); });
}

TEST_CASE("directions: a moved point is formed in f64 and rounded once") {
  const ParamList params = small_params(1, DType::f32);
  const Direction d1 = random_direction(params, 5, 0), d2 = random_direction(params, 5, 1);
  const Tensors at = moved(params, &d1, 0.37, &d2, -0.21);
  for (size_t i = 0; i < 3; ++i) {
    REQUIRE(at[i].dtype() == DType::f32);
    const float* w = params[i].value.data<float>();
    for (int64_t k = 0; k < at[i].numel(); ++k) {
      const double sum = static_cast<double>(w[k]) + 0.37 * d1.parts[i].data<double>()[k] +
                         -0.21 * d2.parts[i].data<double>()[k];
      CHECK(at[i].data<float>()[k] == static_cast<float>(sum));
    }
  }
  // The origin is the checkpoint itself, in storage of its own.
  const Tensors origin = moved(params, &d1, 0, &d2, 0);
  for (size_t i = 0; i < params.size(); ++i) {
    CHECK(origin[i].raw() != params[i].value.raw());
    CHECK(testing::joined_values({origin[i]}) == testing::joined_values({params[i].value}));
  }
}

}  // namespace
}  // namespace basin
