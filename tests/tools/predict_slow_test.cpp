// Measuring and predicting need no training: no training loader, no training data; and a start from
// weights of another number of classes.
#include "basin/datasets/npy.h"
#include "basin/datasets/shapes.h"
#include "basin/tests/tools/corruption_helpers.h"
#include "basin/train/checkpoint.h"
#include "basin/train/evaluate.h"

namespace basin::tools {
namespace {

constexpr const char* kTiny =
    " --points 64 --eval-batch 16 --threads 1 --set model.widths=8,16,32,16,8 ";

Finished run(const TempDir& dir, const std::string& arguments) {
  return run_built(dir, "train_modelnet", arguments);
}

RecordFields json_of(const fs::path& file) {
  return parse_record(read_text_file(file), file.string());
}

// `classes` of the embedded shapes, `each` of a class to train and one to test.
void write_shapes(const fs::path& folder, int64_t classes, int64_t each) {
  const PointCloudSplits splits = embedded_shapes(each, 1, 64, 5);
  fs::create_directory(folder);
  for (const auto& [name, split] : {std::pair{"train", &splits.train}, {"test", &splits.test}}) {
    std::vector<int64_t> rows;
    for (int64_t i = 0; i < split->size(); ++i) {
      if (split->labels.data<int64_t>()[i] < classes) rows.push_back(i);
    }
    const PointCloudSet part = subset(*split, rows);
    write_npy(folder / str(name, "_points.npy"), part.points);
    write_npy(folder / str(name, "_labels.npy"), part.labels);
  }
}

std::vector<std::vector<std::string>> cells_of(const std::string& csv) {
  std::vector<std::vector<std::string>> out;
  TextReader lines(csv);
  for (std::string line; std::getline(lines, line);) {
    out.emplace_back();
    TextReader cells(line);
    for (std::string cell; std::getline(cells, cell, ',');) out.back().push_back(cell);
  }
  return out;
}

double number_of(const std::string& text) {
  double value = 0;
  REQUIRE_MESSAGE(parse_double(text, value), text);
  return value;
}

// The file, and probability and margin up to what the size of a batch rounds.
void check_same_line(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  REQUIRE(a.size() == 4);
  REQUIRE(b.size() == 4);
  CHECK(a[0] == b[0]);
  for (const size_t i : {2, 3}) {
    CHECK(number_of(a[i]) == doctest::Approx(number_of(b[i])).epsilon(1e-5));
  }
}

}  // namespace

TEST_CASE("program: measuring and predicting build no training loader and read no training data") {
  const TempDir dir;
  write_shapes(dir / "many", 15, 2);
  const Finished trained = run(dir, str("--data many --batch 8 --epochs 2 --out a", kTiny));
  REQUIRE_MESSAGE(trained.code == 0, trained.err);
  const std::string weights =
      str("a/ckpt/step-", json_of(dir / "a/result.json").integer("steps"), "/model.safetensors");

  // A training split of 15 shapes, less than a batch of 32.
  write_shapes(dir / "few", 15, 1);
  const Finished cannot = run(dir, str("--data few --epochs 1 --out none", kTiny));
  CHECK(cannot.code == 2);
  CHECK(contains(cannot.err, "a batch of 32 leaves no batch of the 15 shapes"));
  CHECK_FALSE(fs::exists(dir / "none"));
  const Finished measured =
      run(dir, str("--eval-only --json e.json --data few --weights ", weights, kTiny));
  REQUIRE_MESSAGE(measured.code == 0, measured.err);
  CHECK(json_of(dir / "e.json").integer("test_shapes") == 15);
  // Without the data of its training a run predicts all the same.
  for (int i = 0; i < 2; ++i) {
    write_off(dir / str("meshes/ball_", i, ".off"), test::sphere_mesh(1, 8 + i));
    write_off(dir / str("meshes/pillar_", i, ".off"), test::box_mesh(0.3, 0.25, 1 + i));
  }
  fs::rename(dir / "many", dir / "gone");
  const Finished told = run(dir, "predict --resume a meshes");
  REQUIRE_MESSAGE(told.code == 0, told.err);
  const auto cells = cells_of(told.out);
  REQUIRE(cells.size() == 5);
  CHECK(cells[0] == std::vector<std::string>{"file", "class", "probability", "margin"});
  CHECK(cells[1][0] == "meshes/ball_0.off");
  const std::vector<std::string> names = embedded_class_names();
  for (size_t i = 1; i < cells.size(); ++i) {
    REQUIRE(cells[i].size() == 4);
    const double probability = number_of(cells[i][2]), margin = number_of(cells[i][3]);
    CHECK(probability >= 1.0 / 15);
    CHECK(probability <= 1);
    CHECK(margin >= 0);
    CHECK(margin <= probability);
  }
  // The same files, one by one, in another order and in other batches: the same lines.
  const Finished single = run(dir, "predict --resume a meshes/pillar_1.off meshes/ball_0.off");
  REQUIRE_MESSAGE(single.code == 0, single.err);
  const auto again = cells_of(single.out);
  REQUIRE(again.size() == 3);
  check_same_line(again[1], cells[4]);
  check_same_line(again[2], cells[1]);
  CHECK(again[1][1] == cells[4][1]);
  // Of weights alone the classes have numbers.
  const Finished bare = run(dir, str("predict --weights ", weights, " meshes/ball_0.off", kTiny));
  REQUIRE_MESSAGE(bare.code == 0, bare.err);
  check_same_line(cells_of(bare.out)[1], cells[1]);
  CHECK(contains(cells_of(bare.out)[1][1], "class_"));

  const std::pair<const char*, const char*> wrong[] = {
      {"predict meshes", "predict: expects weights, none given"},
      {"predict --resume a", "predict: expects files or folders, none given"}};
  for (const auto& [arguments, sentence] : wrong) {
    const Finished f = run(dir, arguments);
    CHECK_MESSAGE(f.code == 2, arguments, ": ", f.err);
    CHECK_MESSAGE(contains(f.err, sentence), arguments, ": ", f.err);
  }
  CHECK(run(dir, "predict --resume a nothing.off").code == 3);
}

TEST_CASE("program: weights of another number of classes start a training without their head") {
  const TempDir dir;
  write_shapes(dir / "all", 15, 2);
  write_shapes(dir / "three", 3, 4);
  REQUIRE(run(dir, str("--data all --batch 8 --epochs 1 --out a", kTiny)).code == 0);
  const Checkpoint from = *read_newest_checkpoint(dir / "a/ckpt");
  const std::string weights = str("--weights ", (from.path / "model.safetensors").string());
  // At a rate of nothing the weights stay what they were at the start.
  const std::string still =
      str(" --data three --batch 4 --steps 1 --optimizer sgd --lr 0 --wd 0 ", kTiny, weights);
  const Finished refused = run(dir, still + " --out b");
  CHECK(refused.code != 0);
  CHECK(refused.code != 1);
  CHECK(contains(refused.err, "model.safetensors"));
  const Finished started = run(dir, still + " --skip-head --out c");
  REQUIRE_MESSAGE(started.code == 0, started.err);
  const Checkpoint to = *read_newest_checkpoint(dir / "c/ckpt");
  int same = 0;
  std::vector<std::string> others;
  for (const auto& [name, tensor] : to.model.tensors) {
    if (contains(name, "running_") || tensor.rank() == 0) continue;
    const Tensor* before = from.model.find(name);
    REQUIRE(before != nullptr);
    if (before->shape() == tensor.shape() &&
        before->to_vector<double>() == tensor.to_vector<double>()) {
      ++same;
    } else {
      others.push_back(name);
    }
  }
  CHECK(same > 10);
  CHECK(others.size() == 2);  // weight and bias of the last layer
  for (const std::string& name : others) CHECK(to.model.find(name)->size(0) == 3);
}

TEST_CASE("program: evaluations and checkpoints every so many steps") {
  const TempDir dir;
  write_shapes(dir / "all", 15, 2);
  const Finished trained =
      run(dir, str("--data all --batch 8 --epochs 2 --eval-every 2 --checkpoint-every 3 --keep 0 "
                   "--out a",
                   kTiny));
  REQUIRE_MESSAGE(trained.code == 0, trained.err);
  CHECK(fs::exists(dir / "a/ckpt/step-3/DONE"));
  CHECK(contains(trained.err, "step 2  train "));
  CHECK(contains(trained.err, "epoch 2  train "));
  const Finished again = run(dir, "--resume a/ckpt/step-3 --out b");
  REQUIRE_MESSAGE(again.code == 0, again.err);
  CHECK(sha256_hex_of_file(dir / "a/ckpt/step-6/model.safetensors") ==
        sha256_hex_of_file(dir / "b/ckpt/step-6/model.safetensors"));
  const Finished wrong = run(dir, str("--data all --eval-every 0 --out c", kTiny));
  CHECK(wrong.code == 2);
  CHECK(contains(wrong.err, "--eval-every: expected a number of steps (500) or of epochs (5e)"));
}

TEST_CASE("program: a molecule task trains, resumes and is measured; the help lists it all") {
  const TempDir dir;
  const auto molecules = [&](const std::string& arguments) {
    return run_built(dir, "train_molecules", arguments);
  };
  const Finished help = molecules("--help");
  CHECK(help.code == 0);
  CHECK(contains(help.out, "egnn"));
  const std::string tiny =
      "--batch 128 --eval-batch 128 --threads 1 --set model.hidden=8 --set model.layers=1 ";
  const Finished whole = molecules(tiny + "--epochs 2 --checkpoint-every 5 --keep 0 --out a");
  REQUIRE_MESSAGE(whole.code == 0, whole.err);
  CHECK(contains(whole.out, "eV"));
  const Finished again = molecules("--resume a/ckpt/step-5 --out b");
  REQUIRE_MESSAGE(again.code == 0, again.err);
  const int64_t last = json_of(dir / "a/result.json").integer("steps");
  for (const char* file : {"model.safetensors", "optim.safetensors"}) {
    CHECK(sha256_hex_of_file(dir / str("a/ckpt/step-", last, "/", file)) ==
          sha256_hex_of_file(dir / str("b/ckpt/step-", last, "/", file)));
  }
  const Finished measured = molecules("--resume a --eval-only --equivariance --json e.json");
  REQUIRE_MESSAGE(measured.code == 0, measured.err);
  CHECK(json_of(dir / "e.json").number("mae") == json_of(dir / "a/result.json").number("last_mae"));
  CHECK(json_of(dir / "e.json").number("energy_rotation_f64") < 1e-10);
  const Finished bare = molecules(
      str(tiny, "--eval-only --json w.json --weights a/ckpt/step-", last, "/model.safetensors"));
  REQUIRE_MESSAGE(bare.code == 0, bare.err);
  CHECK(json_of(dir / "w.json").number("mae") == json_of(dir / "e.json").number("mae"));
  const Finished predicted = molecules("predict --resume a a/config.toml");
  CHECK(predicted.code == 2);
  CHECK(contains(predicted.err, "predict: the task molecules cannot tell of files"));
  CHECK(contains(molecules("compare a b").out, "best mae"));
  const Finished clouds = run(dir, "--help");
  CHECK(contains(clouds.out, "--label-smoothing"));
  CHECK(contains(clouds.out, "--task"));
}

}  // namespace basin::tools
