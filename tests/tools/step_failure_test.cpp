// Steps that are not finite: what they are blamed on, the bundle and its replay, the policies stop
// and skip with their counts, and the programs' exit codes.
#include "basin/train/step_failure.h"

#include <algorithm>
#include <cmath>
#include <csignal>
#include <limits>
#include <sstream>

#include "basin/tests/tools/helpers.h"
#include "basin/core/folder.h"
#include "basin/tools/shell/progress.h"

namespace basin::tools {
namespace {

struct Problem {
  explicit Problem(Config c) : config(train_config_from(c)), data(load_train_data(config)) {}
  TrainConfig config;
  TrainData data;
};

Config with(Config config, const std::string& key, const std::string& value) {
  config.set(key, value, Layer::flag, key);
  return config;
}

// One shape of the training split is not finite: the batch that holds it fails, once an epoch.
constexpr int64_t kBadShape = 3;
void spoil(TrainData& data, int64_t shape) {
  data.train.points.mutable_data<float>()[3 * data.train.points_per_cloud() * shape] =
      std::numeric_limits<float>::infinity();
}

Problem spoilt_problem(const std::string& optimizer, const std::string& policy) {
  Config settings = with(tiny_settings(optimizer), "on_nonfinite", policy);
  // Every shape is in every epoch: 5 batches of 9.
  Problem problem(with(with(settings, "batch", "9"), "augment", "none"));
  REQUIRE(problem.data.train.size() % 9 == 0);
  spoil(problem.data, kBadShape);
  return problem;
}

TrainOutcome train(const Problem& problem, const fs::path& path, int stop_after = 0) {
  Trainer trainer(problem.config, problem.data);
  if (!fs::exists(path)) RunDir::create(path).begin({});
  const RunDir dir = RunDir::open(path);
  set_verbosity(Verbosity::quiet);
  if (const auto checkpoint = read_newest_checkpoint(dir.checkpoints())) {
    trainer.restore(*checkpoint);
  }
  int left = stop_after;
  return trainer.run(dir, {[&] { return stop_after > 0 && --left <= 0 ? SIGTERM : 0; }, false});
}

std::vector<RecordFields> events(const fs::path& run, const std::string& kind) {
  std::vector<RecordFields> out;
  std::istringstream in(read_text_file(run / "metrics.jsonl"));
  for (std::string line; std::getline(in, line);) {
    RecordFields fields = parse_record(line, "line");
    if (fields.text("event") == kind) out.push_back(std::move(fields));
  }
  return out;
}

std::vector<std::vector<uint8_t>> bits_of(Trainer& trainer) {
  const OptimizerState optimizer = trainer.optimizer().save();
  return {serialize_safetensors(state_file(trainer.state())),
          serialize_safetensors({optimizer.tensors, optimizer.scalars})};
}

std::string rows_with(const std::string& rows, int64_t row) {
  std::istringstream in(rows);
  for (int64_t r = 0; in >> r;) {
    if (r == row) return "there";
  }
  return "missing in " + rows;
}

}  // namespace

TEST_CASE("failed step: op, layer, parameter, batch; a bundle that fails again at the same place") {
  const TempDir dir;
  const Problem problem(tiny_settings("adamw"));
  Trainer trainer(problem.config, problem.data);
  for (int i = 0; i < 6; ++i) trainer.step();
  Param& weight = trainer.state().params[0];
  weight.value.mutable_data<float>()[1] = std::nanf("");
  const auto before = bits_of(trainer);
  std::shared_ptr<const StepFailure> failure;
  try {
    trainer.step();
  } catch (const NonFiniteStep& e) {
    failure = e.failure();
    CHECK(contains(e.what(), "epoch 2, step 7, batch 2 (shapes "));
    CHECK(contains(e.what(), "; forward: op '" + failure->found->op + "' gives nan at element "));
    CHECK(contains(e.what(), str("layer ", failure->layer, " (")));
    CHECK(contains(e.what(), weight.name + " held such values before"));
  }
  REQUIRE(failure);
  CHECK(bits_of(trainer) == before);
  CHECK(weight.name.rfind(failure->layer + ".", 0) == 0);
  CHECK(failure->rows.size() == 8);
  CHECK(failure->spoilt == weight.name);
  CHECK(failure->found->from_inputs);

  const fs::path folder = write_bundle(dir.path(), *failure);
  CHECK(folder == dir / "failure-step-7");
  Bundle bundle = read_bundle(folder);
  StepFailure& again = bundle.failure;
  CHECK(again.rows == failure->rows);
  CHECK(bundle.recorded.text("optimizer") == "adamw");
  CHECK(bundle.recorded.number("lr") > 0);
  CHECK(repeats(again));
  CHECK(again.gradient == failure->gradient);
  examine(again);
  CHECK(again.found->op == failure->found->op);
  CHECK(again.found->first.element == failure->found->first.element);
  CHECK(again.found->first.count == failure->found->first.count);
  CHECK(again.layer == failure->layer);
  CHECK(again.parameters == failure->parameters);
  // With the weight repaired the step is finite, and nothing is found.
  again.inputs.state.params[0].value.mutable_data<float>()[1] = 0;
  CHECK_FALSE(repeats(again));
  examine(again);
  CHECK_FALSE(again.found);
}

TEST_CASE("failed step: the bundle has the loss and the dropout masks of its step") {
  const Problem problem(with(tiny_settings("adamw"), "label_smoothing", "0.2"));
  const TempDir dir;
  Trainer trainer(problem.config, problem.data);
  for (int i = 0; i < 3; ++i) trainer.step();
  PointCloudLoader loader(problem.data.train, [&] {
    LoaderOptions o;
    o.batch = problem.config.batch;
    o.points = problem.config.points;
    o.drop_last = true;
    o.augment = problem.config.augment;
    o.up = problem.config.up;
    o.seed = problem.config.seed;
    return o;
  }());
  const PointBatch batch = loader.batch(0, 3);
  StepFailure failure;
  failure.step = 4;
  failure.inputs = {trainer.model(),
                    trainer.state().clone(),
                    batch.points,
                    batch.labels,
                    0.2,
                    problem.config.seed,
                    3};
  Bundle bundle = read_bundle(write_bundle(dir.path(), failure));
  CHECK_FALSE(repeats(bundle.failure));
  const StepResult step = trainer.step();
  CHECK(bundle.failure.loss == step.loss);  // to the bit
  CHECK(bundle.failure.grad_norm == step.grad_norm);
}

TEST_CASE("failed step: stop ends the run with a record and a bundle of the batch") {
  const TempDir dir;
  const Problem problem = spoilt_problem("adamw", "stop");
  const auto error = error_of([&] { train(problem, dir / "run"); });
  CHECK(error.first == ErrorKind::numerical);
  const auto failed = events(dir / "run", "failed_step");
  REQUIRE(failed.size() == 1);
  const int64_t step = failed[0].integer("step");
  CHECK(rows_with(failed[0].text("rows"), kBadShape) == "there");
  CHECK(failed[0].text("sweep") == "forward");
  CHECK(failed[0].flag("from_inputs"));
  CHECK(failed[0].text("not_finite_before") == "");
  const fs::path folder = dir / "run" / str("failure-step-", step);
  CHECK(contains(error.second, "--replay " + folder.string()));
  Bundle bundle = read_bundle(folder);
  CHECK(repeats(bundle.failure));
  CHECK(events(dir / "run", "skipped_step").empty());
  CHECK(checkpoint_steps(dir / "run/ckpt").empty());
  // It fails again in the same place, over the same bundle.
  CHECK(error_of([&] { train(problem, dir / "run"); }).second == error.second);
  CHECK(events(dir / "run", "failed_step").size() == 1);
}

TEST_CASE("failed step: skip leaves everything as it is, counts, and resumes to the same bits") {
  for (const char* optimizer : {"adamw", "muon"}) {
    const TempDir dir;
    const Problem problem = spoilt_problem(optimizer, "skip");
    const CaughtWarnings warnings;
    const TrainOutcome out = train(problem, dir / "whole");
    CHECK(out.completed);
    const auto skipped = events(dir / "whole", "skipped_step");
    REQUIRE(skipped.size() == 3);
    for (size_t i = 0; i < 3; ++i) {
      CHECK(skipped[i].integer("epoch") == static_cast<int64_t>(i) + 1);
      CHECK(skipped[i].integer("skipped_steps") == static_cast<int64_t>(i) + 1);
      CHECK(skipped[i].integer("skipped_in_row") == 1);
      CHECK(rows_with(skipped[i].text("rows"), kBadShape) == "there");
      CHECK_FALSE(skipped[i].text("op").empty());
    }
    const auto epochs = events(dir / "whole", "epoch");
    REQUIRE(epochs.size() == 3);
    for (const RecordFields& e : epochs) {
      CHECK(std::isfinite(e.number("train_loss")));
      CHECK(std::isfinite(e.number("grad_norm")));
    }
    CHECK(epochs[2].integer("skipped_steps") == 3);
    CHECK(parse_record(out.result.line(), "result").integer("skipped_steps") == 3);
    CHECK(fs::exists(dir / "whole" / str("failure-step-", skipped[0].integer("step"), "/DONE")));
    CHECK_FALSE(fs::exists(dir / "whole" / str("failure-step-", skipped[1].integer("step"))));

    int starts = 0;
    while (starts < 50 && !train(problem, dir / "pieces", 2 + starts % 3).completed) ++starts;
    CHECK(starts >= 3);
    CHECK(events(dir / "pieces", "skipped_step").size() == 3);
    const int64_t last = checkpoint_steps(dir / "whole/ckpt").back();
    for (const char* file : {"model.safetensors", "optim.safetensors"}) {
      CHECK(read_file(checkpoint_path(dir / "whole/ckpt", last) / file) ==
            read_file(checkpoint_path(dir / "pieces/ckpt", last) / file));
    }
  }
}

TEST_CASE("failed step: a skipped step changes neither weights nor moments nor statistics") {
  Problem problem(with(tiny_settings("adamw"), "on_nonfinite", "skip"));
  for (int64_t i = 0; i < problem.data.train.size(); ++i) spoil(problem.data, i);
  Trainer trainer(problem.config, problem.data);
  const auto before = bits_of(trainer);
  for (int i = 0; i < 5; ++i) {
    const StepResult result = trainer.step();
    REQUIRE(result.skipped);
    CHECK(result.skipped->step == i + 1);
  }
  CHECK(bits_of(trainer) == before);
  CHECK(trainer.steps_done() == 5);
  // Five in a row is the limit.
  const auto error = error_of([&] { trainer.step(); });
  CHECK(error.first == ErrorKind::numerical);
  CHECK(contains(error.second, "5 steps before it were skipped (--nonfinite-limit)"));
  CHECK(trainer.steps_done() == 5);
}

TEST_CASE("failed step: an epoch of nothing but skipped steps ends as an epoch") {
  const TempDir dir;
  Config settings = with(tiny_settings("adamw"), "on_nonfinite", "skip");
  settings = with(with(settings, "nonfinite_limit", "100"), "epochs", "2");
  Problem problem(with(settings, "schedule", "plateau:patience=0"));
  for (int64_t i = 0; i < problem.data.train.size(); ++i) spoil(problem.data, i);
  const CaughtWarnings warnings;
  CHECK(train(problem, dir / "run").completed);
  const auto epochs = events(dir / "run", "epoch");
  REQUIRE(epochs.size() == 2);
  CHECK(std::isnan(epochs[0].number("train_loss")));
  CHECK(std::isfinite(epochs[0].number("test_loss")));
}

TEST_CASE("failed step: a bundle that is damaged or none is a data error") {
  const TempDir dir;
  const auto none = error_of([&] { read_bundle(dir.path()); });
  CHECK(none.first == ErrorKind::data);
  CHECK(contains(none.second, "is no bundle of a failed step"));
  const Problem problem = spoilt_problem("adamw", "stop");
  error_of([&] { train(problem, dir / "run"); });
  fs::path folder;
  for (const auto& entry : fs::directory_iterator(dir / "run")) {
    if (contains(entry.path().string(), "failure-step-")) folder = entry.path();
  }
  std::vector<uint8_t> bytes = read_file(folder / "batch.safetensors");
  bytes.back() ^= 1;
  write_file_atomic(folder / "batch.safetensors", bytes);
  const auto damaged = error_of([&] { read_bundle(folder); });
  CHECK(damaged.first == ErrorKind::data);
  CHECK(contains(damaged.second, "batch.safetensors: its SHA-256 is not the one in DONE"));
}

TEST_CASE("failed step: exit code 4, the replay's too, 1 where it does not fail again") {
  const TempDir dir;
  const Finished trained = run_built(
      dir, "train_modelnet",
      "--limit 40 --points 32 --batch 8 --epochs 2 --set model.widths=4,8,8,8,4 --optimizer sgd "
      "--lr 1e30 --threads 1 --quiet --out run");
  CHECK(trained.code == 4);
  CHECK(trained.out == "");
  CHECK(std::count(trained.err.begin(), trained.err.end(), '\n') == 1);
  CHECK(trained.err.rfind("train_modelnet: epoch 1, step ", 0) == 0);
  const RecordFields record = parse_record(read_text_file(dir / "run/run.json"), "run.json");
  CHECK(record.integer("exit_code") == 4);
  const size_t at = trained.err.find("--replay ");
  REQUIRE(at != trained.err.npos);
  const std::string bundle =
      trained.err.substr(at + 9, trained.err.find_last_not_of('\n') - at - 8);
  const Finished replayed =
      run_built(dir, "train_modelnet", "--json again.json --replay " + bundle);
  CHECK(replayed.code == 4);
  CHECK(replayed.err.rfind("train_modelnet: replay: epoch 1, step ", 0) == 0);
  const RecordFields now = parse_record(read_text_file(dir / "again.json"), "again.json");
  const fs::path file = dir / bundle / "failure.json";
  const RecordFields then = parse_record(read_text_file(file), "failure.json");
  for (const char* key : {"op", "sweep", "layer", "parameters", "element", "value", "rows"}) {
    CHECK(now.text(key) == then.text(key));
  }

  Bundle moved = read_bundle(dir / bundle);
  moved.failure.examined = true;
  moved.failure.found = NonFinite{};
  moved.failure.found->op = "elsewhere";
  write_bundle(dir / "moved", moved.failure);
  const Finished other =
      run_built(dir, "train_modelnet", str("--replay moved/failure-step-", moved.failure.step));
  CHECK(other.code == 1);
  CHECK(contains(other.err, " fails at "));
  CHECK(contains(other.err, "recorded was elsewhere ("));

  Bundle healed = read_bundle(dir / bundle);
  StepFailure& f = healed.failure;
  f.inputs.state = init_model(f.inputs.model, 1, DType::f32);
  f.examined = true;
  f.found = NonFinite{};
  f.found->op = "matmul";
  write_bundle(dir / "healed", f);
  const Finished finite =
      run_built(dir, "train_modelnet", str("--replay healed/failure-step-", f.step));
  CHECK(finite.code == 1);
  CHECK(contains(finite.err, "is finite here (loss "));
  CHECK(run_built(dir, "train_modelnet", "--replay run").code == 3);
}

TEST_CASE("failed step: a probe of weights that are not finite ends with exit code 4") {
  const TempDir dir;
  REQUIRE(run_built(dir, "train_modelnet",
                    "--limit 40 --points 32 --batch 8 --epochs 1 --set model.widths=4,8,8,8,4 "
                    "--threads 1 --quiet --out run")
              .code == 0);
  Checkpoint c = *read_newest_checkpoint(dir / "run/ckpt");
  for (auto& [name, tensor] : c.model.tensors) {
    if (name.ends_with("weight")) tensor.mutable_data<float>()[0] = std::nanf("");
  }
  Record state;
  for (const auto& [key, value] : c.state.values()) state.add(key, std::string_view(value));
  write_checkpoint(dir / "run/ckpt", c.step, c.model, c.optimizer, state);
  for (const std::string part : {"ranks", "representations", "curvature", "sharpness", "slices"}) {
    CAPTURE(part);
    const Finished probed = run_built(
        dir, "landscape_probe",
        str("run run --quiet --threads 1 --shapes 8 --slice-shapes 8 --sharpness-shapes 8 --grid 3 "
            "--grid1d 3 --rank-shapes 8 --parts ",
            part, " --out probe-", part));
    CAPTURE(probed.err);
    CHECK(probed.code == 4);
    CHECK(std::count(probed.err.begin(), probed.err.end(), '\n') == 1);
    CHECK_FALSE(fs::exists(dir / str("probe-", part) / str(part, ".json")));
  }
}

}  // namespace basin::tools
