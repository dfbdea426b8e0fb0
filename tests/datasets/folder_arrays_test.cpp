// Folders of arrays, HDF5 and .npy, made here or of the fixtures, and the counts and values of the
// real ModelNet40.
#include <doctest/doctest.h>

#include <cerrno>
#include <cmath>

#include "basin/datasets/hdf5.h"
#include "basin/datasets/npy.h"
#include "basin/datasets/ply.h"
#include "basin/datasets/point_cloud.h"
#include "basin/tests/core/faults.h"
#include "basin/tests/core/files.h"
#include "basin/tests/datasets/folder_helpers.h"
#include "basin/tests/datasets/hdf5_skip.h"

using namespace basin;
using test::Call;
using test::check_error;
using test::Fault;
using test::largest_norm;
using test::write;

TEST_CASE("folder_arrays: HDF5 layout with list files") {
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

TEST_CASE("folder_arrays: HDF5 by file names as in ScanObjectNN") {
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

TEST_CASE("folder_arrays: HDF5 and .npy in any case, beside what is no data") {
  const test::TempDir npy;
  const Tensor points = Tensor::from(std::vector<float>{0, 1, 2, 3, 4, 5}, {1, 2, 3});
  for (const std::string split : {"train", "test"}) {
    write_npy(npy / (split + "_points.NPY"), points);
    write_npy(npy / (split + "_labels.Npy"), Tensor::zeros({1}, DType::i64));
  }
  CHECK(load_point_clouds(npy.path()).train.size() == 1);
  if (test::skip_without_hdf5()) return;
  const test::TempDir dir;
  const fs::path from = test::fixtures() / "hdf5_layout";
  fs::copy_file(from / "ply_data_train0.h5", dir / "train.H5");
  fs::copy_file(from / "ply_data_test0.h5", dir / "test.Hdf5");
  for (const char* name : {"._train.H5", ".test_2.h5", "__MACOSX", "train.h5~", "Thumbs.db"}) {
    write(dir / name, "no HDF5");
  }
  CHECK(load_point_clouds(dir.path()).train.size() == 4);
  write(dir / "train_files.TXT", "._train.H5\nother\\__MACOSX\ntrain.h5\n");
  write(dir / "test_files.txt", "test.Hdf5\n./.DS_Store\n");
  const PointCloudSplits listed = load_point_clouds(dir.path());
  CHECK((listed.train.size() == 4 && listed.test.size() == 3));
}

TEST_CASE("folder_arrays: what stands around the split in the name of an HDF5 file") {
  if (test::skip_without_hdf5()) return;
  const fs::path from = test::fixtures() / "hdf5_layout";
  for (const std::string suffix : {"", "12", "3-b", "3_b"}) {
    INFO(suffix);
    const test::TempDir dir;
    fs::copy_file(from / "ply_data_train0.h5", dir / ("train" + suffix + ".h5"));
    fs::copy_file(from / "ply_data_test0.h5", dir / ("testing" + suffix + ".h5"));
    const PointCloudSplits s = load_point_clouds(dir.path());
    CHECK((s.train.size() == 4 && s.test.size() == 3));
  }
}

TEST_CASE("folder_arrays: a folder that cannot be listed") {
  const test::TempDir dir;
  const Fault fault(Call::list, EIO);
  check_error(ErrorKind::data, {dir.path().string() + ": cannot be listed: Input/output error"},
              [&] { load_point_clouds(dir.path()); });
}

TEST_CASE("folder_arrays: HDF5 files of different numbers of points, and one list of the two") {
  if (test::skip_without_hdf5()) return;
  const test::TempDir dir;
  const fs::path from = test::fixtures() / "hdf5_layout";
  fs::copy_file(from / "ply_data_train0.h5", dir / "a.h5");
  fs::copy_file(from / "eight_points.h5", dir / "b.h5");
  write(dir / "train_files.txt", "a.h5\nb.h5\n");
  check_error(ErrorKind::data, {"no known layout"}, [&] { load_point_clouds(dir.path()); });
  write(dir / "test_files.txt", "a.h5\n");
  const PointCloudSet unequal = load_point_clouds(dir.path()).train;
  CHECK((unequal.points_of(0) == 16 && unequal.points_of(6) == 8));
  LoadOptions o;
  o.points = 8;
  CHECK(load_point_clouds(dir.path(), o).train.points.shape() == Shape{7, 8, 3});
  write(dir / "train_files.txt", "\n");
  check_error(ErrorKind::data, {"train_files.txt", "at least one"},
              [&] { load_point_clouds(dir.path()); });
}

TEST_CASE("folder_arrays: HDF5 lists and labels that do not fit") {
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

TEST_CASE("folder_arrays: npy arrays and what seal refuses") {
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

TEST_CASE("folder_arrays: arrays of another type or shape") {
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
  CHECK(load(points, Tensor::from(std::vector<double>{1, 0}, {2, 1})).labels.to_vector<int64_t>() ==
        std::vector<int64_t>{1, 0});
  for (const Tensor& bad :
       {Tensor::zeros({2, 2}, DType::i64), Tensor::zeros({2, 1, 1}, DType::i64)}) {
    check_error(ErrorKind::data, {"p.npy", "labels [2] or [2, 1]"}, [&] { load(points, bad); });
  }
  check_error(ErrorKind::data, {"p.npy", "whole floats as labels", "row 1 is 0.5"}, [&] {
    load(points, Tensor::from(std::vector<float>{1, 0.5f}, {2}));
  });
  check_error(ErrorKind::data, {"at least one shape"}, [&] {
    load(Tensor::zeros({0, 2, 3}, DType::f32), Tensor::zeros({0}, DType::i64));
  });
  check_error(ErrorKind::data, {"p.npy: row 0", "no points"}, [&] {
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

TEST_CASE("folder_arrays: the real ModelNet40 has the official counts") {
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

TEST_CASE("folder_arrays: a real PLY equals its row in the exact HDF5 subset") {
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
        const Tensor cloud = read_ply(file).points;
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
