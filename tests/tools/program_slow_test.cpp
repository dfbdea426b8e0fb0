// The program train_modelnet as a user meets it: exit codes, streams, records, signals, kill -9.
#include <fstream>

#include "basin/core/record.h"
#include "basin/tests/tools/helpers.h"

namespace basin::tools {
namespace {

constexpr const char* kTiny =
    " --data embedded --limit 45 --points 64 --batch 8 --eval-batch 16 --set "
    "model.widths=8,16,32,16,8 ";

Finished run(const TempDir& dir, const std::string& arguments) {
  return run_built(dir, "train_modelnet", arguments);
}

RecordFields json_of(const fs::path& file) {
  return parse_record(read_text_file(file), file.string());
}

}  // namespace

TEST_CASE("program: help, version and usage errors") {
  const TempDir dir;
  const Finished help = run(dir, "--help");
  CHECK(help.code == 0);
  for (const char* word : {"--optimizer", "--resume", "BASIN_", "muon", "pointnet", "Exit codes"}) {
    CHECK_MESSAGE(contains(help.out, word), word);
  }
  const Finished version = run(dir, "--version");
  CHECK(version.code == 0);
  CHECK(version.out.rfind("train_modelnet (Basin) ", 0) == 0);
  const std::pair<const char*, const char*> wrong[] = {
      {"--epoch 3", "did you mean --epochs?"},
      {"--epochs three", "epochs is expected to be an integer, given 'three'"},
      {"--epochs", "--epochs"},
      {"--set optimizer.ns_stepz=3 --optimizer muon", "did you mean 'ns_steps'?"},
      {"--set nonsense", "expected KEY=VALUE"},
      {"--config none.toml", "none.toml"},
      {"--model pointnot", "pointnet"},
      {"--resume nowhere", "nowhere does not exist; it is neither a run directory"},
      {"--eval-only", "expects weights"},
      {"runs/a", "unexpected argument"},
      {"compare", "expects run directories"},
  };
  for (const auto& line : wrong) {
    const auto& arguments = line.first;
    const auto& sentence = line.second;
    const Finished f = run(dir, str(arguments, " --limit 45"));
    CHECK_MESSAGE(f.code == 2, arguments, ": ", f.err);
    CHECK_MESSAGE(contains(f.err, sentence), arguments, ": ", f.err);
    CHECK(f.err.rfind("train_modelnet: ", 0) == 0);
    CHECK(f.out.empty());
  }
  const Finished apart = run(dir, str("--graph on --microbatches 2", kTiny));
  CHECK(apart.code == 2);
  CHECK(contains(apart.err, "a step of several microbatches is not recorded"));
  if (kHasCuda) return;  // with a driver and a device the next one trains
  const Finished cuda = run(dir, str("--device cuda", kTiny));
  CHECK(cuda.code == 5);
  CHECK(cuda.err ==
        "train_modelnet: device: this build of Basin has no backend for cuda; build it "
        "with -DBASIN_WITH_CUDA=ON, or use --device cpu\n");
}

TEST_CASE("program: --dry-run and --print-config write nothing") {
  const TempDir dir;
  const Finished plan = run(dir, str("--dry-run --optimizer muon", kTiny));
  CHECK(plan.code == 0);
  for (const char* word : {"[optimizer]", "feat.conv2.weight", "muon", "parameters", "estimated",
                           "peak memory", "runs/pointnet-muon-s0"}) {
    CHECK_MESSAGE(contains(plan.out, word), word);
  }
  CHECK(!fs::exists(dir / "runs"));
  const Finished config = run(dir, "--print-config --lr 0.5 --set wd=0.25 --optimizer sgd");
  CHECK(config.code == 0);
  CHECK(contains(config.out, "# flag"));
  CHECK(contains(config.out, "# --set"));
  CHECK(contains(config.out, "# default"));
}

TEST_CASE("program: train, evaluate, compare; refuse a used folder") {
  const TempDir dir;
  const Finished first = run(dir, str("--epochs 2 --out a --json a.json", kTiny));
  CHECK_MESSAGE(first.code == 0, first.err);
  CHECK(contains(first.out, "best on test"));
  CHECK(contains(first.out, "last epoch"));
  CHECK(contains(first.err, "writing to a"));
  const RecordFields result = json_of(dir / "a.json");
  CHECK(result.text("run") == "a");
  const RecordFields record = json_of(dir / "a/run.json");
  CHECK(record.text("exit_reason") == "completed");
  CHECK(contains(record.text("command"), "--epochs 2 --out a"));
  CHECK(record.text("data_hash") == result.text("data_hash"));

  const Finished used = run(dir, str("--epochs 2 --out a", kTiny));
  CHECK(used.code == 6);
  CHECK(contains(used.err, "--resume"));

  const Finished evaluation = run(dir, "--eval-only --resume a --json e.json");
  CHECK_MESSAGE(evaluation.code == 0, evaluation.err);
  CHECK(json_of(dir / "e.json").number("overall_accuracy") ==
        result.number("last_overall_accuracy"));
  const std::string weights = str("a/ckpt/step-", result.integer("steps"), "/model.safetensors");
  const Finished bare = run(dir, str("--eval-only --json w.json --weights ", weights, kTiny));
  CHECK_MESSAGE(bare.code == 0, bare.err);
  CHECK(json_of(dir / "w.json").number("test_loss") == result.number("last_test_loss"));

  // The directory is movable, its configuration repeats the run.
  fs::rename(dir / "a", dir / "moved");
  const Finished repeat = run(dir, "--config moved/config.toml --out b --threads 1");
  CHECK_MESSAGE(repeat.code == 0, repeat.err);
  CHECK(json_of(dir / "b/result.json").number("last_test_loss") == result.number("last_test_loss"));
  const Finished done = run(dir, "--resume moved");
  CHECK_MESSAGE(done.code == 0, done.err);
  const Finished changed = run(dir, "--resume moved --lr 0.5");
  CHECK(changed.code == 2);
  CHECK(contains(changed.err, "lr differs from the run moved"));
  CHECK(contains(changed.err, ": 0.5, there 0.001;"));

  const Finished table = run(dir, "compare moved b");
  CHECK(table.code == 0);
  CHECK(contains(table.out, "best overall"));
  CHECK(contains(table.out, "moved"));
  CHECK(contains(table.out, "adamw"));
}

TEST_CASE("program: signals and kill -9, then resume") {
  const TempDir dir;
  const std::string arguments =
      str("--epochs 40 --optimizer muon --checkpoint-every 3e --keep 0", kTiny);
  CHECK(run(dir, arguments + "--out whole").code == 0);
  const auto last = [&](const std::string& name) {
    return sha256_hex_of_file(dir / (name + "/ckpt/step-200/model.safetensors"));
  };
  // Starts the program, waits for its first checkpoint, signals it and gives its exit code.
  write_file_atomic(
      dir / "start.sh",
      str("cd '", dir.path().string(), "'\n'", BASIN_BIN_DIR, "/train_modelnet' ", arguments,
          "--resume auto --out $2 >log.out 2>log.err &\npid=$!\n",
          "for i in $(seq 400); do [ -d $2/ckpt/step-15 ] && break; sleep 0.02; done\n",
          "kill -$1 $pid\nwait $pid\n"));
  const std::tuple<const char*, int, const char*> cases[] = {
      {"TERM", 75, "SIGTERM"}, {"USR1", 75, "SIGUSR1"}, {"INT", 130, "SIGINT"}, {"KILL", 137, ""}};
  for (const auto& [name, code, reason] : cases) {
    const char* signal = name;
    const int status =
        std::system(str("bash '", (dir / "start.sh").string(), "' ", signal, " ", signal).c_str());
    REQUIRE(WIFEXITED(status));
    const int ended = WEXITSTATUS(status);
    if (ended == 0) {
      MESSAGE("the run ended before the signal ", signal);
      continue;
    }
    CHECK_MESSAGE(ended == code, signal, ": ", read_text_file(dir / "log.err"));
    const RecordFields record = json_of(dir / (std::string(signal) + "/run.json"));
    CHECK(record.text("exit_reason") == (code == 137 ? "running" : reason));
    const Finished resumed = run(dir, str(arguments, "--resume auto --out ", signal));
    CHECK_MESSAGE(resumed.code == 0, resumed.err);
    CHECK(last(signal) == last("whole"));
  }
}

TEST_CASE("program: a branch from an older checkpoint repeats the run") {
  const TempDir dir;
  CHECK(run(dir, str("--epochs 3 --keep 0 --out a", kTiny)).code == 0);
  const Finished in_place = run(dir, "--resume a/ckpt/step-5");
  CHECK(in_place.code == 2);
  CHECK(contains(in_place.err, "give --out to branch off"));
  const Finished branch = run(dir, "--resume a/ckpt/step-5 --out b");
  CHECK_MESSAGE(branch.code == 0, branch.err);
  CHECK(sha256_hex_of_file(dir / "a/ckpt/step-15/model.safetensors") ==
        sha256_hex_of_file(dir / "b/ckpt/step-15/model.safetensors"));
  CHECK(json_of(dir / "b/run.json").integer("resumed_from_step") == 5);
}

TEST_CASE("program: damaged data and a diverging run") {
  const TempDir dir;
  fs::create_directories(dir / "data");
  for (const char* name :
       {"train_points.npy", "train_labels.npy", "test_points.npy", "test_labels.npy"}) {
    write_file_atomic(dir / "data" / name, std::string_view("\x93NUMPY garbage"));
  }
  const Finished garbage = run(dir, "--data data --out g");
  CHECK(garbage.code == 3);
  CHECK(contains(garbage.err, "data/train_"));
  CHECK(contains(garbage.err, "offset"));
  CHECK(!fs::exists(dir / "g"));

  const Finished diverged =
      run(dir, str("--optimizer sgd --lr 1e30 --schedule constant --epochs 3 --out d", kTiny));
  CHECK_MESSAGE(diverged.code == 4, diverged.err);
  CHECK(contains(diverged.err, "epoch "));
  CHECK(contains(json_of(dir / "d/run.json").text("exit_reason"), "error: epoch "));
  CHECK(json_of(dir / "d/run.json").integer("exit_code") == 4);
}

TEST_CASE("program: bench lists its cases") {
  const TempDir dir;
  const Finished help = run_built(dir, "bench", "--help");
  CHECK(help.code == 0);
  CHECK(contains(help.out, "pointnet"));
  const Finished wrong = run_built(dir, "bench", "pointnt");
  CHECK(wrong.code == 2);
  CHECK(contains(wrong.err, "did you mean 'pointnet'?"));
  const Finished small = run_built(
      dir, "bench", "pointnet peak --batch 2 --points 32 --hvp-batch 2 --repeats 2 --json b.json");
  CHECK_MESSAGE(small.code == 0, small.err);
  const RecordFields numbers = json_of(dir / "b.json");
  for (const char* threads : {"t1", "t2"}) {
    for (const char* what :
         {"forward", "forward_backward", "adam_step", "muon_step", "hvp_one_shot", "hvp_probe"}) {
      CHECK(numbers.number(str("pointnet.", threads, ".", what, ".median_ms")) > 0);
    }
    CHECK(numbers.number(str("peak.", threads, ".f32_gflops")) > 0.1);
  }
}

// The rate times the time is the count again.
double giga_operations(const RecordFields& numbers, const std::string& key, const char* count) {
  return numbers.number(key + count) * numbers.number(key + ".median_ms") * 1e-3;
}

TEST_CASE("program: bench of graph networks, one part, and of k nearest neighbours") {
  const TempDir dir;
  const Finished small = run_built(dir, "bench",
                                   "dgcnn egnn knn --batch 2 --points 32 --parts forward --threads "
                                   "1 --dims 3,16 --repeats 2 --json b.json");
  CHECK_MESSAGE(small.code == 0, small.err);
  const RecordFields numbers = json_of(dir / "b.json");
  for (const char* key : {"dgcnn.t1.forward", "egnn.t1.forward", "knn.t1.d3", "knn.t1.d16"}) {
    CHECK(numbers.number(str(key, ".median_ms")) > 0);
    CHECK(numbers.number(str(key, ".peak_bytes")) > 0);
  }
  CHECK_FALSE(numbers.has("dgcnn.t1.forward_backward.median_ms"));
  CHECK_FALSE(numbers.has("egnn.t1.hvp_probe.median_ms"));

  // By hand: 64 rows, 1280 edges; edge convolutions 6 64 + 128 64 + 128 128 + 256 256 = 90496.
  const double distances = 2.0 * 64 * 32 * (3 + 64 + 64 + 128);
  const double rest = 2.0 * 64 * 512 * 1024 + 2.0 * 2 * (2048 * 512 + 512 * 256 + 256 * 40);
  CHECK(giga_operations(numbers, "dgcnn.t1.forward", ".naive_gflops") ==
        doctest::Approx(1e-9 * (2.0 * 1280 * 90496 + distances + rest)));
  CHECK(giga_operations(numbers, "dgcnn.t1.forward", ".reduced_gflops") ==
        doctest::Approx(1e-9 * (2.0 * 64 * 90496 + distances + rest)));
  const double head = 2.0 * 2 * (128 * 64 + 64 * 40) + 2.0 * 64 * 64 + 2.0 * 64 * 32 * 3;
  const double node = 2.0 * 64 * (128 * 64 + 64 * 64);
  const double edge = 2.0 * 1280 * (64 * 64 + 0.75 * (64 * 64 + 64));  // second map; three phi_x
  CHECK(giga_operations(numbers, "egnn.t1.forward", ".naive_gflops") ==
        doctest::Approx(1e-9 * (head + 4 * (node + edge + 2.0 * 1280 * 129 * 64))));
  CHECK(giga_operations(numbers, "egnn.t1.forward", ".reduced_gflops") ==
        doctest::Approx(1e-9 * (head + 4 * (node + edge + 2.0 * 64 * 128 * 64 + 2.0 * 1280 * 64))));

  const Finished wrong = run_built(dir, "bench", "egnn --parts backward");
  CHECK(wrong.code == 2);
  CHECK(contains(wrong.err, "no part is called 'backward'"));
}

}  // namespace basin::tools
