// What a trainer makes of a checkpoint of another format, of one that another build wrote, and of
// the former format, which knew classifiers of point clouds alone.
#include <set>

#include "basin/tests/train/problems.h"

namespace basin::test {

TEST_CASE("trainer restore: another format is refused, another build draws a warning") {
  const TempDir dir;
  Settings settings = tiny_shapes("adamw");
  settings.train.steps = 1;
  const Problem problem(settings);
  train(problem, dir / "run");
  const Checkpoint written = *read_newest_checkpoint(dir / "run/ckpt");
  const auto with = [&](const std::string& key, const std::string& value) {
    Checkpoint out = written;
    auto fields = written.state.values();
    fields[key] = value;
    out.state = RecordFields("state.json", fields);
    return out;
  };
  Trainer trainer(problem.task, problem.options);
  const auto format = error_of([&] { trainer.restore(with("format", "3")); });
  CHECK(format.first == ErrorKind::data);
  CHECK(contains(format.second, "step-1: state.json has format 3, expected 2"));
  const std::pair<const char*, const char*> others[] = {
      {"config_hash", "step-1 was written with other settings; repeat those of its config.toml"},
      {"data_hash", "are not those that "}};
  for (const auto& [key, sentence] : others) {
    const auto error = error_of([&, k = key] { trainer.restore(with(k, "another")); });
    CHECK(error.first == ErrorKind::usage);
    CHECK_MESSAGE(contains(error.second, sentence), error.second);
  }
  CHECK(trainer.steps_done() == 0);
  const CaughtWarnings caught;
  trainer.restore(with("build", "0.0.1 abc"));
  REQUIRE(caught.texts.size() == 1);
  CHECK(contains(caught.texts[0], "was written by another build (0.0.1 abc)"));
  CHECK(trainer.steps_done() == 1);
}

namespace {

// state.json as it was written before tasks had names (format 1), from one of now.
Record former_state(const RecordFields& now, bool knows_skipped_steps) {
  Record out;
  const auto text = [&](const std::string& key) { return std::string_view(now.text(key)); };
  out.add("format", 1);
  for (const char* key : {"step", "epoch", "batch"}) out.add(key, now.integer(key));
  const std::string since = "since_";
  out.add("epoch_loss_sum", now.number(since + "loss_sum"))
      .add("epoch_norm_sum", now.number(since + "norm_sum"))
      .add("epoch_correct", now.integer(since + "meter_correct"))
      .add("epoch_seen", now.integer(since + "examples"))
      .add("epoch_seconds", now.number(since + "seconds"))
      .add("seconds", now.number("seconds"));
  if (knows_skipped_steps) {
    out.add("skipped_steps", now.integer("skipped_steps"))
        .add("skipped_in_row", now.integer("skipped_in_row"))
        .add("epoch_skipped", now.integer(since + "skipped"));
  }
  const auto or_zero = [&](const std::string& key) {
    return now.has(key) ? now.number(key) : 0.0;  // zeros stood for "not evaluated yet"
  };
  out.add("metrics_bytes", now.integer("metrics_bytes"))
      .add("train_loss", now.number("train_loss"))
      .add("train_accuracy", or_zero("train_accuracy"))
      .add("test_loss", or_zero("test_loss"))
      .add("test_overall_accuracy", or_zero("test_overall_accuracy"))
      .add("test_mean_class_accuracy", or_zero("test_mean_class_accuracy"));
  for (const std::string best : {"best_test", "best_val"}) {
    out.add(best + "_epoch", now.integer(best + "_epoch"))
        .add(best + "_step", now.integer(best + "_step"))
        .add(best + "_accuracy", now.number(best + "_value"))
        .add(best + "_overall_accuracy", or_zero(best + "_overall_accuracy"))
        .add(best + "_mean_class_accuracy", or_zero(best + "_mean_class_accuracy"));
  }
  for (const auto& [key, value] : now.values()) {
    if (key.starts_with("schedule.")) out.add(key, std::string_view(value));
  }
  // The hash of its settings was taken over another table of them.
  return out.add("config_hash", "of other settings")
      .add("data_hash", text("data_hash"))
      .add("build", text("build"));
}

void make_former(const fs::path& run, bool knows_skipped_steps) {
  const Checkpoint newest = *read_newest_checkpoint(run / "ckpt");
  write_checkpoint(run / "ckpt", newest.step, newest.model, newest.optimizer,
                   former_state(newest.state, knows_skipped_steps));
}

}  // namespace

TEST_CASE("trainer restore: a run of the former format goes on to the same bits") {
  Settings settings = tiny_shapes("muon");
  settings.train.keep = 0;
  settings.train.schedule = "plateau:patience=0,factor=0.5";
  settings.task.options["val_fraction"] = "0.2";
  const Problem problem(settings);
  const TempDir dir;
  REQUIRE(train(problem, dir / "whole").completed);
  const auto expected = timeless_lines(dir / "whole");
  const int64_t last = checkpoint_steps(dir / "whole/ckpt").back();
  std::set<std::string> places;
  // Within the first epoch, within evaluations, within later epochs.
  for (const int stop_after : {2, 5, 7, 11, 14}) {
    CAPTURE(stop_after);
    const fs::path run = dir / str("stopped-", stop_after);
    REQUIRE_FALSE(train(problem, run, stop_after).completed);
    const RecordFields state = read_newest_checkpoint(run / "ckpt")->state;
    const bool within = state.integer("batch") != 0;
    places.insert(within                                ? "within an epoch"
                  : state.integer("since_examples") > 0 ? "within an evaluation"
                                                        : "between epochs");
    make_former(run, stop_after % 2 == 0);
    CHECK(read_newest_checkpoint(run / "ckpt")->state.integer("format") == 1);
    CHECK(train(problem, run).completed);
    CHECK(timeless_lines(run) == expected);
    CHECK(hashes(run, last) == hashes(dir / "whole", last));
    CHECK(read_newest_checkpoint(run / "ckpt")->state.integer("format") == 2);
  }
  CHECK(places.count("within an epoch") == 1);
  CHECK(places.count("within an evaluation") == 1);
}

TEST_CASE("trainer restore: a finished run of the former format tells what it told") {
  Settings settings = tiny_shapes("adamw");
  settings.train.epochs = 2;
  const Problem problem(settings);
  const TempDir dir;
  const RecordFields whole = parse_record(train(problem, dir / "run").result.line(), "result");
  for (const bool knows_skipped_steps : {true, false}) {
    fs::copy(dir / "run", dir / "copy", fs::copy_options::recursive);
    make_former(dir / "copy", knows_skipped_steps);
    const TrainOutcome out = train(problem, dir / "copy");
    CHECK(out.completed);
    const RecordFields again = parse_record(out.result.line(), "result");
    for (const auto& [key, value] : whole.values()) {
      // The former format did not keep the loss of the best one.
      if (key != "best_loss") CHECK_MESSAGE(again.text(key) == value, key);
    }
    CHECK(again.integer("skipped_steps") == 0);
    fs::remove_all(dir / "copy");
  }
}

}  // namespace basin::test
