// The confined process: answers, errors, every way to end without an answer, and system calls that
// fail on either side.
#include "basin/datasets/detail/limited_child.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <ctime>

#include "basin/tests/core/faults.h"
#include "basin/tests/core/files.h"

using namespace basin;
using test::Call;
using test::check_error;
using test::Fault;

namespace {

const std::vector<uint8_t> kAnswer(1 << 20, 7);

std::vector<uint8_t> answer() { return kAnswer; }

}  // namespace

TEST_CASE("limited child: an answer of any length comes back") {
  for (const size_t n : {size_t{0}, size_t{1}, size_t{1} << 20}) {
    const auto got = run_in_child("here", "work", {}, [&] {
      return std::vector<uint8_t>(n, static_cast<uint8_t>(n % 251 + 1));
    });
    CHECK(got == std::vector<uint8_t>(n, static_cast<uint8_t>(n % 251 + 1)));
  }
}

TEST_CASE("limited child: an error comes back as a data error") {
  check_error(ErrorKind::data, {"file.h5: offset 7: broken?it is"}, [] {
    run_in_child("here", "work", {}, []() -> std::vector<uint8_t> {
      fail(ErrorKind::data, "file.h5: offset 7: broken\nit is");
    });
  });
}

TEST_CASE("limited child: a crash is a sentence, and the parent lives on") {
  const auto ends = [](const std::vector<std::string>& words, const ChildLimits& limits,
                       const std::function<void()>& deed) {
    check_error(ErrorKind::data, words, [&] {
      run_in_child("a.h5: offset 0", "libfoo", limits, [&] {
        deed();
        return std::vector<uint8_t>{1};
      });
    });
  };
  ends({"a.h5: offset 0: libfoo crashed on it", "signal 11", "damaged"}, {},
       [] { ::kill(::getpid(), SIGSEGV); });
  ends({"libfoo crashed on it", "signal 6"}, {}, [] { std::abort(); });
  ends({"libfoo gave up on it"}, {}, [] { ::_exit(0); });
  ends({"libfoo gave up on it"}, {}, [] { throw 7; });
  ChildLimits quick;
  quick.cpu_seconds = 1;
  ends({"does not come to an end", "1 s of processor time"}, quick, [] {
    while (std::clock() >= 0) continue;
  });
  quick.wall_seconds = 1;
  ends({"does not come to an end"}, quick, [] { ::pause(); });
  ChildLimits little;
  little.answer = 0;
  check_error(ErrorKind::data, {"libfoo"}, [&] {
    run_in_child("a.h5", "libfoo", little, [] { return std::vector<uint8_t>(100); });
  });
}

// The sanitizers reserve address space of their own and answer differently.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("limited child: memory beyond the limit is refused") {
  ChildLimits small;
  small.memory = 64u << 20;
  check_error(ErrorKind::data, {"gave up"}, [&] {
    run_in_child("a.h5", "libfoo", small, [] { return std::vector<uint8_t>(100u << 20); });
  });
}
#endif

TEST_CASE("limited child: an interrupted call is made again") {
  for (const Call call : {Call::poll, Call::read, Call::write, Call::wait}) {
    INFO(static_cast<int>(call));
    const Fault fault(call, EINTR, call == Call::read);  // its first read is of /proc
    CHECK(run_in_child("here", "work", {}, answer) == kAnswer);
    CHECK(fault.struck() == (call != Call::write));  // that one strikes in the child
  }
}

TEST_CASE("limited child: without a pipe or a process there is no answer") {
  const auto refused = [](const Fault&, const std::string& words) {
    check_error(ErrorKind::resource, {"a.h5: offset 0: " + words},
                [] { run_in_child("a.h5: offset 0", "libfoo", {}, answer); });
  };
  refused(Fault(Call::pipe, EMFILE), "no pipe to a process for libfoo: Too many open files");
  refused(Fault(Call::fork, EAGAIN), "no process for libfoo: Resource temporarily unavailable");
}

TEST_CASE("limited child: an answer that cannot be written or read is none") {
  const auto refused = [](const Fault&, const std::string& words) {
    check_error(ErrorKind::data, {words}, [] { run_in_child("a.h5", "libfoo", {}, answer); });
  };
  const std::string gave_up = "a.h5: libfoo gave up on it; the file is damaged";
  refused(Fault(Call::write, EPIPE), gave_up);
  refused(Fault(Call::write, EPIPE, 1, 20), gave_up);  // behind the frame and four bytes
  const std::string killed = "a.h5: libfoo crashed on it (signal 9); the file is damaged";
  refused(Fault(Call::read, EIO, 2, 100), killed);  // the child is still writing
  refused(Fault(Call::poll, ENOMEM), killed);
}

TEST_CASE("limited child: a program that ignores its children gets the answer, and no signal") {
  void (*const before)(int) = ::signal(SIGCHLD, SIG_IGN);
  CHECK(run_in_child("here", "work", {}, answer) == kAnswer);
  check_error(ErrorKind::data, {"a.h5: libfoo gave up on it"}, [] {
    run_in_child("a.h5", "libfoo", {}, []() -> std::vector<uint8_t> { std::abort(); });
  });
  ::signal(SIGCHLD, before);
}

TEST_CASE("limited child: without /proc or /dev/null the answer comes as well") {
  {
    const Fault fault(Call::open, ENOENT);
    CHECK(run_in_child("here", "work", {}, answer) == kAnswer);
    CHECK(fault.struck());
  }
  const Fault fault(Call::open, ENOENT, 1);  // the first that the child opens
  CHECK(run_in_child("here", "work", {}, answer) == kAnswer);
}

TEST_CASE("limited child: an answer in pieces, shorter than its frame") {
  const std::vector<uint8_t> few(100, 3);
  for (const Call call : {Call::read, Call::write}) {
    const Fault fault(call, 0, 0, 7);
    CHECK(run_in_child("here", "work", {}, [&] { return few; }) == few);
  }
}
