// Finds the shape that was asked for, corrupts it in every way and lays the panels out.
#include "basin/tools/train_modelnet/contact_sheet.h"

#include <algorithm>
#include <numeric>

#include "basin/core/content.h"
#include "basin/figures/cloud_picture.h"
#include "basin/tools/train_modelnet/corruption_eval.h"

namespace basin::tools {
namespace {

constexpr int kPanel = 300, kCaption = 34, kGap = 10, kMargin = 28, kHead = 64, kClean = 460,
              kGutter = 44;
constexpr Rgb kInk{30, 30, 30}, kMuted{110, 110, 110}, kGround{247, 248, 250}, kIdle{232, 232, 232};

bool is_mesh_file(const fs::path& path) {
  const std::string extension = lower_extension(path);
  return extension == ".off" || extension == ".obj";
}

SheetShape from_mesh_file(const CloudSettings& config, const fs::path& file) {
  SheetShape out;
  out.name = file.filename().string();
  out.mesh = read_mesh(file);
  if (lower_extension(file) == ".obj") {
    for (auto& v : out.mesh->vertices) v = {-v[0], v[2], v[1]};  // y up -> z up
  }
  Rng rng(config.seed, stream_id("contact sheet surface"));
  Tensor points = sample_surface(*out.mesh, kCorruptionDensePoints, rng, file.string()).points;
  normalise_cloud({points.mutable_data<double>(), static_cast<size_t>(points.numel())},
                  config.load.normalise);
  out.points = points.to(DType::f32);
  swap_up_axis(out.points);
  return out;
}

SheetShape from_test_split(const CloudSettings& config, int64_t row) {
  CorruptionOptions options;
  const CorruptionSource source(config, {}, options);
  const PointCloudSet& set = source.base();
  check(row >= 0 && row < set.size(), "--contact-sheet: expected a test shape from 0 to ",
        set.size() - 1, ", given ", row);
  SheetShape out;
  const int64_t label = set.labels.data<int64_t>()[row];
  out.name = str(set.class_names[static_cast<size_t>(label)], ", test shape ", row);
  out.points = Tensor::from(set.xyz(row), {set.points_of(row), 3});
  out.index = static_cast<uint64_t>(row);
  if (config.data != "embedded" && has_test_meshes(config.data)) {
    out.mesh =
        read_mesh(test_mesh_files(config.data, config.load.limit).at(static_cast<size_t>(row)));
    swap_up_axis(out.points);
  }
  return out;
}

// As many random points of the shape as the corruption takes.
Tensor base_cloud(const SheetShape& shape, int64_t n, uint64_t seed) {
  const int64_t have = shape.points.size(0);
  std::vector<int64_t> order(static_cast<size_t>(have));
  std::iota(order.begin(), order.end(), int64_t{0});
  Rng(seed, stream_id("contact sheet points", shape.index)).shuffle(std::span<int64_t>(order));
  Tensor out = Tensor::empty({n, 3}, DType::f32);
  auto* to = out.mutable_data<float>();
  for (int64_t i = 0; i < n; ++i) {
    std::copy_n(shape.points.data<float>() + 3 * order[static_cast<size_t>(i)], 3, to + 3 * i);
  }
  return out;
}

// The corrupted cloud, or nothing and the reason.
struct Panel {
  Tensor points;
  std::string reason;
};

Panel make_panel(const SheetShape& shape, const CorruptionInfo& corruption, int severity,
                 uint64_t seed) {
  if (corruption.input == CorruptionInput::mesh) {
    if (!shape.mesh) return {{}, "needs a mesh"};
    return {corrupt_mesh(*shape.mesh, corruption, severity, seed, shape.index), ""};
  }
  const int64_t needed =
      corruption.input == CorruptionInput::dense_cloud ? kCorruptionDensePoints : kCorruptionPoints;
  if (shape.points.size(0) < needed) return {{}, str("needs ", needed, " points")};
  return {corrupt_cloud(base_cloud(shape, needed, seed), corruption, severity, seed, shape.index),
          ""};
}

void draw_panel(Picture& picture, int x, int y, int size, const std::string& name,
                const Panel& panel) {
  picture.fill(x, y, size, size + kCaption, panel.reason.empty() ? kGround : kIdle);
  if (panel.reason.empty()) {
    CloudView view;
    if (size > kPanel) view.point *= 0.8;
    draw_cloud(picture, x, y + kCaption, size, panel.points, view);
  } else {
    picture.text(x + (size - text_pixels(panel.reason, 2)) / 2, y + kCaption + size / 2,
                 panel.reason, kMuted, 2);
  }
  picture.text(x + 10, y + 11, name, kInk, 2);
  const std::string count = panel.reason.empty() ? str(panel.points.size(0)) : "";
  picture.text(x + size - 10 - text_pixels(count, 2), y + 11, count, kMuted, 2);
}

}  // namespace

SheetShape sheet_shape(const CloudSettings& config, const std::string& which) {
  int64_t row = 0;
  if (parse_int64(which, row)) return from_test_split(config, row);
  check(is_mesh_file(which), "--contact-sheet: expected the number of a test shape or a mesh file ",
        "(.off, .obj), given '", which, "'");
  return from_mesh_file(config, which);
}

Picture contact_sheet(const SheetShape& shape, int severity, uint64_t seed) {
  constexpr CorruptionGroup groups[] = {CorruptionGroup::density, CorruptionGroup::noise,
                                        CorruptionGroup::transformation};
  constexpr int kRow = kPanel + kCaption;
  const int left = kMargin + kClean + kGutter;
  Picture picture(left + 5 * kPanel + 4 * kGap + kMargin, kHead + 3 * kRow + 2 * kGap + kMargin);
  picture.text(kMargin, 24,
               str(shape.name, " under the corruptions of ModelNet40-C, severity ", severity,
                   ", seed ", seed),
               kInk, 3);
  const int64_t shown = std::min(shape.points.size(0), kCorruptionPoints);
  draw_panel(picture, kMargin, kHead + (3 * kRow + 2 * kGap - kClean - kCaption) / 2, kClean,
             "clean", {base_cloud(shape, shown, seed), ""});
  for (int g = 0; g < 3; ++g) {
    const std::string group(name_of(groups[g]));
    picture.text_upwards(left - 24, kHead + g * (kRow + kGap) + (kRow + text_pixels(group, 2)) / 2,
                         group, kMuted, 2);
    int column = 0;
    for (const CorruptionInfo& corruption : corruptions()) {
      if (corruption.group != groups[g]) continue;
      draw_panel(picture, left + column * (kPanel + kGap), kHead + g * (kRow + kGap), kPanel,
                 corruption.name, make_panel(shape, corruption, severity, seed));
      ++column;
    }
  }
  return picture;
}

}  // namespace basin::tools
