// OFF and OBJ: headers as they are found in the wild, faults with their line, sampling statistics.
#include "basin/datasets/mesh.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "basin/tests/core/files.h"

using namespace basin;
using test::check_error;

namespace {

const std::string kSquare =  // unit square in z = 0: one quad
    "0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n";

void off_fault(const std::string& text, std::vector<std::string> words) {
  words.insert(words.begin(), {"bad.off", "line"});
  INFO(text);
  check_error(ErrorKind::data, words, [&] { parse_off(text, "bad.off"); });
}

void obj_fault(const std::string& text, std::vector<std::string> words) {
  words.insert(words.begin(), {"bad.obj", "line"});
  check_error(ErrorKind::data, words, [&] { parse_obj(text, "bad.obj"); });
}

// Distance from p to the triangle abc, by minimising over a dense set of barycentric weights.
double distance_to(const TriangleMesh& mesh, const std::array<int32_t, 3>& t, const double* p) {
  const auto &a = mesh.vertices[t[0]], &b = mesh.vertices[t[1]], &c = mesh.vertices[t[2]];
  double u[3], v[3], w[3];
  for (int i = 0; i < 3; ++i) u[i] = b[i] - a[i], v[i] = c[i] - a[i], w[i] = p[i] - a[i];
  const auto dot = [](const double* x, const double* y) {
    return x[0] * y[0] + x[1] * y[1] + x[2] * y[2];
  };
  const double uu = dot(u, u), uv = dot(u, v), vv = dot(v, v), wu = dot(w, u), wv = dot(w, v);
  const double det = uu * vv - uv * uv;
  if (det <= 1e-18) return 1e9;
  const double s = (vv * wu - uv * wv) / det, r = (uu * wv - uv * wu) / det;
  if (s < -1e-4 || r < -1e-4 || s + r > 1 + 1e-4) return 1e9;
  double d2 = 0;
  for (int i = 0; i < 3; ++i) d2 += std::pow(w[i] - s * u[i] - r * v[i], 2);
  return std::sqrt(d2);
}

}  // namespace

TEST_CASE("mesh: OFF headers in all their spellings give one mesh") {
  for (const std::string header :
       {"OFF\n4 1 0\n", "OFF4 1 0\n", "OFF 4 1 0\n", "OFF\r\n4 1 0\r\n",
        "# c\n\nOFF # d\n\n4 1 0 # e\n", "COFF\n4 1 0\n", "NOFF4 1\n", "STCNOFF\n4 1 4\n",
        "\n\tOFF\n\n\n 4\t1 0\n\n", "\v\fOFF\f4\v1 0\n", "\xEF\xBB\xBFOFF\n4 1 0\n",
        "\xEF\xBB\xBF# c\r\nOFF\r\n4 1 0\r\n", "OFF\r4 1 0\r"}) {
    INFO(header);
    const TriangleMesh mesh = parse_off(header + kSquare, "t.off");
    CHECK(mesh.normals.empty());
    CHECK(mesh.vertices.size() == 4);
    REQUIRE(mesh.triangles.size() == 2);
    CHECK(mesh.triangles[1] == std::array<int32_t, 3>{0, 2, 3});
    CHECK(surface_area(mesh) == doctest::Approx(1).epsilon(1e-15));
  }
  const std::string extras =
      "COFF\n3 1 0\n0 0 0 255 0 0 255\n1 0 0 1 1 1 1\n0 1 0 9 9 9 9\n3 0 1 2 200 10 10\n";
  CHECK(surface_area(parse_off(extras, "t.off")) == 0.5);
  CHECK(parse_off("OFF\n0 0 0\n", "t.off").vertices.empty());
  CHECK(parse_off("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n2 0 1\n", "t.off").triangles.empty());
}

TEST_CASE("mesh: a file without faces is its vertices, in every line end") {
  for (const std::string end : {"\n", "\r\n", "\r"}) {
    const std::string off = "OFF" + end + "2 0 0" + end + "1 2 3" + end + "4 5 500000.123" + end;
    const std::string obj = "# x" + end + "v 1 2 3" + end + "v 4 5 500000.123" + end;
    for (const TriangleMesh& mesh :
         {parse_off(off, "t"), parse_obj(obj, "t"), parse_obj("\xEF\xBB\xBF" + obj, "t"),
          parse_off(off.substr(0, off.size() - end.size()), "t")}) {
      CHECK(mesh.triangles.empty());
      const SampledSurface cloud = mesh_vertices(mesh);
      CHECK(cloud.points.shape() == Shape{2, 3});
      CHECK(cloud.points.to_vector<double>() == std::vector<double>{1, 2, 3, 4, 5, 500000.123});
      CHECK(!cloud.normals.defined());
    }
    off_fault("OFF" + end + "2 0 0" + end + "1 2 3" + end + "4 five 6" + end, {"line 4", "'five'"});
  }
}

TEST_CASE("mesh: normals of vertices") {
  using Normals = std::vector<std::array<double, 3>>;
  const Normals both{{0, 0, 1}, {0, 0.5, 0}};
  CHECK(parse_off("NOFF\n2 0 0\n1 2 3 0 0 1\n4 5 6 0 0.5 0 255 0 0\n", "t").normals == both);
  CHECK(parse_off("CNOFF 2 0\n1 2 3 0 0 1 9\n4 5 6 0 .5 0 9\n", "t").normals == both);
  CHECK(parse_off("NOFF\n2 0 0\n1 2 3 0 0 1\n4 5 6\n", "t").normals.empty());  // not of all
  CHECK(parse_off("OFF\n1 0 0\n1 2 3 0 0 1\n", "t").normals.empty());          // not promised

  const std::string v = "v 0 0 0\nv 1 0 0\nv 0 1 0\n", vn = "vn 0 0 1\nvn 0 0.5 0\nvn 0 0 1\n";
  const auto normals = [&](const std::string& faces) {
    return parse_obj(v + vn + faces, "t").normals;
  };
  CHECK(normals("f 1//1 2//2 3//3\n") == Normals{{0, 0, 1}, {0, 0.5, 0}, {0, 0, 1}});
  CHECK(normals("f 1/1/-3 2/1/-2 3/1/-1\n") == Normals{{0, 0, 1}, {0, 0.5, 0}, {0, 0, 1}});
  CHECK(normals("f 1//1 2//2 3//1\nf 1//3 3//3 2//2\n") == normals("f 1//1 2//2 3//3\n"));
  CHECK(normals("f 1//1 2//2 3//1\nf 1//2 3//3 2//2\n").empty());  // a crease
  CHECK(normals("f 1//1 2//2 3\n").empty());
  CHECK(normals("f 1/1 2/1 3/1\n").empty());
  CHECK(normals("f 1//1 2//2 3//4\n").empty());
  CHECK(normals("f 1//1 2//2 3//x\n").empty());
  CHECK(normals("").size() == 3);  // a cloud
  CHECK(normals("vn 0 0 1\n").empty());
  CHECK(parse_obj(v + "vn 0 0 nan\n" + vn + "f 1//2 2//3 3//4\n", "t").normals.empty());
  // A vertex that no face uses.
  CHECK(parse_obj("v 9 9 9\n" + v + vn + "f 2//1 3//2 4//3\n", "t").normals[0] ==
        std::array<double, 3>{0, 0, 0});
  CHECK(mesh_vertices(parse_obj(v + vn, "t")).normals.to_vector<double>() ==
        std::vector<double>{0, 0, 1, 0, 0.5, 0, 0, 0, 1});
}

TEST_CASE("mesh: a file of another kind is called by its name") {
  off_fault("ply\nformat ascii 1.0\n", {"expected the keyword OFF", "this is a PLY file"});
  off_fault("v 0 0 0\nv 1 0 0\n", {"this is an OBJ mesh"});
  off_fault("\x1F\x8B\x08", {"this is a gzip file"});
  obj_fault("ply\nformat ascii 1.0\n", {"expected vertices of an OBJ mesh, this is a PLY file"});
  obj_fault("<!DOCTYPE html>\n", {"this is a web page"});
  obj_fault("", {"this is an empty file"});
  CHECK(parse_obj("# nothing\n", "t.obj").vertices.empty());
}

TEST_CASE("mesh: OFF faults name the line") {
  off_fault("", {"line 1", "empty"});
  off_fault("solid cube\n", {"line 1", "expected the keyword OFF"});
  off_fault("OFF\n", {"line 1", "counts"});
  off_fault("OFF BINARY\n", {"binary", "save as ascii"});
  for (const std::string word : {"4OFF", "nOFF", "C4nOFF"}) {
    off_fault(word + "\n3 1 0\n", {"line 1", "3 coordinates", "'" + word + "'"});
  }
  off_fault("OFF\n4 x 0\n", {"line 2", "faces", "'x'"});
  off_fault("OFF\n-4 1 0\n" + kSquare, {"line 2", "negative"});
  off_fault("OFF\n4 -1 0\n" + kSquare, {"negative"});
  off_fault("OFF490 518 0\n", {"line 1", "490 vertices", "518 faces", "bytes follow"});
  off_fault("OFF\n2000000000 1 0\n" + kSquare, {"2000000000"});
  off_fault("OFF\n4 2000000000 0\n" + kSquare, {"2000000000"});
  off_fault("OFF\n99999999999999999999 1 0\n", {"vertices"});
  off_fault("OFF\n5 1 0\n" + kSquare, {"line 7", "1 faces", "file ends"});
  off_fault("OFF\n4 2 0\n" + kSquare, {"2 faces", "ends after 1"});
  off_fault("OFF\n4 1 0\n0 0 0\n1 0 0\n1 1\n0 1 0\n4 0 1 2 3\n", {"line 5", "expected z"});
  off_fault("OFF\n4 1 0\n0 0 0\n1 nan 0\n1 1 0\n0 1 0\n4 0 1 2 3\n",
            {"line 4", "expected y", "nan"});
  off_fault("OFF\n4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 4\n", {"line 7", "0 to 3", "got 4"});
  off_fault("OFF\n4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 -2\n", {"got -2"});
  off_fault("OFF\n4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2\n", {"vertex index, got ''"});
  off_fault("OFF\n4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n-1\n", {"got -1"});
  off_fault("OFF\n4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n1000000000 0\n", {"100000 corners"});
}

TEST_CASE("mesh: OBJ faces in all their spellings") {
  const std::string v = "# obj\nmtllib x\nv 0 0 0\nv 2 0 0 1.0\nv 0 2 0\nvn 0 0 1\nvt 0 0\n";
  for (const char* face :
       {"f 1 2 3", "f 1/1 2/1 3/1", "f 1//1 2//1 3//1", "f 1/1/1 2/1/1 3/1/1", "f -3 -2 -1\r"}) {
    INFO(face);
    const TriangleMesh mesh = parse_obj(v + face + "\ns off\n", "t.obj");
    REQUIRE(mesh.triangles.size() == 1);
    CHECK(mesh.triangles[0] == std::array<int32_t, 3>{0, 1, 2});
    CHECK(surface_area(mesh) == 2);
  }
  obj_fault(v + "f 1 2\n", {"line 8", "3 corners, got 2"});
  obj_fault(v + "f 1 2 4\n", {"line 8", "1 to 3", "got 4"});
  obj_fault(v + "f 0 1 2\n", {"got 0"});
  obj_fault(v + "f -4 1 2\n", {"got -4"});
  obj_fault(v + "f a b c\n", {"'a'"});
  obj_fault("v 1 2\n", {"line 1", "expected z"});
}

TEST_CASE("mesh: sampling is uniform on the area and reproducible") {
  // Two triangles of areas 3 and 1, one of area 0 between them.
  const TriangleMesh mesh = parse_off(
      "OFF\n7 3 0\n0 0 0\n3 0 0\n0 2 0\n0 0 9\n1 0 9\n0 2 9\n5 5 5\n3 0 1 2\n3 6 6 6\n3 3 4 5\n",
      "t");
  Rng rng(1, 2), again(1, 2);
  const int64_t n = 20'000;
  const Tensor p = sample_surface(mesh, n, rng, "t").points;
  CHECK(p.dtype() == DType::f64);
  const SampledSurface same = sample_surface(mesh, n, again, "t", true);  // normals move no point
  CHECK(p.to_vector<double>() == same.points.to_vector<double>());
  for (int64_t i = 0; i < n; ++i) {
    REQUIRE((same.normals.at(3 * i) == 0 && same.normals.at(3 * i + 1) == 0));
    REQUIRE(same.normals.at(3 * i + 2) == 1);
  }
  int64_t low = 0;
  double mean[2] = {0, 0};
  for (int64_t i = 0; i < n; ++i) {
    const double x = p.at(3 * i), y = p.at(3 * i + 1), z = p.at(3 * i + 2);
    REQUIRE((z == 0 || std::abs(z - 9) < 1e-14));
    if (z != 0) continue;
    ++low;
    REQUIRE((x >= 0 && y >= 0 && x / 3 + y / 2 <= 1 + 1e-6));
    mean[0] += x, mean[1] += y;
  }
  CHECK(std::abs(static_cast<double>(low) / n - 0.75) < 4 * std::sqrt(0.75 * 0.25 / n));
  CHECK(mean[0] / static_cast<double>(low) == doctest::Approx(1).epsilon(0.03));  // the centroid
  CHECK(mean[1] / static_cast<double>(low) == doctest::Approx(2.0 / 3).epsilon(0.03));
}

TEST_CASE("mesh: sampled normals are those of the vertices where there are any") {
  // A right triangle of which the normals lean outwards; n(p) ~ (x, y, 1) is linear in p.
  TriangleMesh mesh =
      parse_off("NOFF\n3 1 0\n0 0 0 0 0 1\n1 0 0 1 0 1\n0 1 0 0 1 1\n3 0 1 2\n", "t");
  Rng rng(5, 6);
  const SampledSurface s = sample_surface(mesh, 500, rng, "t", true);
  for (int64_t i = 0; i < 500; ++i) {
    const double x = s.points.at(3 * i), y = s.points.at(3 * i + 1), length = std::hypot(x, y, 1);
    CHECK(s.normals.at(3 * i) == doctest::Approx(x / length).epsilon(1e-12));
    CHECK(s.normals.at(3 * i + 1) == doctest::Approx(y / length).epsilon(1e-12));
    CHECK(s.normals.at(3 * i + 2) == doctest::Approx(1 / length).epsilon(1e-12));
  }
  // Where they cancel, and where there are none: across the triangle, by the order of its corners.
  mesh.normals = {{0, 0, 0}, {0, 0, 0}, {0, 0, 0}};
  mesh.triangles = {{0, 2, 1}};
  const SampledSurface flat = sample_surface(mesh, 10, rng, "t", true);
  for (int64_t i = 0; i < 10; ++i) CHECK(flat.normals.at(3 * i + 2) == -1);
  // Lengths whose squares leave the range of double.
  mesh.normals = {{0, 3e300, 4e300}, {0, 3e300, 4e300}, {0, 3e300, 4e300}};
  CHECK(sample_surface(mesh, 1, rng, "t", true).normals.at(1) == doctest::Approx(0.6));
  mesh.normals = {{0, 3e-300, 4e-300}, {0, 3e-300, 4e-300}, {0, 3e-300, 4e-300}};
  CHECK(sample_surface(mesh, 1, rng, "t", true).normals.at(2) == doctest::Approx(0.8));
  CHECK(!sample_surface(mesh, 1, rng, "t").normals.defined());
}

TEST_CASE("mesh: coordinates far from the origin keep their digits") {
  const TriangleMesh near = parse_off("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", "t");
  for (const double offset : {1e3, 1e6, 1e9}) {
    TriangleMesh far = near;
    for (auto& p : far.vertices) {
      for (double& x : p) x += offset;
    }
    Rng a(7, 8), b(7, 8);
    const Tensor p = sample_surface(near, 50, a, "t").points,
                 q = sample_surface(far, 50, b, "t").points;
    for (int64_t i = 0; i < p.numel(); ++i) {
      CHECK(std::abs(q.at(i) - offset - p.at(i)) <= 4e-16 * offset);
    }
  }
}

TEST_CASE("mesh: a surface without area is a data error") {
  Rng rng(0, 0);
  const TriangleMesh flat = parse_off("OFF\n3 1 0\n0 0 0\n1 1 1\n2 2 2\n3 0 1 2\n", "line.off");
  check_error(ErrorKind::data, {"line.off", "area"},
              [&] { sample_surface(flat, 10, rng, "line.off"); });
  check_error(ErrorKind::data, {"0 triangles"}, [&] { sample_surface({}, 10, rng, "e"); });
  const TriangleMesh vast =
      parse_off("OFF\n3 1 0\n0 0 0\n1e200 0 0\n0 1e200 0\n3 0 1 2\n", "vast.off");
  check_error(ErrorKind::data, {"vast.off: expected a surface with an area"},
              [&] { sample_surface(vast, 10, rng, "vast.off"); });
  // The smallest area that a double holds: a share of it is all of it or nothing.
  const TriangleMesh least =
      parse_off("OFF\n3 1 0\n0 0 0\n1e-162 0 0\n0 1e-161 0\n3 0 1 2\n", "least.off");
  CHECK(surface_area(least) == std::numeric_limits<double>::denorm_min());
  const Tensor p = sample_surface(least, 20, rng, "least.off", true).points;
  for (int64_t i = 0; i < p.numel(); ++i) CHECK(std::abs(p.at(i)) <= 1e-161);
  check_error(ErrorKind::usage, {"positive number of points", "got 0"},
              [&] { sample_surface(flat, 0, rng, "line.off"); });
  check_error(ErrorKind::usage, {".off or .obj"}, [] { read_mesh("x.stl"); });
  const test::TempDir dir;
  write_file_atomic(dir / "t.obj", "v 0 0 0\nv 2 0 0\nv 0 2 0\nf 1 2 3\n");
  CHECK(surface_area(read_mesh(dir / "t.obj")) == 2);
  fs::rename(dir / "t.obj", dir / "t.OBJ");
  CHECK(surface_area(read_mesh(dir / "t.OBJ")) == 2);
}

TEST_CASE("mesh: real ModelNet meshes and the points sampled on them") {
  const fs::path dir = test::real_data("modelnet40/off");
  if (dir.empty()) return;
  const TriangleMesh chair = read_mesh(dir / "chair_0001.off");
  CHECK(chair.vertices.size() == 2382);
  CHECK(chair.triangles.size() == 2234);
  for (const char* name : {"bathtub_0001.off", "chair_0001.off", "toilet_0001.off"}) {
    INFO(name);
    const TriangleMesh mesh = read_mesh(dir / name);
    double size = 0;
    for (const auto& v : mesh.vertices)
      size = std::max({size, std::abs(v[0]), std::abs(v[1]), std::abs(v[2])});
    Rng rng(3, 4);
    const Tensor cloud = sample_surface(mesh, 40, rng, name).points;
    for (int64_t i = 0; i < 40; ++i) {
      const double p[3] = {cloud.at(3 * i), cloud.at(3 * i + 1), cloud.at(3 * i + 2)};
      double nearest = 1e9;
      for (const auto& t : mesh.triangles) nearest = std::min(nearest, distance_to(mesh, t, p));
      CHECK(nearest < 1e-5 * size);
    }
  }
}
