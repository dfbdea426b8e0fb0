// Records and claims as files.
#include "basin/tools/study/ledger.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "basin/core/folder.h"
#include "basin/core/lines.h"
#include "basin/core/text.h"
#include "basin/figures/figure.h"
#include "basin/tools/shell/environment.h"

namespace basin::tools {

Ledger::Ledger(fs::path folder, fs::path runs, bool make_folders)
    : folder_(std::move(folder)), runs_(runs.empty() ? folder_ / "runs" : std::move(runs)) {
  if (!make_folders) return;
  for (const char* part : {"records", "claims", "logs"}) make_folder(folder_ / part);
  make_folder(runs_);
}

const RecordFields* Ledger::record(const std::string& hash) {
  const auto known = records_.find(hash);
  if (known != records_.end()) return &known->second;
  const fs::path file = folder_ / "records" / (hash + ".json");
  std::error_code error;
  if (!fs::exists(file, error)) return nullptr;
  return &records_.emplace(hash, parse_record(read_text_file(file), file.string())).first->second;
}

namespace {

// The lines of metrics.jsonl that a report draws; the steps between them are many.
std::string course(const fs::path& metrics) {
  const std::string text = read_text_file(metrics);
  LineReader lines(text);
  std::string out;
  for (std::string_view line; lines.next(line);) {
    const bool kept = line.starts_with("{\"event\": \"epoch\"") ||
                      line.starts_with("{\"event\": \"evaluation\"") ||
                      line.starts_with("{\"event\": \"probe");
    if (kept) out += str(line, "\n");
  }
  return out;
}

void keep_parts(const fs::path& from, const fs::path& to) {
  std::error_code error;
  if (!fs::is_directory(from, error)) return;
  for (const auto& entry : fs::directory_iterator(from)) {
    if (!entry.is_regular_file() || entry.path().extension() != ".json") continue;
    make_folder(to);
    write_file_atomic(to / entry.path().filename(), std::string_view(read_text_file(entry.path())));
  }
}

}  // namespace

// Where a measurement's program left its parts.
fs::path Ledger::left_by(const Job& job) const {
  const fs::path own = run(job);
  std::error_code error;
  return fs::is_directory(own, error) ? own : run(job.parents.front()) / "probe";
}

fs::path Ledger::parts(const Job& job) const {
  std::error_code error;
  for (const fs::path& folder : {folder_ / "records" / job.hash, left_by(job)}) {
    if (fs::is_directory(folder, error)) return folder;
  }
  return {};
}

void Ledger::write(const Job& job, const Record& result) {
  const fs::path metrics = run(job) / "metrics.jsonl";
  std::error_code error;
  if (job.stage == Stage::final && fs::exists(metrics, error)) {
    write_file_atomic(curve(job), course(metrics));
  }
  if (!job.parents.empty()) {
    keep_parts(left_by(job), folder_ / "records" / job.hash);
  }
  Record record;
  record.add("job", std::string_view(job.hash))
      .add("stage", name_of(job.stage))
      .add("label", std::string_view(job.label()))
      .add("job_program", std::string_view(job.program))
      .add("job_settings", std::string_view(settings_text(job.settings)));
  if (!job.parents.empty()) record.add("parent", std::string_view(joined(job.parents, " ")));
  record.append(result);
  const fs::path file = folder_ / "records" / (job.hash + ".json");
  const std::string text = record.pretty();
  write_file_atomic(file, text);
  records_[job.hash] = parse_record(text, file.string());
}

fs::path Ledger::claim_file(const std::string& hash, int64_t generation) const {
  return folder_ / "claims" / str(hash, ".", generation);
}

std::optional<Ledger::Claim> Ledger::claim_of(const std::string& hash) const {
  struct stat facts {};
  Claim out;
  fs::path file;
  for (;; ++out.generation) {
    const fs::path next = claim_file(hash, out.generation);
    struct stat found {};
    if (::stat(next.c_str(), &found) != 0) break;
    file = next;
    facts = found;
  }
  if (out.generation == 0) return std::nullopt;
  --out.generation;
  struct timespec now {};
  ::clock_gettime(CLOCK_REALTIME, &now);
  out.age = static_cast<double>(now.tv_sec - facts.st_mtim.tv_sec) +
            1e-9 * static_cast<double>(now.tv_nsec - facts.st_mtim.tv_nsec);
  try {
    TextReader text(read_text_file(file));
    text >> out.host >> out.process;
  } catch (const Error&) {  // it has just been released
  }
  const bool gone = out.process > 0 && out.host == host_name() &&
                    ::kill(static_cast<pid_t>(out.process), 0) != 0 && errno == ESRCH;
  out.stale = gone || out.age > kStaleSeconds;
  return out;
}

bool Ledger::claim(const Job& job) {
  const std::optional<Claim> claim = claim_of(job.hash);
  if (claim && !claim->stale) return false;
  const int64_t generation = claim ? claim->generation + 1 : 0;
  const fs::path file = claim_file(job.hash, generation);
  const int fd = ::open(file.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
  if (fd < 0) {
    if (errno == EEXIST) return false;  // another program was first
    fail(ErrorKind::output, "cannot write ", file.string(), ": ", error_text(errno));
  }
  const std::string text = str(host_name(), " ", ::getpid(), "\n");
  const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(fd);
  if (!written) fail(ErrorKind::output, "cannot write ", file.string());
  owned_[job.hash] = generation;
  return true;
}

bool Ledger::heartbeat(const Job& job) const {
  const int64_t generation = owned_.at(job.hash);
  struct stat facts {};
  if (::stat(claim_file(job.hash, generation + 1).c_str(), &facts) == 0) return false;
  ::utimensat(AT_FDCWD, claim_file(job.hash, generation).c_str(), nullptr, 0);
  return true;
}

void Ledger::release(const Job& job) {
  const int64_t generation = owned_.at(job.hash);
  owned_.erase(job.hash);
  struct stat facts {};
  if (::stat(claim_file(job.hash, generation + 1).c_str(), &facts) == 0) return;
  // The newest first: an older one that stayed behind alone would be stale, not missing.
  for (int64_t g = generation; g >= 0; --g) {
    std::error_code ignored;
    fs::remove(claim_file(job.hash, g), ignored);
  }
}

}  // namespace basin::tools
