// The training loop with optimizers that move before the gradient, look at the loss again or keep
// decompositions: resumed to the same bits, evaluations counted, steps skipped without a trace.
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
