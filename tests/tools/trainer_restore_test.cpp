// What a trainer makes of a checkpoint of another format, and of one that another build wrote.
#include "basin/tests/tools/helpers.h"

namespace basin::tools {

TEST_CASE("trainer restore: another format is refused, another build draws a warning") {
  const TempDir dir;
  Config settings = tiny_settings("adamw");
  settings.set("steps", "1", Layer::flag, "--steps");
  const TrainConfig config = train_config_from(settings);
  const TrainData data = load_train_data(config);
  {
    Trainer trainer(config, data);
    RunDir run = RunDir::create(dir / "run");
    run.begin({});
    trainer.run(run, {[] { return 0; }, false});
  }
  const Checkpoint written = *read_newest_checkpoint(dir / "run/ckpt");
  const auto with = [&](const std::string& key, const std::string& value) {
    Checkpoint out = written;
    auto fields = written.state.values();
    fields[key] = value;
    out.state = RecordFields("state.json", fields);
    return out;
  };
  Trainer trainer(config, data);
  const auto format = error_of([&] { trainer.restore(with("format", "2")); });
  CHECK(format.first == ErrorKind::data);
  CHECK(contains(format.second, "step-1: state.json has format 2, expected 1"));
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

  // Of the first Basin that wrote this format: no steps were skipped then.
  Checkpoint early = written;
  auto fields = written.state.values();
  for (const char* key : {"skipped_steps", "skipped_in_row", "epoch_skipped"}) fields.erase(key);
  early.state = RecordFields("state.json", fields);
  trainer.restore(early);
  CHECK(parse_record(trainer.result().line(), "result").integer("skipped_steps") == 0);
}

}  // namespace basin::tools
