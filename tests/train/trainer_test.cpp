// The training loop: resume, threads, failures, bookkeeping. Bitwise means bitwise: files are
// compared byte by byte, metrics lines text by text but for the fields that depend on the clock.
#include "basin/train/trainer.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "basin/core/parallel.h"
#include "basin/tests/train/problems.h"

namespace basin::test {

TEST_CASE("trainer: resume gives bitwise the uninterrupted run") {
  for (const char* optimizer : {"muon", "adamw"}) {
    const TempDir dir;
    Settings settings = tiny_shapes(optimizer);
    settings.train.keep = 0;
    settings.train.schedule = "plateau:patience=0,factor=0.5";
    settings.task.options["val_fraction"] = "0.2";
    const Problem problem(settings);
    CHECK(train(problem, dir / "whole").completed);
    const std::vector<int64_t> steps = checkpoint_steps(dir / "whole/ckpt");
    REQUIRE(steps.size() == 3);
    const int64_t last = steps.back();
    const auto expected = timeless_lines(dir / "whole");
    CHECK(expected.size() >= 3 + static_cast<size_t>(last) / 2);

    // From the checkpoint of every epoch.
    for (const int64_t step : {steps[0], steps[1]}) {
      const fs::path part = dir / str("from-", step);
      fs::copy(dir / "whole", part, fs::copy_options::recursive);
      forget_after(part, step);
      CHECK(train(problem, part).completed);
      CHECK(timeless_lines(part) == expected);
      CHECK(hashes(part, last) == hashes(dir / "whole", last));
    }
    // Stopped again and again: in the middle of epochs, and of their evaluation.
    int starts = 0;
    while (starts < 100 && !train(problem, dir / "pieces", 2 + starts % 6).completed) ++starts;
    CHECK(starts >= 5);
    CHECK(starts < 100);
    CHECK(timeless_lines(dir / "pieces") == expected);
    CHECK(hashes(dir / "pieces", last) == hashes(dir / "whole", last));
    // A finished run has nothing left to do and tells the same.
    const TrainOutcome again = train(problem, dir / "whole");
    CHECK(again.completed);
    CHECK(timeless_lines(dir / "whole") == expected);
  }
}

TEST_CASE("trainer: lines written after the last checkpoint are not doubled by a resume") {
  const TempDir dir;
  Settings settings = tiny_shapes("adamw");
  settings.train.keep = 0;
  const Problem problem(settings);
  train(problem, dir / "run");
  const auto expected = timeless_lines(dir / "run");
  const auto steps = checkpoint_steps(dir / "run/ckpt");
  fs::remove_all(checkpoint_path(dir / "run/ckpt", steps.back()));  // killed before it was there
  train(problem, dir / "run");
  CHECK(timeless_lines(dir / "run") == expected);
}

TEST_CASE("trainer: 1 and 2 threads give the same bits after 50 steps") {
  const int before = num_threads();
  std::vector<std::vector<float>> weights;
  Settings settings = tiny_shapes("muon");
  settings.task.model.options["widths"] = "32,64,96,48,24";
  settings.task.options["points"] = "96";
  const Problem problem(settings);
  for (const int threads : {1, 2}) {
    set_num_threads(threads);
    Trainer trainer(problem.task, problem.options);
    for (int i = 0; i < 50; ++i) trainer.step();
    std::vector<float> all;
    for (const ParamList* list : {&trainer.state().params, &trainer.state().buffers}) {
      for (const Param& p : *list) {
        const auto values = p.value.to_vector<float>();
        all.insert(all.end(), values.begin(), values.end());
      }
    }
    for (const float x : all) REQUIRE(std::isfinite(x));
    weights.push_back(std::move(all));
  }
  set_num_threads(before);
  CHECK(weights[0] == weights[1]);
}

TEST_CASE("trainer: training moves the loss, both bests are reported") {
  const TempDir dir;
  // Far from where rounding decides: at a rate of 0.01 and with the feature transform the losses of
  // so few steps are chaotic.
  Settings settings = tiny_shapes("adamw");
  settings.train.epochs = 20;
  settings.train.optimizer.lr = 0.004;
  settings.task.model.options["feature_transform"] = "false";
  settings.task.model.options["dropout"] = "0";
  settings.task.options["val_fraction"] = "0.2";
  settings.task.options["augment"] = "none";
  const Problem problem(settings);
  CHECK(problem.task.data().validation > 0);
  const TrainOutcome out = train(problem, dir / "run");
  const RecordFields r = parse_record(out.result.line(), "result");
  const std::vector<RecordFields> epochs = events(dir / "run", "epoch");
  REQUIRE(epochs.size() == 20);
  CHECK(epochs.back().number("train_loss") < epochs.front().number("train_loss") - 0.1);
  double best = 0;
  for (const RecordFields& e : epochs) best = std::max(best, e.number("test_overall_accuracy"));
  CHECK(r.number("best_overall_accuracy") == best);
  CHECK(r.number("last_overall_accuracy") == epochs.back().number("test_overall_accuracy"));
  const auto at = static_cast<size_t>(r.integer("best_val_epoch")) - 1;
  CHECK(r.number("best_val_overall_accuracy") == epochs[at].number("test_overall_accuracy"));
  CHECK(r.number("best_val_value") == epochs[at].number("val_overall_accuracy"));
  // The last two and the two bests are kept, nothing else.
  std::set<int64_t> kept{epochs[18].integer("step"), epochs[19].integer("step"),
                         r.integer("best_step"), r.integer("best_val_step")};
  const auto steps = checkpoint_steps(dir / "run/ckpt");
  CHECK(std::set<int64_t>(steps.begin(), steps.end()) == kept);
  // The first and the last rate of the cosine.
  CHECK(epochs.back().number("lr") < 1e-4);

  // A checkpoint evaluates to the accuracy that was recorded for it.
  Trainer trainer(problem.task, problem.options);
  const Checkpoint last = *read_newest_checkpoint(dir / "run/ckpt");
  load_state(last.model, "checkpoint", trainer.state());
  const Evaluation test = trainer.test();
  REQUIRE(test.values.size() == 3);
  CHECK(test.values[0] == r.number("last_overall_accuracy"));
  CHECK(test.values[1] == r.number("last_mean_class_accuracy"));
  CHECK(test.values[2] == r.number("last_test_loss"));
}

TEST_CASE("trainer: steps replace epochs, the last epoch may be partial") {
  const TempDir dir;
  Settings settings = tiny_shapes("sgd");
  settings.train.steps = 7;
  settings.train.log_every = 0;
  const Problem problem(settings);
  const TrainOutcome out = train(problem, dir / "run");
  CHECK(out.completed);
  CHECK(checkpoint_steps(dir / "run/ckpt").back() == 7);
  CHECK(timeless_lines(dir / "run").size() == 2);
}

TEST_CASE("trainer: a non-finite loss names epoch, step, batch and parameter") {
  const TempDir dir;
  const Problem problem(tiny_shapes("adamw"));
  Trainer trainer(problem.task, problem.options);
  for (int i = 0; i < 6; ++i) trainer.step();
  Param& weight = trainer.state().params[0];
  weight.value.mutable_data<float>()[0] = std::nanf("");
  const ParamList before = trainer.state().buffers.clone();
  const auto error = error_of([&] { trainer.step(); });
  CHECK(error.first == ErrorKind::numerical);
  CHECK(contains(error.second, "epoch 2, step 7, batch 2"));
  CHECK(contains(error.second, "the loss is nan"));
  CHECK(contains(error.second, "the gradient of " + weight.name + " is not finite"));
  CHECK(trainer.steps_done() == 6);
  for (size_t i = 0; i < before.size(); ++i) {  // the running statistics stay clean
    CHECK(before[i].value.to_vector<double>() ==
          trainer.state().buffers[i].value.to_vector<double>());
  }
}

TEST_CASE("trainer: an epoch whose loss rises is marked") {
  const TempDir dir;
  const Problem problem(tiny_shapes("adamw"));
  Trainer trainer(problem.task, problem.options);
  const CaughtWarnings warnings;
  const auto in_second_epoch = [&] {
    return trainer.steps_done() > trainer.steps_per_epoch() ? SIGTERM : 0;
  };
  CHECK_FALSE(trainer.run(dir / "run", {.stop = in_second_epoch}).completed);
  for (Param& p : trainer.state().params) {  // as if a step had thrown the classifier far off
    if (p.role != Role::head) continue;
    Tensor& w = p.value;
    for (int64_t i = 0; i < w.numel(); ++i) w.mutable_data<float>()[i] *= 100;
  }
  CHECK(trainer.run(dir / "run").completed);
  std::vector<bool> rose;
  for (const std::string& line : timeless_lines(dir / "run")) {
    if (contains(line, "train_loss_rose=")) rose.push_back(contains(line, "train_loss_rose=true"));
  }
  REQUIRE(rose.size() == static_cast<size_t>(problem.options.epochs));
  CHECK_FALSE(rose[0]);
  CHECK(rose[1]);
  REQUIRE_FALSE(warnings.texts.empty());
  CHECK(contains(warnings.texts[0], "the training loss rose from "));
}

TEST_CASE("trainer: a checkpoint of other settings or other data is refused") {
  const TempDir dir;
  Settings settings = tiny_shapes("adamw");
  settings.train.epochs = 1;
  settings.train.config_hash = "one";
  Problem problem(settings);
  train(problem, dir / "run");
  const Checkpoint checkpoint = *read_newest_checkpoint(dir / "run/ckpt");
  TrainOptions other = problem.options;
  other.config_hash = "another";
  Trainer trainer(problem.task, other);
  const auto refused = error_of([&] { trainer.restore(checkpoint); });
  CHECK(refused.first == ErrorKind::usage);
  CHECK(contains(refused.second, "other settings"));
  problem.task.data = [facts = problem.task.data()] {
    DataFacts changed = facts;
    changed.hash = "0";
    return changed;
  };
  Trainer on_changed(problem.task, problem.options);
  const auto data = error_of([&] { on_changed.restore(checkpoint); });
  CHECK(data.first == ErrorKind::usage);
  CHECK(contains(data.second, "the data"));
  Trainer on_molecules(Problem(tiny_molecules("adamw")).task, {.batch = 128});
  const auto task = error_of([&] { on_molecules.restore(checkpoint); });
  CHECK(task.first == ErrorKind::usage);
  CHECK(contains(task.second, "was trained on the task modelnet, this one is molecules"));
}

TEST_CASE("trainer: f64, clipping and label smoothing run") {
  Settings settings = tiny_shapes("muon");
  settings.train.dtype = DType::f64;
  settings.train.clip = 0.5;
  settings.task.options["label_smoothing"] = "0.2";
  const Problem problem(settings);
  Trainer trainer(problem.task, problem.options);
  for (int i = 0; i < 5; ++i) CHECK(std::isfinite(trainer.step().loss));
  CHECK(trainer.state().params[0].value.dtype() == DType::f64);
}

}  // namespace basin::test
