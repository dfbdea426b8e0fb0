// The contact sheet: every panel is there, meshes stand upright.
#include "basin/tools/train_modelnet/contact_sheet.h"

#include "basin/tests/tools/corruption_helpers.h"

namespace basin::tools {

namespace {

CloudSettings clouds_of(Config& config) {
  const RunSettings settings = run_settings_from(config);
  return cloud_settings(settings.task.options, settings.task.seed);
}

}  // namespace

TEST_CASE("contact sheet: every panel is drawn or says why not; repeatable") {
  Config config = few_shapes("64");
  const CloudSettings train = clouds_of(config);
  SheetShape shape = sheet_shape(train, "1");
  CHECK(contains(shape.name, "test shape 1"));
  CHECK(!shape.mesh);
  const Picture a = contact_sheet(shape, 5, 2021), b = contact_sheet(shape, 5, 2021);
  CHECK(a.pixels() == b.pixels());
  CHECK(contact_sheet(shape, 1, 2021).pixels() != a.pixels());
  // The ground of a panel that cannot be made is grey: occlusion and lidar.
  const auto count = [](const Picture& p, Rgb colour) {
    return std::count(p.pixels().begin(), p.pixels().end(), colour);
  };
  const Rgb idle{232, 232, 232};
  CHECK(count(a, idle) > 2 * 280 * 280);
  shape.mesh = test::box_mesh(0.5, 0.4, 0.9);
  CHECK(count(contact_sheet(shape, 5, 2021), idle) == 0);

  CHECK(contains(error_of([&] { sheet_shape(train, "6"); }).second, "from 0 to 5, given 6"));
  CHECK(contains(error_of([&] { sheet_shape(train, "x.png"); }).second, "a mesh file"));
}

TEST_CASE("contact sheet: shapes of a mesh folder stand with y up, as their depth images") {
  const TempDir dir;
  write_mesh_tree(dir);
  Config settings = few_shapes("64");
  settings.set("data", dir.path().string(), Layer::flag, "--data");
  settings.set("limit", "0", Layer::flag, "--limit");
  const CloudSettings config = clouds_of(settings);
  const SheetShape shape = sheet_shape(config, "2");
  CHECK(shape.name == "pillar, test shape 2");
  REQUIRE(shape.mesh.has_value());
  CHECK(longest_axis(shape.points) == 1);
  CHECK(longest_axis(corrupt_mesh(*shape.mesh, corruption_info("occlusion"), 5, 1, 2)) == 1);
  const fs::path file = dir / "pillar/test/pillar_0001.off";
  const SheetShape single = sheet_shape(config, file.string());
  CHECK(single.name == "pillar_0001.off");
  CHECK(longest_axis(single.points) == 1);
}

}  // namespace basin::tools
