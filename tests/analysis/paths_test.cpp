// Between checkpoints: the barrier of a line against its definition, principal directions of a path
// that was planted in a plane, the share that a plane shows, statistics between two networks.
#include "basin/analysis/paths.h"

#include <doctest/doctest.h>

#include <cmath>

#include "basin/core/error.h"
#include "basin/tests/analysis/slice_problem.h"

namespace basin {
namespace {

using doctest::Approx;
using testing::small_params;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

Slice line_of(const std::vector<double>& losses) {
  SliceGrid grid;
  grid.x = {"t", 0, 1, static_cast<int>(losses.size())};
  Slice out(grid, {});
  out.loss = losses;
  for (size_t i = 0; i < losses.size(); ++i) {
    out.state[i] = std::isfinite(losses[i]) ? PointState::done : PointState::failed;
  }
  return out;
}

// base + x p + y q + z r in f64.
ParamList at(const ParamList& base, const std::vector<Direction>& directions,
             const std::vector<double>& by) {
  ParamList out = base.clone();
  for (size_t k = 0; k < by.size(); ++k) {
    const Tensors moved_on = moved(out, &directions[k], by[k], nullptr, 0);
    for (size_t i = 0; i < out.size(); ++i) out[i].value = moved_on[i];
  }
  return out;
}

// Three orthonormal directions.
std::vector<Direction> frame(const ParamList& params) {
  std::vector<Direction> out;
  for (int k = 0; k < 3; ++k) {
    Direction d = random_direction(params, 11, k, DirectionNorm::none);
    for (const Direction& before : out) remove_component(d, before);
    const double length = d.norm();
    for (Tensor& part : d.parts) {
      for (int64_t i = 0; i < part.numel(); ++i) part.mutable_data<double>()[i] /= length;
    }
    out.push_back(d);
  }
  return out;
}

double distance(const Direction& a, const Direction& b) {
  return std::sqrt(std::max(0.0, a.dot(a) + b.dot(b) - 2 * a.dot(b)));
}

TEST_CASE("paths: the barrier is the highest rise above the line between the ends") {
  const Barrier b = line_barrier(line_of({1, 2.5, 2, 3, 2}));
  CHECK(b.height == Approx(1.25));  // at t = 1/4: 2.5 - 1.25; at 3/4: 3 - 1.75 is the same
  CHECK(b.at == 0.25);
  CHECK(b.loss == 2.5);
  CHECK(b.points == 5);
  // A straight fall has none, whatever its slope; nor has a line that sags.
  CHECK(line_barrier(line_of({3, 2, 1})).height == 0);
  CHECK(line_barrier(line_of({3, 1, 2})).height == 0);
  // Higher than the end does not make a barrier of a rising line.
  CHECK(line_barrier(line_of({1, 1.9, 3})).height == 0);
  // Failed points are left out, a failed end leaves nothing to measure from.
  const Barrier holed = line_barrier(line_of({1, kNaN, 1.5, 1}));
  CHECK(holed.height == Approx(0.5));
  CHECK(holed.points == 3);
  CHECK(std::isnan(line_barrier(line_of({kNaN, 2, 1})).height));
  Slice other = line_of({1, 2, 1});
  other.grid.x.low = -1;
  CHECK_THROWS_AS(line_barrier(other), Error);
}

TEST_CASE("paths: principal directions of a path that lies in a plane, but for a little") {
  const ParamList base = small_params(3);
  const std::vector<Direction> f = frame(base);
  // An ellipse-like arc of semi-axes 5 and 2 in (f0, f1); the last checkpoint is no centre of it.
  std::vector<ParamList> path;
  for (int i = 0; i <= 12; ++i) {
    const double angle = 0.25 * i;
    path.push_back(at(base, f, {5 * std::cos(angle), 2 * std::sin(angle), 0.0}));
  }
  const PathPlane plane = principal_plane(path);
  CHECK(plane.first.norm() == Approx(1).epsilon(1e-12));
  CHECK(plane.second.norm() == Approx(1).epsilon(1e-12));
  CHECK(std::abs(plane.first.dot(plane.second)) < 1e-12);
  CHECK(plane.shares[0] + plane.shares[1] == Approx(1).epsilon(1e-12));
  CHECK(plane.shares[0] > plane.shares[1]);
  // They span the plane that the path was planted in.
  CHECK(std::abs(plane.first.dot(f[2])) < 1e-10);
  CHECK(std::abs(plane.second.dot(f[2])) < 1e-10);
  const ProjectedPath flat = projected_path(path, path.back(), plane.first, plane.second);
  CHECK(flat.share == Approx(1).epsilon(1e-12));
  CHECK(flat.x.back() == 0);
  CHECK(flat.y.back() == 0);
  CHECK(flat.x.front() >= 0);  // the signs are fixed: the start lies in the first quadrant
  CHECK(flat.y.front() >= 0);
  // Distances in the picture are distances between weights.
  const Direction step = difference_direction(path[4], path[9], "step");
  CHECK(std::hypot(flat.x[9] - flat.x[4], flat.y[9] - flat.y[4]) ==
        Approx(step.norm()).epsilon(1e-12));

  // A third direction takes its share of the variance with it.
  double spread = 0, mean = 0, third = 0;
  for (int i = 0; i <= 12; ++i) {
    const double z = i % 2 == 0 ? 1 : -1;
    path[static_cast<size_t>(i)] = at(path[static_cast<size_t>(i)], {f[2]}, {z});
    mean += z / 13;
  }
  for (int i = 0; i <= 12; ++i) third += std::pow((i % 2 == 0 ? 1 : -1) - mean, 2);
  for (const Direction* d : {&f[0], &f[1], &f[2]}) {
    std::vector<double> along;
    double middle = 0;
    for (const ParamList& w : path) {
      along.push_back(difference_direction(base, w, "").dot(*d));
      middle += along.back() / 13;
    }
    for (double v : along) spread += std::pow(v - middle, 2);
  }
  const ProjectedPath shadow = projected_path(path, base, f[0], f[1]);
  CHECK(shadow.share == Approx(1 - third / spread).epsilon(1e-10));
  const PathPlane best = principal_plane(path);
  CHECK(best.shares[0] + best.shares[1] >= shadow.share - 1e-12);
}

TEST_CASE("paths: what spans no plane is refused by name") {
  const ParamList base = small_params(3);
  const std::vector<Direction> f = frame(base);
  CHECK_THROWS_WITH_AS(principal_plane({base, base}),
                       "principal_plane: expects at least three checkpoints, given 2", Error);
  const std::vector<ParamList> straight{base, at(base, f, {1.0}), at(base, f, {3.0})};
  try {
    principal_plane(straight);
    FAIL("nothing was thrown");
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::numerical);
    CHECK(std::string(e.what()).find("lie on a line") != std::string::npos);
  }
  ParamList other;
  other.add_vector("another", Tensor::zeros({2}, DType::f64), Role::bias);
  CHECK_THROWS_AS(principal_plane({base, base, other}), Error);
  CHECK(distance(f[0], f[0]) == 0);
}

TEST_CASE("paths: statistics between networks, the ends to the bit") {
  ParamList a, b, c;
  const auto add = [](ParamList& to, double mean, int64_t seen) {
    to.add_vector("bn.running_mean", Tensor::from<float>({static_cast<float>(mean)}, {1}),
                  Role::bias);
    to.add_vector("bn.num_batches_tracked", Tensor::from<int64_t>({seen}, {1}), Role::bias);
  };
  add(a, 0.1, 5), add(b, 0.7, 9), add(c, -1.0, 4);
  CHECK(between(a, b, 0)[0].value.at(0) == a[0].value.at(0));
  CHECK(between(a, b, 1)[0].value.at(0) == b[0].value.at(0));
  CHECK(between(a, b, 0.25)[0].value.at(0) == Approx(0.25).epsilon(1e-6));
  CHECK(between(a, b, 0.25)[1].value.at(0) == 5);
  CHECK(between(a, b, 0.75)[1].value.at(0) == 9);
  CHECK(between(a, b, c, 0, 1)[0].value.at(0) == c[0].value.at(0));
  CHECK(between(a, b, c, 1.0 / 3, 1.0 / 3)[0].value.at(0) ==
        Approx((0.1 + 0.7 - 1.0) / 3).epsilon(1e-6));
}

}  // namespace
}  // namespace basin
