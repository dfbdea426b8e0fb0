// The training loop with optimizers that move before the gradient, look at the loss again or keep
// decompositions: resumed to the same bits, evaluations counted, steps skipped without a trace.
#include <cmath>

#include "basin/core/parallel.h"
#include "basin/tests/train/problems.h"

namespace basin::test {
namespace {

Settings settings_of(OptimizerConfig optimizer) {
  Settings out = tiny_shapes("adamw");
  out.train.optimizer = std::move(optimizer);
  out.train.keep = 0;
  out.train.log_every = 0;
  return out;
}

const std::vector<OptimizerConfig>& configs() {
  static const std::vector<OptimizerConfig> all = {
      {.name = "lbfgs", .options = {{"iterations", "3"}}},
      {.name = "adamw", .options = {{"sam", "0.05"}}},
      {.name = "schedule_free"},
      {.name = "specmuon", .options = {{"relax", "extra_forward"}}},
      {.name = "specmuon", .options = {{"preset", "paper"}}},
      {.name = "soap"},
      {.name = "shampoo"},
      {.name = "normuon"},
      {.name = "polar_adamw"},
      {.name = "lion"},
      {.name = "adamw", .options = {{"spectrum", "frozen,every=2"}, {"penalty", "nuclear=1e-5"}}},
      {.name = "muon",
       .options = {{"spectrum", "stable_rank=3,every=3,sham=turn"}, {"sam", "0.01"}}},
      {.name = "poet", .lr = 0.01, .options = {{"merge", "4"}, {"block", "8"}}},
      {.name = "adamw",
       .options = {{"switch", "muon at=1.4e lr=0.02 schedule=cosine:floor=0.1 aux_lr=0.001"}}},
      {.name = "muon", .options = {{"aux_lr", "0.001"}, {"switch", "schedule_free at=60%"}}},
  };
  return all;
}

}  // namespace

TEST_CASE("optimizers: resumed runs and other thread counts end on the same bits") {
  for (const OptimizerConfig& config : configs()) {
    CAPTURE(config.name);
    const TempDir dir;
    const Problem problem(settings_of(config));
    const CaughtWarnings quiet;
    CHECK(train(problem, dir / "whole").completed);
    const int64_t last = checkpoint_steps(dir / "whole/ckpt").back();
    int starts = 0;
    while (starts < 100 && !train(problem, dir / "pieces", 3 + starts % 4).completed) ++starts;
    CHECK(starts >= 3);
    CHECK(timeless_lines(dir / "pieces") == timeless_lines(dir / "whole"));
    CHECK(hashes(dir / "pieces", last) == hashes(dir / "whole", last));
    const int threads = num_threads();
    set_num_threads(threads == 1 ? 2 : 1);
    CHECK(train(problem, dir / "threads").completed);
    set_num_threads(threads);
    CHECK(hashes(dir / "threads", last) == hashes(dir / "whole", last));
    const auto epochs = events(dir / "whole", "epoch");
    CHECK(epochs.back().number("train_loss") < epochs.front().number("train_loss"));
  }
}

TEST_CASE("optimizers: the evaluations of the loss are in the metrics where they are more") {
  for (const OptimizerConfig& config : configs()) {
    CAPTURE(config.name);
    const TempDir dir;
    const Problem problem(settings_of(config));
    const CaughtWarnings quiet;
    const TrainOutcome outcome = train(problem, dir / "run");
    const auto epochs = events(dir / "run", "epoch");
    const bool again = config.name == "lbfgs" || config.options.contains("sam") ||
                       (config.options.contains("relax"));
    CHECK(epochs.back().has("evaluations") == again);
    if (!again) continue;
    const int64_t steps = epochs.back().integer("step");
    const int64_t evaluations = epochs.back().integer("evaluations");
    if (config.name == "lbfgs") {
      CHECK(evaluations > 2 * steps);
    } else {
      CHECK(evaluations == 2 * steps);
    }
    CHECK(parse_record(outcome.result.line(), "result").integer("evaluations") == evaluations);
  }
}

TEST_CASE("optimizers: the records of a switch name who made a step, and its rate") {
  Settings settings =
      settings_of({.name = "adamw",
                   .lr = 0.004,
                   .options = {{"switch", "muon at=1.4e lr=0.03 schedule=constant"}}});
  settings.train.log_every = 1;
  settings.train.schedule = "exponential:gamma=0.5,period=5";
  const TempDir dir;
  const Problem problem(settings);
  const TrainOutcome outcome = train(problem, dir / "run");
  CHECK(parse_record(outcome.result.line(), "result").text("optimizer") == "adamw");
  CHECK(parse_record(outcome.result.line(), "result").text("optimizer_switch") ==
        "muon at=1.4e lr=0.03 schedule=constant");
  const auto steps = events(dir / "run", "step");
  REQUIRE(steps.size() == 15);
  for (size_t i = 0; i < steps.size(); ++i) {  // of 5 an epoch: 7 by the first
    CHECK(steps[i].text("optimizer") == (i < 7 ? "adamw" : "muon"));
    const double rate = i < 7 ? 0.004 * std::pow(0.5, static_cast<double>(i) / 5) : 0.03;
    CHECK(steps[i].number("lr") == doctest::Approx(rate).epsilon(1e-12));
  }
  const auto epochs = events(dir / "run", "epoch");
  CHECK(epochs[0].text("optimizer") == "adamw");
  CHECK(epochs[1].text("optimizer") == "muon");
  CHECK(epochs[1].number("lr") == 0.03);
  const Settings plain = settings_of({.name = "adamw"});
  train(Problem(plain), dir / "plain");
  CHECK_FALSE(events(dir / "plain", "epoch")[0].has("optimizer"));
}

TEST_CASE("optimizers: a line search on minibatches draws a warning, with --clip it is refused") {
  Settings settings = settings_of({.name = "lbfgs"});
  {
    const CaughtWarnings caught;
    const Problem problem(settings);
    Trainer trainer(problem.task, problem.options);
    REQUIRE(caught.texts.size() == 1);
    CHECK(caught.texts[0] ==
          "lbfgs searches along a line, which the noise of minibatches misleads; give it all 45 "
          "examples as one batch");
  }
  settings.train.batch = 45;
  const CaughtWarnings caught;
  const Problem whole(settings);
  Trainer trainer(whole.task, whole.options);
  CHECK(caught.texts.empty());
  settings.train.clip = 1;
  const Problem clipped(settings);
  const auto error = error_of([&] { Trainer(clipped.task, clipped.options); });
  CHECK(error.first == ErrorKind::usage);
  CHECK(error.second == "lbfgs: its line search needs the gradient as it is; take --clip away");
}

TEST_CASE("optimizers: a skipped step leaves the averaged weights where they were") {
  Settings settings = settings_of({.name = "schedule_free"});
  settings.train.on_nonfinite = OnNonFinite::skip;
  Problem problem(settings);
  spoil(problem.task);
  Trainer trainer(problem.task, problem.options);
  const auto before = bits_of(trainer);
  CHECK(trainer.step().skipped);
  CHECK(bits_of(trainer) == before);
}

}  // namespace basin::test
