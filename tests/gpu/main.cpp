// The main of test_gpu: every case needs a device. Without one it says why and exits with 77, which
// CTest shows as skipped.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>

#include "basin/core/device.h"
#include "basin/core/error.h"
#include "basin/core/log.h"
#include "basin/kernels/launch.h"

int main(int argc, char** argv) {
  doctest::Context context(argc, argv);
  bool listing = false;  // as the build does, on any machine
  for (int i = 1; i < argc; ++i) {
    listing |= std::string_view(argv[i]).find("list-test-cases") != std::string_view::npos;
  }
  try {
    if (!listing) basin::require_device(basin::Device::cuda);
  } catch (const basin::Error& e) {
    std::printf("SKIPPED: %s\n", e.what());
    return 77;
  }
  basin::set_log_sink([](basin::LogLevel level, const std::string& message) {
    if (level == basin::LogLevel::warning) FAIL_CHECK("unexpected warning: ", message);
  });
  const int failures = context.run();
  basin::set_log_sink(nullptr);
  return failures;
}
