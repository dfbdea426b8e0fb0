// Run directories when a single system call fails: the sentence, and what is left on the disk. The
// campaigns of kill_test.cpp do the same to a whole program.
#include <cerrno>

#include "basin/tests/core/faults.h"
#include "basin/tests/tools/helpers.h"
#include "basin/tools/shell/run_dir.h"

namespace basin::tools {
namespace {

using test::Call;
using test::Fault;

void check_output_error(const std::pair<ErrorKind, std::string>& error, const std::string& word) {
  CHECK(error.first == ErrorKind::output);
  CHECK_MESSAGE(contains(error.second, word), error.second);
}

}  // namespace

TEST_CASE("run directory faults: what stands in the way, and what cannot be locked") {
  const TempDir dir;
  write_file_atomic(dir / "file", std::string_view("x"));
  check_output_error(error_of([&] { RunDir::create(dir / "file/run"); }), "cannot be created");
  check_output_error(error_of([&] { RunDir::create(dir / "file"); }), "is no run of ours");
  fs::create_directories(dir / "locked/.lock");
  check_output_error(error_of([&] { RunDir::create(dir / "locked"); }), ".lock: cannot be created");
  {
    const Fault fault(Call::flock, ENOLCK);
    check_output_error(error_of([&] { RunDir::create(dir / "run"); }), ".lock: cannot be locked");
  }
  {
    const Fault fault(Call::list, EIO);
    check_output_error(error_of([&] { RunDir::create(dir / "run"); }),
                       "run: cannot be listed: Input/output error");
  }
  write_file_atomic(dir / "run/run.json.tmp-12", std::string_view("{"));
  {
    const Fault fault(Call::remove, EIO);
    check_output_error(error_of([&] { RunDir::create(dir / "run"); }),
                       "run.json.tmp-12: cannot be removed");
  }
  const fs::path before = fs::current_path();
  fs::current_path(dir.path());
  { const RunDir here = RunDir::create("here"); }
  fs::current_path(before);
  CHECK(fs::exists(dir / "here/.lock"));
  CHECK(first_free(dir / "run") == dir / "run-2");
  fs::create_directories(dir / "run-2");
  CHECK(first_free(dir / "run") == dir / "run-3");
}

TEST_CASE("run directory faults: a record that cannot be written goes on saying running") {
  const TempDir dir;
  RunDir first = RunDir::create(dir / "run");
  RunDir run = std::move(first);  // the lock goes with it
  CHECK(error_of([&] { RunDir::create(dir / "run"); }).first == ErrorKind::output);
  CHECK(run.config_file() == dir / "run/config.toml");
  run.write_config("seed = 1\n");
  CHECK(read_text_file(run.config_file()) == "seed = 1\n");
  run.begin(Record().add("seed", 1));
  const auto reason = [&] {
    return parse_record(read_text_file(dir / "run/run.json"), "run.json").text("exit_reason");
  };
  {
    const Fault fault(Call::write, ENOSPC);
    run.finish_failed("no space", 6);
    CHECK(fault.struck());
  }
  CHECK(reason() == "running");
  run.finish_failed("no space", 6);
  CHECK(reason() == "error: no space");
}

TEST_CASE("run directory: withdrawn while nothing is in it, and only by who created it") {
  const TempDir dir;
  {
    RunDir run = RunDir::create(dir / "run");
    run.write_config("seed = 1\n");
    run.begin(Record().add("seed", 1));
    write_file_atomic(run.metrics_file(), "");
    CHECK(run.withdraw());
  }
  CHECK(!fs::exists(dir / "run"));
  fs::create_directories(dir / "there");
  CHECK(RunDir::create(dir / "there").withdraw());
  CHECK(fs::is_empty(dir / "there"));  // the folder was there before
  {
    RunDir run = RunDir::create(dir / "run");
    run.begin(Record());
    fs::create_directories(run.checkpoints());
    CHECK(!run.withdraw());
    fs::remove(run.checkpoints());
    write_file_atomic(run.metrics_file(), "{}\n");
    CHECK(!run.withdraw());
    fs::remove(run.metrics_file());
  }
  CHECK(!RunDir::open(dir / "run").withdraw());
  CHECK(RunDir::is_run(dir / "run"));
  fs::remove_all(dir / "run");
  RunDir run = RunDir::create(dir / "run");
  run.begin(Record());
  const Fault fault(Call::remove, EIO);
  CHECK(!run.withdraw());
}

}  // namespace basin::tools
