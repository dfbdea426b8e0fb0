// The main of every test program. Library code reports through the log sink; a warning that a test
// did not ask for is a failure of that test. A test that expects one installs its own sink for the
// while.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "basin/core/log.h"

int main(int argc, char** argv) {
  doctest::Context context(argc, argv);
  basin::set_log_sink([](basin::LogLevel level, const std::string& message) {
    if (level == basin::LogLevel::warning) FAIL_CHECK("unexpected warning: ", message);
  });
  const int failures = context.run();
  basin::set_log_sink(nullptr);
  return failures;
}
