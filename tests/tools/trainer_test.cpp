// The training loop: resume, threads, failures, bookkeeping. Bitwise means bitwise: files are
// compared byte by byte, metrics lines text by text but for the fields that depend on the clock.
#include "basin/train/trainer.h"

#include <cmath>
#include <csignal>
#include <sstream>

#include "basin/core/parallel.h"
#include "basin/tests/tools/helpers.h"
#include "basin/tools/shell/progress.h"
#include "basin/tools/shell/report.h"

namespace basin::tools {
namespace {

struct Problem {
  explicit Problem(Config settings)
      : config(train_config_from(settings)), data(load_train_data(config)) {}
  TrainConfig config;
  TrainData data;
};

Config with(Config config, const std::string& key, const std::string& value) {
  config.set(key, value, Layer::flag, key);
  return config;
}

// The lines without the two fields that the clock decides.
std::vector<std::string> timeless_lines(const fs::path& run) {
  std::vector<std::string> out;
  std::istringstream in(read_text_file(run / "metrics.jsonl"));
  for (std::string line; std::getline(in, line);) {
    std::string kept;
    const RecordFields fields = parse_record(line, "line");
    for (const auto& [key, value] : fields.values()) {
      if (key != "seconds" && key != "examples_per_second") kept += key + "=" + value + " ";
    }
    out.push_back(kept);
  }
  return out;
}

std::vector<std::string> hashes(const fs::path& run, int64_t step) {
  const fs::path folder = checkpoint_path(run / "ckpt", step);
  return {sha256_hex_of_file(folder / "model.safetensors"),
          sha256_hex_of_file(folder / "optim.safetensors")};
}

// Runs from the newest checkpoint of the folder, or from the start, until it was asked
// `stop_after` times whether to stop (0: to the end).
TrainOutcome train(const Problem& problem, const fs::path& path, int stop_after = 0) {
  Trainer trainer(problem.config, problem.data);
  if (!fs::exists(path)) RunDir::create(path).begin({});
  const RunDir dir = RunDir::open(path);
  set_verbosity(Verbosity::quiet);
  if (const auto checkpoint = read_newest_checkpoint(dir.checkpoints())) {
    trainer.restore(*checkpoint);
  }
  int left = stop_after;
  const auto stop = [&] { return stop_after > 0 && --left <= 0 ? SIGTERM : 0; };
  return trainer.run(dir, {stop, false});
}

}  // namespace

TEST_CASE("trainer: resume gives bitwise the uninterrupted run") {
  for (const char* optimizer : {"muon", "adamw"}) {
    const TempDir dir;
    Config settings = with(tiny_settings(optimizer), "keep", "0");
    settings = with(settings, "val_fraction", "0.2");
    settings = with(settings, "schedule", "plateau:patience=0,factor=0.5");
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
      for (const int64_t other : steps) {
        if (other > step) fs::remove_all(checkpoint_path(part / "ckpt", other));
      }
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
  const Problem problem(with(tiny_settings("adamw"), "keep", "0"));
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
  Config settings = tiny_settings("muon");
  settings = with(with(settings, "model.widths", "32,64,96,48,24"), "points", "96");
  const Problem problem(settings);
  for (const int threads : {1, 2}) {
    set_num_threads(threads);
    Trainer trainer(problem.config, problem.data);
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
  Config settings = with(tiny_settings("adamw"), "epochs", "20");
  settings = with(settings, "model.feature_transform", "false");
  settings = with(with(settings, "val_fraction", "0.2"), "augment", "none");
  settings = with(with(settings, "lr", "0.004"), "model.dropout", "0");
  const Problem problem(settings);
  CHECK(problem.data.validation.size() > 0);
  const TrainOutcome out = train(problem, dir / "run");
  const RecordFields r = parse_record(out.result.line(), "result");
  const auto lines = timeless_lines(dir / "run");
  std::istringstream in(read_text_file(dir / "run/metrics.jsonl"));
  std::vector<RecordFields> epochs;
  for (std::string line; std::getline(in, line);) {
    RecordFields fields = parse_record(line, "line");
    if (fields.text("event") == "epoch") epochs.push_back(std::move(fields));
  }
  REQUIRE(epochs.size() == 20);
  CHECK(epochs.back().number("train_loss") < epochs.front().number("train_loss") - 0.1);
  double best = 0;
  for (const RecordFields& e : epochs) best = std::max(best, e.number("test_overall_accuracy"));
  CHECK(r.number("best_overall_accuracy") == best);
  CHECK(r.number("last_overall_accuracy") == epochs.back().number("test_overall_accuracy"));
  const auto at = static_cast<size_t>(r.integer("best_val_epoch")) - 1;
  CHECK(r.number("best_val_overall_accuracy") == epochs[at].number("test_overall_accuracy"));
  CHECK(r.number("best_val_accuracy") == epochs[at].number("val_overall_accuracy"));
  // The last two and the two bests are kept, nothing else.
  std::set<int64_t> kept{epochs[18].integer("step"), epochs[19].integer("step"),
                         r.integer("best_step"), r.integer("best_val_step")};
  const auto steps = checkpoint_steps(dir / "run/ckpt");
  CHECK(std::set<int64_t>(steps.begin(), steps.end()) == kept);
  // The first and the last rate of the cosine.
  CHECK(epochs.back().number("lr") < 1e-4);
  CHECK(contains(result_table(r), "best on validation"));

  // A checkpoint evaluates to the accuracy that was recorded for it.
  Trainer trainer(problem.config, problem.data);
  const Checkpoint last = *read_newest_checkpoint(dir / "run/ckpt");
  load_state(last.model, "checkpoint", trainer.state());
  CHECK(trainer.test().overall_accuracy == r.number("last_overall_accuracy"));
  CHECK(trainer.test().loss == r.number("last_test_loss"));
}

TEST_CASE("trainer: steps replace epochs, the last epoch may be partial") {
  const TempDir dir;
  const Problem problem(with(with(tiny_settings("sgd"), "steps", "7"), "log_every", "0"));
  const TrainOutcome out = train(problem, dir / "run");
  CHECK(out.completed);
  CHECK(checkpoint_steps(dir / "run/ckpt").back() == 7);
  CHECK(timeless_lines(dir / "run").size() == 2);
}

TEST_CASE("trainer: a non-finite loss names epoch, step, batch and parameter") {
  const TempDir dir;
  const Problem problem(tiny_settings("adamw"));
  Trainer trainer(problem.config, problem.data);
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
  const Problem problem(tiny_settings("adamw"));
  Trainer trainer(problem.config, problem.data);
  RunDir::create(dir / "run").begin({});
  const RunDir run = RunDir::open(dir / "run");
  set_verbosity(Verbosity::quiet);
  const auto in_second_epoch = [&] {
    return trainer.steps_done() > trainer.steps_per_epoch() ? SIGTERM : 0;
  };
  CHECK_FALSE(trainer.run(run, {in_second_epoch}).completed);
  for (Param& p : trainer.state().params) {  // as if a step had thrown the classifier far off
    if (p.role != Role::head) continue;
    Tensor& w = p.value;
    for (int64_t i = 0; i < w.numel(); ++i) w.mutable_data<float>()[i] *= 100;
  }
  CHECK(trainer.run(run, {}).completed);
  std::vector<bool> rose;
  for (const std::string& line : timeless_lines(dir / "run")) {
    if (contains(line, "train_loss_rose=")) rose.push_back(contains(line, "train_loss_rose=true"));
  }
  REQUIRE(rose.size() == static_cast<size_t>(problem.config.epochs));
  CHECK_FALSE(rose[0]);
  CHECK(rose[1]);
}

TEST_CASE("trainer: a checkpoint of other settings or other data is refused") {
  const TempDir dir;
  const Problem problem(with(tiny_settings("adamw"), "epochs", "1"));
  train(problem, dir / "run");
  const Checkpoint checkpoint = *read_newest_checkpoint(dir / "run/ckpt");
  const Problem other(with(with(tiny_settings("adamw"), "epochs", "1"), "wd", "0.1"));
  Trainer trainer(other.config, other.data);
  const auto settings = error_of([&] { trainer.restore(checkpoint); });
  CHECK(settings.first == ErrorKind::usage);
  CHECK(contains(settings.second, "other settings"));
  TrainData changed = problem.data;
  changed.hash = "0";
  Trainer on_changed(problem.config, changed);
  const auto data = error_of([&] { on_changed.restore(checkpoint); });
  CHECK(data.first == ErrorKind::usage);
  CHECK(contains(data.second, "the data"));
}

TEST_CASE("trainer: f64, clipping and label smoothing run") {
  Config settings = with(with(tiny_settings("muon"), "dtype", "f64"), "clip", "0.5");
  const Problem problem(with(settings, "label_smoothing", "0.2"));
  Trainer trainer(problem.config, problem.data);
  for (int i = 0; i < 5; ++i) CHECK(std::isfinite(trainer.step().loss));
  CHECK(trainer.state().params[0].value.dtype() == DType::f64);
}

}  // namespace basin::tools
