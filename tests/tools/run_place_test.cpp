// Where a run goes on from and where it writes, for every meaning of --resume and --out.
#include "basin/tools/shell/run_place.h"

#include "basin/tests/tools/helpers.h"

namespace basin::tools {
namespace {

// A folder that is the current one while it lives.
class Here {
 public:
  Here() { fs::current_path(dir_.path()); }
  ~Here() { fs::current_path(before_); }
  Here(const Here&) = delete;
  Here& operator=(const Here&) = delete;

 private:
  fs::path before_ = fs::current_path();
  TempDir dir_;
};

void add_checkpoint(const fs::path& run, int64_t step, int64_t best) {
  write_checkpoint(
      run / "ckpt", step, {}, {},
      Record().add("step", step).add("best_test_step", best).add("metrics_bytes", int64_t{4}));
}

// A run with checkpoints of the steps 5, 10 and 15; 10 was the best when 15 was written.
void make_run(const fs::path& path) {
  RunDir run = RunDir::create(path);
  run.begin({});
  run.write_config("epochs = 7\n");
  write_file_atomic(run.metrics_file(), std::string_view("line 1\n"));
  for (const int64_t step : {5, 10, 15}) add_checkpoint(path, step, step == 15 ? 10 : 0);
}

Config asked(const std::string& resume, const std::string& out) {
  Config config = tiny_settings("adamw");
  config.set("resume", resume, Layer::flag, "--resume");
  config.set("out", out, Layer::flag, "--out");
  return config;
}

Place place_of(const std::string& resume, const std::string& out, bool measuring = false) {
  Config config = asked(resume, out);
  return find_place(config, run_settings_from(config), measuring);
}

void check_place(const Place& place, const fs::path& source, const fs::path& out, int64_t step) {
  CHECK(place.source == source);
  CHECK(place.out == out);
  CHECK(place.in_place == (!source.empty() && source == out));
  CHECK((place.checkpoint ? place.checkpoint->step : -1) == step);
}

}  // namespace

TEST_CASE("run place: a fresh run writes to --out, or to the first free of its names") {
  const Here here;
  check_place(place_of("", "a"), "", "a", -1);
  check_place(place_of("", "deep/a/"), "", "deep/a", -1);
  check_place(place_of("", ""), "", "runs/pointnet-adamw-s0", -1);
  fs::create_directories("runs/pointnet-adamw-s0");
  check_place(place_of("", ""), "", "runs/pointnet-adamw-s0-2", -1);
}

TEST_CASE("run place: auto goes on where --out is a run already") {
  const Here here;
  check_place(place_of("auto", "a"), "", "a", -1);
  check_place(place_of("auto", ""), "", "runs/pointnet-adamw-s0", -1);
  make_run("a");
  make_run("runs/pointnet-adamw-s0");
  check_place(place_of("auto", "a/"), "a", "a", 15);
  check_place(place_of("auto", ""), "runs/pointnet-adamw-s0", "runs/pointnet-adamw-s0", 15);
  CHECK(resumed_run("auto").empty());
  CHECK(resumed_run("").empty());
}

TEST_CASE("run place: a run, one of its checkpoints, or its best") {
  const Here here;
  make_run("a");
  check_place(place_of("a/", ""), "a", "a", 15);
  check_place(place_of("a", "b"), "a", "b", 15);
  check_place(place_of("a/ckpt/step-15/", ""), "a", "a", 15);
  check_place(place_of("a/ckpt/step-5", "b/"), "a", "b", 5);
  check_place(place_of("a/ckpt/best", "b"), "a", "b", 10);
  check_place(place_of("a/ckpt/step-5", "", true), "a", "a", 5);  // only measured
  const auto older = error_of([] { place_of("a/ckpt/step-5", ""); });
  CHECK(older.first == ErrorKind::usage);
  CHECK(older.second ==
        "--resume: a/ckpt/step-5 is not the newest checkpoint of its run; give --out to branch off "
        "from it");
  for (const char* none :
       {"b", "a/ckpt", "a/ckpt/step-6", "a/ckpt/step-5/DONE", "none/ckpt/best"}) {
    const auto error = error_of([&] { place_of(none, "c"); });
    CHECK(error.first == ErrorKind::usage);
    CHECK_MESSAGE(contains(error.second, "is neither a run directory (run.json) nor"), none);
  }
  fs::create_directories("empty");
  write_file_atomic("empty/run.json", std::string_view(""));
  CHECK(error_of([] { place_of("empty", "c"); }).second ==
        "--resume: empty is no run directory, its run.json is empty");
  // A checkpoint elsewhere than in ckpt/ is none of a run.
  fs::copy("a/ckpt/step-5", "step-5", fs::copy_options::recursive);
  CHECK(error_of([] { place_of("step-5", "c"); }).first == ErrorKind::usage);
}

TEST_CASE("run place: no best one yet, and a checkpoint that is no step") {
  const Here here;
  make_run("a");
  fs::remove_all("a/ckpt/step-15");
  const auto none = error_of([] { place_of("a/ckpt/best", "b"); });
  CHECK(none.first == ErrorKind::usage);
  CHECK(none.second == "--resume: a has no complete epoch yet, so no best checkpoint");
  fs::rename("a/ckpt/step-10", "a/ckpt/kept");
  fs::remove_all("a/ckpt/step-5");
  CHECK(error_of([] { place_of("a/ckpt/best", "b"); }).second == none.second);
  check_place(place_of("a/ckpt/kept", "b"), "a", "b", 10);
  CHECK(contains(error_of([] { place_of("a/ckpt/kept", ""); }).second, "is not the newest"));
  check_place(place_of("a", ""), "a", "a", -1);  // from the start
}

TEST_CASE("run place: settings of the run that is resumed") {
  const Here here;
  make_run("a");
  Config config = asked("a", "");
  load_resumed_settings(config, "");
  load_resumed_settings(config, "none");
  CHECK(config.integer("epochs") == 3);
  load_resumed_settings(config, "a");
  CHECK(config.integer("epochs") == 3);  // the flag stays above the file
  Config bare = modelnet_settings();
  load_resumed_settings(bare, "a");
  CHECK(bare.integer("epochs") == 7);

  run_settings_from(config);  // with the defaults of the optimizer, as they are recorded
  write_file_atomic("a/config.toml", config.to_toml());
  CHECK_NOTHROW(refuse_changed_settings(config, "a"));
  config.set("optimizer.beta9", "0.5", Layer::set, "--set optimizer.beta9");
  const auto more = error_of([&] { refuse_changed_settings(config, "a"); });
  CHECK(more.first == ErrorKind::usage);
  CHECK(more.second ==
        "--set optimizer.beta9: optimizer.beta9 differs from the run a that is resumed: 0.5, there "
        "not set; leave it out, or start a new run with --out");
}

TEST_CASE("run place: a branch takes along the metrics up to its checkpoint") {
  const Here here;
  make_run("a");
  const Place place = place_of("a/ckpt/step-5", "b");
  const RunDir branch = RunDir::create(place.out);
  copy_metrics(place, branch);
  CHECK(read_text_file("b/metrics.jsonl") == "line");
  write_file_atomic("a/metrics.jsonl", std::string_view("lin"));
  const auto error = error_of([&] { copy_metrics(place, branch); });
  CHECK(error.first == ErrorKind::data);
  CHECK(error.second == "a/metrics.jsonl: expected at least 4 bytes, the file has 3");
}

}  // namespace basin::tools
