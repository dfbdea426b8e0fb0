// Accuracy under corruption: equal to an evaluation by hand, with the rule for the number of
// points, the reasons for what is skipped, and meshes in the axes of their run.
#include "basin/tools/train_modelnet/corruption_eval.h"

#include <tuple>

#include "basin/tests/tools/corruption_helpers.h"

namespace basin::tools {
namespace {

// An untrained classifier with the settings of a run.
struct Untrained {
  explicit Untrained(Config config) : settings(run_settings_from(config)) {
    ModelConfig network = settings.task.model;
    network.outputs = 15;
    model = make_model(network);
    state = init_model(model, 3, DType::f32);
    clouds = cloud_settings(settings.task.options, settings.task.seed);
  }
  std::vector<CorruptionRow> evaluate(
      const CorruptionSource& source, const CorruptionOptions& options,
      const std::function<void(const std::string&)>& progress = {}) const {
    return evaluate_corruptions(model, state, clouds, settings.train.eval_batch, source, options,
                                progress);
  }
  RunSettings settings;
  CloudSettings clouds;
  Model model;
  ModelState state;
};

// Share of the rows whose largest logit is the label's, shape by shape.
double accuracy_by_hand(const Untrained& subject, const PointCloudSet& set) {
  int64_t right = 0;
  for (int64_t i = 0; i < set.size(); ++i) {
    const Tensor one = subset(set, std::vector<int64_t>{i}).points;
    const Tensor logits =
        subject.model
            .forward(subject.state.params.values(), subject.state.buffers.values(), {one}, {})
            .outputs.front();
    int64_t best = 0;
    for (int64_t c = 1; c < logits.size(1); ++c) {
      if (logits.at(c) > logits.at(best)) best = c;
    }
    right += best == set.labels.data<int64_t>()[i] ? 1 : 0;
  }
  return static_cast<double>(right) / static_cast<double>(set.size());
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

}  // namespace

TEST_CASE("corruption eval: equals the evaluation by hand; whole clouds from 1,024 points on") {
  const Untrained subject(few_shapes("1024"));
  CorruptionOptions options;
  options.points = default_corruption_points(subject.clouds.points);
  CHECK(options.points == 0);
  const CorruptionSource source(subject.clouds, embedded_class_names(), options);
  CHECK(source.base().points_per_cloud() == 2048);
  CHECK(points_on_demand("embedded") == 2048);
  CHECK(points_on_demand(subject.clouds.data) == 0);
  std::vector<std::string> heard;
  const auto rows =
      subject.evaluate(source, options, [&](const std::string& name) { heard.push_back(name); });
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
    const CorruptionSource from(subject.clouds, embedded_class_names(), other);
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
  const Untrained subject(few_shapes("64"));
  CorruptionOptions options;
  options.points = 700;
  const CorruptionSource source(subject.clouds, embedded_class_names(), options);
  const auto rows = subject.evaluate(source, options);
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
  settings.set("data", dir.path().string(), Layer::flag, "--data");
  settings.set("limit", "0", Layer::flag, "--limit");
  const Untrained subject(settings);
  CorruptionOptions options;
  options.points = 64;
  const CorruptionSource source(subject.clouds, {"0", "1"}, options);
  const auto rows = subject.evaluate(source, options);
  int skipped = 0;
  for (const CorruptionRow& row : rows) skipped += row.skipped.empty() ? 0 : 1;
  CHECK(skipped == 3);
  CHECK(row_of(rows, "density_inc").skipped == "needs 2048 points per cloud, the data hold 1024");

  const TempDir sparse;
  write_npy_layout(sparse, 64);
  settings.set("data", sparse.path().string(), Layer::flag, "--data");
  const Untrained poor(settings);
  const CorruptionSource nothing(poor.clouds, {"0", "1"}, options);
  const auto error = error_of([&] { poor.evaluate(nothing, options); });
  CHECK(error.first == ErrorKind::usage);
  CHECK(contains(error.second, "none of the 15 can be had"));
}

TEST_CASE("corruption eval: published arrays are taken as they are, absent ones named") {
  const TempDir dir;
  const Untrained subject(few_shapes("64"));
  CorruptionOptions options;
  options.points = 0;
  const CorruptionSource generator(subject.clouds, embedded_class_names(), options);
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
  const CorruptionSource source(subject.clouds, embedded_class_names(), options);
  const auto rows = subject.evaluate(source, options);
  const auto direct = subject.evaluate(generator, options);
  for (int s = 1; s <= kSeverities; ++s) {
    CHECK(row_of(rows, "cutout").error_rate(s) == row_of(direct, "cutout").error_rate(s));
    CHECK(row_of(rows, "cutout").severities[s - 1].loss ==
          row_of(direct, "cutout").severities[s - 1].loss);
  }
  CHECK(row_of(rows, "uniform").skipped == "no data_uniform_1.npy");
  CHECK(row_of(rows, "shear").skipped == "no data_shear_2.npy");
  options.published = dir / "absent";
  const auto error = error_of([&] { CorruptionSource(subject.clouds, {}, options); });
  CHECK(contains(error.second, "--corruptions-dir: no folder"));
}

TEST_CASE("corruption eval: meshes give occlusion and lidar, in the axes of their own clouds") {
  const TempDir dir;
  write_mesh_tree(dir);
  Config settings = few_shapes("64");
  settings.set("data", dir.path().string(), Layer::flag, "--data");
  settings.set("limit", "0", Layer::flag, "--limit");
  const Untrained subject(settings);
  const CorruptionOptions options;
  const CorruptionSource source(subject.clouds, {"ball", "pillar"}, options);
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
}

}  // namespace basin::tools
