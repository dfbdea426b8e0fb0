// Folder layouts on small folders made here, and the counts and values of the real ModelNet40.
#include "basin/datasets/point_cloud.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "basin/core/parallel.h"
#include "basin/datasets/hdf5.h"
#include "basin/datasets/npy.h"
#include "basin/datasets/ply.h"
#include "basin/tests/core/files.h"
#include "basin/tests/datasets/hdf5_skip.h"

using namespace basin;
using test::check_error;

namespace {

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  write_file_atomic(path, text);
}

// A tetrahedron, right-angled at the origin, stretched along z.
std::string off_text(double z) {
  return str("OFF4 4 0\n0 0 0\n1 0 0\n0 1 0\n0 0 ", z, "\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n");
}

std::string ply_text(double offset) {
  std::string out =
      "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\n"
      "property float z\nend_header\n";
  for (int i = 0; i < 4; ++i) out += str(offset + i * i, " ", i, " ", -i * offset, "\n");
  return out;
}

// <class>/<train|test>/<class>_<k>: 3 training and 2 test shapes of two classes.
template <class Text>
void write_tree(const test::TempDir& dir, const std::string& extension, Text&& text) {
  for (const std::string name : {"box", "ant"}) {
    for (int k = 0; k < 5; ++k) {
      write(dir / str(name, k < 3 ? "/train/" : "/test/", name, "_", k, extension), text(1.0 + k));
    }
  }
  write(dir / "ant/train/notes.md", "not a shape");
  write(dir / "README.txt", "x");
}

std::string text_shape(int lines, double first) {
  std::string out;
  for (int i = 0; i < lines; ++i) out += str(first + i, ",", 2 * i % 7, ",", -i, ",0,0,1\n");
  return out;
}

double largest_norm(const PointCloudSet& set, int64_t row) {
  double largest = 0;
  const int64_t p = set.points_per_cloud();
  for (int64_t i = row * p; i < (row + 1) * p; ++i) {
    largest = std::max(largest, std::hypot(set.points.at(3 * i), set.points.at(3 * i + 1),
                                           set.points.at(3 * i + 2)));
  }
  return largest;
}

}  // namespace

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

TEST_CASE("point_cloud: HDF5 layout with list files") {
  if (test::skip_without_hdf5()) return;
  LoadOptions o;
  o.normalise = Normalisation::none;
  const PointCloudSplits s = load_point_clouds(test::fixtures() / "hdf5_layout", o);
  CHECK(s.train.class_names == std::vector<std::string>{"apple", "brick", "crane"});
  CHECK(s.train.labels.to_vector<int64_t>() == std::vector<int64_t>{0, 1, 2, 0, 1, 2, 0});
  CHECK(s.test.size() == 3);
  CHECK(s.train.points.at(6 * 48) == 6);  // the last row comes from the second file
  CHECK(s.description.find("HDF5 layout, 3 files, 7 training and 3 test shapes of 3 classes") == 0);
  o.points = 4, o.limit = 3;
  const PointCloudSplits few = load_point_clouds(test::fixtures() / "hdf5_layout", o);
  CHECK(few.train.points.shape() == Shape{3, 4, 3});
  CHECK(few.train.labels.to_vector<int64_t>() == std::vector<int64_t>{0, 2, 1});  // rows 0 2 4
  o.points = 17;
  check_error(ErrorKind::data, {"ply_data_train0.h5", "17 points", "got 16"},
              [&] { load_point_clouds(test::fixtures() / "hdf5_layout", o); });
}

TEST_CASE("point_cloud: HDF5 by file names as in ScanObjectNN") {
  if (test::skip_without_hdf5()) return;
  const test::TempDir dir;
  const fs::path from = test::fixtures() / "hdf5_layout";
  fs::copy_file(from / "ply_data_train0.h5", dir / "training_objectdataset.h5");
  fs::copy_file(from / "ply_data_test0.h5", dir / "notes.h5");  // tells no split: not a part
  check_error(ErrorKind::data, {"no known layout"}, [&] { load_point_clouds(dir.path()); });
  fs::copy_file(from / "ply_data_test0.h5", dir / "test_objectdataset.hdf5");
  const PointCloudSplits s = load_point_clouds(dir.path());
  CHECK((s.train.size() == 4 && s.test.size() == 3));
  CHECK(s.train.class_names == std::vector<std::string>{"class_0", "class_1", "class_2"});
  CHECK(largest_norm(s.train, 2) == doctest::Approx(1).epsilon(1e-6));
  fs::copy_file(from / "ply_data_test0.h5", dir / "test_objectdataset_augmented25rot.h5");
  check_error(ErrorKind::data, {"one variant", "_objectdataset_augmented25rot"},
              [&] { load_point_clouds(dir.path()); });
}

TEST_CASE("point_cloud: HDF5 files of different numbers of points, and one list of the two") {
  if (test::skip_without_hdf5()) return;
  const test::TempDir dir;
  const fs::path from = test::fixtures() / "hdf5_layout";
  fs::copy_file(from / "ply_data_train0.h5", dir / "a.h5");
  fs::copy_file(from / "eight_points.h5", dir / "b.h5");
  write(dir / "train_files.txt", "a.h5\nb.h5\n");
  check_error(ErrorKind::data, {"no known layout"}, [&] { load_point_clouds(dir.path()); });
  write(dir / "test_files.txt", "a.h5\n");
  check_error(ErrorKind::data, {"b.h5: offset 0", "expected 16 points as in a.h5, got 8"},
              [&] { load_point_clouds(dir.path()); });
  LoadOptions o;
  o.points = 8;
  CHECK(load_point_clouds(dir.path(), o).train.points.shape() == Shape{7, 8, 3});
  write(dir / "train_files.txt", "\n");
  check_error(ErrorKind::data, {"train_files.txt", "at least one"},
              [&] { load_point_clouds(dir.path()); });
}

TEST_CASE("point_cloud: HDF5 lists and labels that do not fit") {
  if (test::skip_without_hdf5()) return;
  const test::TempDir dir;
  fs::copy_file(test::fixtures() / "hdf5_layout/ply_data_train0.h5", dir / "a.h5");
  write(dir / "train_files.txt", "x\\y\\a.h5\n\n");
  write(dir / "test_files.txt", "missing.h5\n");
  check_error(ErrorKind::data, {"test_files.txt", "missing.h5"},
              [&] { load_point_clouds(dir.path()); });
  write(dir / "test_files.txt", "\n");
  check_error(ErrorKind::data, {"test_files.txt", "at least one"},
              [&] { load_point_clouds(dir.path()); });
  write(dir / "test_files.txt", "data/a.h5");
  write(dir / "shape_names.txt", "one\ntwo\n");
  check_error(ErrorKind::data, {"row 2", "0 to 1", "got 2"},
              [&] { load_point_clouds(dir.path()); });
}

TEST_CASE("point_cloud: resampled text") {
  const test::TempDir dir;
  write(dir / "modelnet40_train.txt", "night_stand_0001\nbed_0001\r\nbed_0002\n");
  write(dir / "modelnet40_test.txt", "bed_0003\n");
  write(dir / "modelnet40_shape_names.txt", "bed\nnight_stand\n");
  write(dir / "night_stand/night_stand_0001.txt", text_shape(6, 1));
  for (int k : {1, 2, 3}) write(dir / str("bed/bed_000", k, ".txt"), text_shape(5, k));
  LoadOptions o;
  o.points = 5;
  o.normalise = Normalisation::none;
  const PointCloudSplits s = load_point_clouds(dir.path(), o);
  CHECK(s.train.labels.to_vector<int64_t>() == std::vector<int64_t>{1, 0, 0});
  CHECK(s.train.points.at(3) == 2);
  CHECK(s.train.points.at(14) == -4);
  o.points = 6;
  check_error(ErrorKind::data, {"bed_0001.txt", "line 6", "6 points"},
              [&] { load_point_clouds(dir.path(), o); });
  write(dir / "bed/bed_0001.txt", "1,2,3\n1,x,3\n");
  o.points = 2;
  check_error(ErrorKind::data, {"bed_0001.txt", "line 2", "'x'"},
              [&] { load_point_clouds(dir.path(), o); });
  write(dir / "modelnet40_test.txt", "../../etc/passwd_1\n");
  check_error(ErrorKind::data, {"modelnet40_test.txt", "ids"},
              [&] { load_point_clouds(dir.path(), o); });
  write(dir / "modelnet40_test.txt", "zebra_0001\n");
  check_error(ErrorKind::data, {"'zebra'"}, [&] { load_point_clouds(dir.path(), o); });
}

TEST_CASE("point_cloud: a tree of meshes is sampled alike for any limit and thread count") {
  const test::TempDir dir;
  write_tree(dir, ".off", off_text);
  LoadOptions o;
  o.points = 64, o.seed = 9;
  const int threads = num_threads();
  set_num_threads(1);
  const PointCloudSplits s = load_point_clouds(dir.path(), o);
  set_num_threads(3);
  CHECK(load_point_clouds(dir.path(), o).train.content_hash == s.train.content_hash);
  set_num_threads(threads);
  CHECK(s.train.class_names == std::vector<std::string>{"ant", "box"});
  CHECK(s.train.labels.to_vector<int64_t>() == std::vector<int64_t>{0, 0, 0, 1, 1, 1});
  CHECK(s.test.size() == 4);
  CHECK(largest_norm(s.train, 0) == doctest::Approx(1).epsilon(1e-6));
  o.limit = 2;  // rows 0 and 3
  const PointCloudSplits two = load_point_clouds(dir.path(), o);
  CHECK(two.train.labels.to_vector<int64_t>() == std::vector<int64_t>{0, 1});
  for (int64_t i = 0; i < 192; ++i)
    REQUIRE(two.train.points.at(192 + i) == s.train.points.at(3 * 192 + i));
  o.limit = 0, o.seed = 10;
  CHECK(load_point_clouds(dir.path(), o).train.content_hash != s.train.content_hash);
  write(dir / "box/train/box_1.off", "OFF\n");
  write(dir / "box/train/box_2.off", "junk\n");
  check_error(ErrorKind::data, {"box_1.off", "line 1"}, [&] { load_point_clouds(dir.path(), o); });
}

TEST_CASE("point_cloud: a tree of PLY clouds") {
  const test::TempDir dir;
  write_tree(dir, ".ply", ply_text);
  LoadOptions o;
  o.normalise = Normalisation::none;
  const PointCloudSplits s = load_point_clouds(dir.path(), o);
  CHECK(s.train.points.shape() == Shape{6, 4, 3});
  CHECK(s.train.points.at(12) == 2);  // ant_1 has offset 2
  write(dir / "shape_names.txt", "box\nant\n");
  CHECK(load_point_clouds(dir.path(), o).train.labels.at(0) == 1);
  o.points = 5;
  check_error(ErrorKind::data, {".ply", "5 points", "got 4"},
              [&] { load_point_clouds(dir.path(), o); });
  write(dir / "shape_names.txt", "box\n");
  check_error(ErrorKind::data, {"'ant'"}, [&] { load_point_clouds(dir.path(), o); });
}

TEST_CASE("point_cloud: npy arrays and what seal refuses") {
  const test::TempDir dir;
  const Tensor points =
      Tensor::from(std::vector<double>{0, 0, 0, 1, 1, 1, 2, 0, 0, 0, 2, 0}, {2, 2, 3});
  const Tensor labels = Tensor::from(std::vector<int32_t>{0, 1}, {2, 1});
  for (const std::string split : {"train", "test"}) {
    write_npy(dir / (split + "_points.npy"), points);
    write_npy(dir / (split + "_labels.npy"), labels);
  }
  LoadOptions o;
  o.normalise = Normalisation::none;
  const PointCloudSplits s = load_point_clouds(dir.path(), o);
  CHECK(s.train.points.to_vector<double>() == points.to_vector<double>());
  CHECK(s.train.content_hash == s.test.content_hash);
  CHECK(class_counts(s.train) == std::vector<int64_t>{1, 1});
  CHECK(load_npy_set(dir / "test_points.npy", dir / "test_labels.npy", o).content_hash ==
        s.test.content_hash);
  write_npy(dir / "train_labels.npy", Tensor::from(std::vector<int32_t>{0, 1, 0}, {3}));
  check_error(ErrorKind::data, {"train_points.npy", "labels [2]", "[3]"},
              [&] { load_point_clouds(dir.path(), o); });
  write_npy(dir / "train_labels.npy", Tensor::from(std::vector<int32_t>{0, -1}, {2}));
  check_error(ErrorKind::data, {"row 1", "got -1"}, [&] { load_point_clouds(dir.path(), o); });
  write_npy(dir / "train_labels.npy", labels);
  write_npy(dir / "train_points.npy", Tensor::full({2, 2, 3}, DType::f32, NAN));
  check_error(ErrorKind::data, {"row 0", "point 0", "not finite"},
              [&] { load_point_clouds(dir.path(), o); });
  write_npy(dir / "train_points.npy", Tensor::zeros({2, 2, 2}, DType::f32));
  check_error(ErrorKind::data, {"[n, P, 3]"}, [&] { load_point_clouds(dir.path(), o); });
}

TEST_CASE("point_cloud: arrays of another type or shape") {
  const test::TempDir dir;
  const Tensor points = Tensor::zeros({2, 2, 3}, DType::f32);
  const Tensor labels = Tensor::from(std::vector<int64_t>{0, 1}, {2});
  const auto load = [&](const Tensor& p, const Tensor& l) {
    write_npy(dir / "p.npy", p);
    write_npy(dir / "l.npy", l);
    return load_npy_set(dir / "p.npy", dir / "l.npy");
  };
  CHECK(load(points, labels).size() == 2);
  for (const Tensor& bad :
       {Tensor::zeros({2, 3}, DType::f32), Tensor::zeros({2, 2, 3}, DType::i32)}) {
    check_error(ErrorKind::data, {"p.npy", "[n, P, 3]"}, [&] { load(bad, labels); });
  }
  for (const Tensor& bad : {Tensor::zeros({2}, DType::f32), Tensor::zeros({2, 2}, DType::i64),
                            Tensor::zeros({2, 1, 1}, DType::i64)}) {
    check_error(ErrorKind::data, {"p.npy", "integer labels [2] or [2, 1]"},
                [&] { load(points, bad); });
  }
  check_error(ErrorKind::data, {"at least one shape"}, [&] {
    load(Tensor::zeros({0, 2, 3}, DType::f32), Tensor::zeros({0}, DType::i64));
  });
  check_error(ErrorKind::data, {"points [n, P, 3]"}, [&] {
    load(Tensor::zeros({2, 0, 3}, DType::f32), labels);
  });
  // A label may not ask for a list of names without end.
  check_error(ErrorKind::data, {"labels below 100000", "got 100000"}, [&] {
    load(points, Tensor::from(std::vector<int64_t>{0, 100'000}, {2}));
  });
  // One half of the pair of splits is no layout.
  write_npy(dir / "train_points.npy", points);
  check_error(ErrorKind::data, {"no known layout"}, [&] { load_point_clouds(dir.path()); });
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

TEST_CASE("point_cloud: lists, names and files that are left out") {
  const test::TempDir dir;
  LoadOptions o;
  o.points = 2, o.normalise = Normalisation::none;
  // Without a list of names the classes of the training list, sorted; another separator; a limit.
  write(dir / "modelnet10_train.txt", "sofa_0001\nbed_0001\n");
  check_error(ErrorKind::data, {"no known layout"}, [&] { load_point_clouds(dir.path(), o); });
  write(dir / "modelnet10_test.txt", "bed_0001\n");
  write(dir / "sofa/sofa_0001.txt", "1 2\t3\n4,5,  6");
  write(dir / "bed/bed_0001.txt", "7,8,9\n1,1,1\n");
  const PointCloudSplits s = load_point_clouds(dir.path(), o);
  CHECK(s.train.class_names == std::vector<std::string>{"bed", "sofa"});
  CHECK(s.train.points.to_vector<float>() ==
        std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 1, 1});
  o.points = 0;
  check_error(ErrorKind::data, {"sofa_0001.txt: line 3", "1024 points"},
              [&] { load_point_clouds(dir.path(), o); });
  for (const std::string& id :
       {std::string("bed"), std::string("_1"), std::string("a/b_1"), std::string("a\\b_1"),
        std::string(".b_1"), std::string("a\x01b_1"), std::string(200, 'b') + "_1"}) {
    write(dir / "modelnet10_test.txt", id + "\n");
    check_error(ErrorKind::data, {"modelnet10_test.txt: entry 1", "airplane_0001"},
                [&] { load_point_clouds(dir.path(), o); });
  }
  write(dir / "modelnet10_test.txt", "\n \n");
  o.points = 2;
  check_error(ErrorKind::data, {"at least one shape"}, [&] { load_point_clouds(dir.path(), o); });
}

TEST_CASE("point_cloud: trees with empty and with unequal clouds") {
  const test::TempDir dir;
  write_tree(dir, ".ply", ply_text);
  fs::create_directories(dir / "ant/train/folder.ply");  // no file, whatever its name
  write(dir / "zoo/train/zoo_1.off", off_text(1));       // a mesh, but none to test with
  LoadOptions o;
  o.points = 3;
  CHECK(load_point_clouds(dir.path(), o).train.points.shape() == Shape{6, 3, 3});
  std::string text = ply_text(1);
  text.replace(text.find("vertex 4"), 8, "vertex 3");
  write(dir / "box/train/box_2.ply", text);
  o.points = 0;
  check_error(ErrorKind::data, {"box_2.ply", "expected 4 points, got 3"},
              [&] { load_point_clouds(dir.path(), o); });
  text.replace(text.find("vertex 3"), 8, "vertex 0");
  write(dir / "box/train/box_2.ply", text);
  check_error(ErrorKind::data, {"box_2.ply", "no points"},
              [&] { load_point_clouds(dir.path(), o); });
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

TEST_CASE("point_cloud: the real ModelNet40 has the official counts") {
  const fs::path dir = test::real_data("modelnet40/modelnet40_ply_hdf5_1024");
  if (dir.empty() || test::skip_without_hdf5()) return;
  LoadOptions o;
  o.points = 128;
  const PointCloudSplits s = load_point_clouds(dir, o);
  CHECK(s.train.size() == 9843);
  CHECK(s.test.size() == 2468);
  REQUIRE(s.train.classes() == 40);
  CHECK((s.train.class_names.front() == "airplane" && s.train.class_names.back() == "xbox"));
  const auto train = class_counts(s.train), test = class_counts(s.test);
  CHECK((train[0] == 626 && test[0] == 100));
  CHECK((train[8] == 889 && test[8] == 100));   // chair
  CHECK((train[12] == 200 && test[12] == 86));  // desk
  CHECK((train[39] == 103 && test[39] == 20));
  CHECK(largest_norm(s.train, 5000) == doctest::Approx(1).epsilon(1e-6));
}

TEST_CASE("point_cloud: a real PLY equals its row in the exact HDF5 subset") {
  const fs::path dir = test::real_data("modelnet40/modelnet40_ply_hdf5_1024_mini");
  const fs::path ply = test::real_data("modelnet40/ply");
  if (dir.empty() || ply.empty() || test::skip_without_hdf5()) return;
  int compared = 0;
  for (const std::string part : {"train0", "train1", "test0"}) {
    const Hdf5Clouds h5 = read_hdf5_clouds(dir / ("ply_data_" + part + ".h5"));
    const std::string split = part.substr(0, part.size() - 1);
    const std::string names =
        read_text_file(dir / ("ply_data_" + split + "_" + part.back() + "_id2file.json"));
    int64_t row = 0;
    for (size_t at = names.find('"'); at != names.npos; ++row) {  // ["lamp/lamp_0089.ply", ...]
      const size_t end = names.find('"', at + 1);
      const fs::path name = names.substr(at + 1, end - at - 1);
      const fs::path file = ply / name.parent_path() / split / name.filename();
      if (fs::exists(file)) {
        const Tensor cloud = read_ply(file);
        REQUIRE(cloud.numel() == 3072);
        for (int64_t i = 0; i < 3072; ++i) REQUIRE(cloud.at(i) == h5.points.at(row * 3072 + i));
        ++compared;
      }
      at = names.find('"', end + 1);
    }
    CHECK(row == h5.points.size(0));
  }
  MESSAGE(compared, " real clouds compared");
  CHECK(compared == 6);
  const PointCloudSplits tree = load_point_clouds(ply);
  CHECK((tree.train.size() == 40 && tree.test.size() == 40 && tree.train.classes() == 40));
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
}
