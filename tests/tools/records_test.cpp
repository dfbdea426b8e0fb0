// The run directory, tables, exit codes.
#include <sys/stat.h>

#include <iostream>
#include <sstream>

#include "basin/tests/tools/helpers.h"
#include "basin/tools/shell/cli.h"
#include "basin/tools/shell/environment.h"
#include "basin/tools/shell/report.h"

namespace basin::tools {

TEST_CASE("run directory: foreign and used folders are refused, one writer at a time") {
  const TempDir dir;
  fs::create_directories(dir / "foreign");
  write_file_atomic(dir / "foreign/notes.txt", std::string_view("mine"));
  const auto foreign = error_of([&] { RunDir::create(dir / "foreign"); });
  CHECK(foreign.first == ErrorKind::output);
  CHECK(contains(foreign.second, "is no run of ours"));
  CHECK(error_of([&] { RunDir::open(dir / "foreign"); }).first == ErrorKind::usage);
  CHECK(!fs::exists(dir / "foreign/.lock"));

  {
    RunDir run = RunDir::create(dir / "deep/run");
    run.begin(Record().add("seed", 3).add("command", "train 'a b'"));
    const RecordFields begun = parse_record(read_text_file(dir / "deep/run/run.json"), "run.json");
    CHECK(begun.text("exit_reason") == "running");
    CHECK(begun.integer("seed") == 3);
    for (const char* key : {"basin_version", "git_hash", "git_dirty", "compiler", "flags", "cpu",
                            "blas", "threads", "host", "start"}) {
      CHECK_MESSAGE(begun.has(key), key);
    }
    const auto second = error_of([&] { RunDir::open(dir / "deep/run"); });
    CHECK(second.first == ErrorKind::output);
    run.finish("completed", 0);
  }
  const RecordFields ended = parse_record(read_text_file(dir / "deep/run/run.json"), "run.json");
  CHECK(ended.text("exit_reason") == "completed");
  CHECK(ended.integer("exit_code") == 0);
  CHECK(ended.has("end"));
  const auto used = error_of([&] { RunDir::create(dir / "deep/run"); });
  CHECK(used.first == ErrorKind::output);
  CHECK(contains(used.second, "--resume"));
  CHECK_NOTHROW(RunDir::open(dir / "deep/run"));
  CHECK(first_free(dir / "deep/run") == dir / "deep/run-2");
  CHECK(first_free(dir / "deep/other") == dir / "deep/other");

  // Killed between the creation and the first record.
  { const RunDir killed = RunDir::create(dir / "killed"); }
  CHECK_NOTHROW(RunDir::create(dir / "killed"));
  write_file_atomic(dir / "killed/config.toml", std::string_view("seed = 1\n"));
  write_file_atomic(dir / "killed/run.json.tmp-123", std::string_view("{"));
  CHECK_NOTHROW(RunDir::create(dir / "killed"));
  CHECK(!fs::exists(dir / "killed/run.json.tmp-123"));
  fs::create_directories(dir / "empty");
  CHECK_NOTHROW(RunDir::create(dir / "empty"));

  // What a kill leaves of the bundle of a failed step goes, the folders of others stay.
  { RunDir::create(dir / "failed").begin({}); }
  for (const char* folder :
       {".tmp-failure-step-3", ".tmp-old-failure-step-3", ".tmp-notes", "failure-step-2"}) {
    fs::create_directories(dir.path() / "failed" / folder);
  }
  CHECK_NOTHROW(RunDir::open(dir / "failed"));
  CHECK(!fs::exists(dir / "failed/.tmp-failure-step-3"));
  CHECK(!fs::exists(dir / "failed/.tmp-old-failure-step-3"));
  CHECK(fs::exists(dir / "failed/.tmp-notes"));
  CHECK(fs::exists(dir / "failed/failure-step-2"));
  CHECK(fs::exists(dir / "killed/config.toml"));
}

TEST_CASE("run directory: what only looks like a run of ours is refused") {
  const TempDir dir;
  const auto refused = [&](const char* name) {
    const auto error = error_of([&] { RunDir::create(dir / name); });
    CHECK(error.first == ErrorKind::output);
    CHECK_MESSAGE(contains(error.second, "is no run of ours"), error.second);
    CHECK(error_of([&] { RunDir::open(dir / name); }).first == ErrorKind::usage);
  };
  // A configuration without our lock; a record of another program; a temporary file of another.
  fs::create_directories(dir / "config");
  write_file_atomic(dir / "config/config.toml", std::string_view("seed = 1\n"));
  refused("config");
  for (const char* record : {"{\"steps\": 3}", "{\"nested\": {\"a\": 1}}", "[1]", ""}) {
    fs::create_directories(dir / "record");
    write_file_atomic(dir / "record/run.json", std::string_view(record));
    refused("record");
    CHECK(read_text_file(dir / "record/run.json") == record);
  }
  // A number of a process is missing.
  fs::create_directories(dir / "half");
  write_file_atomic(dir / "half/.lock", std::string_view());
  write_file_atomic(dir / "half/run.json.tmp-x", std::string_view("{"));
  refused("half");
  fs::create_directories(dir / "other");
  write_file_atomic(dir / "other/.lock", std::string_view());
  write_file_atomic(dir / "other/thesis.tex.tmp-12", std::string_view("text"));
  refused("other");
  CHECK(fs::exists(dir / "other/thesis.tex.tmp-12"));
}

TEST_CASE("tables and texts") {
  CHECK(format_table({{"name", "n"}, {"a", "10"}, {"long name", "5"}}) ==
        "name       n\na          10\nlong name   5\n");
  CHECK(duration_text(4.21) == "4.2 s");
  CHECK(duration_text(192) == "3 min 12 s");
  CHECK(duration_text(7500) == "2 h 5 min");
  CHECK(bytes_text(13900000) == "13.9 MB");
  const char* argv[] = {"prog", "--set", "a=b c", "it's"};
  CHECK(command_line(4, argv) == "prog --set 'a=b c' 'it'\\''s'");
}

TEST_CASE("result table: the last, the best, and the best on validation") {
  const TempDir dir;
  Config config = tiny_settings("adamw");
  config.set("epochs", "1", Layer::flag, "--epochs");
  config.set("val_fraction", "0.2", Layer::flag, "--val-fraction");
  const RunSettings settings = run_settings_from(config);
  Trainer trainer(task_from(settings, config), settings.train);
  const std::string table =
      result_table(parse_record(trainer.run(dir / "run").result.line(), "result"));
  for (const char* word : {"pointnet (port), adamw, lr 0.001", "best on test", "last epoch",
                           "best on validation", "overall accuracy", " %"}) {
    CHECK_MESSAGE(contains(table, word), table);
  }
}

TEST_CASE("run_program: every failure has its exit code") {
  const auto code = [](auto body) {
    std::ostringstream sink;
    std::streambuf* before = std::cerr.rdbuf(sink.rdbuf());
    const int c = run_program("prog", body);
    std::cerr.rdbuf(before);
    return std::pair{c, sink.str()};
  };
  CHECK(code([]() -> int { return 75; }).first == 75);
  const std::pair<ErrorKind, int> kinds[] = {{ErrorKind::internal, 1}, {ErrorKind::usage, 2},
                                             {ErrorKind::data, 3},     {ErrorKind::numerical, 4},
                                             {ErrorKind::resource, 5}, {ErrorKind::output, 6}};
  for (const auto& [kind, expected] : kinds) {
    const auto [c, text] = code([k = kind]() -> int { throw Error(k, "what: why"); });
    CHECK(c == expected);
    CHECK(text == "prog: what: why\n");
  }
  CHECK(code([]() -> int { throw std::bad_alloc(); }).first == 5);
  CHECK(code([]() -> int { throw std::runtime_error("x"); }).first == 1);
  CHECK(code([]() -> int { throw 3; }).first == 1);
}

}  // namespace basin::tools
