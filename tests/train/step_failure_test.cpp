// Steps that are not finite: what they are blamed on, the bundle and what it repeats, the policies
// stop and skip with their counts.
#include "basin/train/step_failure.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "basin/tests/train/problems.h"

namespace basin::test {
namespace {

// One shape of the training split is not finite: the batch that holds it fails, once an epoch.
constexpr int64_t kBadShape = 3;

Settings settings_with(const std::string& optimizer, OnNonFinite policy) {
  Settings settings = tiny_shapes(optimizer);
  settings.train.on_nonfinite = policy;
  return settings;
}

Problem spoilt_problem(const std::string& optimizer, OnNonFinite policy) {
  Settings settings = settings_with(optimizer, policy);
  // Every shape is in every epoch: 5 batches of 9.
  settings.train.batch = 9;
  settings.task.options["augment"] = "none";
  Problem problem(settings);
  REQUIRE(problem.task.data().train % 9 == 0);
  spoil(problem.task, {kBadShape});
  return problem;
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
  const Problem problem(tiny_shapes("adamw"));
  Trainer trainer(problem.task, problem.options);
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
  Settings settings = tiny_shapes("adamw");
  settings.task.options["label_smoothing"] = "0.2";
  const Problem problem(settings);
  const TempDir dir;
  Trainer trainer(problem.task, problem.options);
  for (int i = 0; i < 3; ++i) trainer.step();
  StepFailure failure;
  failure.step = 4;
  failure.inputs.task = std::make_shared<const Task>(problem.task);
  failure.inputs.state = trainer.state().clone();
  failure.inputs.batch =
      problem.task.source({.training = true, .batch = problem.options.batch})->batch(0, 3);
  failure.inputs.slots = {"points", "labels"};
  failure.inputs.seed = problem.options.seed;
  failure.inputs.step = 3;
  Bundle bundle = read_bundle(write_bundle(dir.path(), failure));
  CHECK_FALSE(repeats(bundle.failure));
  const StepResult step = trainer.step();
  CHECK(bundle.failure.loss == step.loss);  // to the bit
  CHECK(bundle.failure.grad_norm == step.grad_norm);
}

TEST_CASE("failed step: stop ends the run with a record and a bundle of the batch") {
  const TempDir dir;
  const Problem problem = spoilt_problem("adamw", OnNonFinite::stop);
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
    const Problem problem = spoilt_problem(optimizer, OnNonFinite::skip);
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
  Problem problem(settings_with("adamw", OnNonFinite::skip));
  spoil(problem.task);
  Trainer trainer(problem.task, problem.options);
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
  Settings settings = settings_with("adamw", OnNonFinite::skip);
  settings.train.nonfinite_limit = 100;
  settings.train.epochs = 2;
  settings.train.schedule = "plateau:patience=0";
  Problem problem(settings);
  spoil(problem.task);
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
  const Problem problem = spoilt_problem("adamw", OnNonFinite::stop);
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

}  // namespace basin::test
