// Evaluations and checkpoints every so many steps: which lines and checkpoints there are, that the
// best is kept, and that a run goes on from the middle of a period to the same bits.
#include <cmath>
#include <set>

#include "basin/tests/train/problems.h"

namespace basin::test {
namespace {

// "evaluation 4", "epoch 5", ...
std::vector<std::string> evaluations(const fs::path& run) {
  std::vector<std::string> out;
  for (const RecordFields& fields : lines_of(run)) {
    const std::string& event = fields.text("event");
    if (event == "epoch" || event == "evaluation") out.push_back(event + " " + fields.text("step"));
  }
  return out;
}

// From every checkpoint that the whole run left, and in pieces. An evaluation asks once a batch
// whether to stop, and has to fit between two stops: `most` questions.
void resumes_everywhere(const Problem& problem, const TempDir& dir, int most) {
  const fs::path whole = dir / "whole";
  const auto expected = timeless_lines(whole);
  const std::vector<int64_t> steps = checkpoint_steps(whole / "ckpt");
  const int64_t last = steps.back();
  for (const int64_t step : steps) {
    CAPTURE(step);
    const fs::path part = dir / str("from-", step);
    fs::copy(whole, part, fs::copy_options::recursive);
    forget_after(part, step);
    CHECK(train(problem, part).completed);
    CHECK(timeless_lines(part) == expected);
    CHECK(hashes(part, last) == hashes(whole, last));
    CHECK(checkpoint_steps(part / "ckpt") == steps);
  }
  int starts = 0;
  while (starts < 100 && !train(problem, dir / "pieces", 2 + 5 * starts % most).completed) ++starts;
  CHECK(starts >= 3);
  CHECK(timeless_lines(dir / "pieces") == expected);
  CHECK(hashes(dir / "pieces", last) == hashes(whole, last));
}

}  // namespace

TEST_CASE("trainer periods: evaluations more often than checkpoints") {
  const TempDir dir;
  const CaughtWarnings warnings;  // a loss that rises over a few steps draws one
  Settings settings = tiny_shapes("adamw");
  settings.train.eval_every = parse_period("2");
  settings.train.checkpoint_every = parse_period("4");
  settings.train.keep = 0;
  settings.train.schedule = "plateau:patience=0,factor=0.5";
  settings.task.options["val_fraction"] = "0.2";
  const Problem problem(settings);
  const TrainOutcome out = train(problem, dir / "whole");
  REQUIRE(out.completed);
  // 30 of the shapes are left to train: 3 steps an epoch.
  CHECK(evaluations(dir / "whole") == std::vector<std::string>{"evaluation 2", "evaluation 4",
                                                               "epoch 6", "evaluation 8",
                                                               "epoch 9"});
  const auto steps = checkpoint_steps(dir / "whole/ckpt");
  const std::set<int64_t> there(steps.begin(), steps.end());
  const RecordFields r = parse_record(out.result.line(), "result");
  for (const int64_t step :
       {int64_t{4}, int64_t{8}, int64_t{9}, r.integer("best_step"), r.integer("best_val_step")}) {
    CHECK_MESSAGE(there.count(step) == 1, step);
  }
  // The first evaluation is the best one so far, so it has a checkpoint of its own.
  CHECK(there.count(2) == 1);
  // Sums belong to the period: two steps of eight shapes.
  const auto lines = lines_of(dir / "whole");
  for (const RecordFields& e : lines) {
    if (e.text("event") != "evaluation") continue;
    double share = e.number("train_accuracy") * 16;
    CHECK(share == doctest::Approx(std::round(share)).epsilon(1e-12));
  }
  resumes_everywhere(problem, dir, 6);
}

TEST_CASE("trainer periods: checkpoints more often than evaluations") {
  const TempDir dir;
  const CaughtWarnings warnings;  // a loss that rises over a few steps draws one
  Settings settings = tiny_shapes("muon");
  settings.train.eval_every = parse_period("2e");
  settings.train.checkpoint_every = parse_period("3");
  settings.train.keep = 0;
  const Problem problem(settings);
  REQUIRE(train(problem, dir / "whole").completed);
  CHECK(evaluations(dir / "whole") == std::vector<std::string>{"epoch 10", "epoch 15"});
  CHECK(checkpoint_steps(dir / "whole/ckpt") == std::vector<int64_t>{3, 6, 9, 10, 12, 15});
  resumes_everywhere(problem, dir, 6);
}

TEST_CASE("trainer periods: the best is kept where checkpoints are rare") {
  const TempDir dir;
  const CaughtWarnings warnings;  // a loss that rises over a few steps draws one
  Settings settings = tiny_shapes("adamw");
  settings.train.epochs = 4;
  settings.train.eval_every = parse_period("1");
  settings.train.checkpoint_every = parse_period("100e");
  settings.train.keep = 1;
  const Problem problem(settings);
  const RecordFields r = parse_record(train(problem, dir / "run").result.line(), "result");
  const auto lines = lines_of(dir / "run");
  double best = -1;
  int64_t at = 0;
  for (const RecordFields& e : lines) {
    if (!e.has("test_overall_accuracy")) continue;
    if (e.number("test_overall_accuracy") > best) {
      best = e.number("test_overall_accuracy");
      at = e.integer("step");
    }
  }
  CHECK(evaluations(dir / "run").size() == 20);
  CHECK(r.number("best_overall_accuracy") == best);
  CHECK(r.integer("best_step") == at);
  CHECK(checkpoint_steps(dir / "run/ckpt") ==
        (at == 20 ? std::vector<int64_t>{20} : std::vector<int64_t>{at, 20}));
  Trainer trainer(problem.task, problem.options);
  trainer.restore(read_checkpoint(checkpoint_path(dir / "run/ckpt", at)));
  CHECK(trainer.test().values.front() == best);
}

TEST_CASE("trainer periods: batches of several shapes, resumed in the middle of a period") {
  const TempDir dir;
  const CaughtWarnings warnings;  // a loss that rises over a few steps draws one
  Settings settings = tiny_molecules("muon");
  settings.train.eval_every = parse_period("7");
  settings.train.checkpoint_every = parse_period("3");
  settings.train.keep = 0;
  const Problem problem(settings);
  REQUIRE(train(problem, dir / "whole").completed);
  const Trainer trainer(problem.task, problem.options);
  const int64_t last = trainer.total_steps();
  CHECK(last == 2 * trainer.steps_per_epoch());
  std::set<int64_t> expected{last};
  for (int64_t step = 3; step <= last; step += 3) expected.insert(step);
  const auto steps = checkpoint_steps(dir / "whole/ckpt");
  for (const int64_t step : expected) {
    CHECK(std::count(steps.begin(), steps.end(), step) == 1);
  }
  CHECK(evaluations(dir / "whole").front() == "evaluation 7");
  resumes_everywhere(problem, dir, 17);
}

TEST_CASE("trainer periods: a probe of the training follows its own") {
  const TempDir dir;
  const CaughtWarnings warnings;  // a loss that rises over a few steps draws one
  Settings settings = tiny_shapes("adamw");
  settings.train.epochs = 1;
  settings.train.probe = parse_probe_plan("every=5e,examples=8,probes=2,steps=2");
  settings.train.probe.every = parse_period("2");
  const Problem problem(settings);
  train(problem, dir / "run");
  std::vector<int64_t> at;
  for (const RecordFields& e : events(dir / "run", "probe")) at.push_back(e.integer("step"));
  CHECK(at == std::vector<int64_t>{2, 4});
}

}  // namespace basin::test
