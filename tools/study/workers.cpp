// Child processes and their claims.
#include "basin/tools/study/workers.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "basin/core/clock.h"
#include "basin/core/lines.h"
#include "basin/core/text.h"
#include "basin/tools/shell/environment.h"
#include "basin/tools/shell/progress.h"
#include "basin/tools/shell/run_dir.h"
#include "basin/tools/shell/signals.h"

namespace basin::tools {
namespace {

constexpr long kPollNanoseconds = 200'000'000;  // an ending child wakes the program earlier
constexpr double kLookAgainSeconds = 1;         // at jobs that others have claimed

std::vector<int> cores_here() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> out;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return {0};
  for (int c = 0; c < CPU_SETSIZE; ++c) {
    if (CPU_ISSET(c, &set)) out.push_back(c);
  }
  return out;
}

std::vector<std::string> blank_list(const std::string& text) {
  TextReader in(text);
  std::vector<std::string> out;
  for (std::string word; in >> word;) out.push_back(word);
  return out;
}

// The last line that says something.
std::string last_line(const fs::path& log) {
  const std::string text = read_text_file(log);
  LineReader lines(text);
  std::string out;
  for (std::string_view line; lines.next(line);) {
    if (!line.empty()) out = line;
  }
  return out;
}

double cpu_seconds(const rusage& usage) {
  const auto of = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

struct Child {
  Job job;
  pid_t process = 0;
  double started = 0, beat = 0;
  bool lost = false;  // taken over by another program
};

class Crew {
 public:
  Crew(const Study& study, Schedule& schedule, Ledger& ledger, const WorkOptions& options)
      : study_(study),
        schedule_(schedule),
        ledger_(ledger),
        options_(options),
        cores_(cores_here()),
        progress_("jobs", schedule.expected()) {
    const int64_t fits = std::max<int64_t>(1, std::ssize(cores_) / study.threads);
    children_.resize(static_cast<size_t>(options.jobs > 0 ? options.jobs : fits));
    pinned_ = std::ssize(children_) <= fits;
    if (options_.programs.empty()) {
      options_.programs = fs::read_symlink("/proc/self/exe").parent_path();
    }
    // Held back, so that it is there to be waited for.
    sigemptyset(&child_ended_);
    sigaddset(&child_ended_, SIGCHLD);
    ::pthread_sigmask(SIG_BLOCK, &child_ended_, nullptr);
  }
  ~Crew() { stop_all(); }
  WorkOutcome run();

 private:
  // Whether anything went on: a job was started, or one of others has ended.
  bool start_one(Child& child);
  bool take(const Job& job);
  void start(Child& child, const Job& job);
  std::vector<std::string> command(const Job& job) const;
  std::string filled_in(const Job& job, std::string word, const std::string& parent) const;
  void expect_run(const Job& job, const std::string& training) const;
  void watch(Child& child);
  void finish(Child& child, int status, const rusage& usage);
  void stop_all();
  bool idle() const {
    return std::ranges::none_of(children_, [](const Child& c) { return c.process != 0; });
  }

  const Study& study_;
  Schedule& schedule_;
  Ledger& ledger_;
  WorkOptions options_;
  std::vector<int> cores_;
  bool pinned_ = false;
  std::vector<Child> children_;
  std::deque<Job> elsewhere_;  // claimed by others
  double looked_ = 0;
  int64_t started_ = 0, left_out_ = 0;  // of other shards
  sigset_t child_ended_{};
  WorkOutcome outcome_;
  Progress progress_;
};

// That the training which a job builds on is still there.
void Crew::expect_run(const Job& job, const std::string& training) const {
  const fs::path run = ledger_.run(training);
  if (RunDir::is_run(run)) return;
  fail(ErrorKind::data, job.label(), ": ", run.string(),
       " is expected to hold the training, and is gone; remove records/", training,
       ".json to train again");
}

// What a word of the arguments says of one training.
constexpr const char* kOfEach[] = {"{run}", "{runs}", "{best_val}"};

std::string Crew::filled_in(const Job& job, std::string word, const std::string& parent) const {
  const fs::path run = ledger_.run(parent);
  if (word.find("{best_val}") != word.npos) {
    const RecordFields& trained = *ledger_.record(parent);
    replace_all(word, "{best_val}",
                (run / "ckpt" / ("step-" + trained.text("best_val_step"))).string());
  }
  replace_all(word, "{run}", run.string());
  replace_all(word, "{runs}", run.string());
  replace_all(word, "{out}", ledger_.run(job).string());
  return word;
}

std::vector<std::string> Crew::command(const Job& job) const {
  std::vector<std::string> out{(options_.programs / job.program).string()};
  for (const std::string& parent : job.parents) expect_run(job, parent);
  for (const std::string& word : blank_list(job.arguments)) {
    const bool each = std::ranges::any_of(
        kOfEach, [&](const char* name) { return word.find(name) != word.npos; });
    for (const std::string& parent : job.parents) {
      out.push_back(filled_in(job, word, parent));
      if (!each) break;
    }
  }
  if (!job.reads.empty()) expect_run(job, job.reads);
  for (const auto& [key, value] : job.settings) {
    const bool elsewhere = key == "data" && !options_.data.empty();
    std::string given = elsewhere ? options_.data : value;
    if (!job.reads.empty()) {
      replace_all(given, str(kMetricsOf, job.reads, "}"),
                  fs::absolute(ledger_.run(job.reads) / "metrics.jsonl").string());
    }
    out.push_back("--set");
    out.push_back(str(key, "=", given));
  }
  if (job.parents.empty() || job.stage == Stage::between) {
    out.insert(out.end(), {"--out", ledger_.run(job).string()});
  }
  if (job.parents.empty()) out.insert(out.end(), {"--resume", "auto"});
  for (const std::string& word :
       {std::string("--threads"), str(study_.threads), std::string("--json"),
        ledger_.log(job).replace_extension(".json").string()}) {
    out.push_back(word);
  }
  return out;
}

void Crew::start(Child& child, const Job& job) {
  const std::vector<std::string> words = command(job);
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const fs::path log = ledger_.log(job);
  const int out = ::open(log.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  if (out < 0) fail(ErrorKind::output, "cannot write ", log.string());
  cpu_set_t cores;
  CPU_ZERO(&cores);
  const size_t slot = static_cast<size_t>(&child - children_.data());
  for (int64_t t = 0; t < study_.threads; ++t) {
    const size_t core = (slot * static_cast<size_t>(study_.threads) + static_cast<size_t>(t));
    CPU_SET(cores_[core % cores_.size()], &cores);
  }
  const pid_t parent = ::getpid();
  const pid_t process = ::fork();
  if (process < 0) fail(ErrorKind::resource, "fork: ", error_text(errno));
  if (process == 0) {
    // A program whose study is killed stops after a checkpoint, as by a signal of its own.
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) ::_exit(kExitStopped);
    ::pthread_sigmask(SIG_UNBLOCK, &child_ended_, nullptr);
    if (pinned_) ::sched_setaffinity(0, sizeof cores, &cores);
    ::dup2(out, STDOUT_FILENO);
    ::dup2(out, STDERR_FILENO);
    ::execv(argv.front(), argv.data());
    ::_exit(127);
  }
  ::close(out);
  ++started_;
  child = {job, process, seconds_now(), seconds_now(), false};
}

// Whether the job is this program's to do. One that has been done meanwhile is noted.
bool Crew::take(const Job& job) {
  if (!ledger_.claim(job)) {
    elsewhere_.push_back(job);
    return false;
  }
  // It may have ended between the look for a record and the claim.
  if (ledger_.record(job.hash) == nullptr) return true;
  ledger_.release(job);
  schedule_.done(job);
  return false;
}

bool Crew::start_one(Child& child) {
  if (options_.limit > 0 && started_ >= options_.limit) return false;
  while (const std::optional<Job> job = schedule_.next()) {
    if (shard_of(*job, options_.shards) != options_.shard) {
      ++left_out_;
      continue;
    }
    if (!take(*job)) continue;
    start(child, *job);
    return true;
  }
  if (seconds_now() - looked_ < kLookAgainSeconds) return false;
  looked_ = seconds_now();
  bool arrived = false;
  for (size_t n = elsewhere_.size(); n > 0; --n) {
    const Job job = std::move(elsewhere_.front());
    elsewhere_.pop_front();
    if (ledger_.record(job.hash) != nullptr) {
      schedule_.done(job);
      arrived = true;  // and may have made others ready
    } else if (take(job)) {
      start(child, job);
      return true;
    }
  }
  return arrived;
}

void Crew::watch(Child& child) {
  int status = 0;
  rusage usage{};
  const pid_t ended = ::wait4(child.process, &status, WNOHANG, &usage);
  if (ended == child.process) return finish(child, status, usage);
  const double now = seconds_now();
  if (now - child.beat < kHeartbeatSeconds) return;
  child.beat = now;
  if (!child.lost && !ledger_.heartbeat(child.job)) {
    child.lost = true;
    warning_line("study: " + child.job.label() + " was taken over by another program");
    ::kill(child.process, SIGTERM);
  }
}

void Crew::finish(Child& child, int status, const rusage& usage) {
  const Job job = child.job;
  const double seconds = seconds_now() - child.started;
  const bool lost = child.lost;
  child = {};
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (lost) {
    elsewhere_.push_back(job);
    return;
  }
  const fs::path json = ledger_.log(job).replace_extension(".json");
  Record record;
  if (code == static_cast<int>(ErrorKind::numerical)) {
    record.add("completed", false).add("failure", std::string_view(last_line(ledger_.log(job))));
    ++outcome_.failed;
  } else if (code == 0 && fs::exists(json)) {
    const RecordFields result = parse_record(read_text_file(json), json.string());
    for (const auto& [key, value] : result.values()) {
      double number = 0;
      if (key == "run") continue;  // a place on this machine
      if (key == "data" && !options_.data.empty() && value == options_.data) {
        const auto name = study_.settings.find("data");  // and so is this
        if (name != study_.settings.end()) record.add(key, std::string_view(name->second));
        continue;
      }
      if (value == "true" || value == "false") {
        record.add(key, value == "true");
      } else if (parse_double(value, number)) {
        record.add(key, number);
      } else {
        record.add(key, std::string_view(value));
      }
    }
  } else {
    ledger_.release(job);
    if (code == kExitStopped || code == kExitInterrupted) return;  // by a signal of ours
    const std::string said = code == 127 ? "it was not found" : last_line(ledger_.log(job));
    const ErrorKind kind = code == 127             ? ErrorKind::usage
                           : code > 0 && code <= 6 ? static_cast<ErrorKind>(code)
                                                   : ErrorKind::internal;
    fail(kind, job.label(), ": ", (options_.programs / job.program).string(), " ended with ", code,
         ": ", said, "; log: ", ledger_.log(job).string());
  }
  record.add("job_seconds", seconds)
      .add("job_cpu_seconds", cpu_seconds(usage))
      .add("job_host", std::string_view(host_name()));
  ledger_.write(job, record);
  ledger_.release(job);
  std::error_code ignored;
  fs::remove(json, ignored);
  ++outcome_.done;
  schedule_.done(job);
}

void Crew::stop_all() {
  for (const Child& child : children_) {
    if (child.process != 0) ::kill(child.process, SIGTERM);
  }
  for (Child& child : children_) {
    if (child.process == 0) continue;
    int status = 0;
    ::waitpid(child.process, &status, 0);
    if (!child.lost) ledger_.release(child.job);
    child = {};
  }
}

WorkOutcome Crew::run() {
  while (stop_signal() == 0) {
    bool started = false;
    for (Child& child : children_) {
      if (child.process == 0) started = start_one(child) || started;
      if (child.process != 0) watch(child);
    }
    const auto running =
        std::ranges::count_if(children_, [](const Child& c) { return c.process != 0; });
    progress_.update(schedule_.finished(), str(running, " running"));
    if (idle() && !started) {
      const bool enough = options_.limit > 0 && started_ >= options_.limit;
      // What ended in this very pass may have made others ready.
      if (enough || (elsewhere_.empty() && !schedule_.any_ready())) break;
    }
    const timespec poll{0, kPollNanoseconds};
    if (!started) ::sigtimedwait(&child_ended_, nullptr, &poll);
  }
  outcome_.signal = stop_signal();
  stop_all();
  outcome_.elsewhere = left_out_ + std::ssize(elsewhere_);
  return outcome_;
}

}  // namespace

WorkOutcome work(const Study& study, Schedule& schedule, Ledger& ledger,
                 const WorkOptions& options) {
  return Crew(study, schedule, ledger, options).run();
}

}  // namespace basin::tools
