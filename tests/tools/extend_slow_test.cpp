// train_modelnet --extend: a new run behind a finished one, killed and resumed like any other.
#include "basin/tests/tools/crash.h"
#include "basin/tests/tools/outcome.h"

namespace basin::tools {
namespace {

constexpr const char* kTiny =
    " --data embedded --limit 45 --points 64 --batch 8 --eval-batch 16 --set "
    "model.widths=8,16,32,16,8 --optimizer muon ";

Finished run(const TempDir& dir, const std::string& arguments) {
  return run_built(dir, "train_modelnet", arguments);
}

RecordFields json_of(const fs::path& file) {
  return parse_record(read_text_file(file), file.string());
}

std::string last_bits(const fs::path& run) {
  const fs::path last = checkpoint_path(run / "ckpt", checkpoint_steps(run / "ckpt").back());
  return last.filename().string() + sha256_hex_of_file(last / "model.safetensors") +
         sha256_hex_of_file(last / "optim.safetensors");
}

}  // namespace

TEST_CASE("extend: more epochs in a new folder, from --lr, the old run untouched") {
  const TempDir dir;
  REQUIRE(run(dir, str("--epochs 2 --out a", kTiny)).code == 0);
  const Texts before = texts_below(dir.path(), {"a"});

  const Finished longer = run(dir, "--resume a --epochs 6");
  CHECK(longer.code == 2);
  CHECK(contains(longer.err, "--extend N --out NEW"));

  const Finished more = run(dir, "--resume a --extend 3 --lr 0.005 --schedule constant --out b");
  REQUIRE_MESSAGE(more.code == 0, more.err);
  CHECK(contains(more.err, "extending a/ckpt/step-10 by 3 epochs"));
  CHECK(difference(before, texts_below(dir.path(), {"a"})).empty());
  const RecordFields record = json_of(dir / "b/run.json");
  CHECK(record.text("extended_from") == "a/ckpt/step-10");
  CHECK(record.integer("extended_from_step") == 10);
  CHECK(record.integer("extended_epochs") == 3);
  CHECK(record.number("extended_lr") == 0.005);
  CHECK(record.text("extended_schedule") == "constant");
  const RecordFields result = json_of(dir / "b/result.json");
  CHECK(result.integer("steps") == 25);
  CHECK(result.integer("epochs") == 5);
  CHECK(result.number("lr") == 0.005);
  CHECK(result.integer("best_step") > 10);

  // It is a run like any other: measured, compared, probed, resumed, branched off, extended again.
  CHECK(run(dir, "--resume b/ckpt/best --eval-only").code == 0);
  CHECK(run(dir, "--resume b").code == 0);
  CHECK(contains(run(dir, "compare a b").out, "b"));
  const Finished probe = run_built(dir, "landscape_probe", "run b --parts ranks --rank-shapes 20");
  CHECK_MESSAGE(probe.code == 0, probe.err);
  const Finished branch = run(dir, "--resume b/ckpt/step-20 --out c");
  CHECK_MESSAGE(branch.code == 0, branch.err);
  CHECK(last_bits(dir / "c") == last_bits(dir / "b"));
  const Finished again = run(dir, "--resume b --extend 1 --out d");
  REQUIRE_MESSAGE(again.code == 0, again.err);
  CHECK(json_of(dir / "d/result.json").integer("steps") == 30);
  CHECK(json_of(dir / "d/run.json").text("extended_from") == "b/ckpt/step-25");
}

TEST_CASE("extend: what is refused, before anything is written") {
  const TempDir dir;
  REQUIRE(run(dir, str("--epochs 2 --keep 0 --out a", kTiny)).code == 0);
  fs::copy(dir / "a", dir / "stopped", fs::copy_options::recursive);
  fs::remove(dir / "stopped/result.json");
  const std::pair<const char*, const char*> wrong[] = {
      {"--extend 2 --out n", "expects --resume RUN"},
      {"--resume auto --extend 2 --out n", "expects --resume RUN"},
      {"--resume a --extend 2", "and --out, the folder of the new one"},
      {"--resume a --extend 2 --out a", "expects another --out"},
      {"--resume a --extend -1 --out n", "extend is expected to be at least 0"},
      {"--resume a --extend 2 --epochs 4 --out n", "cannot be given beside --extend"},
      {"--resume a --extend 2 --steps 4 --out n", "cannot be given beside --extend"},
      {"--resume a --extend 2 --batch 4 --out n", "batch differs from the run a"},
      {"--resume a --extend 2 --eval-only --out n", "cannot measure in the same call"},
      {"--resume stopped --extend 2 --out n", "was stopped before its end"},
      {"--resume a --extend 2 --set extended.to=3 --out n", "unknown key 'extended.to'"},
  };
  for (const auto& [arguments, sentence] : wrong) {
    const Finished f = run(dir, arguments);
    CHECK_MESSAGE(f.code == 2, arguments, ": ", f.err);
    CHECK_MESSAGE(contains(f.err, sentence), arguments, ": ", f.err);
    CHECK_FALSE(fs::exists(dir / "n"));
  }
  const Finished named = run(dir, "--resume stopped/ckpt/step-5 --extend 1 --out n");
  CHECK_MESSAGE(named.code == 0, named.err);
  CHECK(json_of(dir / "n/result.json").integer("steps") == 10);
  const Finished plan = run(dir, "--resume a --extend 2 --out p --dry-run");
  CHECK_MESSAGE(plan.code == 0, plan.err);
  CHECK_FALSE(fs::exists(dir / "p"));
}

TEST_CASE("extend: killed at any time and started again, the bits of the undisturbed one") {
  const TempDir dir(fast_folder());
  REQUIRE(run(dir, str("--epochs 2 --out a", kTiny)).code == 0);
  const std::string program = str(BASIN_BIN_DIR, "/train_modelnet");
  const std::vector<std::string> first{program, "--resume", "a", "--extend",
                                       "3",     "--out",    "b", "--quiet"};
  const std::vector<std::string> again{program, "--resume", "b", "--quiet"};
  const Ended whole = run_program_in(dir.path(), first, {}, -1, 0);
  REQUIRE_MESSAGE(whole.code == 0, whole.err);
  const std::string bits = last_bits(dir / "b");
  fs::rename(dir / "b", dir / "whole");
  const int64_t kills = count_from_environment("CRASH_KILLS", 30);
  for (int64_t i = 0; i < kills; ++i) {
    fs::remove_all(dir / "b");
    const double after =
        whole.seconds * static_cast<double>(i + 1) / static_cast<double>(kills + 1);
    Ended ended = run_program_in(dir.path(), first, {}, after, 9);
    for (int starts = 0; ended.code != 0 && starts < 5; ++starts) {
      const bool begun = RunDir::is_run(dir / "b");
      ended = run_program_in(dir.path(), begun ? again : first, {}, starts < 2 ? after : -1, 9);
    }
    REQUIRE_MESSAGE(ended.code == 0, ended.err);
    CHECK_MESSAGE(last_bits(dir / "b") == bits, "killed after ", after, " s");
  }
}

}  // namespace basin::tools
