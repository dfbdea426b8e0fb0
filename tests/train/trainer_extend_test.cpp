// A run that goes on where another one ended: the same bits as one long run where the schedule has
// no say, the schedule anew where it has, and its own stops and resumes.
#include "basin/tests/train/problems.h"

namespace basin::test {
namespace {

// `more` epochs behind the run in `from`, in the folder `to`; stops after `stop_after` steps.
TrainOutcome extended(const Settings& base, int64_t more, const fs::path& from, const fs::path& to,
                      int64_t stop_after = 1000) {
  const Checkpoint last = *read_newest_checkpoint(from / "ckpt");
  Settings settings = base;
  settings.train.epochs = more;
  settings.train.first_step = last.step;
  settings.train.config_hash = "another";
  const Problem problem(settings);
  Trainer trainer(problem.task, problem.options);
  if (const auto own = read_newest_checkpoint(to / "ckpt")) {
    trainer.restore(*own);
  } else {
    trainer.extend(last);
    fs::create_directories(to);
    fs::copy_file(from / "metrics.jsonl", to / "metrics.jsonl");
    MetricsFile metrics(to / "metrics.jsonl", fs::file_size(to / "metrics.jsonl"));
    trainer.save(to, metrics);
  }
  TrainHooks hooks;
  int64_t steps = 0;
  hooks.progress = [&](const Trainer&, const StepResult* step) { steps += step != nullptr; };
  hooks.stop = [&] { return steps >= stop_after ? SIGTERM : 0; };
  return trainer.run(to, hooks);
}

// lr of the epoch lines.
std::vector<double> rates(const fs::path& run) {
  std::vector<double> out;
  for (const RecordFields& epoch : events(run, "epoch")) out.push_back(epoch.number("lr"));
  return out;
}

}  // namespace

TEST_CASE("trainer extend: with a constant rate the bits of one long run") {
  for (const char* optimizer : {"adamw", "muon"}) {
    const TempDir dir;
    Settings settings = tiny_shapes(optimizer);
    settings.train.schedule = "constant";
    settings.train.epochs = 4;
    train(Problem(settings), dir / "long");
    settings.train.epochs = 2;
    train(Problem(settings), dir / "short");
    const TrainOutcome out = extended(settings, 2, dir / "short", dir / "more");
    CHECK(out.completed);
    CHECK(out.result.line().find("\"epochs\": 4") != std::string::npos);
    CHECK(hashes(dir / "more", 20) == hashes(dir / "long", 20));
    CHECK(rates(dir / "more") == rates(dir / "long"));
  }
}

TEST_CASE("trainer extend: the schedule begins anew, and stops in between leave no trace") {
  const TempDir dir;
  Settings settings = tiny_shapes("adamw");
  settings.train.epochs = 2;
  settings.train.schedule = "cosine:warmup=1";
  train(Problem(settings), dir / "short");
  extended(settings, 3, dir / "short", dir / "whole");
  const std::vector<double> lr = rates(dir / "whole");
  REQUIRE(lr.size() == 5);
  CHECK(lr[1] < 0.1 * lr[0]);
  CHECK(lr[2] > 5 * lr[1]);
  CHECK(lr[4] < 0.1 * lr[2]);
  for (int stops = 0; stops < 40; ++stops) {
    if (extended(settings, 3, dir / "short", dir / "cut", 2).completed) break;
  }
  CHECK(hashes(dir / "cut", 25) == hashes(dir / "whole", 25));
  CHECK(rates(dir / "cut") == lr);
  const RecordFields state = read_newest_checkpoint(dir / "whole/ckpt")->state;
  CHECK(state.integer("best_test_step") > 10);  // of the added epochs: the folder holds it
  CHECK(fs::exists(checkpoint_path(dir / "whole/ckpt", state.integer("best_test_step"))));
}

TEST_CASE("trainer extend: another step than the checkpoint's, or no checkpoint, is refused") {
  const TempDir dir;
  Settings settings = tiny_shapes("adamw");
  settings.train.epochs = 1;
  train(Problem(settings), dir / "short");
  settings.train.first_step = 4;
  const Problem problem(settings);
  Trainer trainer(problem.task, problem.options);
  const auto wrong = error_of([&] { trainer.extend(*read_newest_checkpoint(dir / "short/ckpt")); });
  CHECK(wrong.first == ErrorKind::usage);
  CHECK(contains(wrong.second, "ends at step 5, the run that extends it is to begin at 4"));
  const auto none = error_of([&] { trainer.run(dir / "none"); });
  CHECK(contains(none.second, "begins at step 4"));
  CHECK_FALSE(fs::exists(dir / "none"));
}

}  // namespace basin::test
