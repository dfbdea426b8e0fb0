// Texts of data sets as editors and systems spell them: behind a byte-order mark, with every end of
// a line, with blanks; and in UTF-16, which is refused.
#include <doctest/doctest.h>

#include "basin/datasets/point_cloud.h"
#include "basin/tests/core/files.h"
#include "basin/tests/datasets/folder_helpers.h"
#include "basin/tests/datasets/hdf5_skip.h"

using namespace basin;
using test::check_error;
using test::write;

namespace {

// The lines with this end, behind a mark.
std::string marked(const std::vector<std::string>& lines, const std::string& end) {
  std::string text = "\xEF\xBB\xBF";
  for (const std::string& line : lines) text += line + end;
  return text;
}

}  // namespace

TEST_CASE("text spelling: resampled text, its lists and its names") {
  LoadOptions o;
  o.points = 3, o.normalise = Normalisation::none;
  std::string hash;
  for (const std::string end : {"\n", "\r\n", "\r"}) {
    const test::TempDir dir;
    write(dir / "modelnet40_train.txt", marked({"desk_0001", "", " chair_0001 "}, end));
    write(dir / "modelnet40_test.txt", marked({"chair_0001", "desk_0001"}, end));
    write(dir / "modelnet40_shape_names.txt", marked({"chair", "desk"}, end));
    write(dir / "chair/chair_0001.txt", marked({"1,2,3", "4,5,6", "7,8,9"}, end));
    write(dir / "desk/desk_0001.txt",
          marked({"-1, 0, 0.5,0,0,1", "0,0,0,0,0,1", "1,1,1,0,0,1"}, end));
    const PointCloudSplits s = load_point_clouds(dir.path(), o);
    CHECK(s.train.class_names == std::vector<std::string>{"chair", "desk"});
    CHECK(s.train.labels.to_vector<int64_t>() == std::vector<int64_t>{1, 0});
    CHECK(s.train.points.at(2) == 0.5);
    if (hash.empty()) hash = s.train.content_hash;
    CHECK(s.train.content_hash == hash);
  }
}

TEST_CASE("text spelling: lists of HDF5 files and the names of their classes") {
  if (test::skip_without_hdf5()) return;
  for (const std::string end : {"\n", "\r\n", "\r"}) {
    const test::TempDir dir;
    for (const char* name : {"ply_data_train0.h5", "ply_data_test0.h5"}) {
      fs::copy_file(test::fixtures() / "hdf5_layout" / name, dir / name);
    }
    write(dir / "train_files.txt", marked({"data/ply_data_train0.h5"}, end));
    write(dir / "test_files.txt", marked({"data\\ply_data_test0.h5"}, end));
    write(dir / "shape_names.txt", marked({"apple", "brick", "crane"}, end));
    const PointCloudSplits s = load_point_clouds(dir.path());
    CHECK(s.train.class_names == std::vector<std::string>{"apple", "brick", "crane"});
    CHECK((s.train.size() == 4 && s.test.size() == 3));
  }
}

TEST_CASE("text spelling: trees of meshes and single clouds") {
  const test::TempDir dir;
  LoadOptions o;
  o.points = 4, o.normalise = Normalisation::none;
  for (const std::string end : {"\n", "\r\n", "\r"}) {
    write(dir / "a.obj", marked({"v 0 0 0", "v 1 0 0", "v 0 1 0", "f 1 2 3"}, end));
    write(dir / "a.ply", marked({"ply", "format ascii 1.0", "element vertex 4", "property float x",
                                 "property float y", "property float z", "end_header", "0 0 0",
                                 "1 0 0", "0 1 0", "0 0 0"},
                                end));
    write(dir / "a.xyz", marked({"0 0 0", "1 0 0", "0 1 0", "0 0 0"}, end));
    for (const char* name : {"a.obj", "a.ply", "a.xyz"}) {
      INFO(name);
      CHECK(load_cloud(dir / name, o).shape() == Shape{4, 3});
    }
  }
}

TEST_CASE("text spelling: UTF-16 is refused with a way out") {
  const test::TempDir dir;
  for (const char* name : {"a.off", "a.obj", "a.xyz"}) {
    write(dir / name, std::string("\xFF\xFEO\0F\0F\0", 8));
    check_error(ErrorKind::data, {name, "UTF-16", "saved as UTF-8"},
                [&] { load_cloud(dir / name); });
  }
  write(dir / "a.ply", std::string("\xFF\xFEp\0l\0y\0", 8));
  check_error(ErrorKind::data, {"a.ply", "UTF-16", "saved as UTF-8"},
              [&] { load_cloud(dir / "a.ply"); });
}
