// Malformed files given to every reader of data: see tests/core/malformed.h. The seeds are those of
// the fuzz targets and files that Basin writes itself.
#include "basin/tests/core/malformed.h"

#include "basin/core/safetensors.h"
#include "basin/datasets/hdf5.h"
#include "basin/datasets/mat5.h"
#include "basin/datasets/mesh.h"
#include "basin/datasets/npy.h"
#include "basin/datasets/npz.h"
#include "basin/datasets/ply.h"
#include "basin/datasets/point_cloud.h"

using namespace basin;
using test::Reader;

namespace {

Tensor ramp(const Shape& shape, DType type) {
  Tensor t = Tensor::empty(shape, DType::f64);
  for (int64_t i = 0; i < t.numel(); ++i)
    t.mutable_data<double>()[i] = 0.5 * static_cast<double>(i);
  return t.to(type);
}

void check_campaign(const Reader& reader, const std::vector<std::vector<uint8_t>>& seeds,
                    size_t cuts, int mutations, int files, double refused) {
  const test::Refusals r = run_malformed(reader, seeds, cuts, mutations);
  CHECK(r.files >= files);
  CHECK(r.refused >= refused * r.files);
}

}  // namespace

TEST_CASE("malformed: safetensors") {
  auto seeds = test::fuzz_seeds("safetensors");
  seeds.push_back(serialize_safetensors({{{"layer.weight", ramp({3, 4}, DType::f32)},
                                          {"layer.bias", ramp({4}, DType::f64)},
                                          {"steps", ramp({1}, DType::i64)}},
                                         {{"format", "basin"}}}));
  check_campaign({"safetensors",
                  "a.safetensors",
                  [](const fs::path& p) { read_safetensors(p); },
                  ErrorKind::data,
                  {"offset"}},
                 seeds, 300, 60, 700, 0.8);
}

TEST_CASE("malformed: npy") {
  auto seeds = test::fuzz_seeds("npy");
  seeds.push_back(serialize_npy(ramp({2, 3, 2}, DType::f64)));
  check_campaign(
      {"npy", "a.npy", [](const fs::path& p) { read_npy(p); }, ErrorKind::data, {"offset"}}, seeds,
      160, 40, 1000, 0.8);
}

TEST_CASE("malformed: npz") {
  auto seeds = test::fuzz_seeds("npz");
  seeds.push_back(
      serialize_npz({{"points", ramp({2, 4, 3}, DType::f32)}, {"labels", ramp({2}, DType::i64)}}));
  const auto read = [](const fs::path& p) {
    const NpzFile file(p);
    for (const std::string& name : file.names()) file.read(name);
  };
  check_campaign({"npz", "a.npz", read, ErrorKind::data, {"offset"}}, seeds, 256, 100, 500, 0.8);
}

TEST_CASE("malformed: mat5") {
  const auto read = [](const fs::path& p) {
    const Mat5File file(p);
    for (const std::string& name : file.names()) file.read(name);
  };
  check_campaign({"mat5", "a.mat", read, ErrorKind::data, {"offset"}}, test::fuzz_seeds("mat5"),
                 400, 150, 1000, 0.5);
}

TEST_CASE("malformed: off, obj and ply") {
  const auto mesh = [](const fs::path& p) { read_mesh(p); };
  check_campaign({"off", "a.off", mesh, ErrorKind::data, {": line "}}, test::fuzz_seeds("off"), 100,
                 100, 300, 0.4);
  check_campaign({"obj", "a.obj", mesh, ErrorKind::data, {": line "}}, test::fuzz_seeds("obj"), 100,
                 100, 250, 0.2);
  check_campaign({"ply",
                  "a.ply",
                  [](const fs::path& p) { read_ply(p); },
                  ErrorKind::data,
                  {": line ", ": offset "}},
                 test::fuzz_seeds("ply"), 200, 100, 500, 0.6);
}

TEST_CASE("malformed: resampled text and its lists") {
  const auto write = [](const fs::path& path, std::string_view text) {
    std::ofstream(path, std::ios::binary) << text;
  };
  const std::string files[] = {"chair/chair_0001.txt", "modelnet40_train.txt",
                               "modelnet40_shape_names.txt"};
  const std::string good[] = {"1,2,3\n4,5,6\n7,8,9\n1,0,0.25\n", "chair_0001\nchair_0001\n",
                              "chair\ndesk\n"};
  for (int k = 0; k < 3; ++k) {
    const auto read = [&](const fs::path& given) {
      const fs::path dir = k == 0 ? given.parent_path().parent_path() : given.parent_path();
      fs::create_directories(dir / "chair");
      for (int i = 0; i < 3; ++i) {
        if (i != k) write(dir / files[i], good[i]);
      }
      write(dir / "modelnet40_test.txt", "chair_0001\n");
      load_point_clouds(dir, {.points = 4});
    };
    check_campaign({"text " + files[k], files[k], read}, {test::bytes_of(good[k])}, 100, 80, 90,
                   k == 0 ? 0.4 : 0.3);
  }
}

// Found by the case above: the sentence named the folder and the row, not the file and the line.
TEST_CASE("text clouds: a number that is not finite is refused with its file and line") {
  const test::TempDir dir;
  fs::create_directories(dir / "chair");
  const auto write = [&](const std::string& name, std::string_view text) {
    std::ofstream(dir / name, std::ios::binary) << text;
  };
  write("modelnet40_train.txt", "chair_0001\n");
  write("modelnet40_test.txt", "chair_0001\n");
  for (const std::string number : {"nan", "inf", "1e300"}) {
    write("chair/chair_0001.txt", "1,2,3\n4," + number + ",6\n");
    test::check_error(ErrorKind::data, {"chair_0001.txt: line 2", "'" + number + "'"},
                      [&] { load_point_clouds(dir.path(), {.points = 2}); });
  }
}

// Behind the frame check a damaged file reaches libhdf5, in a process of its own.
TEST_CASE("malformed: hdf5") {
  const Reader reader{"hdf5",
                      "a.h5",
                      [](const fs::path& p) { read_hdf5_clouds(p, {.normals = true}); },
                      hdf5_available() ? ErrorKind::data : ErrorKind::resource,
                      {"offset"}};
  const auto seeds = test::fuzz_seeds("hdf5");
  if (!hdf5_available()) return;
  check_campaign(reader, seeds, 60, 30, 400, 0.6);
}
