// Starts the program, kills it, and compares the folders that are left, timing fields left out.
#include "basin/tests/tools/crash.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <set>
#include <sstream>
#include <thread>

#include "basin/datasets/npy.h"
#include "basin/datasets/shapes.h"
#include "basin/tools/shell/environment.h"

namespace basin::tools {
namespace {

constexpr const char* kWhole = "whole";  // --keep 1, as the runs that are killed
constexpr const char* kAll = "all";      // every checkpoint kept

// Everything but what the clock, the process or the number of starts decide.
std::string timeless(const fs::path& file, const std::set<std::string>& left_out) {
  std::string out;
  std::istringstream in(read_text_file(file));
  const bool lines = file.extension() == ".jsonl";
  std::string text;
  while (lines ? static_cast<bool>(std::getline(in, text)) : (text = in.str(), out.empty())) {
    const RecordFields fields = parse_record(text, file.string());
    for (const auto& [key, value] : fields.values()) {
      if (left_out.count(key) == 0) out += key + "=" + value + " ";
    }
    out += "\n";
  }
  return out;
}

std::string timeless_metrics(const fs::path& run) {
  return timeless(run / "metrics.jsonl", {"seconds", "examples_per_second"});
}
std::string timeless_state(const fs::path& checkpoint) {
  return timeless(checkpoint / "state.json", {"seconds", "since_seconds", "metrics_bytes"});
}
std::string timeless_result(const fs::path& run) {
  return timeless(run / "result.json", {"seconds", "peak_rss_bytes"});
}

std::set<std::string> names_below(const fs::path& folder) {
  std::set<std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    out.insert(fs::relative(entry.path(), folder).string());
  }
  return out;
}

// Of two checkpoints of one step.
std::string checkpoint_difference(const fs::path& a, const fs::path& b) {
  for (const char* file : {"model.safetensors", "optim.safetensors"}) {
    if (read_file(a / file) != read_file(b / file)) return str((a / file).string(), ": other bits");
  }
  // A request to stop in the evaluation of an epoch leaves a state from before it.
  const RecordFields state = parse_record(read_text_file(a / "state.json"), "state.json");
  if (state.integer("since_examples") != 0) return "";
  if (timeless_state(a) != timeless_state(b)) return str(a.string(), ": another state.json");
  return "";
}

Ended wait_for(pid_t child, double signal_after, int signal) {
  const double start = seconds_now();
  Ended out;
  int status = 0;
  bool sent = signal_after < 0;
  while (::waitpid(child, &status, sent ? 0 : WNOHANG) != child) {
    const double left = start + signal_after - seconds_now();
    if (left <= 0) {
      ::kill(child, signal);
      sent = true;
    } else {
      std::this_thread::sleep_for(std::chrono::duration<double>(std::min(left, 0.002)));
    }
  }
  out.seconds = seconds_now() - start;
  out.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  out.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  return out;
}

}  // namespace

fs::path fast_folder() {
  const fs::path memory = "/dev/shm";
  return ::access(memory.c_str(), W_OK) == 0 ? memory : fs::temp_directory_path();
}

Ended run_program_in(const fs::path& folder, std::vector<std::string> words,
                     std::vector<std::string> environment, double signal_after, int signal) {
  environment.insert(environment.end(), {"LC_ALL=C", "OPENBLAS_NUM_THREADS=1",
                                         "ASAN_OPTIONS=verify_asan_link_order=0"});
  std::vector<char*> argv, envp;
  for (std::string& word : words) argv.push_back(word.data());
  for (std::string& variable : environment) envp.push_back(variable.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  const std::string err = (folder / "stderr.txt").string(), place = folder.string();
  // A signal that arrives before the program runs must not find the handlers of this process: they
  // allocate, and fork holds the lock of the allocator.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t child = ::fork();
  if (child == 0) {
    for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    const int log = ::open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
    const int nothing = ::open("/dev/null", O_WRONLY);
    if (log < 0 || ::dup2(log, STDERR_FILENO) < 0 || ::dup2(nothing, STDOUT_FILENO) < 0 ||
        ::chdir(place.c_str()) != 0) {
      ::_exit(127);
    }
    ::execve(argv[0], argv.data(), envp.data());
    ::_exit(127);
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  REQUIRE(child >= 0);
  Ended ended = wait_for(child, signal_after, signal);
  ended.err = read_text_file(err);
  return ended;
}

int64_t count_from_environment(const char* name, int64_t usual) {
  const char* text = std::getenv(name);
  int64_t count = usual;
  if (text != nullptr) REQUIRE(parse_int64(text, count));
  return count;
}

CrashBench::CrashBench(const std::string& optimizer, std::vector<std::string> more, size_t epochs)
    : root_(fast_folder()), optimizer_(optimizer), more_(std::move(more)) {
  const PointCloudSplits splits = embedded_shapes(2, 1, 64, 5);
  fs::create_directories(root_ / "data");
  write_npy(root_ / "data/train_points.npy", splits.train.points);
  write_npy(root_ / "data/train_labels.npy", splits.train.labels);
  write_npy(root_ / "data/test_points.npy", splits.test.points);
  write_npy(root_ / "data/test_labels.npy", splits.test.labels);
  const Ended all = run(kAll, 0, {}, -1, 0);
  REQUIRE_MESSAGE(all.code == 0, all.err);
  const Ended whole = run(kWhole, 1, {}, -1, 0);
  REQUIRE_MESSAGE(whole.code == 0, whole.err);
  whole_seconds_ = std::min(all.seconds, whole.seconds);
  REQUIRE(checkpoint_steps(root_ / kAll / "ckpt").size() == epochs);
  REQUIRE(fs::remove_all(root_ / "log") == 0);
}

Ended CrashBench::run(const std::string& out, int keep, const std::vector<std::string>& environment,
                      double signal_after, int signal) const {
  const std::string program = str(BASIN_BIN_DIR, "/train_modelnet");
  std::vector<std::string> words = {program,
                                    "--data",
                                    "data",
                                    "--points",
                                    "64",
                                    "--batch",
                                    "10",
                                    "--eval-batch",
                                    "15",
                                    "--epochs",
                                    "3",
                                    "--log-every",
                                    "2",
                                    "--set",
                                    "model.widths=8,16,32,16,8",
                                    "--optimizer",
                                    optimizer_,
                                    "--keep",
                                    std::to_string(keep),
                                    "--threads",
                                    "1",
                                    "--quiet",
                                    "--resume",
                                    "auto",
                                    "--out",
                                    out};
  words.insert(words.end(), more_.begin(), more_.end());
  return run_program_in(root_.path(), words, environment, signal_after, signal);
}

Ended CrashBench::start(const std::vector<std::string>& environment, double signal_after,
                        int signal) const {
  return run("run", 1, environment, signal_after, signal);
}

Ended CrashBench::start_with(const std::string& fault) const {
  fs::remove(root_ / "log");
  return start({str("LD_PRELOAD=", BASIN_FAULTS_LIBRARY), "FAULTS=" + fault,
                "FAULTS_DIR=" + fs::canonical(root_.path()).string() + "/run",
                "FAULTS_LOG=" + (root_ / "log").string()});
}

Ended CrashBench::start_short_of_memory(const std::string& kind, const std::string& fault) const {
  constexpr double kHangs = 60;
  fs::remove(root_ / "log");
  return start({str("LD_PRELOAD=", BASIN_ALLOCATIONS_LIBRARY), "ALLOC_KIND=" + kind,
                "ALLOC_FAULT=" + fault, "ALLOC_LOG=" + (root_ / "log").string()},
               kHangs);
}

std::vector<std::string> CrashBench::calls() const {
  std::vector<std::string> out;
  if (!fs::exists(root_ / "log")) return out;
  std::istringstream in(read_text_file(root_ / "log"));
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}

void CrashBench::forget_run() const { fs::remove_all(out()); }

std::string CrashBench::damage() const {
  const fs::path ckpt = out() / "ckpt";
  if (!fs::exists(ckpt)) return "";
  for (const auto& entry : fs::directory_iterator(ckpt)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(".tmp-")) continue;
    try {
      read_checkpoint(entry.path());
    } catch (const Error& e) {
      return e.what();
    }
    // One that a request to stop left in the middle of an epoch has no counterpart.
    const fs::path whole = root_ / kAll / "ckpt" / name;
    if (!fs::exists(whole)) continue;
    const std::string other = checkpoint_difference(entry.path(), whole);
    if (!other.empty()) return other;
  }
  return "";
}

std::string CrashBench::difference() const {
  const fs::path whole = root_ / kWhole;
  const auto expected = names_below(whole), found = names_below(out());
  for (const std::string& name : expected) {
    if (found.count(name) == 0) return name + " is missing";
  }
  for (const std::string& name : found) {
    if (expected.count(name) == 0) return name + " was left behind";
  }
  for (const int64_t step : checkpoint_steps(whole / "ckpt")) {
    const std::string other = checkpoint_difference(checkpoint_path(out() / "ckpt", step),
                                                    checkpoint_path(whole / "ckpt", step));
    if (!other.empty()) return other;
  }
  const std::string metrics = read_text_file(out() / "metrics.jsonl");
  if (metrics.empty() || metrics.back() != '\n') return "metrics.jsonl: a torn line";
  if (timeless_metrics(out()) != timeless_metrics(whole)) return "metrics.jsonl: other lines";
  if (timeless_result(out()) != timeless_result(whole)) return "result.json: another result";
  if (read_text_file(out() / "config.toml") != read_text_file(whole / "config.toml")) {
    return "config.toml: other settings";
  }
  const RecordFields record = parse_record(read_text_file(out() / "run.json"), "run.json");
  return record.text("exit_reason") == "completed" ? "" : "run.json: not completed";
}

bool CrashBench::has_temporaries() const {
  if (!fs::exists(out())) return false;
  for (const std::string& name : names_below(out())) {
    if (contains(name, ".tmp-")) return true;
  }
  return false;
}

}  // namespace basin::tools
