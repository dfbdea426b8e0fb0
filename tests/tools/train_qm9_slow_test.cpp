// The program train_qm9: one target, all targets, predictions, probes.
#include "basin/tests/tools/helpers.h"

namespace basin::tools {
namespace {

constexpr const char* kTinyNet =
    "--batch 128 --eval-batch 128 --threads 1 --epochs 1 --set model.hidden=8 "
    "--set model.layers=1 ";

Finished train_qm9(const TempDir& dir, const std::string& arguments) {
  return run_built(dir, "train_qm9", arguments);
}

}  // namespace

TEST_CASE("train_qm9: a target is trained, evaluated, predicted and probed") {
  const TempDir dir;
  const Finished help = train_qm9(dir, "--help");
  CHECK(help.code == 0);
  for (const char* word : {"--target", "--uncharacterized", "egnn-qm9", "official", "cormorant"}) {
    CHECK(contains(help.out, word));
  }
  const Finished trained = train_qm9(dir, str(kTinyNet, "--loss mse --target r2 --out a"));
  REQUIRE_MESSAGE(trained.code == 0, trained.err);
  CHECK(contains(trained.out, "bohr^2"));
  const Finished measured = train_qm9(dir, "--resume a --eval-only --equivariance --json e.json");
  REQUIRE_MESSAGE(measured.code == 0, measured.err);
  const RecordFields e = parse_record(read_text_file(dir / "e.json"), "e.json");
  CHECK(e.number("r2_rotation_f64") < 1e-10);
  const fs::path water = test::fixtures() / "qm9" / "archive" / "dsgdb9nsd_000003.xyz";
  const Finished predicted = train_qm9(dir, str("predict --resume a '", water.string(), "'"));
  REQUIRE_MESSAGE(predicted.code == 0, predicted.err);
  CHECK(predicted.out.starts_with("file,target,prediction,unit\n" + water.string() + ",r2,"));
  CHECK(contains(predicted.out, ",bohr^2\n"));
  const Finished probed = run_built(
      dir, "landscape_probe", "run a --parts curvature --examples 64 --probes 2 --lanczos-steps 5");
  CHECK_MESSAGE(probed.code == 0, probed.err);
  const Finished trained_l1 = train_qm9(dir, str(kTinyNet, "--out b"));
  REQUIRE_MESSAGE(trained_l1.code == 0, trained_l1.err);
  const Finished refused =
      run_built(dir, "landscape_probe", "run b --curvature gauss_newton --examples 64");
  CHECK(refused.code == 2);
  CHECK(contains(refused.err, "there is no Gauss-Newton matrix"));
}

TEST_CASE("train_qm9: all targets, each in its folder, and again where it stopped") {
  const TempDir dir;
  const std::string command = str(kTinyNet, "--target all --out q");
  const Finished trained = train_qm9(dir, command);
  REQUIRE_MESSAGE(trained.code == 0, trained.err);
  CHECK(contains(trained.out, "chosen on\n"));
  const auto table = trained.out.substr(trained.out.find("target  MAE"));
  std::vector<std::string> before;
  for (const char* target : {"mu", "r2", "u0"}) {
    CHECK(contains(table, target));
    before.push_back(sha256_hex_of_file(dir / str("q/", target, "/ckpt/step-8/model.safetensors")));
  }
  CHECK(
      read_text_file(dir / "q/targets.csv").starts_with("target,mae,unit,std_mae,chosen_on\nmu,"));
  fs::remove_all(dir / "q/u0");
  const Finished again = train_qm9(dir, command);
  REQUIRE_MESSAGE(again.code == 0, again.err);
  CHECK(again.out.substr(again.out.find("target  MAE")) == table);
  CHECK(before.back() == sha256_hex_of_file(dir / "q/u0/ckpt/step-8/model.safetensors"));
  CHECK(train_qm9(dir, "--target all --resume q").code == 2);
  const Finished wrong = train_qm9(dir, str(kTinyNet, "--target al --out r"));
  CHECK(wrong.code == 2);
  CHECK(contains(wrong.err, "no target of QM9 is called 'al'"));
}

}  // namespace basin::tools
