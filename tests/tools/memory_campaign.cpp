// The loops over failing allocations, of training and of a probe, and how their ends are judged.
#include "basin/tests/tools/memory_campaign.h"

#include <algorithm>
#include <csignal>
#include <set>

#include "basin/tests/tools/crash_campaign.h"
#include "basin/tools/shell/environment.h"

namespace basin::tools {
namespace {

constexpr double kHangs = 60, kCountingHangs = 300;

std::vector<std::string> memory_environment(const MemoryPlan& plan, const std::string& fault,
                                            const fs::path& log) {
  return {str("LD_PRELOAD=", BASIN_ALLOCATIONS_LIBRARY), "ALLOC_KIND=" + plan.kind,
          "ALLOC_FAULT=" + fault, "ALLOC_LOG=" + log.string()};
}

bool every_allocation() {
  const char* text = std::getenv("ALLOC_FAULTS");
  return text != nullptr && std::string(text) == "all";
}

// The numbers of the allocations to fail; the last line of the log is how many there are.
std::vector<int64_t> allocations_of(const std::vector<std::string>& log, const MemoryPlan& plan,
                                    MemoryCounts& counts) {
  REQUIRE_MESSAGE(log.size() > 1, "the library of allocations was not loaded");
  std::vector<int64_t> all;
  for (const std::string& line : log) {
    int64_t n = 0;
    REQUIRE(parse_int64(line, n));
    all.push_back(n);
  }
  counts.allocations = all.back();
  all.pop_back();
  counts.paths = static_cast<int64_t>(all.size());
  if (every_allocation() || plan.kind == "storage") {
    all.clear();
    for (int64_t n = 1; n <= counts.allocations; ++n) all.push_back(n);
  }
  std::vector<int64_t> chosen;
  for (auto i = static_cast<size_t>(plan.first); i < all.size();
       i += static_cast<size_t>(plan.stride)) {
    chosen.push_back(all[i]);
  }
  return chosen;
}

// Whether a run that was to fail at its n-th allocation ended before it: how many there are hangs a
// little on how the threads take turns.
bool ended_before(int64_t n, const std::vector<std::string>& log) {
  int64_t made = 0;
  REQUIRE(!log.empty());
  REQUIRE(parse_int64(log.back(), made));
  return made < n;
}

// Exit code 5 and one sentence; true when the failure was noticed.
bool check_ending(const Ended& ended, const std::string& program) {
  CHECK(ended.signal == 0);
  if (ended.code == 0) {
    CHECK(ended.err == "");
    return false;
  }
  CHECK(ended.code == static_cast<int>(ErrorKind::resource));
  CHECK(std::count(ended.err.begin(), ended.err.end(), '\n') == 1);
  CHECK(ended.err.rfind(program + ": memory: ", 0) == 0);
  return true;
}

}  // namespace

MemoryCounts exhaust_training(CrashBench& bench, const MemoryPlan& plan) {
  MemoryCounts counts;
  const double begin = seconds_now();
  bench.forget_run();
  const Ended counted = bench.start_short_of_memory(plan.kind, "paths");
  REQUIRE_MESSAGE(counted.code == 0, counted.err);
  REQUIRE(bench.difference() == "");
  for (const int64_t n : allocations_of(bench.calls(), plan, counts)) {
    bench.forget_run();
    const Ended ended = bench.start_short_of_memory(plan.kind, str(plan.how, ":", n));
    CAPTURE(n);
    CAPTURE(ended.err);
    const bool noticed = check_ending(ended, "train_modelnet");
    CHECK(bench.damage() == "");
    CHECK_FALSE(bench.has_temporaries());
    if (!noticed) {
      if (ended_before(n, bench.calls())) {
        ++counts.early;
        continue;
      }
      ++counts.unnoticed;
      CHECK(bench.difference() == "");
    } else if (counts.faults % plan.complete_every == 0) {
      ++counts.completed;
      const Ended again = bench.start();
      CHECK_MESSAGE(again.code == 0, again.err);
      CHECK(bench.difference() == "");
    }
    ++counts.faults;
  }
  counts.seconds = seconds_now() - begin;
  return counts;
}

ProbeBench::ProbeBench() : root_(fast_folder()) {
  const Ended trained =
      run_program_in(root_.path(),
                     {str(BASIN_BIN_DIR, "/train_modelnet"), "--limit", "40", "--points", "32",
                      "--batch", "8", "--epochs", "1", "--set", "model.widths=4,8,8,8,4",
                      "--threads", "1", "--quiet", "--out", "run"},
                     {}, -1, 0);
  REQUIRE_MESSAGE(trained.code == 0, trained.err);
  REQUIRE(start().code == 0);
  REQUIRE(damage(true) == "");
}

Ended ProbeBench::start(const std::vector<std::string>& environment, double hangs) const {
  return run_program_in(root_.path(),
                        {str(BASIN_BIN_DIR, "/landscape_probe"),
                         "run",
                         "run",
                         "--out",
                         "probe",
                         "--quiet",
                         "--threads",
                         "2",
                         "--shapes",
                         "8",
                         "--batch",
                         "8",
                         "--top",
                         "2",
                         "--bottom",
                         "1",
                         "--lanczos-steps",
                         "4",
                         "--tolerance",
                         "10",
                         "--probes",
                         "2",
                         "--density-probes",
                         "1",
                         "--density-steps",
                         "2",
                         "--slice-shapes",
                         "8",
                         "--sharpness-shapes",
                         "8",
                         "--grid",
                         "3",
                         "--grid1d",
                         "3",
                         "--resamples",
                         "20",
                         "--parts",
                         "curvature,slices",
                         "--slices",
                         "random"},
                        environment, hangs, SIGKILL);
}

std::string ProbeBench::damage(bool complete) const {
  if (!fs::exists(out())) return complete ? "nothing is there" : "";
  for (const auto& entry : fs::recursive_directory_iterator(out())) {
    if (contains(entry.path().string(), ".tmp-")) return entry.path().string() + " was left";
  }
  for (const char* part : {"curvature", "slices"}) {
    const fs::path file = out() / str(part, ".json");
    if (!fs::exists(file)) {
      if (complete) return str(part, ".json is missing");
      continue;
    }
    const std::string text = read_text_file(file);
    if (!text.ends_with("}\n")) return str(part, ".json is torn");
  }
  if (!complete) return "";
  const RecordFields record = parse_record(read_text_file(out() / "run.json"), "run.json");
  return record.text("exit_reason") == "completed" ? "" : "run.json: not completed";
}

MemoryCounts ProbeBench::exhaust(const MemoryPlan& plan) const {
  MemoryCounts counts;
  const double begin = seconds_now();
  const fs::path log = root_ / "log";
  fs::remove_all(out());
  fs::remove(log);
  const Ended counted = start(memory_environment(plan, "paths", log), kCountingHangs);
  REQUIRE_MESSAGE(counted.code == 0, counted.err);
  const auto lines = [&log] {
    std::vector<std::string> read;
    TextReader in(read_text_file(log));
    for (std::string line; std::getline(in, line);) read.push_back(line);
    return read;
  };
  for (const int64_t n : allocations_of(lines(), plan, counts)) {
    fs::remove_all(out());
    const Ended ended = start(memory_environment(plan, str(plan.how, ":", n), log));
    CAPTURE(n);
    CAPTURE(ended.err);
    const bool noticed = check_ending(ended, "landscape_probe");
    CHECK(damage(!noticed) == "");
    if (!noticed && ended_before(n, lines())) {
      ++counts.early;
      continue;
    }
    if (!noticed) ++counts.unnoticed;
    if (noticed && counts.faults % plan.complete_every == 0) {
      ++counts.completed;
      const Ended again = start();
      CHECK_MESSAGE(again.code == 0, again.err);
      CHECK(damage(true) == "");
    }
    ++counts.faults;
  }
  counts.seconds = seconds_now() - begin;
  return counts;
}

bool allocations_can_fail() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  std::printf("SKIPPED: operator new is the sanitizer's\n");
  return false;
#else
  return true;
#endif
}

std::string text_of(const MemoryCounts& c) {
  return str(c.allocations, " allocations on ", c.paths, " paths, ", c.faults, " failed, ",
             c.unnoticed, " unnoticed, ", c.early, " ended before, ", c.completed,
             " carried to the end, ", c.seconds, " s");
}

}  // namespace basin::tools
