// The harness against kernels with planted faults: a missing barrier shows as sums that differ
// between thread orders, a divergent barrier and a warp operation without its lanes as one
// sentence, a write behind a tensor and a host read of device memory as the death of a child
// process.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstdio>
#include <string>

#include "basin/core/error.h"
#include "basin/core/random.h"
#include "basin/kernels/launch.h"
#include "basin/tests/emulation/emulator.h"
#include "basin/tests/emulation/planted.h"

using namespace basin;
using planted::Fault;

namespace {

Tensor cloud() {
  Rng rng(1, stream_id("planted"));
  std::vector<float> v(20 * 300);
  for (float& x : v) x = static_cast<float>(rng.uniform(-1, 1));
  return Tensor::from(v, {20, 300});
}

std::vector<float> sums(Fault fault, emu::Order order) {
  emu::set_order(order);
  const std::vector<float> out =
      planted::row_sums(cloud().to(Device::cuda), fault).to_vector<float>();
  emu::set_order(emu::Order::forward);
  return out;
}

std::string sentence(Fault fault) {
  try {
    sums(fault, emu::Order::forward);
  } catch (const Error& e) {
    return e.what();
  }
  return "nothing was thrown";
}

// What the child process printed, and whether it died of it.
struct Death {
  bool died = false;
  std::string printed;
};
template <class F>
Death in_child(const F& f) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], 1);
    dup2(ends[1], 2);
    close(ends[0]);
    std::signal(SIGSEGV, SIG_DFL);  // not the handler of the test framework
    f();
    _exit(0);
  }
  close(ends[1]);
  Death death;
  char buffer[4096];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;) {
    death.printed.append(buffer, static_cast<size_t>(n));
  }
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  death.died = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
  return death;
}

}  // namespace

TEST_CASE("emulation: a right kernel gives the same bits in every thread order") {
  const std::vector<float> forward = sums(Fault::none, emu::Order::forward);
  CHECK(sums(Fault::none, emu::Order::reverse) == forward);
  CHECK(sums(Fault::none, emu::Order::random) == forward);
  const Tensor x = cloud();
  for (int64_t r = 0; r < x.size(0); ++r) {
    double sum = 0;
    for (int64_t i = 0; i < x.size(1); ++i) sum += x.at(r * x.size(1) + i);
    CHECK(std::abs(forward[r] - sum) < 1e-5);
  }
}

TEST_CASE("emulation: a missing barrier shows as sums that depend on the thread order") {
  const std::vector<float> right = sums(Fault::none, emu::Order::forward);
  const std::vector<float> reverse = sums(Fault::missing_barrier, emu::Order::reverse);
  const std::vector<float> forward = sums(Fault::missing_barrier, emu::Order::forward);
  int differing = 0;
  for (size_t r = 0; r < right.size(); ++r) differing += forward[r] != reverse[r];
  std::printf("emulation: %d of %zu sums differ between two thread orders\n", differing,
              right.size());
  CHECK(differing > 0);
  CHECK(forward != right);
}

TEST_CASE("emulation: a divergent barrier is named") {
  const std::string s = sentence(Fault::divergent_barrier);
  std::printf("%s\n", s.c_str());
  CHECK(s.find("emulation: kernel row_sums, block (0, 0, 0): the barrier diverges: 64 threads, the "
               "first (0, 0, 0), wait in __syncthreads() at planted.cu:") == 0);
  CHECK(s.find("; 64 threads, the first (64, 0, 0), ended") != std::string::npos);
  CHECK(sums(Fault::none, emu::Order::forward) == sums(Fault::none, emu::Order::reverse));
}

TEST_CASE("emulation: a warp operation without its lanes is named") {
  const std::string absent = sentence(Fault::absent_lane);
  CHECK(
      absent.find("a warp operation waits for lanes that do not come: 8 threads, the first (0, 0, "
                  "0), wait in __syncwarp() at planted.cu:") != std::string::npos);
  const std::string wrong = sentence(Fault::wrong_lane);
  CHECK(wrong.find("thread (0, 0, 0) in __shfl_sync() at planted.cu:") != std::string::npos);
  CHECK(wrong.find("reads from outside its mask, lane 9") != std::string::npos);
}

TEST_CASE("emulation: a write behind a tensor ends the process") {
#if defined(__SANITIZE_ADDRESS__)
  CHECK_FALSE(in_child([] { sums(Fault::none, emu::Order::forward); }).died);
  const Death death = in_child([] { sums(Fault::out_of_bounds, emu::Order::forward); });
  CHECK(death.died);
  CHECK(death.printed.find("AddressSanitizer: use-after-poison") != std::string::npos);
  CHECK(death.printed.find("row_sums_kernel") != std::string::npos);
  const size_t line = death.printed.find("ERROR: AddressSanitizer");
  std::printf("%s\n", death.printed.substr(line, death.printed.find('\n', line) - line).c_str());
#else
  MESSAGE("SKIPPED: needs AddressSanitizer");
#endif
}

TEST_CASE("emulation: a host read of device memory ends the process") {
  const Tensor x = cloud().to(Device::cuda);
  CHECK_THROWS_AS(x.data<float>(), Error);
  const Death death = in_child([&] {
    const volatile auto* p = static_cast<const float*>(x.raw());
    std::printf("%f", static_cast<double>(p[0]));
  });
  CHECK(death.died);
}
