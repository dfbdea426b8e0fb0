// Loader: a pure function of (seed, epoch, index), with or without prefetch; complete epochs;
// hold-out.
#include "basin/datasets/loader.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "basin/tests/core/files.h"

using namespace basin;
using test::check_error;

namespace {

// Point p of row r is (r, p, r + p); labels cycle through three classes.
PointCloudSet numbered(int64_t n, int64_t points) {
  std::vector<float> xyz;
  std::vector<int64_t> labels;
  for (int64_t r = 0; r < n; ++r) {
    labels.push_back(r % 3);
    for (int64_t p = 0; p < points; ++p) {
      for (int64_t v : {r, p, r + p}) xyz.push_back(static_cast<float>(v));
    }
  }
  PointCloudSet set;
  set.points = Tensor::from(xyz, {n, points, 3});
  set.labels = Tensor::from(labels, {n});
  set.class_names = {"a", "b", "c"};
  set.source = "numbered";
  seal(set);
  return set;
}

LoaderOptions busy() {
  LoaderOptions o;
  o.batch = 4;
  o.points = 6;
  o.augment = parse_augment("dgcnn,jitter,dropout");
  o.pose = Pose::so3;
  o.selection = PointSelection::random;
  o.seed = 77;
  return o;
}

bool equal(const PointBatch& a, const PointBatch& b) {
  return a.points.to_vector<float>() == b.points.to_vector<float>() &&
         a.labels.to_vector<int64_t>() == b.labels.to_vector<int64_t>() && a.rows == b.rows;
}

}  // namespace

TEST_CASE("loader: any batch can be asked for at any time") {
  const PointCloudSet set = numbered(18, 10);
  const PointCloudLoader loader(set, busy());
  REQUIRE(loader.batches_per_epoch() == 5);
  std::vector<PointBatch> in_order;
  for (int64_t e = 0; e < 3; ++e)
    for (int64_t i = 0; i < 5; ++i) in_order.push_back(loader.batch(e, i));
  const PointCloudLoader fresh(set, busy());  // as after a resume
  for (int64_t k : {13, 2, 7, 14, 0}) CHECK(equal(fresh.batch(k / 5, k % 5), in_order[k]));
  LoaderOptions ahead = busy();
  ahead.prefetch = true;
  PointCloudLoader threaded(set, ahead);
  for (int64_t k = 0; k < 15; ++k) CHECK(equal(threaded.batch(k / 5, k % 5), in_order[k]));
  CHECK(equal(threaded.batch(1, 3), in_order[8]));  // not the one that waits
  PointCloudLoader moved = std::move(threaded);
  CHECK(equal(moved.batch(2, 4), in_order[14]));
  CHECK_FALSE(equal(in_order[0], in_order[5]));
  LoaderOptions other = busy();
  other.seed = 78;
  CHECK_FALSE(equal(PointCloudLoader(set, other).batch(0, 0), in_order[0]));
}

TEST_CASE("loader: an epoch visits every shape once in an order of its own") {
  const PointCloudSet set = numbered(10, 4);
  LoaderOptions o;
  o.batch = 3;
  const PointCloudLoader loader(set, o);
  std::vector<std::vector<int64_t>> orders;
  for (int64_t e = 0; e < 3; ++e) {
    std::vector<int64_t> rows;
    for (int64_t i = 0; i < 4; ++i) {
      const PointBatch b = loader.batch(e, i);
      CHECK(b.points.shape() == Shape{i < 3 ? 3 : 1, 4, 3});
      for (size_t k = 0; k < b.rows.size(); ++k) {
        CHECK(b.labels.at(static_cast<int64_t>(k)) == b.rows[k] % 3);
        CHECK(b.points.at(static_cast<int64_t>(k) * 12 + 9) == b.rows[k]);
        CHECK(b.points.at(static_cast<int64_t>(k) * 12 + 10) == 3);
      }
      rows.insert(rows.end(), b.rows.begin(), b.rows.end());
    }
    CHECK(std::set<int64_t>(rows.begin(), rows.end()).size() == 10);
    orders.push_back(rows);
  }
  CHECK((orders[0] != orders[1] && orders[1] != orders[2]));
  o.drop_last = true;
  CHECK(PointCloudLoader(set, o).batches_per_epoch() == 3);
}

TEST_CASE("loader: what a shape looks like does not depend on the batch size") {
  const PointCloudSet set = numbered(9, 8);
  LoaderOptions o = busy();
  o.batch = 2;
  const PointCloudLoader small(set, o);
  o.batch = 9;
  const PointCloudLoader large(set, o);
  const PointBatch all = large.batch(4, 0);
  std::vector<float> joined;
  for (int64_t i = 0; i < 5; ++i) {
    const auto part = small.batch(4, i).points.to_vector<float>();
    joined.insert(joined.end(), part.begin(), part.end());
  }
  CHECK(joined == all.points.to_vector<float>());
}

TEST_CASE("loader: evaluation is in order and unaugmented and posed alike in every epoch") {
  const PointCloudSet set = numbered(7, 5);
  const PointCloudLoader plain(set, evaluation_options(4, 3));
  CHECK(plain.batch(0, 1).rows == std::vector<int64_t>{4, 5, 6});
  CHECK(plain.batch(0, 0).points.at(9 + 3) == 1);  // row 1, point 1
  const PointCloudLoader posed(set, evaluation_options(4, 3, Pose::so3, Axis::z, 5));
  CHECK(equal(posed.batch(0, 1), posed.batch(9, 1)));
  CHECK(equal(posed.batch(0, 1),
              PointCloudLoader(set, evaluation_options(4, 3, Pose::so3, Axis::z, 5)).batch(3, 1)));
  const Tensor a = plain.batch(0, 1).points, b = posed.batch(0, 1).points;
  for (int64_t i = 0; i < 9; ++i) {
    const auto norm = [&](const Tensor& t) {
      return std::hypot(t.at(3 * i), t.at(3 * i + 1), t.at(3 * i + 2));
    };
    CHECK(norm(b) == doctest::Approx(norm(a)).epsilon(1e-6));
  }
  CHECK(a.at(0) != b.at(0));
  CHECK_FALSE(
      equal(posed.batch(0, 1),
            PointCloudLoader(set, evaluation_options(4, 3, Pose::so3, Axis::z, 6)).batch(0, 1)));
}

TEST_CASE("loader: random selection takes distinct points of the right shape") {
  const PointCloudSet set = numbered(5, 30);
  LoaderOptions o;
  o.points = 20, o.batch = 5, o.shuffle = false;
  o.selection = PointSelection::random;
  const PointCloudLoader loader(set, o);
  const PointBatch b = loader.batch(0, 0);
  for (int64_t r = 0; r < 5; ++r) {
    std::set<double> seen;
    for (int64_t p = 0; p < 20; ++p) {
      CHECK(b.points.at(60 * r + 3 * p) == r);
      seen.insert(b.points.at(60 * r + 3 * p + 1));
    }
    CHECK(seen.size() == 20);
  }
  CHECK_FALSE(equal(b, loader.batch(1, 0)));
}

TEST_CASE("loader: options that cannot work") {
  const PointCloudSet set = numbered(5, 4);
  const auto fault = [&](auto&& change, const char* word) {
    LoaderOptions o;
    change(o);
    check_error(ErrorKind::usage, {"loader", word}, [&] { PointCloudLoader(set, o); });
  };
  fault([](LoaderOptions& o) { o.batch = 0; }, "batch");
  fault([](LoaderOptions& o) { o.points = 5; }, "0 to 4");
  fault([](LoaderOptions& o) { o.drop_last = true; }, "no batch");
  const PointCloudLoader loader(set, LoaderOptions{});
  check_error(ErrorKind::usage, {"batch 1"}, [&] { loader.batch(0, 1); });
  check_error(ErrorKind::usage, {"epoch -1"}, [&] { loader.batch(-1, 0); });
  check_error(ErrorKind::usage, {"at least one"}, [] { PointCloudLoader(PointCloudSet{}, {}); });
}

TEST_CASE("loader: the hold-out is stratified and reproducible") {
  const PointCloudSet set = numbered(30, 2);
  const Holdout h = split_holdout(set, 0.2, 3);
  CHECK(class_counts(h.held_out) == std::vector<int64_t>{2, 2, 2});
  CHECK(class_counts(h.train) == std::vector<int64_t>{8, 8, 8});
  std::set<double> rows;
  for (const PointCloudSet* part : {&h.train, &h.held_out}) {
    double before = -1;
    for (int64_t i = 0; i < part->size(); ++i) {
      const double row = part->points.at(6 * i);
      CHECK(row > before);
      rows.insert(before = row);
    }
  }
  CHECK(rows.size() == 30);
  CHECK(split_holdout(set, 0.2, 3).train.content_hash == h.train.content_hash);
  CHECK(split_holdout(set, 0.2, 4).train.content_hash != h.train.content_hash);
  check_error(ErrorKind::usage, {"fraction"}, [&] { split_holdout(set, 1, 0); });
}
