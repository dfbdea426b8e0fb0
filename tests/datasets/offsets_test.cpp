// Clouds far from the origin: normalised in f64 they are those of the file without the offset, in
// every format; what rounding or the file itself loses is warned of.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "basin/core/random.h"
#include "basin/datasets/corruptions.h"
#include "basin/datasets/npy.h"
#include "basin/datasets/point_cloud.h"
#include "basin/tests/core/files.h"
#include "basin/tests/datasets/folder_helpers.h"
#include "basin/tests/datasets/hdf5_skip.h"

using namespace basin;
using test::Log;
using test::write;

namespace {

constexpr int64_t kPoints = 32;

// A cloud on a lattice of 2^-20, so that f64 holds it exactly out to 2^32.
std::vector<double> lattice_cloud(double offset) {
  Rng rng(3, 0);
  std::vector<double> xyz;
  for (int64_t i = 0; i < 3 * kPoints; ++i) {
    const double x = std::ldexp(std::floor(std::ldexp(rng.uniform(-1, 1), 20)), -20);
    xyz.push_back(x + (i % 3 == 0 ? offset : i % 3 == 1 ? -offset : 0.5 * offset));
  }
  return xyz;
}

std::string lines(const std::vector<double>& xyz, const char* separator, const char* head = "") {
  std::string out;
  char text[100];
  for (size_t i = 0; i < xyz.size(); i += 3) {
    std::snprintf(text, sizeof text, "%s%.17g%s%.17g%s%.17g\n", head, xyz[i], separator, xyz[i + 1],
                  separator, xyz[i + 2]);
    out += text;
  }
  return out;
}

std::string ply_head(const char* format) {
  return str("ply\nformat ", format, " 1.0\nelement vertex ", kPoints,
             "\nproperty double x\nproperty double y\nproperty double z\nend_header\n");
}

std::string binary_ply(const std::vector<double>& xyz) {
  std::string out = ply_head("binary_little_endian");
  return out.append(reinterpret_cast<const char*>(xyz.data()), xyz.size() * sizeof(double));
}

struct Format {
  const char* file;
  std::function<std::string(const std::vector<double>&)> text;
};

std::vector<Format> formats() {
  return {
      {"a.txt", [](const auto& x) { return lines(x, ","); }},
      {"a.xyz", [](const auto& x) { return lines(x, " "); }},
      {"a.ply", [](const auto& x) { return ply_head("ascii") + lines(x, " "); }},
      {"b.ply", binary_ply},
      {"a.off", [](const auto& x) { return str("OFF\n", kPoints, " 0 0\n") + lines(x, " "); }},
      {"a.obj", [](const auto& x) { return lines(x, " ", "v "); }},
      {"a.npy",
       [](const auto& x) {
         const auto bytes = serialize_npy(Tensor::from(x, {kPoints, 3}));
         return std::string(bytes.begin(), bytes.end());
       }},
  };
}

double largest_gap(const Tensor& a, const Tensor& b) {
  REQUIRE(a.numel() == b.numel());
  double out = 0;
  for (int64_t i = 0; i < a.numel(); ++i) out = std::max(out, std::abs(a.at(i) - b.at(i)));
  return out;
}

}  // namespace

TEST_CASE("offsets: every format gives the centred cloud after either normalisation") {
  const test::TempDir dir;
  for (const Format& format : formats()) {
    for (const Normalisation normalise :
         {Normalisation::unit_sphere, Normalisation::bounding_box}) {
      LoadOptions o;
      o.normalise = normalise;
      const auto loaded = [&](double offset) {
        write(dir / format.file, format.text(lattice_cloud(offset)));
        return load_cloud(dir / format.file, o).points;
      };
      const Tensor centred = loaded(0);
      for (const double offset : {1e3, 1e6, 1e9}) {
        CAPTURE(format.file);
        CAPTURE(offset);
        const Log log;
        const double gap = largest_gap(loaded(offset), centred);
        CHECK(gap <= 6e-8);  // half a unit in the last place of 1
        // At 1e9 the steps of f64 are wider than those of f32 at 1.
        CHECK((log.warnings.find("so far from the origin") != std::string::npos) ==
              (offset == 1e9));
      }
    }
  }
}

TEST_CASE("offsets: HDF5, four times the same cloud, in f64") {
  if (test::skip_without_hdf5()) return;
  const test::TempDir dir;
  for (const char* name : {"train.h5", "test.h5"}) {
    fs::copy_file(test::fixtures() / "hdf5_forms/offsets.h5", dir / name);
  }
  const Log log;
  const PointCloudSet set = load_point_clouds(dir.path()).train;
  REQUIRE(set.size() == 4);
  for (int64_t row = 1; row < 4; ++row) {
    CAPTURE(row);
    double gap = 0;
    for (size_t i = 0; i < set.xyz(0).size(); ++i) {
      gap = std::max<double>(gap, std::abs(set.xyz(row)[i] - set.xyz(0)[i]));
    }
    CHECK(gap <= 6e-8);
  }
  CHECK(log.warnings.find("train.h5: 1 of 4 clouds lie so far from") != std::string::npos);
  CHECK(log.warnings.find("train.h5: row 3, ") != std::string::npos);
}

TEST_CASE("offsets: a cloud that f64 cannot hold is warned of, with what is left of it") {
  const test::TempDir dir;
  const Log log;
  write(dir / "far.txt", lines(lattice_cloud(1e16), ","));
  const Tensor points = load_cloud(dir / "far.txt").points;
  CHECK(log.warnings.find("far.txt: 1 of 1 clouds lie so far from") != std::string::npos);
  CHECK(log.warnings.find("steps along its radius") != std::string::npos);
}

TEST_CASE("offsets: f32 arrays are warned of when nothing is left of a shape, else not") {
  const auto warnings = [](float offset) {
    const test::TempDir dir;
    std::vector<float> xyz;
    for (const double x : lattice_cloud(0)) xyz.push_back(static_cast<float>(x) + offset);
    write_npy(dir / "p.npy", Tensor::from(xyz, {1, kPoints, 3}));
    write_npy(dir / "l.npy", Tensor::from(std::vector<int64_t>{0}, {1}));
    const Log log;
    load_npy_set(dir / "p.npy", dir / "l.npy");
    return log.warnings;
  };
  CHECK(warnings(0).empty());
  CHECK(warnings(500).empty());
  CHECK(warnings(1e6F).find("p.npy: 1 of 1 clouds lie so far") != std::string::npos);
}

TEST_CASE("offsets: without a normalisation points that fall together are warned of") {
  const test::TempDir dir;
  LoadOptions o;
  o.normalise = Normalisation::none;
  const auto load = [&](double offset) {
    std::vector<double> two = lattice_cloud(0), far = lattice_cloud(offset);
    two.insert(two.end(), far.begin(), far.end());
    write_npy(dir / "data_uniform_1.npy", Tensor::from(two, {2, kPoints, 3}));
    write_npy(dir / "label.npy", Tensor::from(std::vector<int64_t>{0, 1}, {2}));
    const Log log;
    load_npy_set(dir / "data_uniform_1.npy", dir / "label.npy", o);
    const std::string direct = log.warnings;
    load_published_corruption(dir.path(), corruption_info("uniform"), 1);
    CHECK(log.warnings.size() == 2 * direct.size());  // published arrays are only rounded, too
    return direct;
  };
  CHECK(load(1).empty());
  const std::string text = load(1e9);
  CHECK(text.find("rounding to f32 costs 1 of 2 clouds their detail (first: ") !=
        std::string::npos);
  CHECK(text.find("row 1): points move by up to ") != std::string::npos);
  CHECK(text.find(", 31 fall onto others") != std::string::npos);
  // One axis out of three is enough, though no two points fall together.
  std::vector<double> one_axis = lattice_cloud(0);
  for (size_t i = 1; i < one_axis.size(); i += 3) one_axis[i] += 4.6e6;
  write_npy(dir / "axis.npy", Tensor::from(one_axis, {kPoints, 3}));
  const Log log;
  load_cloud(dir / "axis.npy", o);
  CHECK(log.warnings.find(" % of half the longest side, 0 fall onto others") != std::string::npos);
}

TEST_CASE("offsets: points that coincide in the file are none that rounding merges") {
  const test::TempDir dir;
  write(dir / "a.txt", "1,2,3\n1,2,3\n0.1,0.2,0.3\n0.1,0.2,0.3\n");
  const Log log;
  LoadOptions o;
  o.normalise = Normalisation::none;
  CHECK(load_cloud(dir / "a.txt", o).points.shape() == Shape{4, 3});
  CHECK(log.warnings.empty());
  // An outlier sets the scale: the others fall together although the cloud was centred in f64.
  write(dir / "b.txt", "1e12,0,0\n1,0,0\n2,0,0\n3,0,0\n");
  load_cloud(dir / "b.txt");
  CHECK(log.warnings.find("a few points far from the rest set the scale") != std::string::npos);
}

TEST_CASE("offsets: a sampled mesh is that of the centred mesh") {
  const test::TempDir dir;
  const auto text = [](double offset) {
    const auto corner = [&](double x, double y, double z) {
      return str(static_cast<int64_t>(x + offset), " ", static_cast<int64_t>(y + offset), " ",
                 static_cast<int64_t>(z + offset), "\n");
    };
    return str("OFF\n4 4 0\n", corner(0, 0, 0), corner(4, 0, 0), corner(0, 2, 0), corner(0, 0, 1),
               "3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n");
  };
  LoadOptions o;
  o.points = 200;
  write(dir / "a.off", text(0));
  const Tensor centred = load_cloud(dir / "a.off", o).points;
  write(dir / "a.off", text(1e6));
  CHECK(largest_gap(load_cloud(dir / "a.off", o).points, centred) < 1e-7);
}
