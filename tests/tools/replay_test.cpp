// Steps that are not finite, as a user of the programs meets them: exit codes, the bundle and its
// replay, and a probe of weights that are not finite.
#include <algorithm>
#include <cmath>

#include "basin/tests/tools/helpers.h"
#include "basin/train/step_failure.h"

namespace basin::tools {

TEST_CASE("replay: exit code 4 as the training, 1 where it does not fail again") {
  const TempDir dir;
  const Finished trained = run_built(
      dir, "train_modelnet",
      "--limit 40 --points 32 --batch 8 --epochs 2 --set model.widths=4,8,8,8,4 --optimizer sgd "
      "--lr 1e30 --threads 1 --quiet --out run");
  CHECK(trained.code == 4);
  CHECK(trained.out == "");
  CHECK(std::count(trained.err.begin(), trained.err.end(), '\n') == 1);
  CHECK(trained.err.rfind("train_modelnet: epoch 1, step ", 0) == 0);
  const RecordFields record = parse_record(read_text_file(dir / "run/run.json"), "run.json");
  CHECK(record.integer("exit_code") == 4);
  const size_t at = trained.err.find("--replay ");
  REQUIRE(at != trained.err.npos);
  const std::string bundle =
      trained.err.substr(at + 9, trained.err.find_last_not_of('\n') - at - 8);
  const Finished replayed =
      run_built(dir, "train_modelnet", "--json again.json --replay " + bundle);
  CHECK(replayed.code == 4);
  CHECK(replayed.err.rfind("train_modelnet: replay: epoch 1, step ", 0) == 0);
  const RecordFields now = parse_record(read_text_file(dir / "again.json"), "again.json");
  const fs::path file = dir / bundle / "failure.json";
  const RecordFields then = parse_record(read_text_file(file), "failure.json");
  for (const char* key : {"op", "sweep", "layer", "parameters", "element", "value", "rows"}) {
    CHECK(now.text(key) == then.text(key));
  }

  Bundle moved = read_bundle(dir / bundle);
  moved.failure.examined = true;
  moved.failure.found = NonFinite{};
  moved.failure.found->op = "elsewhere";
  write_bundle(dir / "moved", moved.failure);
  const Finished other =
      run_built(dir, "train_modelnet", str("--replay moved/failure-step-", moved.failure.step));
  CHECK(other.code == 1);
  CHECK(contains(other.err, " fails at "));
  CHECK(contains(other.err, "recorded was elsewhere ("));

  Bundle healed = read_bundle(dir / bundle);
  StepFailure& f = healed.failure;
  f.inputs.state = init_model(f.inputs.task->model, 1, DType::f32);
  f.examined = true;
  f.found = NonFinite{};
  f.found->op = "matmul";
  write_bundle(dir / "healed", f);
  const Finished finite =
      run_built(dir, "train_modelnet", str("--replay healed/failure-step-", f.step));
  CHECK(finite.code == 1);
  CHECK(contains(finite.err, "is finite here (loss "));
  CHECK(run_built(dir, "train_modelnet", "--replay run").code == 3);
}

TEST_CASE("failed step: a probe of weights that are not finite ends with exit code 4") {
  const TempDir dir;
  REQUIRE(run_built(dir, "train_modelnet",
                    "--limit 40 --points 32 --batch 8 --epochs 1 --set model.widths=4,8,8,8,4 "
                    "--threads 1 --quiet --out run")
              .code == 0);
  Checkpoint c = *read_newest_checkpoint(dir / "run/ckpt");
  for (auto& [name, tensor] : c.model.tensors) {
    if (name.ends_with("weight")) tensor.mutable_data<float>()[0] = std::nanf("");
  }
  Record state;
  for (const auto& [key, value] : c.state.values()) state.add(key, std::string_view(value));
  write_checkpoint(dir / "run/ckpt", c.step, c.model, c.optimizer, state);
  for (const std::string part : {"ranks", "representations", "curvature", "sharpness", "slices"}) {
    CAPTURE(part);
    const Finished probed = run_built(
        dir, "landscape_probe",
        str("run run --quiet --threads 1 --shapes 8 --slice-shapes 8 --sharpness-shapes 8 --grid 3 "
            "--grid1d 3 --rank-shapes 8 --slices random --parts ",
            part, " --out probe-", part));
    CAPTURE(probed.err);
    CHECK(probed.code == 4);
    CHECK(std::count(probed.err.begin(), probed.err.end(), '\n') == 1);
    CHECK_FALSE(fs::exists(dir / str("probe-", part) / str(part, ".json")));
  }
}

}  // namespace basin::tools
