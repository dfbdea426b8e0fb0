// The confined process: answers, errors, and every way to end without an answer.
#include "basin/datasets/limited_child.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <ctime>

#include "basin/tests/core/files.h"

using namespace basin;
using test::check_error;

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
