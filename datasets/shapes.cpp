// Embedded shapes: see shapes.h. Every class is a triangle mesh built from parametric patches with
// random proportions; the mesh is deformed (scale, taper, twist, bend), sampled by area, cut by a
// random view, turned, blurred by noise and littered with clutter. One random stream per shape.
#include "basin/datasets/shapes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "basin/core/parallel.h"
#include "basin/core/random.h"
#include "basin/datasets/augment.h"
#include "basin/datasets/mesh.h"

namespace basin {
namespace {

using Vec = std::array<double, 3>;

Vec add(const Vec& a, const Vec& b) { return {a[0] + b[0], a[1] + b[1], a[2] + b[2]}; }
Vec times(double s, const Vec& a) { return {s * a[0], s * a[1], s * a[2]}; }
Vec cross(const Vec& a, const Vec& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}
Vec unit(const Vec& a) { return times(1 / std::hypot(a[0], a[1], a[2]), a); }

// The image of the unit square under f(u, v), as a grid of nu x nv cells.
template <class F>
void add_patch(TriangleMesh& mesh, int nu, int nv, F&& f) {
  const auto base = static_cast<int32_t>(mesh.vertices.size());
  for (int i = 0; i <= nu; ++i) {
    for (int j = 0; j <= nv; ++j) {
      mesh.vertices.push_back(f(static_cast<double>(i) / nu, static_cast<double>(j) / nv));
    }
  }
  for (int32_t i = 0; i < nu; ++i) {
    for (int32_t j = 0; j < nv; ++j) {
      const int32_t a = base + i * (nv + 1) + j, b = a + nv + 1;
      mesh.triangles.push_back({a, b, a + 1});
      mesh.triangles.push_back({a + 1, b, b + 1});
    }
  }
}

// A tube of radius r around the curve c(t), 0 <= t <= 1, whose tangent is never along z.
template <class Curve>
void add_tube(TriangleMesh& mesh, int steps, double r, Curve&& c) {
  constexpr double kStep = 1e-4;
  add_patch(mesh, steps, 10, [&](double t, double v) {
    const Vec centre = c(t);
    const Vec tangent = unit(add(c(t + kStep), times(-1, c(t - kStep))));
    const Vec n = unit(cross(tangent, {0, 0, 1})), b = cross(tangent, n);
    const double angle = 2 * std::numbers::pi * v;
    return add(centre, add(times(r * std::cos(angle), n), times(r * std::sin(angle), b)));
  });
}

void add_box(TriangleMesh& mesh, const Vec& centre, const Vec& half) {
  for (size_t k = 0; k < 3; ++k) {
    for (const double side : {-1.0, 1.0}) {
      add_patch(mesh, 6, 6, [&](double u, double v) {
        Vec p = centre;
        p[k] += side * half[k];
        p[(k + 1) % 3] += (2 * u - 1) * half[(k + 1) % 3];
        p[(k + 2) % 3] += (2 * v - 1) * half[(k + 2) % 3];
        return p;
      });
    }
  }
}

// A surface of revolution about z with the profile (radius, height)(u).
template <class Profile>
void add_lathe(TriangleMesh& mesh, int nu, Profile&& profile) {
  add_patch(mesh, nu, 28, [&](double u, double v) {
    const auto [r, z] = profile(u);
    return Vec{r * std::cos(2 * std::numbers::pi * v), r * std::sin(2 * std::numbers::pi * v), z};
  });
}

void add_disc(TriangleMesh& mesh, double radius, double z) {
  add_lathe(mesh, 4, [=](double u) { return std::pair(radius * u, z); });
}

void ellipsoid(TriangleMesh& mesh, Rng& rng) {
  // Superquadric: |cos|^e and |sin|^e in place of cos and sin.
  const double e = rng.uniform(0.8, 1.2);
  const auto power = [](double x, double p) { return std::copysign(std::pow(std::abs(x), p), x); };
  add_patch(mesh, 20, 28, [&](double u, double v) {
    const double t = std::numbers::pi * (u - 0.5), c = power(std::cos(t), e);
    return Vec{c * std::cos(2 * std::numbers::pi * v), c * std::sin(2 * std::numbers::pi * v),
               power(std::sin(t), e)};
  });
}

void box(TriangleMesh& mesh, Rng& rng) {
  add_box(mesh, {0, 0, 0}, {rng.uniform(0.6, 1), rng.uniform(0.6, 1), rng.uniform(0.6, 1)});
}

void cylinder(TriangleMesh& mesh, Rng& rng) {
  const double h = rng.uniform(0.35, 0.6);  // a drum: a long one would be a capsule to any eye
  add_lathe(mesh, 10, [=](double u) { return std::pair(1.0, h * (2 * u - 1)); });
  add_disc(mesh, 1, -h);
  add_disc(mesh, 1, h);
}

void cone(TriangleMesh& mesh, Rng& rng) {
  const double r = rng.uniform(0.6, 1.1);
  add_lathe(mesh, 12, [=](double u) { return std::pair(r * (1 - u), 2 * u - 1); });
  add_disc(mesh, r, -1);
}

void torus(TriangleMesh& mesh, Rng& rng) {
  const double r = rng.uniform(0.2, 0.42);
  add_tube(mesh, 36, r, [](double t) {
    return Vec{std::cos(2 * std::numbers::pi * t), std::sin(2 * std::numbers::pi * t), 0};
  });
}

void capsule(TriangleMesh& mesh, Rng& rng) {
  const double r = rng.uniform(0.3, 0.45), half = 1 - r * 0.5;
  add_lathe(mesh, 8, [=](double u) { return std::pair(r, half * (2 * u - 1)); });
  for (const double side : {-1.0, 1.0}) {
    add_lathe(mesh, 8, [=](double u) {
      const double t = 0.5 * std::numbers::pi * u;
      return std::pair(r * std::cos(t), side * (half + r * std::sin(t)));
    });
  }
}

void bowl(TriangleMesh& mesh, Rng& rng) {
  const double depth =
      rng.uniform(0.42, 0.6) * std::numbers::pi;  // polar angle that the shell reaches
  add_lathe(mesh, 12,
            [=](double u) { return std::pair(std::sin(depth * u), -std::cos(depth * u)); });
}

void helix(TriangleMesh& mesh, Rng& rng) {
  const double turns = rng.uniform(2, 3.5), r = rng.uniform(0.1, 0.18);
  add_tube(mesh, 96, r, [=](double t) {
    const double a = 2 * std::numbers::pi * turns * t;
    return Vec{0.8 * std::cos(a), 0.8 * std::sin(a), 2.2 * t - 1.1};
  });
}

void moebius(TriangleMesh& mesh, Rng& rng) {
  const double width = rng.uniform(0.3, 0.5);
  add_patch(mesh, 48, 6, [=](double u, double v) {
    const double a = 2 * std::numbers::pi * u, s = width * (2 * v - 1),
                 r = 1 + s * std::cos(0.5 * a);
    return Vec{r * std::cos(a), r * std::sin(a), s * std::sin(0.5 * a)};
  });
}

void saddle(TriangleMesh& mesh, Rng& rng) {
  const double bow = rng.uniform(0.5, 0.9);
  add_patch(mesh, 14, 14, [=](double u, double v) {
    const double x = 2 * u - 1, y = 2 * v - 1;
    return Vec{x, y, bow * (x * x - y * y)};
  });
}

void trefoil(TriangleMesh& mesh, Rng& rng) {
  const double r = rng.uniform(0.12, 0.2);
  add_tube(mesh, 96, r, [](double t) {
    const double a = 2 * std::numbers::pi * t;
    return Vec{0.4 * (std::sin(a) + 2 * std::sin(2 * a)), 0.4 * (std::cos(a) - 2 * std::cos(2 * a)),
               -0.5 * std::sin(3 * a)};
  });
}

void bracket(TriangleMesh& mesh, Rng& rng) {
  const double t = rng.uniform(0.12, 0.25), depth = rng.uniform(0.35, 0.7);
  const double arm = rng.uniform(0.7, 1), leg = rng.uniform(0.7, 1);
  add_box(mesh, {arm - t, 0, -leg + t}, {arm, depth, t});
  add_box(mesh, {0, 0, t}, {t, depth, leg});
}

void plus(TriangleMesh& mesh, Rng& rng) {
  const double t = rng.uniform(0.15, 0.28), depth = rng.uniform(0.15, 0.35);
  const double offset = rng.uniform(-0.25, 0.25);
  add_box(mesh, {0, 0, 0}, {t, depth, 1});
  add_box(mesh, {0, 0, offset}, {rng.uniform(0.7, 1), depth, t});
}

void table(TriangleMesh& mesh, Rng& rng) {
  const double t = rng.uniform(0.06, 0.14), leg = rng.uniform(0.07, 0.14);
  const double x = rng.uniform(0.7, 1), y = rng.uniform(0.5, 1), height = rng.uniform(0.45, 0.8);
  add_box(mesh, {0, 0, height}, {x, y, t});
  for (const double sx : {-1.0, 1.0}) {
    for (const double sy : {-1.0, 1.0}) {
      add_box(mesh, {sx * (x - leg), sy * (y - leg), 0}, {leg, leg, height});
    }
  }
}

void chain(TriangleMesh& mesh, Rng& rng) {
  const double r = rng.uniform(0.1, 0.18), gap = rng.uniform(0.35, 0.6);
  add_tube(mesh, 32, r, [=](double t) {
    return Vec{0.7 * std::cos(2 * std::numbers::pi * t) - gap,
               0.7 * std::sin(2 * std::numbers::pi * t), 0};
  });
  const size_t first = mesh.vertices.size();
  add_tube(mesh, 32, r, [=](double t) {
    return Vec{0.7 * std::cos(2 * std::numbers::pi * t) + gap,
               0.7 * std::sin(2 * std::numbers::pi * t), 0};
  });
  for (size_t i = first; i < mesh.vertices.size(); ++i) {  // a quarter turn about x
    Vec& p = mesh.vertices[i];
    p = {p[0], -p[2], p[1]};
  }
}

struct ShapeClass {
  const char* name;
  void (*build)(TriangleMesh&, Rng&);
};
constexpr ShapeClass kClasses[] = {
    {"bowl", bowl},           {"box", box},     {"bracket", bracket}, {"capsule", capsule},
    {"chain", chain},         {"cone", cone},   {"cross", plus},      {"cylinder", cylinder},
    {"ellipsoid", ellipsoid}, {"helix", helix}, {"moebius", moebius}, {"saddle", saddle},
    {"table", table},         {"torus", torus}, {"trefoil", trefoil},
};

// Scale per axis, taper along z, twist about z, bend in the x-z plane.
void deform(TriangleMesh& mesh, Rng& rng) {
  Vec scale;
  for (double& s : scale) s = std::exp(rng.uniform(-0.45, 0.45));
  const double taper = rng.uniform(-0.3, 0.3), twist = rng.uniform(-0.5, 0.5);
  const double bend = rng.uniform(-0.5, 0.5);
  for (Vec& p : mesh.vertices) {
    const double z = p[2] * scale[2], wide = 1 + taper * p[2], angle = twist * p[2];
    const double x0 = p[0] * scale[0] * wide, y0 = p[1] * scale[1] * wide;
    const double x = x0 * std::cos(angle) - y0 * std::sin(angle);
    const double y = x0 * std::sin(angle) + y0 * std::cos(angle);
    p = {x * std::cos(bend * z) + z * std::sin(bend * z), y,
         z * std::cos(bend * z) - x * std::sin(bend * z)};
  }
}

Vec direction(Rng& rng) { return unit({rng.normal(), rng.normal(), rng.normal()}); }

// The `points` samples that lie lowest along a random direction, in their order.
std::vector<float> cut_view(const Tensor& cloud, int points, Rng& rng) {
  const auto* xyz = cloud.data<float>();
  const int64_t n = cloud.size(0);
  const Vec d = direction(rng);
  std::vector<std::pair<double, int64_t>> height;
  for (int64_t i = 0; i < n; ++i) {
    height.emplace_back(xyz[3 * i] * d[0] + xyz[3 * i + 1] * d[1] + xyz[3 * i + 2] * d[2], i);
  }
  std::vector<std::pair<double, int64_t>> sorted = height;
  std::nth_element(sorted.begin(), sorted.begin() + (points - 1), sorted.end());
  std::vector<float> out;
  for (const auto& h : height) {
    if (h <= sorted[points - 1]) out.insert(out.end(), xyz + 3 * h.second, xyz + 3 * h.second + 3);
  }
  return out;
}

// Heading, tilt of at most about 30 degrees, noise, clutter.
void disturb(std::span<float> xyz, Rng& rng) {
  rotate(xyz, yaw_rotation(rng.uniform(-0.5, 0.5), Axis::x));
  rotate(xyz, yaw_rotation(rng.uniform(-0.5, 0.5), Axis::y));
  rotate(xyz, yaw_rotation(rng.uniform(0, 2 * std::numbers::pi), Axis::z));
  const double sigma = rng.uniform(0, 0.02), clutter = rng.uniform(0, 0.06);
  for (size_t i = 0; i < xyz.size(); i += 3) {
    const bool stray = rng.uniform() < clutter;
    for (size_t axis = 0; axis < 3; ++axis) {
      const double value = stray ? rng.uniform(-1, 1) : xyz[i + axis] + sigma * rng.normal();
      xyz[i + axis] = static_cast<float>(value);
    }
  }
}

std::vector<float> make_shape(const ShapeClass& shape, int points, Rng& rng) {
  TriangleMesh mesh;
  shape.build(mesh, rng);
  deform(mesh, rng);
  const double missing = rng.uniform(0, 0.2);
  const auto sampled = static_cast<int64_t>(std::ceil(points / (1 - missing)));
  const Tensor cloud = sample_surface(mesh, sampled, rng, shape.name).points.to(DType::f32);
  std::vector<float> xyz = cut_view(cloud, points, rng);
  normalise_cloud(xyz, Normalisation::unit_sphere);  // so that noise and clutter are relative
  disturb(xyz, rng);
  return xyz;
}

// Classes take turns, so that any prefix of the set is balanced.
PointCloudSet make_set(const char* purpose, int per_class, int points, uint64_t seed,
                       Normalisation normalise) {
  const auto classes = static_cast<int64_t>(std::size(kClasses)), n = classes * per_class;
  PointCloudSet set;
  set.points = Tensor::empty({n, points, 3}, DType::f32);
  set.labels = Tensor::empty({n}, DType::i64);
  set.class_names = embedded_class_names();
  set.source = str("embedded shapes (", purpose, "), seed ", seed);
  auto* out = set.points.mutable_data<float>();
  auto* labels = set.labels.mutable_data<int64_t>();
  const int64_t stride = int64_t{3} * points;
  parallel_for(n, 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Rng rng(seed, stream_id(purpose, static_cast<uint64_t>(i)));
      const std::vector<float> xyz = make_shape(kClasses[i % classes], points, rng);
      std::copy(xyz.begin(), xyz.end(), out + i * stride);
      normalise_cloud({out + i * stride, static_cast<size_t>(stride)}, normalise);
      labels[i] = i % classes;
    }
  });
  seal(set);
  return set;
}

}  // namespace

const std::vector<std::string>& embedded_class_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> out;
    for (const ShapeClass& c : kClasses) out.emplace_back(c.name);
    return out;
  }();
  return names;
}

PointCloudSplits embedded_shapes(int train_per_class, int test_per_class, int points, uint64_t seed,
                                 Normalisation normalise) {
  check(train_per_class > 0 && test_per_class > 0 && points > 0,
        "embedded_shapes: expected positive counts, got ", train_per_class, ", ", test_per_class,
        " and ", points, " points");
  PointCloudSplits splits;
  splits.train = make_set("embedded train", train_per_class, points, seed, normalise);
  splits.test = make_set("embedded test", test_per_class, points, seed, normalise);
  splits.description =
      str("embedded shapes, ", splits.train.size(), " training and ", splits.test.size(),
          " test shapes of ", splits.train.classes(), " classes, ", points, " points, seed ", seed);
  return splits;
}

}  // namespace basin
