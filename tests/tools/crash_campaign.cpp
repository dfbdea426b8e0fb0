// The loops over kills and stops, at random times and at every call that changes a file.
#include "basin/tests/tools/crash_campaign.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <random>

#include "basin/tools/shell/environment.h"

namespace basin::tools {
namespace {

void begin_with(const CrashBench& bench, const fs::path& prepared) {
  bench.forget_run();
  if (!prepared.empty()) fs::copy(prepared, bench.out(), fs::copy_options::recursive);
}

// The calls of a run that meets no fault.
std::vector<std::string> all_calls(const CrashBench& bench, const fs::path& prepared) {
  begin_with(bench, prepared);
  const Ended ended = bench.start_with("count");
  REQUIRE_MESSAGE(ended.code == 0, ended.err);
  REQUIRE(bench.difference() == "");
  const std::vector<std::string> calls = bench.calls();
  REQUIRE_MESSAGE(calls.size() > 50, "the library of faults was not loaded");
  return calls;
}

std::string name_of_call(const std::string& line) { return line.substr(0, line.find(' ')); }

void complete(const CrashBench& bench) {
  const Ended ended = bench.start();
  CHECK_MESSAGE(ended.code == 0, ended.err);
  CHECK(bench.difference() == "");
}

// What the failed call says: exit code 6 and one sentence that names something of the run. A
// descriptor whose writes were synchronised may fail to close without harm.
void check_failure(const CrashBench& bench, const Ended& ended, const std::string& line, bool stays,
                   bool resuming, FaultCounts& counts) {
  const std::string call = name_of_call(line);
  // What a resume reads and cannot: a checkpoint is skipped with a warning, the rest is refused.
  if (resuming && call == "open-read") {
    CHECK(ended.signal == 0);
    CHECK(ended.code != static_cast<int>(ErrorKind::internal));
    CHECK(bench.damage() == "");
    if (ended.code == 0) {
      ++counts.unnoticed;
      CHECK(bench.difference() == "");
    }
    return;
  }
  if (ended.code == 0 && call == "close") {
    ++counts.unnoticed;
    CHECK(bench.difference() == "");
    return;
  }
  CHECK(ended.code == static_cast<int>(ErrorKind::output));
  CHECK(std::count(ended.err.begin(), ended.err.end(), '\n') == 1);
  CHECK(ended.err.rfind("train_modelnet: run", 0) == 0);
  const bool removes =
      call == "unlink" || call == "unlinkat" || call == "rmdir" || contains(line, "/.tmp-old-");
  if (!stays && !removes && !resuming) CHECK_FALSE(bench.has_temporaries());
  CHECK(bench.damage() == "");
}

}  // namespace

KillCounts kill_at_random(CrashBench& bench, int64_t kills, uint64_t seed) {
  KillCounts counts;
  std::mt19937_64 bits(seed);
  const double begin = seconds_now();
  while (counts.kills < kills) {
    bench.forget_run();
    int64_t newest = -1;
    for (;;) {
      const double part = static_cast<double>(bits() >> 11) * 0x1p-53;
      const Ended ended = bench.start({}, part * bench.whole_seconds());
      ++counts.starts;
      if (ended.signal != SIGKILL) {
        CHECK_MESSAGE(ended.code == 0, ended.err);
        break;
      }
      ++counts.kills;
      CHECK(bench.damage() == "");
      const auto steps = checkpoint_steps(bench.out() / "ckpt");
      const int64_t now = steps.empty() ? -1 : steps.back();
      CHECK(now >= newest);  // nothing that was complete is lost
      newest = now;
      const bool record = fs::exists(bench.out() / "run.json");
      counts.before_record += record ? 0 : 1;
      counts.before_checkpoint += record && now < 0 ? 1 : 0;
      counts.within_write += bench.has_temporaries() ? 1 : 0;
    }
    ++counts.runs;
    CHECK(bench.difference() == "");
  }
  counts.seconds = seconds_now() - begin;
  return counts;
}

StopCounts stop_at_random(CrashBench& bench, int64_t stops, uint64_t seed) {
  StopCounts counts;
  std::mt19937_64 bits(seed);
  const double begin = seconds_now();
  while (counts.stopped < stops) {
    bench.forget_run();
    for (;;) {
      const int signal = counts.stopped % 2 == 0 ? SIGTERM : SIGUSR1;
      const double part = static_cast<double>(bits() >> 11) * 0x1p-53;
      const Ended ended = bench.start({}, part * bench.whole_seconds(), signal);
      CHECK(bench.damage() == "");
      if (ended.signal != 0) {
        CHECK(ended.signal == signal);
        ++counts.too_early;
        continue;
      }
      if (ended.code == 0) break;
      REQUIRE_MESSAGE(ended.code == 75, ended.err);
      CHECK_FALSE(bench.has_temporaries());
      const fs::path record = bench.out() / "run.json";
      const RecordFields fields = parse_record(read_text_file(record), "run.json");
      CHECK(fields.text("exit_reason") == (signal == SIGTERM ? "SIGTERM" : "SIGUSR1"));
      CHECK(fields.integer("exit_code") == 75);
      ++counts.stopped;
    }
    ++counts.runs;
    CHECK(bench.difference() == "");
  }
  counts.seconds = seconds_now() - begin;
  return counts;
}

FaultCounts kill_at_calls(CrashBench& bench, int64_t first, int64_t stride,
                          const fs::path& prepared) {
  FaultCounts counts;
  const double begin = seconds_now();
  counts.calls = static_cast<int64_t>(all_calls(bench, prepared).size());
  for (int64_t n = first; n <= counts.calls; n += stride) {
    begin_with(bench, prepared);
    const Ended ended = bench.start_with(str("kill:", n));
    const auto calls = bench.calls();
    REQUIRE(calls.size() == 1);
    CAPTURE(n);
    CAPTURE(calls[0]);
    CHECK(ended.signal == SIGKILL);
    CHECK(bench.damage() == "");
    complete(bench);
    ++counts.by_call[name_of_call(calls[0])];
    ++counts.faults;
  }
  counts.seconds = seconds_now() - begin;
  return counts;
}

FaultCounts fail_at_calls(CrashBench& bench, int64_t first, int64_t stride, bool every,
                          const fs::path& prepared) {
  FaultCounts counts;
  const double begin = seconds_now();
  constexpr int kErrors[] = {ENOSPC, EIO, EROFS};
  counts.calls = static_cast<int64_t>(all_calls(bench, prepared).size());
  int turn = 0;
  const auto inject = [&](int64_t n, int error, bool stays) {
    begin_with(bench, prepared);
    const Ended ended = bench.start_with(str(stays ? "stays:" : "error:", n, ":", error));
    const auto calls = bench.calls();
    REQUIRE(calls.size() == 1);
    CAPTURE(n);
    CAPTURE(error);
    CAPTURE(stays);
    CAPTURE(calls[0]);
    CAPTURE(ended.err);
    check_failure(bench, ended, calls[0], stays, !prepared.empty(), counts);
    complete(bench);
    ++counts.by_call[name_of_call(calls[0])];
    ++counts.faults;
  };
  for (int64_t n = first; n <= counts.calls; n += stride, ++turn) {
    for (int i = 0; i < 6; ++i) {
      if (every || i == turn % 6) inject(n, kErrors[i % 3], i >= 3);
    }
  }
  counts.seconds = seconds_now() - begin;
  return counts;
}

void prepare_interrupted(CrashBench& bench, const fs::path& folder) {
  const std::vector<std::string> calls = all_calls(bench, {});
  // The second checkpoint's model, half written.
  int64_t at = 0, seen = 0;
  for (size_t i = 0; i < calls.size() && seen < 2; ++i) {
    if (calls[i].starts_with("write-half") && contains(calls[i], "model.safetensors")) {
      ++seen;
      at = static_cast<int64_t>(i) + 1;
    }
  }
  REQUIRE(seen == 2);
  bench.forget_run();
  CHECK(bench.start_with(str("kill:", at)).signal == SIGKILL);
  CHECK(checkpoint_steps(bench.out() / "ckpt").size() == 1);
  fs::copy(bench.out(), folder, fs::copy_options::recursive);
}

}  // namespace basin::tools
