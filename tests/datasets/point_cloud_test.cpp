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
  fs::copy_file(from / "ply_data_test0.h5", dir / "test_objectdataset.h5");
  const PointCloudSplits s = load_point_clouds(dir.path());
  CHECK((s.train.size() == 4 && s.test.size() == 3));
  CHECK(s.train.class_names == std::vector<std::string>{"class_0", "class_1", "class_2"});
  CHECK(largest_norm(s.train, 2) == doctest::Approx(1).epsilon(1e-6));
  fs::copy_file(from / "ply_data_test0.h5", dir / "test_objectdataset_augmented25rot.h5");
  check_error(ErrorKind::data, {"one variant", "_objectdataset_augmented25rot"},
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
