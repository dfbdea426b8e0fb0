// The corruptions of clouds against their table: counts, ranges, whole neighbourhoods that go or
// stay, bits that stay the same, faults. Moments: corruption_moments_test.cpp.
#include "basin/datasets/corruptions.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "basin/tests/core/files.h"
#include "basin/tests/datasets/corruption_clouds.h"

using namespace basin;
using test::Point, test::Points, test::points_of, test::random_cloud;

namespace {

std::vector<CorruptionInfo> cloud_corruptions() {
  std::vector<CorruptionInfo> out;
  for (const auto& info : corruptions()) {
    if (info.input != CorruptionInput::mesh) out.push_back(info);
  }
  return out;
}

Tensor base_of(const CorruptionInfo& info) {
  return random_cloud(info.input == CorruptionInput::dense_cloud ? 2048 : 1024);
}

std::string hash_of(const Tensor& t) {
  return sha256_hex({static_cast<const uint8_t*>(t.raw()), t.bytes()}).substr(0, 16);
}

// Clusters of `size` points, 10 apart; the first coordinate of a point tells its cluster.
Tensor clusters(int64_t count, int64_t size) {
  const Tensor noise = random_cloud(count * size, 0.5, 9);
  std::vector<float> xyz = noise.to_vector<float>();
  for (int64_t i = 0; i < count * size; ++i) xyz[3 * i] += 10.0F * static_cast<float>(i / size);
  return Tensor::from(xyz, {count * size, 3});
}

int64_t cluster_of(const Point& p) { return std::lround(p[0] / 10); }

std::map<int64_t, int64_t> cluster_sizes(const Points& points) {
  std::map<int64_t, int64_t> out;
  for (const Point& p : points) ++out[cluster_of(p)];
  return out;
}

}  // namespace

TEST_CASE("corruptions: fifteen, in three groups, with their levels and counts") {
  const std::vector<std::pair<std::string, std::array<int64_t, 5>>> table = {
      {"occlusion", {1024, 1024, 1024, 1024, 1024}},
      {"lidar", {768, 768, 768, 768, 768}},
      {"density_inc", {1024, 1024, 1024, 1024, 1024}},
      {"density", {949, 874, 799, 724, 649}},
      {"cutout", {964, 934, 874, 814, 724}},
      {"uniform", {1024, 1024, 1024, 1024, 1024}},
      {"gaussian", {1024, 1024, 1024, 1024, 1024}},
      {"impulse", {1024, 1024, 1024, 1024, 1024}},
      {"upsampling", {1228, 1280, 1365, 1536, 2048}},
      {"background", {1046, 1049, 1053, 1058, 1075}},
      {"rotation", {1024, 1024, 1024, 1024, 1024}},
      {"shear", {1024, 1024, 1024, 1024, 1024}},
      {"distortion", {1024, 1024, 1024, 1024, 1024}},
      {"distortion_rbf", {1024, 1024, 1024, 1024, 1024}},
      {"distortion_rbf_inv", {1024, 1024, 1024, 1024, 1024}}};
  REQUIRE(corruptions().size() == 15);
  for (size_t i = 0; i < 15; ++i) {
    const CorruptionInfo& info = corruptions()[i];
    INFO(info.name);
    CHECK(info.name == table[i].first);
    CHECK(static_cast<size_t>(info.group) == i / 5);
    CHECK(corruption_info(info.name).meaning == info.meaning);
    CHECK(!info.meaning.empty());
    for (int s = 1; s <= 5; ++s) CHECK(corrupted_points(info, s) == table[i].second[s - 1]);
  }
  CHECK(name_of(CorruptionGroup::transformation) == "transformation");
  // Fractions of N scale, the rest stays.
  CHECK(corrupted_points(corruption_info("upsampling"), 1, 2048) == 2048 + 409);
  CHECK(corrupted_points(corruption_info("background"), 2, 512) == 512 + 12);
  CHECK(corrupted_points(corruption_info("cutout"), 5, 512) == 512 - 300);
  CHECK(corrupted_points(corruption_info("density_inc"), 5, 4096) == 2048);
}

TEST_CASE("corruptions: the table of the benchmark, where it is at hand") {
  const fs::path dir = test::real_data("modelnet40_c");
  if (dir.empty()) return;
  const std::string text = read_text_file(dir / "corruptions.csv");
  std::map<std::string, std::vector<std::string>> rows;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::vector<std::string> cells(1);
    for (size_t i = begin; i < end; ++i) {
      if (text[i] == ',' && cells.size() < 11) {
        cells.emplace_back();
      } else {
        cells.back() += text[i];
      }
    }
    rows[cells[0]] = cells;
    begin = end + 1;
  }
  for (const CorruptionInfo& info : corruptions()) {
    INFO(info.name);
    const auto& cells = rows.at(info.name);
    CHECK(cells.at(1) == name_of(info.group));
    const char* inputs[] = {"1024", "2048", "mesh"};
    CHECK(cells.at(2) == inputs[static_cast<int>(info.input)]);
    for (int s = 0; s < 5; ++s) CHECK(std::stod(cells.at(3 + s)) == info.levels[s]);
    CHECK(cells.at(9) == (info.renormalised ? "yes" : "no"));
  }
}

TEST_CASE("corruptions: every pair has its count and its range, and repeats") {
  for (const CorruptionInfo& info : cloud_corruptions()) {
    const Tensor base = base_of(info);
    const std::vector<float> before = base.to_vector<float>();
    for (int s = 1; s <= kSeverities; ++s) {
      INFO(info.name, " ", s);
      const Tensor out = corrupt_cloud(base, info, s, 7, 3);
      REQUIRE(out.shape() == Shape{corrupted_points(info, s), 3});
      CHECK(base.to_vector<float>() == before);
      double low[3], high[3], longest = 0, off_centre = 0;
      for (int axis = 0; axis < 3; ++axis) {
        low[axis] = 1e9, high[axis] = -1e9;
        for (const Point& p : points_of(out)) {
          low[axis] = std::min(low[axis], p[axis]), high[axis] = std::max(high[axis], p[axis]);
        }
        longest = std::max(longest, high[axis] - low[axis]);
        off_centre = std::max(off_centre, std::abs(high[axis] + low[axis]));
      }
      if (info.renormalised) {
        CHECK(std::abs(longest - 2) < 1e-6);
        CHECK(off_centre < 1e-6);
      } else {
        CHECK(*std::min_element(low, low + 3) >= -1);
        CHECK(*std::max_element(high, high + 3) <= 1);
        CHECK(longest < 1.9);  // the cube of edge 1.5, not BOX
      }
      const auto bits = out.to_vector<float>();
      CHECK(corrupt_cloud(base, info, s, 7, 3).to_vector<float>() == bits);
      CHECK(corrupt_cloud(base, info, s, 8, 3).to_vector<float>() != bits);
      CHECK(corrupt_cloud(base, info, s, 7, 4).to_vector<float>() != bits);
    }
  }
}

TEST_CASE("corruptions: cutout takes whole neighbourhoods, density thins them") {
  const Tensor thirties = clusters(34, 30), hundreds = clusters(10, 100);
  std::map<int64_t, int64_t> hit;
  for (uint64_t i = 0; i < 40; ++i) {
    for (int s = 1; s <= kSeverities; ++s) {
      const auto info = corruption_info("cutout");
      const auto sizes = cluster_sizes(points_of(corrupt_cloud(thirties, info, s, 9, i)));
      CHECK(sizes.size() == 34 - static_cast<size_t>(info.levels[s - 1]));
      for (const auto& [cluster, size] : sizes) CHECK(size == 30);
    }
    const auto sizes =
        cluster_sizes(points_of(corrupt_cloud(hundreds, corruption_info("density"), 1, 9, i)));
    REQUIRE(sizes.size() == 10);
    for (const auto& [cluster, size] : sizes) {
      CHECK((size == 100 || size == 25));
      if (size == 25) ++hit[cluster];
    }
  }
  int64_t total = 0;
  for (const auto& [cluster, count] : hit) total += count;
  CHECK(total == 40);      // one cluster each time
  CHECK(hit.size() >= 8);  // any of the ten: 8 or more of 40 draws but for a chance of 1e-4
  // Of one cluster of 100, each point goes with probability 0.75.
  std::vector<double> left(100);
  const Tensor one = random_cloud(100);
  const auto rows = points_of(one);
  for (uint64_t i = 0; i < 400; ++i) {
    const auto out = points_of(corrupt_cloud(one, corruption_info("density"), 1, 9, i));
    CHECK(out.size() == 25);
    size_t row = 0;
    for (const Point& p : out) {
      while (row < 100 && rows[row] != p) ++row;
      REQUIRE(row < 100);  // a subset, in the order of the cloud
      left[row] += 1;
    }
  }
  for (double l : left) CHECK(std::abs(l / 400 - 0.25) < 5 * std::sqrt(0.25 * 0.75 / 400));
}

TEST_CASE("corruptions: density_inc keeps clusters whole and thins the rest") {
  const Tensor base = clusters(20, 100);
  const auto info = corruption_info("density_inc");
  for (int s = 1; s <= kSeverities; ++s) {
    const Points out = points_of(corrupt_cloud(base, info, s, 10, 0));
    REQUIRE(out.size() == 1000);
    const Points whole(out.begin(), out.begin() + 100 * s), rest(out.begin() + 100 * s, out.end());
    const auto kept = cluster_sizes(whole), others = cluster_sizes(rest);
    CHECK(kept.size() == static_cast<size_t>(s));
    CHECK(std::set<Point>(whole.begin(), whole.end()).size() == whole.size());
    for (const auto& [cluster, size] : kept) {
      CHECK(size == 100);
      CHECK(others.count(cluster) == 0);
    }
    CHECK(others.size() == 20 - static_cast<size_t>(s));  // all of the others are drawn from
    CHECK(std::set<Point>(rest.begin(), rest.end()).size() < rest.size());  // with replacement
  }
}

// The bits of corruptions that take no transcendental function, and values of the others.
TEST_CASE("corruptions: seeded outputs stay what they were") {
  const std::map<std::string, std::string> bits = {{"density_inc", "b48bee8204cb7261"},
                                                   {"density", "b1690cf4842ec205"},
                                                   {"cutout", "8614528401f5dc70"},
                                                   {"impulse", "3832e79320a74990"}};
  for (const auto& [name, expected] : bits) {
    const CorruptionInfo& info = corruption_info(name);
    INFO(info.name);
    CHECK(hash_of(corrupt_cloud(base_of(info), info, 3, 2021, 17)) == expected);
  }
  const std::map<std::string, Point> values = {
      {"uniform", {0.626782, -0.471618, 0.70535}},
      {"gaussian", {0.455411, -0.357172, 0.589105}},
      {"upsampling", {0.903996, 0.866171, -0.534067}},
      {"background", {-0.141665, -0.0730067, 0.962543}},
      {"rotation", {0.490808, -0.44768, 0.590919}},
      {"shear", {0.369231, -0.417803, 0.577649}},
      {"distortion", {0.532511, -0.436619, 0.736825}},
      {"distortion_rbf", {0.572195, -0.466107, 0.553166}},
      {"distortion_rbf_inv", {0.497934, -0.530719, 0.765149}}};
  for (const auto& [name, expected] : values) {
    const CorruptionInfo& info = corruption_info(name);
    const Point p = points_of(corrupt_cloud(base_of(info), info, 3, 2021, 17)).back();
    INFO(info.name, " ", p[0], ", ", p[1], ", ", p[2]);
    for (int a = 0; a < 3; ++a) CHECK(std::abs(p[a] - expected[a]) < 2e-6);
  }
}

TEST_CASE("corruptions: wrong names, severities, clouds and sizes are usage errors") {
  const auto fault = [](const std::vector<std::string>& words, const std::function<void()>& f) {
    test::check_error(ErrorKind::usage, words, f);
  };
  const Tensor base = random_cloud(1024);
  fault({"'distorsion'", "did you mean 'distortion'"}, [] { corruption_info("distorsion"); });
  fault({"1 to 5", "got 0"}, [&] { corrupt_cloud(base, corruption_info("shear"), 0, 1, 0); });
  fault({"1 to 5", "got 6"}, [&] { corrupted_points(corruption_info("lidar"), 6); });
  fault({"lidar", "meshes", "corrupt_mesh"},
        [&] { corrupt_cloud(base, corruption_info("lidar"), 1, 1, 0); });
  fault({"[N, 3] f32", "an undefined tensor"},
        [] { corrupt_cloud({}, corruption_info("shear"), 1, 1, 0); });
  fault({"[N, 3] f32", "[1024, 3]"},
        [&] { corrupt_cloud(base.to(DType::f64), corruption_info("shear"), 1, 1, 0); });
  const std::map<std::string, int64_t> least = {
      {"density", 400}, {"cutout", 301}, {"density_inc", 1000}};
  for (const auto& entry : least) {
    const CorruptionInfo& info = corruption_info(entry.first);
    const int64_t n = entry.second;
    fault({entry.first, "severity 5", str("at least ", n, " points"), str("got ", n - 1)},
          [&] { corrupt_cloud(random_cloud(n - 1), info, 5, 1, 0); });
    CHECK(corrupt_cloud(random_cloud(n), info, 5, 1, 0).size(0) == corrupted_points(info, 5, n));
  }
}
