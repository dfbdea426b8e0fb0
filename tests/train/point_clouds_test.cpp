// The task of labelled clouds: data that are read only when they are asked for, splits, clouds
// without labels, and what is told of predictions.
#include "basin/train/tasks/point_clouds.h"

#include <cmath>
#include <fstream>

#include "basin/datasets/npy.h"
#include "basin/tests/train/problems.h"

namespace basin::test {
namespace {

// Six training and ten test clouds of 24 points in two classes.
void write_clouds(const TempDir& dir) {
  for (const auto& [split, count] :
       {std::pair{"train", int64_t{6}}, std::pair{"test", int64_t{10}}}) {
    Rng rng(1, stream_id(split));
    std::vector<float> xyz(static_cast<size_t>(count * 24 * 3));
    for (float& v : xyz) v = static_cast<float>(rng.uniform(-1, 1));
    std::vector<int64_t> labels(static_cast<size_t>(count));
    for (size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<int64_t>(i % 2);
    write_npy(dir / str(split, "_points.npy"), Tensor::from(xyz, {count, 24, 3}));
    write_npy(dir / str(split, "_labels.npy"), Tensor::from(labels, {count}));
  }
}

Settings clouds_in(const fs::path& folder) {
  Settings settings = tiny_shapes("adamw");
  settings.task.options = {{"data", folder.string()}, {"points", "24"}};
  return settings;
}

void write_text(const fs::path& file, const Tensor& points) {
  std::ofstream out(file);
  for (int64_t i = 0; i < points.size(0); ++i) {
    for (int64_t c = 0; c < 3; ++c) out << (c > 0 ? " " : "") << points.at(3 * i + c);
    out << "\n";
  }
}

}  // namespace

TEST_CASE("task modelnet: the test split is there where the training split is less than a batch") {
  const TempDir dir;
  write_clouds(dir);
  Settings settings = clouds_in(dir.path());
  settings.train.batch = 8;
  const Task task = make_task(settings.task);
  CHECK(task.data().train == 6);
  CHECK(task.data().test == 10);
  const ModelState state = init_model(task.model, 0, DType::f32);
  const Evaluation e = *evaluate(task, state, *task.source({.split = Split::test, .batch = 8}));
  CHECK(e.examples == 10);
  CHECK(e.values.size() == 3);
  // Whoever trains hears of it.
  const auto error = error_of([&] { Trainer(task, settings.train); });
  CHECK(error.first == ErrorKind::usage);
  CHECK(contains(error.second, "a batch of 8 leaves no batch of the 6 shapes"));
  settings.train.batch = 6;
  CHECK(std::isfinite(Trainer(task, settings.train).step().loss));
}

TEST_CASE("task modelnet: what was fitted needs no training data; what is not there is said") {
  Settings settings = clouds_in("/nowhere");
  CHECK(error_of([&] { make_task(settings.task); }).first == ErrorKind::data);
  settings.task.fitted = {{"class.0", "ball"}, {"class.1", "pillar"}};
  const Task task = make_task(settings.task);  // nothing is read
  CHECK(task.model.outputs == 2);
  CHECK(error_of([&] { task.source({.split = Split::test}); }).first == ErrorKind::data);

  const TempDir dir;
  write_clouds(dir);
  const Task there = make_task(clouds_in(dir.path()).task);
  const auto none = error_of([&] { there.source({.split = Split::validation}); });
  CHECK(none.first == ErrorKind::usage);
  CHECK(none.second ==
        "modelnet: there are no validation shapes; --val-fraction holds some of the training split "
        "out for validation");
  settings = clouds_in(dir.path());
  settings.task.fitted = {{"class.0", "a"}, {"class.1", "b"}, {"class.2", "c"}};
  const Task three = make_task(settings.task);
  const auto classes = error_of([&] { three.source({.split = Split::test}); });
  CHECK(classes.first == ErrorKind::data);
  CHECK(contains(classes.second, "holds 2 classes, the network tells 3 apart"));
}

TEST_CASE("task modelnet: clouds without labels, one by one or a folder of them") {
  const TempDir dir, clouds;
  write_clouds(dir);
  const Task task = make_task(clouds_in(dir.path()).task);
  const Batch known = task.source({.split = Split::test, .batch = 3})->batch(0, 0);
  const int64_t each = 24 * 3;
  for (int64_t i = 0; i < 3; ++i) {
    Tensor one = Tensor::empty({24, 3}, DType::f32);
    std::copy_n(known.tensors[0].data<float>() + i * each, each, one.mutable_data<float>());
    write_text(clouds / str("cloud-", 3 - i, ".txt"), one);
  }
  for (const char* name : {".hidden.txt", "._cloud-1.txt", "Thumbs.db", "cloud-1.txt~"}) {
    write_text(clouds / name, Tensor::zeros({24, 3}, DType::f32));
  }
  const Unlabelled folder = task.unlabelled({clouds.path().string()}, 2);
  REQUIRE(folder.names.size() == 3);
  CHECK(folder.names[0] == (clouds / "cloud-1.txt").string());
  CHECK(folder.source->examples() == 3);
  CHECK(folder.source->batches() == 2);
  CHECK(folder.source->slots().size() == 1);
  CHECK(folder.source->batch(0, 1).examples == 1);
  // The third of the split is the first of the folder; the network sees the same cloud.
  const ModelState state = init_model(task.model, 1, DType::f32);
  const auto whole = predict(task, state, known).front().to_vector<double>();
  const Batch last = folder.source->batch(0, 1);  // cloud-3: the first of the split
  const auto alone = predict(task, state, last).front().to_vector<double>();
  REQUIRE(alone.size() == 2);
  for (size_t c = 0; c < 2; ++c) CHECK(alone[c] == doctest::Approx(whole[c]).epsilon(1e-3));
  const Unlabelled file = task.unlabelled({(clouds / "cloud-2.txt").string()}, 4);
  CHECK(file.source->batch(0, 0).tensors[0].shape() == Shape{1, 24, 3});
  fs::create_directory(clouds / "empty");
  const auto empty = error_of([&] { task.unlabelled({(clouds / "empty").string()}, 2); });
  CHECK(empty.first == ErrorKind::data);
  CHECK(contains(empty.second, "expected files of clouds, found none"));
  const Unlabelled missing = task.unlabelled({"/nowhere/cloud.off"}, 2);
  CHECK(error_of([&] { missing.source->batch(0, 0); }).first == ErrorKind::data);
}

TEST_CASE(
    "task modelnet: normals are an input of PointNet and DGCNN, from training to prediction") {
  const TempDir dir, clouds;
  for (const std::string split : {"train", "test"}) {
    Rng rng(1, stream_id(split));
    std::vector<double> rows(size_t{6 * 24 * 6});
    for (double& v : rows) v = rng.uniform(-1, 1);
    write_npy(dir / (split + "_points.npy"), Tensor::from(rows, {6, 24, 6}));
    write_npy(dir / (split + "_labels.npy"), Tensor::from<int64_t>({0, 1, 0, 1, 0, 1}, {6}));
    if (split == "test") {
      rows.resize(24 * 6);
      write_npy(clouds / "first.npy", Tensor::from(rows, {24, 6}));
    }
  }
  Settings settings = clouds_in(dir.path());
  settings.train.batch = 6;
  settings.task.options["features"] = "normal";
  const Task task = make_task(settings.task);
  const Batch batch = task.source({.split = Split::test, .batch = 6})->batch(0, 0);
  REQUIRE(batch.tensors.size() == 3);
  CHECK(batch.tensors[1].shape() == Shape{6, 24, 3});
  CHECK(task.model.options.at("features") == "normal");
  CHECK(std::isfinite(Trainer(task, settings.train).step().loss));
  // What was resolved makes the same task again, as a resumed run does.
  CHECK(make_task(task.config).model.inputs.size() == 2);
  const Unlabelled one = task.unlabelled({(clouds / "first.npy").string()}, 1);
  const Batch alone = one.source->batch(0, 0);
  REQUIRE(alone.tensors.size() == 2);
  for (int64_t i = 0; i < 72; ++i) CHECK(alone.tensors[1].at(i) == batch.tensors[1].at(i));
  settings.task.model = {.name = "egnn", .options = {{"k", "4"}}};
  const auto refused = error_of([&] { make_task(settings.task); });
  CHECK(refused.first == ErrorKind::usage);
  CHECK(contains(refused.second, "the network egnn takes no normals"));
}

TEST_CASE("task modelnet: which points are taken, in both splits") {
  const TempDir dir;
  write_clouds(dir);  // .npy: random ones by default
  Settings settings = clouds_in(dir.path());
  settings.task.options["points"] = "6";
  settings.train.batch = 6;
  const auto test_points = [&](const char* selection) {
    settings.task.options["selection"] = selection;
    const auto source = make_task(settings.task).source({.split = Split::test, .batch = 10});
    CHECK(source->batch(0, 0).tensors[0].to_vector<float>() ==
          source->batch(4, 0).tensors[0].to_vector<float>());
    return source->batch(0, 0).tensors[0].to_vector<float>();
  };
  const auto usual = test_points("auto");
  CHECK(usual == test_points("random"));
  CHECK(usual != test_points("first"));
  CHECK(usual != test_points("fps"));
  settings.task.options["selection"] = "last";
  const auto wrong = error_of([&] { make_task(settings.task); });
  CHECK(contains(wrong.second, "expected auto, first, random or fps, given 'last'"));
}

TEST_CASE("task modelnet: class, probability and margin of predictions by hand") {
  Settings settings = clouds_in("/nowhere");
  settings.task.fitted = {{"class.0", "ball"}, {"class.1", "pillar"}, {"class.2", "ring, wide"}};
  const Task task = make_task(settings.task);
  CHECK(task.prediction_columns == std::vector<std::string>{"class", "probability", "margin"});
  const auto rows =
      task.prediction_rows({Tensor::from<double>({1, 3, 2, 1000, 1000, 0, 0, -1e9, 700}, {3, 3})});
  REQUIRE(rows.size() == 3);
  const auto number = [](const std::string& text) {
    double value = 0;
    REQUIRE(parse_double(text, value));
    return value;
  };
  const double sum = std::exp(-2) + 1 + std::exp(-1);
  CHECK(rows[0][0] == "pillar");
  CHECK(number(rows[0][1]) == doctest::Approx(1 / sum).epsilon(1e-14));
  CHECK(number(rows[0][2]) == doctest::Approx((1 - std::exp(-1)) / sum).epsilon(1e-14));
  CHECK(rows[1][0] == "ball");  // of two equal ones the first
  CHECK(number(rows[1][1]) == 0.5);
  CHECK(number(rows[1][2]) == 0);
  CHECK(rows[2][0] == "ring, wide");
  CHECK(number(rows[2][1]) == 1);
}

}  // namespace basin::test
