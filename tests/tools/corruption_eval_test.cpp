// Accuracy under corruption: equal to an evaluation by hand, with the rule for the number of
// points, the reasons for what is skipped, meshes in the axes of their run, and reports that read
// back as what was measured.
#include "basin/tools/common/corruption_eval.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "basin/datasets/npy.h"
#include "basin/datasets/shapes.h"
#include "basin/tests/analysis/xml.h"
#include "basin/tests/datasets/test_meshes.h"
#include "basin/tests/tools/helpers.h"
#include "basin/tools/common/contact_sheet.h"
#include "basin/tools/common/corruption_report.h"

namespace basin::tools {
namespace {

struct Subject {
  explicit Subject(Config settings) : config(train_config_from(settings)) {
    model = make_model({.name = config.model.name, .classes = 15, .options = config.model.options});
    state = init_model(model, 3, DType::f32);
  }
  TrainConfig config;
  Model model;
  ModelState state;
};

// 15 of the embedded shapes, each of 2,048 points, as a folder: quicker than to make them all.
const std::string& shapes_folder() {
  static const TempDir dir;
  static const std::string path = [] {
    const PointCloudSplits splits = embedded_shapes(1, 1, 2048, 5);
    write_npy(dir / "train_points.npy", splits.train.points);
    write_npy(dir / "train_labels.npy", splits.train.labels);
    write_npy(dir / "test_points.npy", splits.test.points);
    write_npy(dir / "test_labels.npy", splits.test.labels);
    return dir.path().string();
  }();
  return path;
}

Config few_shapes(const std::string& points) {
  Config config = tiny_settings("adamw");
  config.set("data", shapes_folder(), Source::flag, "--data");
  config.set("limit", "6", Source::flag, "--limit");
  config.set("points", points, Source::flag, "--points");
  return config;
}

// Share of the rows whose largest logit is the label's, shape by shape.
double accuracy_by_hand(const Subject& subject, const PointCloudSet& set) {
  int64_t right = 0;
  for (int64_t i = 0; i < set.size(); ++i) {
    const Tensor one = subset(set, std::vector<int64_t>{i}).points;
    const Tensor logits =
        subject.model
            .forward(subject.state.params.values(), subject.state.buffers.values(), one, {})
            .logits;
    int64_t best = 0;
    for (int64_t c = 1; c < logits.size(1); ++c) {
      if (logits.at(c) > logits.at(best)) best = c;
    }
    right += best == set.labels.data<int64_t>()[i] ? 1 : 0;
  }
  return static_cast<double>(right) / static_cast<double>(set.size());
}

const CorruptionRow& row_of(const std::vector<CorruptionRow>& rows, const std::string& name) {
  for (const CorruptionRow& r : rows) {
    if (r.corruption.name == name) return r;
  }
  FAIL("no row ", name);
  return rows.front();
}

// Numbers of which every mean is known: error of severity s of corruption c is (s + c) / 100.
CorruptionReport made_report() {
  CorruptionReport report;
  report.model = "pointnet (port)";
  report.weights = "ckpt/step-9";
  report.weights_hash = "abc";
  report.source = "a, \"quoted\" <source>";
  report.seed = 7;
  report.trained_points = 1024;
  report.clean.overall_accuracy = 0.875;
  report.clean.mean_class_accuracy = 0.75;
  report.clean.examples = 8;
  int c = 0;
  for (const CorruptionInfo& info : corruptions()) {
    CorruptionRow row{info, info.input == CorruptionInput::mesh ? "no \"meshes\", clouds" : ""};
    for (int s = 1; s <= kSeverities; ++s) {
      row.severities[s - 1].overall_accuracy = 1 - (s + c) / 100.0;
      row.severities[s - 1].mean_class_accuracy = 0.5;
      row.severities[s - 1].examples = 8;
      row.points[s - 1] = 1000 + s;
    }
    report.rows.push_back(row);
    ++c;
  }
  return report;
}

std::vector<std::string> csv_fields(const std::string& line) {
  std::vector<std::string> out(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"' && quoted && i + 1 < line.size() && line[i + 1] == '"') {
      out.back() += line[++i];
    } else if (line[i] == '"') {
      quoted = !quoted;
    } else if (line[i] == ',' && !quoted) {
      out.emplace_back();
    } else {
      out.back() += line[i];
    }
  }
  return out;
}

std::vector<std::vector<std::string>> read_csv(const std::string& text) {
  std::vector<std::vector<std::string>> rows;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    rows.push_back(csv_fields(text.substr(at, end - at)));
    at = end + 1;
  }
  return rows;
}

void write_off(const fs::path& path, const TriangleMesh& mesh) {
  std::string out = str("OFF\n", mesh.vertices.size(), " ", mesh.triangles.size(), " 0\n");
  for (const auto& v : mesh.vertices) out += str(v[0], " ", v[1], " ", v[2], "\n");
  for (const auto& t : mesh.triangles) out += str("3 ", t[0], " ", t[1], " ", t[2], "\n");
  fs::create_directories(path.parent_path());
  write_file_atomic(path, out);
}

void write_npy_layout(const TempDir& dir, int64_t points) {
  for (const char* split : {"train", "test"}) {
    Tensor clouds = Tensor::empty({4, points, 3}, DType::f32);
    Rng rng(1, 2);
    auto* p = clouds.mutable_data<float>();
    for (int64_t i = 0; i < clouds.numel(); ++i) p[i] = static_cast<float>(rng.uniform(-1, 1));
    write_npy(dir / str(split, "_points.npy"), clouds);
    write_npy(dir / str(split, "_labels.npy"), Tensor::from(std::vector<int64_t>{0, 1, 0, 1}, {4}));
  }
}

// The axis along which a cloud is longest.
int longest_axis(const Tensor& points) {
  double low[3] = {1e9, 1e9, 1e9}, high[3] = {-1e9, -1e9, -1e9};
  for (int64_t i = 0; i < points.numel(); ++i) {
    low[i % 3] = std::min(low[i % 3], points.at(i));
    high[i % 3] = std::max(high[i % 3], points.at(i));
  }
  int axis = 0;
  for (int a = 1; a < 3; ++a) {
    if (high[a] - low[a] > high[axis] - low[axis]) axis = a;
  }
  return axis;
}

}  // namespace

TEST_CASE("corruption eval: equals the evaluation by hand; whole clouds from 1,024 points on") {
  const Subject subject(few_shapes("1024"));
  CorruptionOptions options;
  options.points = default_corruption_points(subject.config.points);
  CHECK(options.points == 0);
  const CorruptionSource source(subject.config, embedded_class_names(), options);
  CHECK(source.base().points_per_cloud() == 2048);
  CHECK(points_on_demand("embedded") == 2048);
  CHECK(points_on_demand(subject.config.data) == 0);
  std::vector<std::string> heard;
  const auto rows =
      evaluate_corruptions(subject.model, subject.state, subject.config, source, options,
                           [&](const std::string& name) { heard.push_back(name); });
  REQUIRE(rows.size() == 15);
  CHECK(heard.size() == 13);
  for (const auto& [name, severity, points] :
       std::vector<std::tuple<const char*, int, int64_t>>{{"uniform", 3, 1024},
                                                          {"cutout", 5, 724},
                                                          {"upsampling", 5, 2048},
                                                          {"density_inc", 2, 1024}}) {
    const CorruptionRow& row = row_of(rows, name);
    const PointCloudSet set =
        corrupt_set(source.base(), corruption_info(name), severity, kCorruptionSeed);
    CHECK(row.points[severity - 1] == points);
    CHECK(set.points_per_cloud() == points);
    CHECK(row.error_rate(severity) ==
          doctest::Approx(1 - accuracy_by_hand(subject, set)).epsilon(1e-12));
    CHECK(row.severities[severity - 1].examples == 6);
  }
  for (const char* name : {"occlusion", "lidar"}) {
    CHECK(row_of(rows, name).skipped == "a depth image of the mesh; the data are clouds");
  }
  // The same seed, the same numbers; another one, others.
  const auto loss = [&](uint64_t seed) {
    CorruptionOptions other = options;
    other.seed = seed;
    const CorruptionSource from(subject.config, embedded_class_names(), other);
    return from.make(corruption_info("gaussian"), 2).content_hash;
  };
  CHECK(loss(1) == loss(1));
  CHECK(loss(1) != loss(2));
}

TEST_CASE("corruption eval: fewer trained points, a random subset of as many") {
  CHECK(default_corruption_points(128) == 128);
  CHECK(default_corruption_points(1023) == 1023);
  CHECK(default_corruption_points(1024) == 0);
  CHECK(default_corruption_points(2048) == 0);
  const Subject subject(few_shapes("64"));
  CorruptionOptions options;
  options.points = 700;
  const CorruptionSource source(subject.config, embedded_class_names(), options);
  const auto rows =
      evaluate_corruptions(subject.model, subject.state, subject.config, source, options);
  const CorruptionRow& density = row_of(rows, "density");
  CHECK(density.points == std::array<int64_t, 5>{700, 700, 700, 700, 649});  // no more there
  // By hand: the loader's subset, a function of (seed, row).
  const PointCloudSet set = source.make(density.corruption, 1);
  LoaderOptions o = evaluation_options(6, 700, Pose::fixed, Axis::y, options.seed);
  o.selection = PointSelection::random;
  PointCloudSet cut = set;
  cut.points = PointCloudLoader(set, o).batch(0, 0).points;
  CHECK(cut.points.size(1) == 700);
  CHECK(density.error_rate(1) ==
        doctest::Approx(1 - accuracy_by_hand(subject, cut)).epsilon(1e-12));
}

TEST_CASE("corruption eval: what the stored clouds cannot give is skipped with the reason") {
  const TempDir dir;
  write_npy_layout(dir, 1024);
  Config settings = few_shapes("64");
  settings.set("data", dir.path().string(), Source::flag, "--data");
  settings.set("limit", "0", Source::flag, "--limit");
  const Subject subject(settings);
  CorruptionOptions options;
  options.points = 64;
  const CorruptionSource source(subject.config, {"0", "1"}, options);
  const auto rows =
      evaluate_corruptions(subject.model, subject.state, subject.config, source, options);
  int skipped = 0;
  for (const CorruptionRow& row : rows) skipped += row.skipped.empty() ? 0 : 1;
  CHECK(skipped == 3);
  CHECK(row_of(rows, "density_inc").skipped == "needs 2048 points per cloud, the data hold 1024");

  const TempDir sparse;
  write_npy_layout(sparse, 64);
  settings.set("data", sparse.path().string(), Source::flag, "--data");
  const Subject poor(settings);
  const CorruptionSource nothing(poor.config, {"0", "1"}, options);
  const auto error = error_of(
      [&] { evaluate_corruptions(poor.model, poor.state, poor.config, nothing, options); });
  CHECK(error.first == ErrorKind::usage);
  CHECK(contains(error.second, "none of the 15 can be had"));
}

TEST_CASE("corruption eval: published arrays are taken as they are, absent ones named") {
  const TempDir dir;
  const Subject subject(few_shapes("64"));
  CorruptionOptions options;
  options.points = 0;
  const CorruptionSource generator(subject.config, embedded_class_names(), options);
  Tensor labels;
  for (int s = 1; s <= kSeverities; ++s) {
    const PointCloudSet set = generator.make(corruption_info("cutout"), s);
    write_npy(published_corruption_file(dir.path(), corruption_info("cutout"), s), set.points);
    labels = set.labels;
  }
  write_npy(dir / "label.npy", labels);
  write_npy(published_corruption_file(dir.path(), corruption_info("shear"), 1),
            generator.make(corruption_info("shear"), 1).points);
  options.published = dir.path();
  const CorruptionSource source(subject.config, embedded_class_names(), options);
  const auto rows =
      evaluate_corruptions(subject.model, subject.state, subject.config, source, options);
  const auto direct =
      evaluate_corruptions(subject.model, subject.state, subject.config, generator, options);
  for (int s = 1; s <= kSeverities; ++s) {
    CHECK(row_of(rows, "cutout").error_rate(s) == row_of(direct, "cutout").error_rate(s));
    CHECK(row_of(rows, "cutout").severities[s - 1].loss ==
          row_of(direct, "cutout").severities[s - 1].loss);
  }
  CHECK(row_of(rows, "uniform").skipped == "no data_uniform_1.npy");
  CHECK(row_of(rows, "shear").skipped == "no data_shear_2.npy");
  options.published = dir / "absent";
  const auto error = error_of([&] { CorruptionSource(subject.config, {}, options); });
  CHECK(contains(error.second, "--corruptions-dir: no folder"));
}

TEST_CASE("corruption eval: meshes give occlusion and lidar, in the axes of their own clouds") {
  const TempDir dir;
  for (const char* split : {"train", "test"}) {
    for (int i = 0; i < 2; ++i) {
      // Tall along z, so an exchange of axes shows.
      write_off(dir / str("pillar/", split, "/pillar_000", i, ".off"),
                test::box_mesh(0.3, 0.25, 1 + i));
      write_off(dir / str("ball/", split, "/ball_000", i, ".off"), test::sphere_mesh(1, 8));
    }
  }
  Config settings = few_shapes("64");
  settings.set("data", dir.path().string(), Source::flag, "--data");
  settings.set("limit", "0", Source::flag, "--limit");
  const Subject subject(settings);
  const CorruptionOptions options;
  const CorruptionSource source(subject.config, {"ball", "pillar"}, options);
  CHECK(source.base().points_per_cloud() == 2048);
  for (const CorruptionInfo& info : corruptions()) CHECK(source.missing(info).empty());
  for (const char* name : {"occlusion", "lidar", "uniform"}) {
    const PointCloudSet set = source.make(corruption_info(name), 1);
    CHECK(set.labels.to_vector<int64_t>() == source.base().labels.to_vector<int64_t>());
    for (int64_t i = 0; i < set.size(); ++i) {
      if (set.labels.data<int64_t>()[i] != 1) continue;
      CHECK(longest_axis(subset(set, std::vector<int64_t>{i}).points) == 2);
    }
  }
  // The contact sheet turns both to y up.
  const SheetShape shape = sheet_shape(subject.config, "2");
  CHECK(shape.name == "pillar, test shape 2");
  REQUIRE(shape.mesh.has_value());
  CHECK(longest_axis(shape.points) == 1);
  CHECK(longest_axis(corrupt_mesh(*shape.mesh, corruption_info("occlusion"), 5, 1, 2)) == 1);
}

TEST_CASE("corruption report: means over severities, corruptions and groups") {
  const CorruptionReport report = made_report();
  CHECK(report.evaluated() == 13);
  double sum = 0, group = 0;
  int in_group = 0;
  for (size_t c = 0; c < report.rows.size(); ++c) {
    const CorruptionRow& row = report.rows[c];
    const double expected = (3 + static_cast<double>(c)) / 100;
    CHECK(row.error_rate() == doctest::Approx(expected).epsilon(1e-12));
    if (!row.skipped.empty()) continue;
    sum += expected;
    if (row.corruption.group != CorruptionGroup::density) continue;
    group += expected;
    ++in_group;
  }
  CHECK(in_group == 3);
  CHECK(report.error_rate() == doctest::Approx(sum / 13).epsilon(1e-12));
  CHECK(report.error_rate(CorruptionGroup::density) ==
        doctest::Approx(group / in_group).epsilon(1e-12));
  CorruptionReport none = report;
  for (CorruptionRow& row : none.rows) {
    if (row.corruption.group == CorruptionGroup::noise) row.skipped = "absent";
  }
  CHECK(std::isnan(none.error_rate(CorruptionGroup::noise)));
  CHECK(!contains(corruption_summary(none).line(), "group_error_rate_noise"));
}

TEST_CASE("corruption report: the files read back as the numbers") {
  const TempDir dir;
  const CorruptionReport report = made_report();
  write_corruptions(report, dir.path());
  const auto csv = read_csv(read_text_file(dir / "tables/corruptions.csv"));
  CHECK(read_text_file(dir / "figures/corruptions.csv") ==
        read_text_file(dir / "tables/corruptions.csv"));
  REQUIRE(csv.size() == 1 + 1 + 13 * 5 + 2);
  for (const auto& line : csv) CHECK(line.size() == 10);
  CHECK(csv[1][0] == "clean");
  CHECK(std::stod(csv[1][6]) == 0.875);
  size_t at = 2;
  for (const CorruptionRow& row : report.rows) {
    if (!row.skipped.empty()) {
      CHECK(csv[at][0] == row.corruption.name);
      CHECK(csv[at][2].empty());
      CHECK(csv[at][9] == row.skipped);
      ++at;
      continue;
    }
    for (int s = 1; s <= kSeverities; ++s, ++at) {
      CHECK(csv[at][0] == row.corruption.name);
      CHECK(csv[at][1] == name_of(row.corruption.group));
      CHECK(csv[at][2] == std::to_string(s));
      CHECK(csv[at][3] == std::to_string(1000 + s));
      CHECK(std::stod(csv[at][5]) == row.error_rate(s));  // to the last bit
      CHECK(csv[at][9].empty());
    }
  }
  const fs::path file = dir / "tables/corruptions.json";
  const JsonFields json = parse_flat_json(read_text_file(file), file.string());
  CHECK(json.number("mean_error_rate") == report.error_rate());
  CHECK(json.number("mean_accuracy") == 1 - report.error_rate());
  CHECK(json.number("error_rate_density") == row_of(report.rows, "density").error_rate());
  CHECK(json.number("group_error_rate_density") == report.error_rate(CorruptionGroup::density));
  CHECK(json.text("skipped_lidar") == "no \"meshes\", clouds");
  CHECK(json.text("weights_sha256") == "abc");
  CHECK(json.integer("seed") == 7);
  CHECK(json.integer("evaluated") == 13);
  CHECK(corrupted_accuracy_text(dir.path()) == "89.00 % (13)");
  CHECK(corrupted_accuracy_text(dir / "tables").empty());
}

TEST_CASE("corruption report: the figure holds the cells, the table the reasons") {
  const CorruptionReport report = made_report();
  const auto xml = testing::parse_xml(corruption_figure(report));
  const auto hints = testing::hints_of(xml, "rect");
  REQUIRE(hints.size() == 13 * 6 + 2);
  std::vector<std::string> expected;
  for (const CorruptionGroup group :
       {CorruptionGroup::density, CorruptionGroup::noise, CorruptionGroup::transformation}) {
    for (size_t c = 0; c < report.rows.size(); ++c) {
      const CorruptionRow& row = report.rows[c];
      if (row.corruption.group != group) continue;
      if (!row.skipped.empty()) {
        expected.push_back(str(row.corruption.name, ": skipped: ", row.skipped));
        continue;
      }
      for (int s = 1; s <= kSeverities; ++s) {
        expected.push_back(str(row.corruption.name, ", severity ", s, ": ", c + s, ".0"));
      }
      expected.push_back(str(row.corruption.name, ", severity mean: ", c + 3, ".0"));
    }
  }
  CHECK(hints == expected);
  const std::string table = corruption_table(report);
  CHECK(contains(table, "skipped: no \"meshes\", clouds"));
  CHECK(contains(table, "corrupted, 13 of 15"));
  CHECK(contains(table, "whole clouds"));
  CHECK(contains(table, "seed 7"));
}

TEST_CASE("contact sheet: every panel is drawn or says why not; repeatable") {
  Config config = few_shapes("64");
  const TrainConfig train = train_config_from(config);
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

}  // namespace basin::tools
