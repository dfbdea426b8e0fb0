// The program's measurements as a user meets them: which checkpoint, where the files go, what
// compare shows, what is refused.
#include "basin/core/record.h"
#include "basin/datasets/npy.h"
#include "basin/datasets/shapes.h"
#include "basin/tests/analysis/xml.h"
#include "basin/tests/tools/helpers.h"

namespace basin::tools {
namespace {

constexpr const char* kTiny =
    " --data shapes --points 64 --k 5 --batch 8 --eval-batch 16 --set model.widths=8,16,32,16,8 ";

Finished run(const TempDir& dir, const std::string& arguments) {
  return run_built(dir, "train_modelnet", arguments);
}

RecordFields json_of(const fs::path& file) {
  return parse_record(read_text_file(file), file.string());
}

void write_shapes(const TempDir& dir) {
  const PointCloudSplits splits = embedded_shapes(2, 1, 1024, 5);
  fs::create_directory(dir / "shapes");
  write_npy(dir / "shapes/train_points.npy", splits.train.points);
  write_npy(dir / "shapes/train_labels.npy", splits.train.labels);
  write_npy(dir / "shapes/test_points.npy", splits.test.points);
  write_npy(dir / "shapes/test_labels.npy", splits.test.labels);
}

}  // namespace

TEST_CASE("program: corruptions, symmetry and pictures of a run") {
  const TempDir dir;
  write_shapes(dir);
  const Finished trained = run(dir, str("--epochs 3 --keep 0 --out a", kTiny));
  REQUIRE_MESSAGE(trained.code == 0, trained.err);
  CHECK(contains(trained.err, "--k 5 has no effect: pointnet has no neighbours"));
  const Finished before = run(dir, "compare a");
  CHECK(!contains(before.out, "corrupted"));

  const Finished f = run(dir,
                         "--resume a --corruptions --equivariance --transformations 2 "
                         "--eval-only --json all.json --contact-sheet 1");
  REQUIRE_MESSAGE(f.code == 0, f.err);
  CHECK(contains(f.out, "corrupted, 12 of 15"));
  CHECK(contains(f.out, "needs 2048 points per cloud, the data hold 1024"));
  CHECK(contains(f.out, "a random subset of 64 points"));
  CHECK(contains(f.out, "relative symmetry errors, 2 random transformations"));
  for (const char* file : {"tables/corruptions.csv", "figures/corruptions.csv",
                           "tables/equivariance.csv", "figures/equivariance.csv"}) {
    CHECK_MESSAGE(fs::exists(dir / "a" / file), file);
  }
  for (const char* file : {"figures/corruptions.svg", "figures/equivariance.svg"}) {
    CHECK(testing::parse_xml(read_text_file(dir / "a" / file)).size() > 50);
  }
  const std::string png = read_text_file(dir / "a/figures/corruptions_shape.png");
  CHECK(png.substr(1, 3) == "PNG");
  const RecordFields summary = json_of(dir / "a/tables/corruptions.json");
  CHECK(summary.text("weights") == "ckpt/step-9");
  CHECK(summary.integer("corruption_points") == 64);
  CHECK(summary.text("weights_sha256") ==
        sha256_hex_of_file(dir / "a/ckpt/step-9/model.safetensors"));
  const RecordFields result = json_of(dir / "a/result.json");
  CHECK(summary.number("clean_accuracy") == result.number("last_overall_accuracy"));
  const RecordFields all = json_of(dir / "all.json");
  CHECK(all.number("overall_accuracy") == result.number("last_overall_accuracy"));
  CHECK(all.number("mean_error_rate") == summary.number("mean_error_rate"));
  CHECK(all.number("logits_permutation_f64") < 1e-9);
  CHECK(all.number("logits_rotation_f64") > 1e-6);
  const Finished after = run(dir, "compare a");
  CHECK(contains(after.out, "corrupted"));
  CHECK(contains(after.out, " % (12)"));

  // The best checkpoint by name, by number and as a weights file: the same numbers.
  const std::string step = result.text("best_step");
  const Finished best = run(dir, "--resume a/ckpt/best --eval-only --json best.json");
  REQUIRE_MESSAGE(best.code == 0, best.err);
  CHECK(json_of(dir / "best.json").number("overall_accuracy") ==
        result.number("best_overall_accuracy"));
  CHECK(contains(best.out, "a/ckpt/step-" + step));
  const Finished named = run(dir, str("--resume a/ckpt/step-", step, " --corruptions --out named"));
  REQUIRE_MESSAGE(named.code == 0, named.err);
  const Finished bare = run(dir, str("--config a/config.toml --weights a/ckpt/step-", step,
                                     "/model.safetensors --corruptions --out bare"));
  REQUIRE_MESSAGE(bare.code == 0, bare.err);
  CHECK(json_of(dir / "bare/tables/corruptions.json").number("mean_error_rate") ==
        json_of(dir / "named/tables/corruptions.json").number("mean_error_rate"));
  CHECK(!fs::exists(dir / "named/run.json"));
  // Nothing of the run itself has changed.
  CHECK(json_of(dir / "a/run.json").text("exit_reason") == "completed");
  const Finished resumed = run(dir, "--resume a");
  CHECK_MESSAGE(resumed.code == 0, resumed.err);
}

TEST_CASE("program: measurements that cannot be made are usage errors") {
  const TempDir dir;
  write_shapes(dir);
  REQUIRE(run(dir, str("--epochs 1 --out a", kTiny)).code == 0);
  const std::pair<const char*, const char*> wrong[] = {
      {"--corruptions", "--corruptions: expects weights"},
      {"--equivariance", "--equivariance: expects weights"},
      {"--corruptions --config a/config.toml --weights a/ckpt/step-3/model.safetensors",
       "add --resume RUN or --out DIR"},
      {"--contact-sheet 1", "add --resume RUN or --out DIR"},
      {"--resume a --contact-sheet 15", "expected a test shape from 0 to 14, given 15"},
      {"--resume a --corruptions --corruptions-dir none", "no folder none"},
      {"--resume a --corruptions --corruption-points -1", "at least 0, given -1"},
      {"--resume a --equivariance --transformations 0", "at least 1, given 0"},
      {"--resume a/ckpt/best --epochs 2", "epochs differs"},
      {"--resume a/ckpt/step-7 --corruptions", "neither a run directory"},
  };
  for (const auto& line : wrong) {
    const auto& arguments = line.first;
    const auto& sentence = line.second;
    const Finished f = run(dir, arguments);
    CHECK_MESSAGE(f.code == 2, arguments, ": ", f.err);
    CHECK_MESSAGE(contains(f.err, sentence), arguments, ": ", f.err);
  }
  CHECK(!fs::exists(dir / "a/tables"));
}

}  // namespace basin::tools
