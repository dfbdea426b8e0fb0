// Point-cloud sets: normalisation, the checks of a set, subsets, and the choice of a layout.
#include "basin/datasets/point_cloud.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "basin/tests/core/files.h"

using namespace basin;
using test::check_error;

TEST_CASE("point_cloud: normalisation") {
  std::vector<float> x{0, 0, 0, 2, 0, 0, 0, 4, 0, 2, 4, 8};
  auto y = x;
  normalise_cloud(x, Normalisation::unit_sphere);
  double sum[3] = {0, 0, 0}, largest = 0;
  for (size_t i = 0; i < 12; i += 3) {
    for (size_t axis = 0; axis < 3; ++axis) sum[axis] += x[i + axis];
    largest = std::max<double>(largest, std::hypot(x[i], x[i + 1], x[i + 2]));
  }
  for (double s : sum) CHECK(std::abs(s) < 1e-6);
  CHECK(largest == doctest::Approx(1).epsilon(1e-6));
  normalise_cloud(y, Normalisation::bounding_box);
  CHECK((y[2] == -1 && y[11] == 1 && y[0] == -0.25f && y[7] == 0.5f));
  std::vector<float> same{3, 3, 3, 3, 3, 3};
  normalise_cloud(same, Normalisation::unit_sphere);
  CHECK(same == std::vector<float>(6, 0.0f));
  CHECK(normalisation_from_name("bounding_box") == Normalisation::bounding_box);
  check_error(ErrorKind::usage, {"unit_sphere", "'l2'"}, [] { normalisation_from_name("l2"); });
}

TEST_CASE("point_cloud: a set put together by hand is checked") {
  const Tensor points = Tensor::zeros({2, 1, 3}, DType::f32);
  const Tensor labels = Tensor::from(std::vector<int64_t>{0, 1}, {2});
  const auto sealed = [](const Tensor& p, const Tensor& l) {
    PointCloudSet set;
    set.points = p, set.labels = l, set.class_names = {"a", "b"}, set.source = "by hand";
    seal(set);
    return set;
  };
  const PointCloudSet set = sealed(points, labels);
  CHECK(set.content_hash.size() == 64);
  const std::pair<Tensor, Tensor> bad[] = {{Tensor(), labels},
                                           {points, Tensor()},
                                           {Tensor::zeros({2, 3}, DType::f32), labels},
                                           {Tensor::zeros({2, 3, 1}, DType::f32), labels},
                                           {points, Tensor::zeros({2, 1}, DType::i64)},
                                           {Tensor::zeros({3, 1, 3}, DType::f32), labels},
                                           {points.to(DType::f64), labels},
                                           {points, labels.to(DType::i32)}};
  for (const auto& [p, l] : bad) {
    check_error(ErrorKind::data, {"by hand", "points [n, P, 3] f32 and labels [n] i64"},
                [&, &p = p, &l = l] { sealed(p, l); });
  }
  const int64_t one[] = {1}, beyond[] = {0, 2}, below[] = {-1};
  CHECK(subset(set, one).labels.at(0) == 1);
  check_error(ErrorKind::usage, {"row 2", "0 to 1"}, [&] { subset(set, beyond); });
  check_error(ErrorKind::usage, {"row -1"}, [&] { subset(set, below); });
}

TEST_CASE("point_cloud: clouds of one set that another holds too") {
  const auto set_of = [](const std::vector<float>& xyz, const std::vector<int64_t>& labels) {
    const auto n = static_cast<int64_t>(labels.size());
    PointCloudSet set;
    set.points = Tensor::from(xyz, {n, 2, 3}), set.labels = Tensor::from(labels, {n});
    set.class_names = {"a", "b", "c"}, set.source = "by hand";
    seal(set);
    return set;
  };
  const std::vector<float> p{0, 1, 2, 3, 4, 5}, q{0, 1, 2, 3, 4, 6}, r{3, 4, 5, 0, 1, 2};
  const auto joined = [](std::initializer_list<std::vector<float>> clouds) {
    std::vector<float> out;
    for (const auto& c : clouds) out.insert(out.end(), c.begin(), c.end());
    return out;
  };
  const PointCloudSet train = set_of(joined({p, q, p}), {0, 1, 2});
  // r has the points of p in another order: another cloud, as the networks' inputs are.
  const Repeats found = repeats_of(set_of(joined({r, p, q, p}), {0, 2, 0, 1}), train);
  CHECK(found.rows == std::vector<int64_t>{1, 2, 3});
  CHECK(found.relabelled == 2);  // q as 0, p as 1
  CHECK(repeats_of(set_of(r, {0}), train).rows.empty());
}

TEST_CASE("point_cloud: an unknown folder names what was looked for") {
  const test::TempDir dir;
  check_error(
      ErrorKind::data,
      {"no known layout", "train_files.txt", "modelnet40_train.txt", "train_points.npy", ".off"},
      [&] { load_point_clouds(dir.path()); });
  check_error(ErrorKind::data, {"nowhere", "folder"},
              [&] { load_dataset((dir / "nowhere").string()); });
  check_error(ErrorKind::usage, {"embedded"}, [] { load_dataset(""); });
  LoadOptions o;
  o.points = -1;
  check_error(ErrorKind::usage, {"points"}, [&] { load_point_clouds(dir.path(), o); });
  o.points = 0, o.limit = -1;
  check_error(ErrorKind::usage, {"limit", "-1"}, [&] { load_point_clouds(dir.path(), o); });
}

TEST_CASE("point_cloud: a limit on the embedded set keeps its classes in turn") {
  LoadOptions o;
  o.points = 8, o.limit = 48;
  const PointCloudSplits splits = load_dataset("embedded", o);
  CHECK(splits.train.size() == 48);
  const int64_t* label = splits.train.labels.data<int64_t>();
  for (int64_t c = 0; c < splits.train.classes(); ++c) {
    const int64_t count = std::count(label, label + 48, c);
    CHECK((count == 3 || count == 4));
  }
  o.limit = 100'000;
  const int64_t all = load_dataset("embedded", o).train.size();
  CHECK(all == 160 * splits.train.classes());
  o.limit = 0;
  CHECK(load_dataset("embedded", o).train.size() == all);
}
