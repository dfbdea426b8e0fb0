// Corruptions of clouds: see corruptions.h. A corruption is a row of facts (the table) and a
// function on the cloud in double (the steps); what comes out is rounded to f32 once, then BOX.
#include "basin/datasets/corruptions.h"

#include <cmath>
#include <numbers>
#include <span>
#include <utility>

#include "basin/core/params.h"
#include "basin/datasets/detail/corruption_draws.h"
#include "basin/datasets/detail/deformation.h"

namespace basin {
namespace {

using corruption::choose;
using Point = std::array<double, 3>;
using Cloud = std::vector<Point>;
using Matrix = std::array<Point, 3>;

constexpr int64_t kCutoutPoints = 30;    // removed around each seed point
constexpr int64_t kClusterPoints = 100;  // around each seed point of density and density_inc
constexpr int64_t kThinnedPoints = 75;   // of those 100 that density removes
constexpr double kImpulse = 0.1, kCopyNoise = 0.05;
constexpr double kAngleSpread = 2.5, kShearSpread = 0.05;  // half widths around the level

std::span<double> flat(Cloud& cloud) { return {cloud.data()->data(), 3 * cloud.size()}; }

double sign(Rng& rng) { return rng.below(2) == 0 ? -1 : 1; }

// The `count` points nearest to cloud[centre], itself included, as ascending numbers; ties go to
// the smaller number.
std::vector<int64_t> nearest(const Cloud& cloud, int64_t centre, int64_t count) {
  std::vector<std::pair<double, int64_t>> order(cloud.size());
  for (size_t i = 0; i < cloud.size(); ++i) {
    double square = 0;
    for (int axis = 0; axis < 3; ++axis) {
      const double d = cloud[i][axis] - cloud[centre][axis];
      square += d * d;
    }
    order[i] = {square, static_cast<int64_t>(i)};
  }
  std::nth_element(order.begin(), order.begin() + (count - 1), order.end());
  std::vector<int64_t> out;
  for (int64_t i = 0; i < count; ++i) out.push_back(order[i].second);
  std::sort(out.begin(), out.end());
  return out;
}

void erase(Cloud& cloud, const std::vector<int64_t>& ascending) {
  size_t kept = 0;
  auto next = ascending.begin();
  for (size_t i = 0; i < cloud.size(); ++i) {
    if (next != ascending.end() && *next == static_cast<int64_t>(i)) {
      ++next;
    } else {
      cloud[kept++] = cloud[i];
    }
  }
  cloud.resize(kept);
}

// level: of the table; count: the same as a number of points or of seeds, scaled to this cloud.
struct ScaledLevel {
  double level;
  int64_t count;
};

void thicken(Cloud& cloud, const ScaledLevel& step, Rng& rng) {
  const auto wanted = static_cast<int64_t>(cloud.size()) / 2;
  Cloud out;
  for (int64_t k = 0; k < step.count; ++k) {
    const int64_t centre = rng.below(static_cast<int64_t>(cloud.size()));
    const auto cluster = nearest(cloud, centre, kClusterPoints);
    for (int64_t i : cluster) out.push_back(cloud[i]);
    erase(cloud, cluster);
  }
  while (static_cast<int64_t>(out.size()) < wanted) {
    out.push_back(cloud[rng.below(static_cast<int64_t>(cloud.size()))]);
  }
  cloud = std::move(out);
}

void thin(Cloud& cloud, const ScaledLevel& step, Rng& rng) {
  for (int64_t k = 0; k < step.count; ++k) {
    const int64_t centre = rng.below(static_cast<int64_t>(cloud.size()));
    const auto cluster = nearest(cloud, centre, kClusterPoints);
    std::vector<int64_t> gone;
    for (int64_t i : choose(kClusterPoints, kThinnedPoints, rng)) gone.push_back(cluster[i]);
    std::sort(gone.begin(), gone.end());
    erase(cloud, gone);
  }
}

void cut_out(Cloud& cloud, const ScaledLevel& step, Rng& rng) {
  for (int64_t k = 0; k < step.count; ++k) {
    const int64_t centre = rng.below(static_cast<int64_t>(cloud.size()));
    erase(cloud, nearest(cloud, centre, kCutoutPoints));
  }
}

void add_uniform(Cloud& cloud, const ScaledLevel& step, Rng& rng) {
  for (double& x : flat(cloud)) x += rng.uniform(-step.level, step.level);
}

void add_gaussian(Cloud& cloud, const ScaledLevel& step, Rng& rng) {
  for (double& x : flat(cloud)) x = std::clamp(x + step.level * rng.normal(), -1.0, 1.0);
}

void add_impulses(Cloud& cloud, const ScaledLevel& step, Rng& rng) {
  for (int64_t i : choose(static_cast<int64_t>(cloud.size()), step.count, rng)) {
    for (double& x : cloud[i]) x += kImpulse * sign(rng);
  }
}

void append_copies(Cloud& cloud, const ScaledLevel& step, Rng& rng) {
  for (int64_t i : choose(static_cast<int64_t>(cloud.size()), step.count, rng)) {
    Point copy = cloud[i];
    for (double& x : copy) x += rng.uniform(-kCopyNoise, kCopyNoise);
    cloud.push_back(copy);
  }
}

void append_background(Cloud& cloud, const ScaledLevel& step, Rng& rng) {
  for (int64_t i = 0; i < step.count; ++i) {
    Point p;
    for (double& x : p) x = rng.uniform(-1, 1);
    cloud.push_back(p);
  }
}

// Row vectors times the matrix.
void multiply(Cloud& cloud, const Matrix& m) {
  for (Point& p : cloud) {
    Point q{};
    for (int j = 0; j < 3; ++j) q[j] = p[0] * m[0][j] + p[1] * m[1][j] + p[2] * m[2][j];
    p = q;
  }
}

double signed_level(double level, double spread, Rng& rng) {
  const double size = rng.uniform(level - spread, level + spread);
  return size * sign(rng);
}

void turn(Cloud& cloud, const ScaledLevel& step, Rng& rng) {
  double c[3], s[3];
  for (int axis = 0; axis < 3; ++axis) {
    const double angle = signed_level(step.level, kAngleSpread, rng) * std::numbers::pi / 180;
    c[axis] = std::cos(angle), s[axis] = std::sin(angle);
  }
  multiply(cloud, {{{1, 0, 0}, {0, c[0], -s[0]}, {0, s[0], c[0]}}});
  multiply(cloud, {{{c[1], 0, s[1]}, {0, 1, 0}, {-s[1], 0, c[1]}}});
  multiply(cloud, {{{c[2], -s[2], 0}, {s[2], c[2], 0}, {0, 0, 1}}});
}

void shear(Cloud& cloud, const ScaledLevel& step, Rng& rng) {
  double entry[4];
  for (double& e : entry) e = signed_level(step.level, kShearSpread, rng);
  multiply(cloud, {{{1, 0, entry[0]}, {entry[1], 1, entry[2]}, {entry[3], 0, 1}}});
}

void distort(Cloud& cloud, const ScaledLevel& step, Rng& rng) {
  LatticeVectors weights;
  for (auto& w : weights) {
    for (double& x : w) x = rng.uniform(-step.level, step.level);
  }
  free_form_deform(flat(cloud), weights);
}

// Directions from two uniform angles, as the benchmark draws them: denser at the poles.
void distort_radially(Cloud& cloud, const ScaledLevel& step, Rng& rng, RadialKernel kernel) {
  LatticeVectors moves;
  for (auto& m : moves) {
    const double a = rng.uniform(-std::numbers::pi, std::numbers::pi);
    const double g = rng.uniform(-std::numbers::pi, std::numbers::pi);
    m = {step.level * std::cos(a) * std::sin(g), step.level * std::sin(a) * std::sin(g),
         step.level * std::cos(g)};
  }
  radial_deform(flat(cloud), moves, kernel);
}

void distort_rbf(Cloud& cloud, const ScaledLevel& step, Rng& rng) {
  distort_radially(cloud, step, rng, RadialKernel::multiquadric);
}

void distort_rbf_inverse(Cloud& cloud, const ScaledLevel& step, Rng& rng) {
  distort_radially(cloud, step, rng, RadialKernel::inverse_multiquadric);
}

// A corruption's description, and what that cannot hold. `fractions`: the level is N / fraction,
// rounded down. A cloud of N points gets `added` and loses `removed` points per count.
struct TableRow {
  CorruptionInfo info;
  void (*apply)(Cloud&, const ScaledLevel&, Rng&) = nullptr;  // null: made from a mesh
  std::array<int64_t, 5> fractions{};
  int64_t added = 0, removed = 0;  // points per count
};

std::array<double, 5> levels_of(const std::array<int64_t, 5>& fractions) {
  std::array<double, 5> out;
  for (int i = 0; i < 5; ++i) {
    const int64_t count = kCorruptionPoints / fractions[i];  // whole points
    out[i] = static_cast<double>(count);
  }
  return out;
}

std::vector<TableRow> make_table() {
  using enum CorruptionGroup;
  using enum CorruptionInput;
  constexpr std::array<int64_t, 5> impulse{30, 25, 20, 15, 10}, copies{5, 4, 3, 2, 1},
      clutter{45, 40, 35, 30, 20};
  constexpr std::array<double, 5> sectors{72, 144, 216, 288, 360}, seeds{1, 2, 3, 4, 5},
      moves{0.025, 0.05, 0.075, 0.1, 0.125};
  std::vector<TableRow> r;
  r.push_back({{"occlusion", density, mesh, true, sectors,
                "what a camera 3 units away sees; the level is the centre of a sector of views in "
                "degrees, not a strength"}});
  r.push_back({{"lidar", density, mesh, false, sectors,
                "scan lines 1 degree apart seen from 5 units away; the level is the centre of a "
                "sector of views in degrees, not a strength"}});
  r.push_back({{"density_inc", density, dense_cloud, false, seeds,
                "clusters of 100 points that are kept whole, the others are thinned"},
               thicken});
  r.push_back(
      {{"density", density, cloud, false, seeds, "clusters of 100 points of which 75 are removed"},
       thin,
       {},
       0,
       kThinnedPoints});
  r.push_back({{"cutout", density, cloud, false, {2, 3, 5, 7, 10}, "holes of 30 points"},
               cut_out,
               {},
               0,
               kCutoutPoints});
  r.push_back({{"uniform",
                noise,
                cloud,
                true,
                {0.01, 0.02, 0.03, 0.04, 0.05},
                "uniform noise of this half width on every coordinate"},
               add_uniform});
  r.push_back({{"gaussian",
                noise,
                cloud,
                false,
                {0.01, 0.015, 0.02, 0.025, 0.03},
                "normal noise of this standard deviation on every coordinate, clipped to [-1, 1]"},
               add_gaussian});
  r.push_back({{"impulse", noise, cloud, true, levels_of(impulse),
                "points of 1,024 whose coordinates move by 0.1 up or down"},
               add_impulses,
               impulse});
  r.push_back({{"upsampling", noise, cloud, true, levels_of(copies),
                "copies of points of 1,024, with uniform noise of half width 0.05, are appended"},
               append_copies,
               copies,
               1,
               0});
  r.push_back({{"background", noise, cloud, true, levels_of(clutter),
                "points uniform in [-1, 1]^3 per 1,024 are appended"},
               append_background,
               clutter,
               1,
               0});
  r.push_back({{"rotation",
                transformation,
                cloud,
                true,
                {2.5, 5, 7.5, 10, 15},
                "turns about x, y and z by this many degrees +- 2.5, of random signs"},
               turn});
  r.push_back({{"shear",
                transformation,
                cloud,
                true,
                {0.05, 0.1, 0.15, 0.2, 0.25},
                "four off-diagonal entries of this size +- 0.05, of random signs"},
               shear});
  r.push_back({{"distortion",
                transformation,
                cloud,
                true,
                {0.1, 0.2, 0.3, 0.4, 0.5},
                "free-form deformation, control points move by up to this share of the box edge"},
               distort});
  r.push_back({{"distortion_rbf", transformation, cloud, true, moves,
                "multiquadric deformation, control points move by this distance"},
               distort_rbf});
  r.push_back({{"distortion_rbf_inv", transformation, cloud, true, moves,
                "inverse multiquadric deformation, control points move by this distance"},
               distort_rbf_inverse});
  return r;
}

const std::vector<TableRow>& table() {
  static const std::vector<TableRow> all = make_table();
  return all;
}

const TableRow& row_of(const std::string& name) {
  std::vector<std::string> names;
  for (const TableRow& r : table()) {
    if (r.info.name == name) return r;
    names.push_back(r.info.name);
  }
  const std::string near = nearest_name(name, names);
  fail(ErrorKind::usage, "corruption: no corruption '", name, "'",
       near.empty() ? "" : "; did you mean '" + near + "'?");
}

ScaledLevel step_of(const TableRow& row, int severity, int64_t points) {
  const double level = row.info.levels[severity - 1];
  const int64_t fraction = row.fractions[severity - 1];
  return {level, fraction > 0 ? points / fraction : static_cast<int64_t>(level)};
}

// Every seed of a density corruption needs its whole cluster, and a point has to be left.
int64_t points_needed(const TableRow& row, int64_t count) {
  if (row.info.input == CorruptionInput::dense_cloud) return 2 * kClusterPoints * count;
  if (row.removed == kThinnedPoints) return kThinnedPoints * (count - 1) + kClusterPoints;
  return row.removed * count + 1;
}

}  // namespace

void corruption::check_severity(const char* where, int severity) {
  check(severity >= 1 && severity <= kSeverities, where, ": expected a severity from 1 to ",
        kSeverities, ", got ", severity);
}

const std::vector<CorruptionInfo>& corruptions() {
  static const std::vector<CorruptionInfo> all = [] {
    std::vector<CorruptionInfo> out;
    for (const TableRow& r : table()) out.push_back(r.info);
    return out;
  }();
  return all;
}

const CorruptionInfo& corruption_info(const std::string& name) { return row_of(name).info; }

std::string_view name_of(CorruptionGroup group) {
  constexpr std::string_view kNames[] = {"density", "noise", "transformation"};
  return kNames[static_cast<int>(group)];
}

int64_t corrupted_points(const CorruptionInfo& info, int severity, int64_t points) {
  corruption::check_severity("corrupted_points", severity);
  const TableRow& row = row_of(info.name);
  if (row.apply == nullptr) return info.name == "lidar" ? 768 : 1024;
  const bool dense = info.input == CorruptionInput::dense_cloud;
  if (points == 0) points = dense ? kCorruptionDensePoints : kCorruptionPoints;
  const int64_t count = step_of(row, severity, points).count;
  const int64_t needed = points_needed(row, count);
  check(points >= needed, "corruption: ", info.name, " at severity ", severity,
        " needs clouds of at least ", needed, " points, got ", points);
  return (dense ? points / 2 : points) + (row.added - row.removed) * count;
}

Tensor corrupt_cloud(const Tensor& points, const CorruptionInfo& info, int severity, uint64_t seed,
                     uint64_t index) {
  const bool shaped = points.defined() && points.rank() == 2 && points.size(1) == 3 &&
                      points.dtype() == DType::f32 && points.size(0) > 0;
  check(shaped, "corrupt_cloud: expected points [N, 3] f32, got ", points);
  const TableRow& row = row_of(info.name);
  check(row.apply != nullptr, "corrupt_cloud: ", info.name,
        " is made from meshes, a cloud cannot give it; use corrupt_mesh");
  const int64_t n = corrupted_points(info, severity, points.size(0));
  Cloud cloud(static_cast<size_t>(points.size(0)));
  std::copy_n(points.data<float>(), points.numel(), flat(cloud).data());
  Rng rng = corruption::stream("corruption", info, severity, seed, index);
  row.apply(cloud, step_of(row, severity, points.size(0)), rng);
  Tensor out = Tensor::empty({n, 3}, DType::f32);
  auto* xyz = out.mutable_data<float>();
  for (const Point& p : cloud) xyz = std::copy(p.begin(), p.end(), xyz);
  corruption::finish(info, out);
  return out;
}

}  // namespace basin
