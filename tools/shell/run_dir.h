// The directory of one run. Everything in it is relative, so it may be moved:
//   config.toml (resolved)  run.json (who, where, with what)  metrics.jsonl  result.json
//   ckpt/step-N/  failure-step-N/ (step_failure.h)
// One writer at a time (a lock on the file .lock). run.json is replaced atomically at the start and
// at the end; its "exit_reason" is "running" in between, so that a killed run shows.
#pragma once
#include <optional>
#include <string>

#include "basin/core/io.h"
#include "basin/core/record.h"

namespace basin::tools {

class RunDir {
 public:
  // Creates the folder, or takes one whose creation was interrupted. output error (exit 6) when
  // it holds anything else.
  static RunDir create(const fs::path& path);
  // What create() would refuse, asked before the hours of work.
  static void refuse_used(const fs::path& path);
  // The folder of an earlier run; usage error when it is none, output error when another process
  // writes to it.
  static RunDir open(const fs::path& path);
  ~RunDir();
  RunDir(RunDir&& other) noexcept;
  RunDir& operator=(RunDir&&) = delete;

  const fs::path& path() const { return path_; }
  fs::path config_file() const { return path_ / "config.toml"; }
  fs::path metrics_file() const { return path_ / "metrics.jsonl"; }
  fs::path result_file() const { return path_ / "result.json"; }
  fs::path checkpoints() const { return path_ / "ckpt"; }

  void write_config(const std::string& toml) const;
  // run.json: `facts` (seed, command, data...) with environment, start time and "running".
  void begin(const Record& facts);
  // Again with the end time and the reason: "completed", "SIGTERM".
  void finish(const std::string& exit_reason, int exit_code);
  // The same for a run that an error ends. A record that cannot be written, on a full disk, say,
  // does not hide that error.
  void finish_failed(const std::string& sentence, int exit_code) noexcept;
  // Takes a run back that create() made and in which nothing was measured or kept, so that its
  // name is free again. False: there is something in it, or it could not be removed.
  bool withdraw() noexcept;

  static bool is_run(const fs::path& path);  // holds a run.json of ours
  // What a path that is no run lacks: "it has no run.json", or what that file is instead.
  static std::string lack_of(const fs::path& path);

 private:
  explicit RunDir(fs::path path);
  void lock();
  void remove_leftovers() const;
  void write_record(const Record& end) const;

  fs::path path_;
  int lock_ = -1;
  bool created_ = false;      // by this process, as a run
  bool made_folder_ = false;  // which was not there before
  Record record_;
  double started_ = 0;
};

// DIR/NAME ("tables", "figures"), made where it is missing; output error when it cannot be.
fs::path part_folder(const fs::path& dir, const char* name);

// base, base-2, base-3, ...: the first that does not exist.
fs::path first_free(const fs::path& base);

}  // namespace basin::tools
