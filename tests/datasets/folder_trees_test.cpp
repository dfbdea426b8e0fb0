// Folders of one file per shape: resampled text with its lists, trees of meshes and of PLY clouds.
#include <doctest/doctest.h>

#include "basin/core/parallel.h"
#include "basin/datasets/point_cloud.h"
#include "basin/tests/core/files.h"
#include "basin/tests/datasets/folder_helpers.h"

using namespace basin;
using test::check_error;
using test::largest_norm;
using test::write;

namespace {

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

}  // namespace

TEST_CASE("folder_trees: resampled text") {
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
  check_error(ErrorKind::data, {"bed_0003.txt", "6 points", "got 5"},
              [&] { load_point_clouds(dir.path(), o); });
  write(dir / "bed/bed_0001.txt", "1,2,3\n1,x,3\n");
  o.points = 2;
  check_error(ErrorKind::data, {"bed_0001.txt", "line 2", "'x'"},
              [&] { load_point_clouds(dir.path(), o); });
  write(dir / "bed/bed_0001.txt", "1,2,3\n1," + std::string(50, 'x') + ",3\n");
  check_error(ErrorKind::data, {"line 2: expected x,y,z, got '" + std::string(40, 'x') + "'"},
              [&] { load_point_clouds(dir.path(), o); });
  write(dir / "modelnet40_test.txt", "../../etc/passwd_1\n");
  check_error(ErrorKind::data, {"modelnet40_test.txt", "ids"},
              [&] { load_point_clouds(dir.path(), o); });
  write(dir / "modelnet40_test.txt", "zebra_0001\n");
  check_error(ErrorKind::data, {"'zebra'"}, [&] { load_point_clouds(dir.path(), o); });
}

TEST_CASE("folder_trees: a tree of meshes is sampled alike for any limit and thread count") {
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

TEST_CASE("folder_trees: a tree of PLY clouds") {
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

TEST_CASE("folder_trees: lists, names and files that are left out") {
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
  CHECK(load_point_clouds(dir.path(), o).train.content_hash == s.train.content_hash);
  for (const std::string& id :
       {std::string("bed"), std::string("_1"), std::string("a/b_1"), std::string("a\\b_1"),
        std::string("a\x01b_1"), std::string(200, 'b') + "_1"}) {
    write(dir / "modelnet10_test.txt", id + "\n");
    check_error(ErrorKind::data, {"modelnet10_test.txt: entry 1", "airplane_0001"},
                [&] { load_point_clouds(dir.path(), o); });
  }
  write(dir / "modelnet10_test.txt", "\n \n.b_1\nbed/._bed_0001\n");
  o.points = 2;
  check_error(ErrorKind::data, {"at least one shape"}, [&] { load_point_clouds(dir.path(), o); });
}

TEST_CASE("folder_trees: what is no data is passed over, in folders and in lists") {
  const test::TempDir dir;
  write_tree(dir, ".off", off_text);
  LoadOptions o;
  o.points = 8;
  const PointCloudSplits clean = load_point_clouds(dir.path(), o);
  for (const char* name :
       {"ant/train/._ant_0.off", "ant/train/.ant_7.off", "ant/train/Thumbs.db",
        "ant/test/desktop.ini", "ant/test/ant_3.off~", "ant/test/#ant_3.off#", ".DS_Store",
        "__MACOSX/train/a.off", "__MACOSX/test/a.off", ".git/train/a.off"}) {
    write(dir / name, "not a mesh");
  }
  const PointCloudSplits littered = load_point_clouds(dir.path(), o);
  CHECK(littered.train.content_hash == clean.train.content_hash);
  CHECK(littered.test.content_hash == clean.test.content_hash);
  CHECK(littered.train.class_names == clean.train.class_names);
}

TEST_CASE("folder_trees: extensions in any case") {
  const test::TempDir dir, upper;
  write_tree(dir, ".off", off_text);
  write_tree(upper, ".OFF", off_text);
  LoadOptions o;
  o.points = 8;
  CHECK(load_point_clouds(upper.path(), o).train.labels.to_vector<int64_t>() ==
        load_point_clouds(dir.path(), o).train.labels.to_vector<int64_t>());
  const test::TempDir text;
  write(text / "modelnet40_train.TXT", "bed_0001\n");
  write(text / "modelnet40_test.TXT", "bed_0001\n");
  write(text / "modelnet40_shape_names.Txt", "sofa\nbed\n");
  write(text / "bed/bed_0001.TXT", "1,2,3\n4,5,6\n");
  CHECK(load_point_clouds(text.path()).train.labels.at(0) == 1);
  for (const char* name : {"a.PLY", "a.Ply"}) {
    write(text / name, ply_text(1));
    CHECK(load_cloud(text / name).points.shape() == Shape{4, 3});
  }
  write(text / "a.XYZ", "1 2 3\r4 5 6\r");
  CHECK(load_cloud(text / "a.XYZ").points.shape() == Shape{2, 3});
}

TEST_CASE("folder_trees: meshes without faces are clouds") {
  const test::TempDir dir;
  write_tree(dir, ".off", [](double z) {
    std::string out = "OFF\r5 0 0\r";  // another end of line
    for (int i = 0; i < 5; ++i) out += str(i, " ", z * i * i, " 1\r");
    return out;
  });
  LoadOptions o;
  o.normalise = Normalisation::none;
  const PointCloudSplits s = load_point_clouds(dir.path(), o);
  CHECK(s.train.points.shape() == Shape{6, 5, 3});
  CHECK(s.train.points.at(3 * 4) == 4);
  CHECK(s.train.points.at(3 * 4 + 1) == 16);
  CHECK(s.selection == PointSelection::random);
  write(dir / "ant/train/ant_0.off", off_text(1));  // one of them is a surface
  o.points = 3;
  const PointCloudSplits mixed = load_point_clouds(dir.path(), o);
  CHECK(mixed.train.points_of(0) == 3);  // sampled
  CHECK(mixed.train.points_of(1) == 5);  // of which three are drawn later
}

TEST_CASE("folder_trees: trees with empty and with unequal clouds") {
  const test::TempDir dir;
  write_tree(dir, ".ply", ply_text);
  fs::create_directories(dir / "ant/train/folder.ply");  // no file, whatever its name
  write(dir / "zoo/train/zoo_1.off", off_text(1));       // a mesh, but none to test with
  LoadOptions o;
  o.points = 3, o.selection = PointSelection::first;
  CHECK(load_point_clouds(dir.path(), o).train.points.shape() == Shape{6, 3, 3});
  std::string text = ply_text(1);
  text.replace(text.find("vertex 4"), 8, "vertex 3");
  text.erase(text.find_last_of('\n', text.size() - 2) + 1);
  write(dir / "box/train/box_2.ply", text);
  o.points = 0;
  const PointCloudSet unequal = load_point_clouds(dir.path(), o).train;
  CHECK(unequal.points.shape() == Shape{23, 3});
  CHECK(unequal.offsets.to_vector<int64_t>() == std::vector<int64_t>{0, 4, 8, 12, 16, 20, 23});
  text.replace(text.find("vertex 3"), 8, "vertex 0");
  write(dir / "box/train/box_2.ply", text);
  check_error(ErrorKind::data, {"box_2.ply", "no points"},
              [&] { load_point_clouds(dir.path(), o); });
}
