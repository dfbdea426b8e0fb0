// Slices of a planted quadratic against their closed form, to 1e-12, and what becomes of points
// that fail.
#include "basin/analysis/slices.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "basin/core/error.h"
#include "basin/tests/analysis/read_csv.h"
#include "basin/tests/analysis/slice_problem.h"
#include "basin/tests/core/files.h"

namespace basin {
namespace {

using testing::joined_direction;
using testing::joined_values;
using testing::PlantedQuadratic;
using testing::small_params;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

// Every measured loss against the closed form, relative to the largest of them.
double worst_error(const Slice& s, const LocalQuadratic& q) {
  double worst = 0, size = 0;
  for (int64_t i = 0; i < s.grid.size(); ++i) {
    const double want = q.at(s.grid.x.at(s.grid.ix(i)), s.grid.y.at(s.grid.iy(i)));
    worst = std::max(worst, std::abs(s.loss[static_cast<size_t>(i)] - want));
    size = std::max(size, std::abs(want));
  }
  return worst / size;
}

struct Problem {
  ParamList params = small_params(1);
  PlantedQuadratic planted{34};
  std::vector<double> w = joined_values(params.values());
  LocalQuadratic closed_form(const SliceRequest& r) const {
    const bool plane = !r.second.parts.empty();
    return planted.along(
        w, joined_direction(r.first, params),
        plane ? joined_direction(r.second, params) : std::vector<double>(w.size(), 0.0));
  }
  LocalQuadratic modelled(const SliceRequest& r) const {
    const std::vector<double> g = planted.gradient(w);
    return local_quadratic(planted.loss(w), Tensor::from(g, {34}), *dense_operator(planted.a),
                           params, {}, r.first, r.second.parts.empty() ? nullptr : &r.second);
  }
};

TEST_CASE("slice: a function that depends on the place is told it") {
  const Problem p;
  SliceRequest r;
  r.grid = {{"a", 0, 2, 7}, {"b", -0.5, 0.75, 3}};
  r.first = random_direction(p.params, 3, 0);
  r.second = random_direction(p.params, 3, 1);
  const Slice s = run_slice_at(p.params, r, [&](const Tensors& at, double x, double y) {
    return SlicePoint{p.planted.loss(joined_values(at)), 100 * x + y};
  });
  const Slice plain = run_slice(p.params, r, p.planted.function());
  CHECK(s.loss == plain.loss);
  for (int64_t i = 0; i < s.grid.size(); ++i) {
    CHECK(s.metric[static_cast<size_t>(i)] ==
          100 * s.grid.x.at(s.grid.ix(i)) + s.grid.y.at(s.grid.iy(i)));
  }
}

TEST_CASE("slice: random directions on a 7 x 3 grid from 0, as the closed form says") {
  const Problem p;
  SliceRequest r;
  r.grid = {{"a", 0, 2, 7}, {"b", -0.5, 0.75, 3}};
  r.first = random_direction(p.params, 3, 0);
  r.second = random_direction(p.params, 3, 1);
  const Slice s = run_slice(p.params, r, p.planted.function());
  REQUIRE(s.loss.size() == 21);
  CHECK(s.count(PointState::done) == 21);
  CHECK(worst_error(s, p.closed_form(r)) < 1e-12);
  CHECK(s.loss[static_cast<size_t>(s.grid.index(0, 0))] !=
        s.loss[static_cast<size_t>(s.grid.index(0, 1))]);
  // x runs fastest, and the value at (2, -0.5) is that of the last of the first seven.
  CHECK(s.loss[6] == doctest::Approx(p.closed_form(r).at(2, -0.5)).epsilon(1e-12));
  CHECK(s.loss[14] == doctest::Approx(p.closed_form(r).at(0, 0.75)).epsilon(1e-12));
  const int64_t low = s.lowest();
  for (const double loss : s.loss) CHECK(s.loss[static_cast<size_t>(low)] <= loss);

  // The model made from the gradient and the operator is that closed form, and nothing departs.
  const LocalQuadratic q = p.modelled(r), c = p.closed_form(r);
  for (const auto& [got, want] : {std::pair{q.loss, c.loss},
                                  {q.g1, c.g1},
                                  {q.g2, c.g2},
                                  {q.h11, c.h11},
                                  {q.h12, c.h12},
                                  {q.h22, c.h22}}) {
    CHECK(got == doctest::Approx(want).epsilon(1e-12));
  }
  const Departure d = departure(s, q);
  CHECK(d.largest < 1e-11);
  CHECK(d.rms <= d.largest);
  CHECK(d.holds_within == kInf);
  CHECK(d.where >= 0);
}

TEST_CASE("slice: along an eigenvector the curvature is its eigenvalue") {
  Problem p;
  const Tensor v = [&] {  // by powers of the shifted matrix: the largest eigenvalue is 3
    Tensor x = normal_vector(34, 1, 2);
    std::vector<double> y(x.data<double>(), x.data<double>() + 34);
    for (int i = 0; i < 400; ++i) {
      y = p.planted.times(y);
      const double norm = std::sqrt(PlantedQuadratic::product(y, y));
      for (double& e : y) e /= norm;
    }
    return Tensor::from(y, {34});
  }();
  SliceRequest r;
  r.grid.x = {"first eigenvector", -1.5, 1.5, 31};
  r.first = along_vector(p.params, v, "first eigenvector");
  const Slice s = run_slice(p.params, r, p.planted.function());
  LocalQuadratic want{p.planted.loss(p.w)};
  want.g1 = PlantedQuadratic::product(p.planted.gradient(p.w), joined_direction(r.first, p.params));
  want.h11 = 3;
  CHECK(worst_error(s, want) < 1e-12);
  CHECK(s.loss[15] == p.planted.loss(p.w));  // the middle is the checkpoint, to the bit
  CHECK(p.modelled(r).h11 == doctest::Approx(3).epsilon(1e-12));
}

TEST_CASE("slice: between two checkpoints, 0 at the one and 1 at the other") {
  const Problem p;
  const ParamList other = small_params(2);
  SliceRequest r;
  r.grid.x = {"from 1 to 2", -0.25, 1.25, 13};
  r.first = difference_direction(p.params, other, "checkpoint 1 to 2");
  const Slice s = run_slice(p.params, r, p.planted.function());
  CHECK(worst_error(s, p.closed_form(r)) < 1e-12);
  CHECK(s.grid.x.at(2) == doctest::Approx(0));
  CHECK(s.loss[2] == doctest::Approx(p.planted.loss(p.w)).epsilon(1e-12));
  REQUIRE(s.grid.x.at(10) == doctest::Approx(1));
  CHECK(s.loss[10] ==
        doctest::Approx(p.planted.loss(joined_values(other.values()))).epsilon(1e-12));
}

TEST_CASE("slice: losses below and at zero are losses") {
  Problem p;
  p.planted.c = -p.planted.loss(p.w);  // 0 at the checkpoint
  SliceRequest r;
  r.grid.x = {"a", -1, 1, 5};
  r.first = random_direction(p.params, 3, 0);
  const Slice s = run_slice(p.params, r, p.planted.function());
  CHECK(s.count(PointState::done) == 5);
  CHECK(s.loss[2] == 0);
  CHECK(s.loss[static_cast<size_t>(s.lowest())] < 0);
}

TEST_CASE("slice: points that fail keep NaN and their reason, and are told from missing ones") {
  const Problem p;
  SliceRequest r;
  r.grid = {{"a", -1, 1, 4}, {"b", -1, 1, 3}};
  r.first = random_direction(p.params, 3, 0);
  r.second = random_direction(p.params, 3, 1);
  int calls = 0;
  const SliceFunction f = [&](const Tensors& w) -> SlicePoint {
    const int call = calls++;
    if (call == 1) return {kNaN};
    if (call == 4) return {kInf, 0.5};
    if (call == 6) fail(ErrorKind::numerical, "layer conv3: its variance is not finite");
    return {p.planted.loss(joined_values(w)), 0.25 * (call % 4)};
  };
  SliceRun run;
  run.progress = [](int64_t computed, int64_t total) {
    CHECK(total == 12);
    return computed < 9;
  };
  const Slice s = run_slice(p.params, r, f, run);
  CHECK(calls == 9);  // none was tried twice
  CHECK(s.count(PointState::done) == 6);
  CHECK(s.count(PointState::failed) == 3);
  CHECK(s.count(PointState::missing) == 3);
  REQUIRE(s.reasons.size() == 3);
  CHECK(s.reasons.at(1) == "the loss is nan");
  CHECK(s.reasons.at(4) == "the loss is inf");
  CHECK(s.reasons.at(6).find("conv3: its variance") != std::string::npos);
  for (const int64_t i : {1, 4, 6}) {
    CHECK(std::isnan(s.loss[static_cast<size_t>(i)]));
    CHECK(std::isnan(s.metric[static_cast<size_t>(i)]));
  }
  CHECK(s.metric[7] == 0.75);
  CHECK(s.state[11] == PointState::missing);
  CHECK(s.reasons.count(11) == 0);

  const auto rows = testing::read_csv(slice_csv(s));
  REQUIRE(rows.size() == 12);
  CHECK(rows[6].at("state") == "failed");
  CHECK(rows[6].at("loss") == "nan");
  CHECK(rows[6].at("reason") == s.reasons.at(6));
  CHECK(rows[11].at("state") == "missing");
  CHECK(rows[6].at("ix") == "2");
  CHECK(rows[6].at("iy") == "1");
  CHECK(std::stod(rows[7].at("loss")) == s.loss[7]);

  // A failed point ends the model's reach; a missing one says nothing.
  const Departure d = departure(s, p.modelled(r));
  CHECK(d.holds_within == doctest::Approx(std::hypot(1.0 / 3, 0)));  // point 6 at (1/3, 0)
  CHECK(std::isnan(d.difference[6]));
  CHECK(std::isnan(d.difference[11]));
}

TEST_CASE("slice: an error that is no numerical one ends the run") {
  const Problem p;
  SliceRequest r;
  r.grid.x = {"a", -1, 1, 4};
  r.first = random_direction(p.params, 3, 0);
  test::check_error(ErrorKind::resource, {"no memory"}, [&] {
    run_slice(p.params, r,
              [](const Tensors&) -> SlicePoint { fail(ErrorKind::resource, "no memory"); });
  });
}

TEST_CASE("departure: where a fourth power parts from its quadratic") {
  SliceAxis axis{"x", -1, 1, 21};
  Slice s({axis}, {});
  for (int i = 0; i < 21; ++i) {
    const double x = axis.at(i);
    s.loss[static_cast<size_t>(i)] = 1 + 2 * x * x + x * x * x * x;
    s.state[static_cast<size_t>(i)] = PointState::done;
  }
  const LocalQuadratic q{.loss = 1, .h11 = 4};
  const Departure d = departure(s, q);  // x^4 > 0.1 * 2 x^2 beyond sqrt(0.2) = 0.447
  CHECK(d.holds_within == doctest::Approx(0.5));
  CHECK(d.largest == doctest::Approx(1));
  CHECK((d.where == 0 || d.where == 20));
  CHECK(d.difference[15] == doctest::Approx(0.0625));
  double squares = 0;
  for (int i = 0; i < 21; ++i) squares += std::pow(axis.at(i), 8);
  CHECK(d.rms == doctest::Approx(std::sqrt(squares / 21)));
  CHECK(departure(s, q, 0.01).holds_within == doctest::Approx(0.2));
  CHECK(departure(s, q, 1).holds_within == kInf);
}

TEST_CASE("slice axis: both ends exact, mirrored points, the middle is 0") {
  const SliceAxis axis{"x", -0.3, 0.3, 51};
  CHECK(axis.at(0) == -0.3);
  CHECK(axis.at(50) == 0.3);
  CHECK(axis.at(25) == 0);
  for (int i = 0; i < 51; ++i) CHECK(axis.at(i) == -axis.at(50 - i));
  CHECK_THROWS_AS((void)axis.at(51), Error);
}

TEST_CASE("slice: bad questions") {
  const Problem p;
  SliceRequest r;
  r.first = random_direction(p.params, 3, 0);
  const auto refuse = [&](const std::vector<std::string>& words, const SliceRun& run = {}) {
    test::check_error(ErrorKind::usage, words,
                      [&] { run_slice(p.params, r, p.planted.function(), run); });
  };
  r.grid.x = {"a", 1, -1, 5};
  refuse({"x axis", "low < high"});
  r.grid.x = {"a", -1, 1, 0};
  refuse({"x axis has 0 points"});
  r.grid.x = {"a", -1, kInf, 5};
  refuse({"x axis"});
  r.grid.x = {"a", -1, 1, 5};
  r.grid.y = {"b", -1, 1, 5};
  refuse({"no second direction"});
  r.grid.y = {{}, 0, 0, 1};
  SliceRun run;
  run.shard = 3, run.shards = 3;
  refuse({"shard 3 of 3"}, run);
  r.fields = {{"batch_norm", "x"}};
  refuse({"'batch_norm' is given twice"});
  r.fields = {};
  r.first.parts.pop_back();
  refuse({"4 parts for 5 parameters"});
}

}  // namespace
}  // namespace basin
