// Data that are elsewhere when a run is resumed: seen from another folder, moved together with the
// run, moved away alone, given anew.
#include "basin/tests/tools/helpers.h"
#include "basin/tests/tools/outcome.h"

namespace basin::tools {
namespace {

constexpr const char* kTiny =
    " --points 64 --batch 8 --set model.widths=8,16,32,16,8 --epochs 1 --threads 1 ";

Finished in(const TempDir& dir, const std::string& folder, const std::string& program,
            const std::string& arguments) {
  return run_built(dir, program, arguments, "", folder);
}

}  // namespace

TEST_CASE("moved data: a relative path begins where the run was started") {
  const TempDir dir;
  write_small_data(dir / "work/sets/d1");
  fs::create_directories(dir / "elsewhere/deep");
  const Finished first =
      in(dir, "work", "train_modelnet", str("--data sets/d1 --out runs/r", kTiny));
  REQUIRE_MESSAGE(first.code == 0, first.err);
  CHECK(contains(read_text_file(dir / "work/runs/r/config.toml"), "data = \"sets/d1\""));
  const RecordFields record =
      parse_record(read_text_file(dir / "work/runs/r/run.json"), "run.json");
  CHECK(record.text("paths_from") == "../..");

  const std::pair<const char*, const char*> places[] = {
      {"work", "runs/r"}, {"elsewhere/deep", "../../work/runs/r"}, {"work/runs", "r/ckpt/best"}};
  for (const auto& [folder, run] : places) {
    const Finished f = in(dir, folder, "train_modelnet", str("--eval-only --resume ", run));
    CHECK_MESSAGE(f.code == 0, folder, ": ", f.err);
  }
  // Resumed in place from elsewhere, the path still begins where the run was started.
  CHECK(in(dir, "elsewhere", "train_modelnet", "--resume ../work/runs/r").code == 0);
  CHECK(in(dir, "", "train_modelnet", "--resume work/runs/r --eval-only").code == 0);
  const Finished probe = in(dir, "elsewhere", "landscape_probe",
                            "run ../work/runs/r --parts ranks,representations --rank-shapes 8 "
                            "--resamples 5 --out p");
  CHECK_MESSAGE(probe.code == 0, probe.err);
  // A branch made elsewhere finds them too, from where it was made and from here.
  const Finished more =
      in(dir, "elsewhere", "train_modelnet", "--resume ../work/runs/r --extend 1 --out b");
  CHECK_MESSAGE(more.code == 0, more.err);
  CHECK(in(dir, "", "train_modelnet", "--resume elsewhere/b --eval-only").code == 0);

  // The whole tree moves.
  fs::rename(dir / "work", dir / "moved");
  const Finished together =
      in(dir, "elsewhere", "train_modelnet", "--eval-only --resume ../moved/runs/r");
  CHECK_MESSAGE(together.code == 0, together.err);
}

TEST_CASE("moved data: the sentence names --data, and --data is taken") {
  const TempDir dir;
  write_small_data(dir / "d1");
  REQUIRE(in(dir, "", "train_modelnet", str("--data d1 --out r", kTiny)).code == 0);
  fs::rename(dir / "d1", dir / "d2");
  const std::pair<const char*, const char*> commands[] = {
      {"train_modelnet", "--resume r"},
      {"train_modelnet", "--resume r --eval-only"},
      {"train_modelnet", "--resume r --corruptions"},
      {"train_modelnet", "--resume r --equivariance"},
      {"train_modelnet", "--resume r --extend 1 --out x"},
      {"landscape_probe", "run r --parts curvature --out p"},
  };
  for (const auto& [program, arguments] : commands) {
    const Finished f = in(dir, "", program, arguments);
    CHECK_MESSAGE(f.code == 3, arguments, ": ", f.err);
    CHECK_MESSAGE(contains(f.err, "name their place with --data"), f.err);
    CHECK_MESSAGE(contains(f.err, "; r/config.toml:"), f.err);
  }
  CHECK_FALSE(fs::exists(dir / "x"));
  for (const char* arguments : {"--resume r --data d2", "--resume r --eval-only --data d2"}) {
    const Finished f = in(dir, "", "train_modelnet", arguments);
    CHECK_MESSAGE(f.code == 0, arguments, ": ", f.err);
  }
}

}  // namespace basin::tools
