// fork, setrlimit, pipe: see limited_child.h. The answer is framed (length, error or not,
// bytes), so that it counts only when it is whole, whatever the child does afterwards. The child
// leaves by _exit: no destructor or atexit handler of the program runs twice.
#include "basin/datasets/detail/limited_child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "basin/core/error.h"
#include "basin/core/printable.h"

namespace basin {
namespace {

constexpr size_t kFrame = 16;  // length of what follows; 1 for an error, else 0

void limit(int resource, uint64_t soft, uint64_t hard) {
  const rlimit both{soft, hard};
  ::setrlimit(static_cast<__rlimit_resource>(resource), &both);
}

// Bytes of address space in use; 0 when the system does not tell.
uint64_t address_space() {
  const int file = ::open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  char text[128] = {};  // the first of its numbers: pages
  const ssize_t n = ::read(file, text, sizeof text);
  ::close(file);
  uint64_t pages = 0;
  std::from_chars(text, text + std::max<ssize_t>(n, 0), pages);
  return pages * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

// The child points 1 and 2 at /dev/null; in a host program that has them closed the pipe must not
// stand there.
int above_standard(int fd) {
  if (fd > STDERR_FILENO) return fd;
  const int moved = ::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  ::close(fd);
  return moved;
}

void confine(const ChildLimits& limits, uint64_t used) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (const int signal :
       {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGXCPU, SIGTERM, SIGINT, SIGPIPE, SIGUSR1}) {
    ::signal(signal, SIG_DFL);
  }
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null >= 0) {  // what malloc or a sanitizer says about the damage is not for the user
    ::dup2(null, STDOUT_FILENO);
    ::dup2(null, STDERR_FILENO);
  }
  limit(RLIMIT_CORE, 0, 0);
  limit(RLIMIT_FSIZE, 0, 0);
  limit(RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 1);  // SIGXCPU, then SIGKILL
  if (used > 0) limit(RLIMIT_AS, used + limits.memory, used + limits.memory);
}

[[noreturn]] void answer_and_leave(int to, const std::function<std::vector<uint8_t>()>& work) {
  uint64_t frame[2] = {0, 0};
  std::vector<uint8_t> bytes;
  try {
    bytes = work();
  } catch (const Error& error) {
    const std::string_view text = error.what();
    bytes.assign(text.begin(), text.end());
    frame[1] = 1;
  } catch (...) {
    ::_exit(1);
  }
  frame[0] = bytes.size();
  std::vector<uint8_t> all(kFrame);
  std::memcpy(all.data(), frame, kFrame);
  all.insert(all.end(), bytes.begin(), bytes.end());
  for (size_t done = 0; done < all.size();) {
    const ssize_t n = ::write(to, all.data() + done, all.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) ::_exit(1);
    done += static_cast<size_t>(n);
  }
  ::_exit(0);
}

// Reads until the answer is whole, the pipe ends, the answer is too long or the time is over.
std::vector<uint8_t> collect(int from, const ChildLimits& limits, bool& late) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::seconds(limits.wall_seconds);
  std::vector<uint8_t> out;
  uint64_t length = limits.answer;
  while (out.size() < kFrame + length) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    late = left <= 0;
    if (late) break;
    pollfd wait{from, POLLIN, 0};
    const int ready = ::poll(&wait, 1, static_cast<int>(left));
    if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
    uint8_t buffer[1 << 16];
    const ssize_t n = ready < 0 ? -1 : ::read(from, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    out.insert(out.end(), buffer, buffer + n);
    if (out.size() >= kFrame) std::memcpy(&length, out.data(), sizeof length);
    if (length > limits.answer) break;
  }
  return out;
}

// Why a child ended without an answer.
std::string end_of(pid_t child, bool late, const ChildLimits& limits) {
  int status = 0;
  pid_t got = ::waitpid(child, &status, 0);
  while (got < 0 && errno == EINTR) got = ::waitpid(child, &status, 0);
  const bool killed = got == child && WIFSIGNALED(status);
  if (late || (killed && WTERMSIG(status) == SIGXCPU)) {
    return str("does not come to an end on it within ", limits.cpu_seconds,
               " s of processor time or ", limits.wall_seconds, " s");
  }
  return killed ? str("crashed on it (signal ", WTERMSIG(status), ")") : "gave up on it";
}

}  // namespace

std::vector<uint8_t> run_in_child(const std::string& where, const std::string& what,
                                  const ChildLimits& limits,
                                  const std::function<std::vector<uint8_t>()>& work) {
  int ends[2];
  const bool made = ::pipe2(ends, O_CLOEXEC) == 0;
  if (made) ends[0] = above_standard(ends[0]), ends[1] = above_standard(ends[1]);
  if (!made || ends[0] < 0 || ends[1] < 0) {
    fail(ErrorKind::resource, where, ": no pipe to a process for ", what, ": ", error_text(errno));
  }
  const uint64_t used = address_space();
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    confine(limits, used);
    answer_and_leave(ends[1], work);
  }
  const int error = errno;
  ::close(ends[1]);
  if (child < 0) {
    ::close(ends[0]);
    fail(ErrorKind::resource, where, ": no process for ", what, ": ", error_text(error));
  }
  bool late = false;
  std::vector<uint8_t> all = collect(ends[0], limits, late);
  uint64_t frame[2] = {~uint64_t{0}, 0};
  if (all.size() >= kFrame) std::memcpy(frame, all.data(), kFrame);
  const bool whole =
      all.size() >= kFrame && frame[0] == all.size() - kFrame && frame[0] <= limits.answer;
  if (!whole) ::kill(child, SIGKILL);  // before it meets a closed pipe
  ::close(ends[0]);
  const std::string end = end_of(child, late, limits);
  if (!whole) fail(ErrorKind::data, where, ": ", what, " ", end, "; the file is damaged");
  all.erase(all.begin(), all.begin() + kFrame);
  if (frame[1] != 0) fail(ErrorKind::data, printable(std::string(all.begin(), all.end())));
  return all;
}

}  // namespace basin
