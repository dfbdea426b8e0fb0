// Sets of clouds of unequal size: how they are kept, checked, cut, fed; and which points of a
// larger cloud are taken by default.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "basin/core/random.h"
#include "basin/datasets/corruptions.h"
#include "basin/datasets/loader.h"
#include "basin/datasets/npy.h"
#include "basin/tests/core/files.h"
#include "basin/tests/datasets/folder_helpers.h"

using namespace basin;
using test::check_error;
using test::Log;
using test::write;

namespace {

// Point i of the cloud is (i, first, 0), in scan order.
std::string ply_scan(int64_t points, int64_t first) {
  std::string out = str("ply\nformat ascii 1.0\nelement vertex ", points,
                        "\nproperty float x\nproperty float y\nproperty float z\nend_header\n");
  for (int64_t i = 0; i < points; ++i) out += str(i, " ", first, " 0\n");
  return out;
}

// Four training and two test clouds of these sizes, in two classes.
void write_scans(const test::TempDir& dir, const std::vector<int64_t>& sizes) {
  for (size_t k = 0; k < sizes.size(); ++k) {
    const char* split = k < 4 ? "train" : "test";
    const auto number = static_cast<int64_t>(k);
    write(dir / str(k % 2 == 0 ? "a/" : "b/", split, "/c", k, ".ply"), ply_scan(sizes[k], number));
  }
}

LoadOptions plain(int64_t points) {
  LoadOptions o;
  o.points = points;
  o.normalise = Normalisation::none;
  return o;
}

std::vector<double> scan_numbers(const PointBatch& batch, int64_t cloud) {
  std::vector<double> out;
  const int64_t n = batch.points.size(1);
  for (int64_t i = 0; i < n; ++i) out.push_back(batch.points.at(3 * (cloud * n + i)));
  return out;
}

LoaderOptions in_order(int64_t points, PointSelection selection) {
  LoaderOptions o;
  o.batch = 2, o.points = points, o.shuffle = false, o.selection = selection, o.seed = 4;
  return o;
}

}  // namespace

TEST_CASE("unequal: a folder of clouds is kept as it is, one behind the other") {
  const test::TempDir dir;
  write_scans(dir, {5, 9, 7, 5, 6, 8});
  const Log log;
  const PointCloudSplits s = load_point_clouds(dir.path(), plain(7));
  // a: c0, c2; b: c1, c3
  CHECK(s.train.offsets.to_vector<int64_t>() == std::vector<int64_t>{0, 5, 12, 21, 26});
  CHECK(s.train.points.shape() == Shape{26, 3});
  CHECK((s.train.points_per_cloud() == 5 && s.train.most_points() == 9));
  CHECK(s.description.find("5 to 9 points") != std::string::npos);
  CHECK(s.train.xyz(2)[3 * 8] == 8);
  CHECK(s.train.xyz(2)[1] == 1);
  CHECK(log.infos.find("2 of 4 training clouds have fewer than 7 points (the smallest 5)") !=
        std::string::npos);
  CHECK(log.infos.find("1 of 2 test clouds have fewer than 7 points (the smallest 6)") !=
        std::string::npos);
  const int64_t rows[] = {2, 0};
  const PointCloudSet part = subset(s.train, rows);
  CHECK(part.offsets.to_vector<int64_t>() == std::vector<int64_t>{0, 9, 14});
  CHECK((part.xyz(0)[1] == 1 && part.xyz(1)[1] == 0));
  CHECK(split_holdout(s.train, 0.5, 1).train.size() == 2);
  check_error(ErrorKind::data, {"c0.ply", "at least 10 points in the largest cloud, got 9"},
              [&] { load_point_clouds(dir.path(), plain(10)); });
  check_error(ErrorKind::usage, {"corrupt_set", "at least 1024 points", "have 5"},
              [&] { corrupt_set(s.train, corruption_info("uniform"), 1, 0); });
}

TEST_CASE("unequal: smaller clouds give all their points, and then some of them again") {
  const test::TempDir dir;
  write_scans(dir, {5, 9, 7, 5, 6, 8});
  const PointCloudSet set = load_point_clouds(dir.path(), plain(7)).train;
  for (const PointSelection selection : {PointSelection::first, PointSelection::random}) {
    const PointCloudLoader loader(set, in_order(7, selection));
    const PointBatch batch = loader.batch(0, 0);
    CHECK(batch.points.shape() == Shape{2, 7, 3});
    const std::vector<double> small = scan_numbers(batch, 0), equal = scan_numbers(batch, 1);
    for (size_t i = 0; i < 7; ++i) {
      CHECK(equal[i] == i);
      CHECK((i < 5 ? small[i] == i : small[i] >= 0 && small[i] < 5));
    }
    // Another epoch draws anew, or not.
    bool changed = false;
    for (int64_t e = 1; e < 9; ++e) changed |= scan_numbers(loader.batch(e, 0), 0) != small;
    CHECK(changed == (selection == PointSelection::random));
    // A pure function of (seed, epoch, row): a fresh loader, another size of batch.
    LoaderOptions one = in_order(7, selection);
    one.batch = 1;
    CHECK(scan_numbers(PointCloudLoader(set, one).batch(5, 0), 0) ==
          scan_numbers(loader.batch(5, 0), 0));
  }
  check_error(ErrorKind::usage, {"loader", "5 to 9"},
              [&] { PointCloudLoader(set, in_order(0, PointSelection::first)); });
  check_error(ErrorKind::usage, {"loader", "0 to 9"},
              [&] { PointCloudLoader(set, in_order(10, PointSelection::first)); });
}

TEST_CASE("unequal: seal refuses offsets that are none") {
  PointCloudSet set;
  set.points = Tensor::zeros({5, 3}, DType::f32);
  set.labels = Tensor::zeros({2}, DType::i64);
  set.class_names = {"a"};
  set.source = "by hand";
  for (const std::vector<int64_t>& offsets :
       {std::vector<int64_t>{0, 2}, {0, 2, 4}, {1, 2, 5}, {0, 0, 5}, {0, 6, 5}}) {
    set.offsets = Tensor::from(offsets, {static_cast<int64_t>(offsets.size())});
    check_error(ErrorKind::data, {"by hand"}, [&] { seal(set); });
  }
  set.offsets = Tensor::from(std::vector<int64_t>{0, 2, 5}, {3});
  seal(set);
  const std::string hash = set.content_hash;
  set.offsets = Tensor::from(std::vector<int64_t>{0, 3, 5}, {3});
  seal(set);
  CHECK(set.content_hash != hash);
}

TEST_CASE(
    "selection: scans give random points in both splits, unless something else is asked for") {
  const test::TempDir dir;
  write_scans(dir, {40, 40, 40, 40, 40, 40});
  const PointCloudSplits usual = load_point_clouds(dir.path(), plain(8));
  CHECK(usual.selection == PointSelection::random);
  CHECK(usual.test.points_per_cloud() == 40);
  LoaderOptions o = evaluation_options(2, 8, Pose::fixed, Axis::z, 1, usual.selection);
  const PointCloudLoader test(usual.test, o);
  const std::vector<double> taken = scan_numbers(test.batch(0, 0), 0);
  CHECK(*std::max_element(taken.begin(), taken.end()) > 8);
  CHECK(std::set<double>(taken.begin(), taken.end()).size() == 8);
  CHECK(scan_numbers(test.batch(3, 0), 0) == taken);  // the same in every epoch
  LoadOptions asked = plain(8);
  asked.selection = PointSelection::first;
  const PointCloudSplits first = load_point_clouds(dir.path(), asked);
  CHECK(first.selection == PointSelection::first);
  CHECK(first.train.points_per_cloud() == 8);
  CHECK(first.train.xyz(0)[3 * 7] == 7);
  // One file: the same choice for the same seed.
  const fs::path file = dir / "a/test/c4.ply";
  const auto x = [&](uint64_t seed) {
    LoadOptions one = plain(8);
    one.seed = seed;
    return load_cloud(file, one).points.to_vector<float>();
  };
  CHECK((x(1) == x(1) && x(1) != x(2)));
  CHECK(load_cloud(file, asked).points.at(3 * 7) == 7);
}

TEST_CASE("selection: of large files as many points are kept as fresh draws need") {
  const test::TempDir dir;
  write_scans(dir, {3000, 2500, 2048, 10, 3000, 3000});
  const PointCloudSplits s = load_point_clouds(dir.path(), plain(100));
  CHECK(s.train.points_of(0) == 2048);
  CHECK(s.train.points_of(1) == 2048);
  CHECK(s.train.points_of(3) == 10);
  std::set<float> kept;
  for (size_t i = 0; i < 2048; ++i) kept.insert(s.train.xyz(0)[3 * i]);
  CHECK(kept.size() == 2048);
  CHECK(*kept.rbegin() > 2900);
  CHECK(load_point_clouds(dir.path(), plain(1000)).train.points_of(0) == 3000);
  // A limit changes no shape's points.
  LoadOptions few = plain(100);
  few.limit = 2;
  const PointCloudSplits two = load_point_clouds(dir.path(), few);
  CHECK(std::ranges::equal(two.train.xyz(0), s.train.xyz(0)));
}

TEST_CASE("selection: the text release keeps its first lines, .npy arrays do not") {
  const test::TempDir text, npy;
  std::string lines;
  for (int i = 0; i < 30; ++i) lines += str(i, ",", i % 3, ",0\n");
  for (const std::string split : {"train", "test"}) {
    write(text / str("modelnet40_", split, ".txt"), "bed_0001\n");
    write_npy(npy / (split + "_points.npy"), Tensor::zeros({2, 30, 3}, DType::f32));
    write_npy(npy / (split + "_labels.npy"), Tensor::zeros({2}, DType::i64));
  }
  write(text / "bed/bed_0001.txt", lines);
  const PointCloudSplits release = load_point_clouds(text.path(), plain(5));
  CHECK(release.selection == PointSelection::first);
  CHECK(release.train.points.shape() == Shape{1, 5, 3});
  LoadOptions random = plain(5);
  random.selection = PointSelection::random;
  CHECK(load_point_clouds(text.path(), random).train.points_per_cloud() == 30);
  CHECK(load_point_clouds(npy.path(), plain(5)).selection == PointSelection::random);
}
