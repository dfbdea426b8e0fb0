// train_pde from the command line: what the tasks set for the programs, resume to the same bits,
// predictions at points, and probes of what it trained.
#include "basin/tests/tools/helpers.h"
#include "basin/tools/shell/recipes.h"

namespace basin::tools {
namespace {

Config pde_config(const std::string& task,
                  const std::vector<std::pair<std::string, std::string>>& flags) {
  register_builtin_tasks();
  Config config = train_settings(task);
  for (const auto& [key, value] : flags) config.set(key, value, Layer::flag, key);
  apply_presets(config);
  return config;
}

const std::string kTinyPde =
    "--task burgers --threads 1 --set domain=100 --set boundary=10 --set initial=10 "
    "--set model.width=6 --set model.depth=2 --steps 20 --eval-every 10 --checkpoint-every 10 "
    "--keep 0 ";

TEST_CASE("train_pde: what a task sets comes first, recipes and flags behind it") {
  const Config plain = pde_config("burgers", {});
  CHECK(plain.text("dtype") == "f64");
  CHECK(plain.integer("steps") == 10000);
  CHECK(plain.text("schedule") == "cosine");
  const Config deepxde = pde_config("burgers", {{"preset", "deepxde"}, {"dtype", "f32"}});
  CHECK(deepxde.text("dtype") == "f32");
  CHECK(deepxde.text("optimizer.name") == "adam");
  CHECK(deepxde.number("lr") == 1e-3);
  CHECK(deepxde.integer("steps") == 15000);
  const Config raissi = pde_config("burgers", {{"preset", "raissi"}});
  CHECK(raissi.text("dtype") == "f64");
  CHECK(raissi.text("optimizer.name") == "lbfgs");
  CHECK(raissi.text("model.depth") == "8");
  const Config wide = pde_config("advection", {});
  CHECK(wide.integer("batch") == 32);
  const Config physics = pde_config("burgers_operator", {{"preset", "pi_deeponet"}});
  CHECK(physics.text("training") == "residual");
  CHECK(physics.text("schedule") == "exponential:gamma=0.9,period=2000");
  CHECK(physics.text("model.periodic") == "false");
}

TEST_CASE("train_pde: --help shows the defaults of the task") {
  const TempDir dir;
  for (const auto& [arguments, shown] :
       std::vector<std::pair<std::string, std::vector<std::string>>>{
           {"--help", {"--dtype TEXT=f64", "--steps INT=10000", "--batch INT=32"}},
           {"--task antiderivative --help",
            {"--dtype TEXT=f64", "--batch INT=150", "--eval-batch INT=1000"}}}) {
    const Finished help = run_built(dir, "train_pde", arguments);
    CHECK(help.code == 0);
    for (const std::string& s : shown) CHECK_MESSAGE(contains(help.out, s), s, help.out);
  }
  const Config config = train_settings("burgers");
  for (const Setting& s : config.settings()) {
    // Also what a resolved configuration says, but for what follows from the optimizer.
    if (s.name == "lr" || s.name == "wd") continue;
    const Config resolved = pde_config("burgers", {});
    CHECK_MESSAGE(task_default("burgers", s) == resolved.text(s.name), s.name);
  }
}

TEST_CASE("train_pde: trains, resumes to the same bits, predicts, is probed") {
  const TempDir dir;
  const auto pde = [&](const std::string& arguments) {
    return run_built(dir, "train_pde", arguments);
  };
  const Finished whole = pde(kTinyPde + "--optimizer specmuon --lr 0.003 --out a");
  REQUIRE_MESSAGE(whole.code == 0, whole.err);
  const Finished again = pde("--task burgers --resume a/ckpt/step-10 --out b");
  REQUIRE_MESSAGE(again.code == 0, again.err);
  CHECK(sha256_hex_of_file(dir / "a/ckpt/step-20/model.safetensors") ==
        sha256_hex_of_file(dir / "b/ckpt/step-20/model.safetensors"));
  const std::string metrics = read_text_file(dir / "a/metrics.jsonl");
  for (const char* field :
       {"\"train_loss_residual\": ", "\"train_loss_boundary\": ", "\"train_loss_initial\": ",
        "\"test_rel_l2\": ", "\"test_max_error\": "}) {
    CHECK_MESSAGE(contains(metrics, field), field);
  }
  write_file_atomic(dir / "points.csv", "x,t\n-0.5,0.25\n0.5 0.75\n");
  const Finished told = pde("predict --task burgers --resume a points.csv");
  REQUIRE_MESSAGE(told.code == 0, told.err);
  CHECK(contains(told.out, "file,u\npoints.csv:2,"));
  CHECK(contains(told.out, "\npoints.csv:3,"));
  write_file_atomic(dir / "bad.csv", "x,t\n-0.5,0.25\n0.5\n");
  const Finished refused = pde("predict --task burgers --resume a bad.csv");
  CHECK(refused.code == 3);
  CHECK_MESSAGE(contains(refused.err, "bad.csv:3: expected 2 numbers, found '0.5'"), refused.err);
  const Finished probed =
      run_built(dir, "landscape_probe",
                "run a --threads 1 --dtype f64 --examples 0 --top 2 --bottom 1 --density-probes 0 "
                "--tolerance 1e-10 --lanczos-steps 67 --paper-protocol --json p.json");
  CHECK_MESSAGE(probed.code == 0, probed.err);
  CHECK(contains(probed.out, "report: a/probe/report.html"));
  // The largest of all eigenvalues is the one that Lanczos found.
  const auto number_in = [&](const char* file, const char* behind) {
    const std::string text = read_text_file(dir / "a/probe" / file);
    const size_t at = text.find(behind);
    REQUIRE_MESSAGE(at != text.npos, text);
    const size_t from = at + std::string(behind).size();
    double value = 0;
    REQUIRE(parse_double(text.substr(from, text.find_first_of(",]}\n ", from) - from), value));
    return value;
  };
  const double whole_top = number_in("tables/spectrum.csv", "\nmlp,specmuon,67,");
  CHECK(whole_top == doctest::Approx(number_in("tables/hessian.csv", ",top,1,")).epsilon(1e-8));
  const RecordFields numbers = parse_record(read_text_file(dir / "p.json"), "p.json");
  CHECK(numbers.number("lambda_max") == doctest::Approx(whole_top).epsilon(1e-8));
  CHECK(numbers.number("trace_low") < numbers.number("trace"));
  CHECK(numbers.number("trace") < numbers.number("trace_high"));
  CHECK(numbers.has("weights_stable_rank_share"));
  // The plain estimators beside them state no interval.
  CHECK(numbers.number("plain_lambda_max") == doctest::Approx(whole_top).epsilon(0.05));
  CHECK(numbers.number("plain_trace") == doctest::Approx(numbers.number("trace")).epsilon(0.5));
  CHECK_FALSE(numbers.has("plain_trace_low"));
  const Finished unasked = run_built(dir, "landscape_probe", "compare a a --json c.json");
  CHECK(unasked.code == 2);
  CHECK_MESSAGE(contains(unasked.err, "--json is for run, path, barriers and gauge"), unasked.err);
}

TEST_CASE("train_pde: a rule for matrices that finds none says so") {
  const test::TempDir dir;
  const auto log_of = [&](const std::string& more) {
    const Finished f =
        run_built(dir, "train_pde",
                  "--task antiderivative --train 8 --test 8 --steps 1 --out r" +
                      std::string(more.empty() ? "1" : "2") + " --optimizer muon" + more);
    REQUIRE_MESSAGE(f.code == 0, f.err);
    return f.err;
  };
  // Two layers a net: the first and the output one.
  CHECK(contains(log_of(""), "warning: muon updates no parameter of this network"));
  CHECK_FALSE(contains(log_of(" --set optimizer.muon_head=true"), "updates no parameter"));
}

}  // namespace
}  // namespace basin::tools
