// What the tests of the programs share: a tiny training problem on the embedded
// shapes, a way to run a built program and to read what it wrote.
#pragma once
#include <doctest/doctest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "basin/tests/core/errors.h"
#include "basin/tests/core/files.h"
#include "basin/tests/tools/outcome.h"
#include "basin/tools/shell/run_dir.h"
#include "basin/tools/shell/settings.h"
#include "basin/train/tasks/tasks.h"

namespace basin::tools {

using test::TempDir;

using test::CaughtWarnings;
using test::contains;
using test::error_of;

struct Finished {
  int code = -1;
  std::string out, err;
};

// Runs <bin>/program with shell-quoted arguments, below `environment` ("A=1 B=2"), in a folder of
// `dir`.
inline Finished run_built(const TempDir& dir, const std::string& program,
                          const std::string& arguments, const std::string& environment = {},
                          const std::string& folder = {}) {
  const fs::path out = dir / "stdout.txt", err = dir / "stderr.txt";
  const std::string command =
      str("cd ", quoted_word((dir / folder).string()), " && ", environment, " '", BASIN_BIN_DIR,
          "/", program, "' ", arguments, " >'", out.string(), "' 2>'", err.string(), "'");
  const int status = std::system(command.c_str());
  Finished result;
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  result.out = read_text_file(out);
  result.err = read_text_file(err);
  return result;
}

inline Config modelnet_settings() {
  register_builtin_tasks();
  return train_settings("modelnet");
}

// A PointNet of some thousand weights on 45 embedded shapes of 64 points: 5 steps an epoch.
inline Config tiny_settings(const std::string& optimizer) {
  Config config = modelnet_settings();
  const auto set = [&](const char* key, const std::string& value) {
    config.set(key, value, Layer::flag, key);
  };
  set("data", "embedded");
  set("limit", "45");
  set("points", "64");
  set("batch", "8");
  set("eval_batch", "16");
  set("epochs", "3");
  set("log_every", "2");
  set("model.widths", "8,16,32,16,8");
  set("optimizer.name", optimizer);
  return config;
}

}  // namespace basin::tools
