// Augmentations: ranges and moments of every step, exactness of rotations, parsing and printing.
#include "basin/datasets/augment.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>

#include "basin/tests/core/files.h"

using namespace basin;
using test::check_error;

namespace {

std::vector<float> ramp(int points) {
  std::vector<float> out;
  for (int i = 0; i < 3 * points; ++i) out.push_back(1 + 0.01f * static_cast<float>(i));
  return out;
}

double determinant(const Rotation& r) {
  return r[0] * (r[4] * r[8] - r[5] * r[7]) - r[1] * (r[3] * r[8] - r[5] * r[6]) +
         r[2] * (r[3] * r[7] - r[4] * r[6]);
}

}  // namespace

TEST_CASE("augment: scale and shift stay in range and move a cloud as a whole") {
  double low = 9, high = 0, sum = 0;
  for (uint64_t k = 0; k < 500; ++k) {
    auto x = ramp(4);
    const auto before = x;
    Rng rng(1, k);
    apply(parse_augment("scale"), Axis::z, x, rng);
    for (int axis = 0; axis < 3; ++axis) {
      const double s = x[axis] / before[axis];
      CHECK(x[9 + axis] / before[9 + axis] == doctest::Approx(s).epsilon(1e-5));
      low = std::min(low, s), high = std::max(high, s), sum += s;
    }
    CHECK(std::abs(x[0] / before[0] - x[1] / before[1]) > 0);
  }
  CHECK((low >= 2.0 / 3 - 1e-6 && low < 0.68));
  CHECK((high <= 1.5 + 1e-6 && high > 1.48));
  CHECK(sum / 1500 == doctest::Approx(13.0 / 12).epsilon(0.02));
  auto x = ramp(2);
  const auto before = x;
  Rng rng(5, 5);
  apply(parse_augment("iso_scale"), Axis::z, x, rng);
  for (size_t i = 1; i < 6; ++i)
    CHECK(x[i] / before[i] == doctest::Approx(x[0] / before[0]).epsilon(1e-5));
  x = before;
  apply(parse_augment("shift=0.1"), Axis::z, x, rng);
  for (size_t axis = 0; axis < 3; ++axis) {
    CHECK(std::abs(x[axis] - before[axis]) <= 0.1 + 1e-6);
    CHECK(x[3 + axis] - before[3 + axis] == doctest::Approx(x[axis] - before[axis]).epsilon(1e-4));
  }
}

TEST_CASE("augment: jitter has the asked spread and respects the clip") {
  std::vector<float> x(30'000, 0.0f);
  Rng rng(2, 0);
  apply(parse_augment("jitter=0.01:0.02"), Axis::z, x, rng);
  double sum = 0, square = 0, largest = 0;
  for (float v : x) sum += v, square += v * v, largest = std::max<double>(largest, std::abs(v));
  CHECK(largest == doctest::Approx(0.02).epsilon(1e-6));
  CHECK(std::abs(sum / 30'000) < 3e-4);
  // Variance of a normal clipped at two sigma is 0.9205 sigma^2.
  CHECK(std::sqrt(square / 30'000) == doctest::Approx(0.01 * std::sqrt(0.9205)).epsilon(0.02));
}

TEST_CASE("augment: dropout repeats point 0 and shuffle permutes") {
  double share = 0;
  for (uint64_t k = 0; k < 300; ++k) {
    auto x = ramp(100);
    const auto before = x;
    Rng rng(3, k);
    apply(parse_augment("dropout"), Axis::z, x, rng);
    int dropped = 0;
    for (size_t i = 0; i < 300; i += 3) {
      const bool first = std::equal(&x[i], &x[i] + 3, &before[0]);
      CHECK((first || std::equal(&x[i], &x[i] + 3, &before[i])));
      dropped += first && i > 0;
    }
    share += dropped / 99.0 / 300;
  }
  CHECK(share == doctest::Approx(0.875 / 2).epsilon(0.08));
  auto x = ramp(50);
  const auto before = x;
  Rng rng(4, 0);
  apply(parse_augment("shuffle"), Axis::z, x, rng);
  CHECK(x != before);
  std::set<std::vector<float>> a, b;
  for (size_t i = 0; i < 150; i += 3)
    a.insert({x[i], x[i + 1], x[i + 2]}), b.insert({before[i], before[i + 1], before[i + 2]});
  CHECK(a == b);
}

TEST_CASE("augment: rotations are proper and yaw keeps the up coordinate") {
  Rng rng(6, 0);
  double trace = 0;
  for (int k = 0; k < 4000; ++k) {
    const Rotation r = random_rotation(rng);
    CHECK(determinant(r) == doctest::Approx(1).epsilon(1e-12));
    CHECK(r[0] * r[3] + r[1] * r[4] + r[2] * r[5] == doctest::Approx(0).epsilon(1e-12));
    trace += (r[0] + r[4] + r[8]) / 4000;
  }
  CHECK(std::abs(trace) < 0.07);  // E trace = 0 on SO(3), its variance is 1
  for (const Axis up : {Axis::x, Axis::y, Axis::z}) {
    auto x = ramp(3);
    const auto before = x;
    rotate(x, random_pose(Pose::yaw, up, rng));
    for (size_t i = static_cast<size_t>(up); i < 9; i += 3) CHECK(x[i] == before[i]);
    CHECK(x != before);
    CHECK(determinant(yaw_rotation(0.3, up)) == doctest::Approx(1).epsilon(1e-14));
  }
  std::vector<float> e{1, 0, 0};
  rotate(e, yaw_rotation(std::numbers::pi / 2, Axis::z));  // x turns to y
  CHECK(e[1] == doctest::Approx(1));
  const auto still = random_pose(Pose::fixed, Axis::z, rng);
  rotate(e, still);
  CHECK(e[1] == doctest::Approx(1));
}

TEST_CASE("augment: presets and printing and faults") {
  CHECK(parse_augment("none").to_string() == "none");
  CHECK(parse_augment("pointnet_original").to_string() == "jitter=0.01:0.05,yaw");
  CHECK(parse_augment("pointnet_b").to_string() ==
        "iso_scale=0.8:1.25,shift=0.1,dropout=0.875,shuffle");
  CHECK(parse_augment("dgcnn, jitter = 0.02:0.1").jitter_sigma == 0.02);
  CHECK(parse_augment("dgcnn,none,yaw").to_string() == "yaw");
  CHECK(parse_augment("jitter=1e-4:0.30000000000000004,shift=10").to_string() ==
        "shift=1e+01,jitter=0.0001:0.30000000000000004");
  for (const char* spec : {"dgcnn", "pointnet_b", "pointnet_original", "scale=0.1:0.3,shuffle"}) {
    const std::string text = parse_augment(spec).to_string();
    CHECK(parse_augment(text).to_string() == text);
    CHECK(parse_augment(text).scale_low == parse_augment(spec).scale_low);
  }
  const auto fault = [](const char* spec, const char* word) {
    check_error(ErrorKind::usage, {"augment", word}, [&] { parse_augment(spec); });
  };
  fault("flip", "'flip'");
  fault("", "comma list");
  fault("scale,", "comma list");
  fault("scale=1", "takes 2");
  fault("scale=2:1", "low <= high");
  fault("jitter=a:b", "'a'");
  fault("shift=-1", "at least 0");
  fault("dropout=2", "0 to 1");
  fault("yaw=3", "takes 0");
  CHECK(pose_protocol_from_name("z/SO(3)").test == Pose::so3);
  CHECK(pose_protocol_from_name("z/so3").train == Pose::yaw);
  CHECK(pose_protocol_from_name("SO(3)/SO(3)").train == Pose::so3);
  check_error(ErrorKind::usage, {"z/SO(3)", "'up'"}, [] { pose_protocol_from_name("up"); });
  check_error(ErrorKind::usage, {"x, y or z"}, [] { axis_from_name("w"); });
}
