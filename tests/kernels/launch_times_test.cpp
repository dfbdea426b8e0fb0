// Timed launches: names and shapes, nested kernels, and threads apart.
#include "basin/kernels/launch_times.h"

#include <doctest/doctest.h>

#include <chrono>
#include <thread>

#include "basin/autograd/ops.h"
#include "basin/kernels/launch.h"

namespace basin::test {
namespace {

struct Inner {
  static constexpr const char* name = "inner";
  using Run = void(const Tensor& x);
  static void cpu(const Tensor&) { std::this_thread::sleep_for(std::chrono::milliseconds(20)); }
};
struct Outer {
  static constexpr const char* name = "outer";
  using Run = void(const Tensor& x, const Tensor& y);
  static void cpu(const Tensor& x, const Tensor&) {
    launch<Inner>(Device::cpu, x);
    launch<Inner>(Device::cpu, x);
  }
};

TEST_CASE("launch times: kernels by name and shapes, while the scope is open") {
  const Tensor a = Tensor::full({3, 4}, DType::f32, 1), b = Tensor::full({4, 2}, DType::f32, 1);
  LaunchTimes times;
  {
    const LaunchTimes::Scope scope(times);
    matmul(a, b);
    matmul(a, b);
    exp(a);
  }
  exp(a);
  REQUIRE(times.totals().size() == 2);
  CHECK(times.totals().at("matmul [3, 4] [4, 2] [3, 2]").calls == 2);
  CHECK(times.totals().at("unary [3, 4] [3, 4]").calls == 1);
  CHECK(LaunchTimes::current() == nullptr);
}

TEST_CASE("launch times: time in a kernel that another one launches is counted once") {
  const Tensor x = Tensor::full({2, 3}, DType::f32, 1);
  LaunchTimes times;
  const double start = seconds_now();
  {
    const LaunchTimes::Scope scope(times);
    launch<Outer>(Device::cpu, x, Tensor());
  }
  const double whole = seconds_now() - start;
  const LaunchTimes::Total inner = times.totals().at("inner [2, 3]");
  const LaunchTimes::Total outer = times.totals().at("outer [2, 3]");
  CHECK(inner.calls == 2);
  CHECK(outer.calls == 1);
  CHECK(inner.seconds >= 0.04);
  CHECK(outer.seconds >= 0);
  CHECK(inner.seconds + outer.seconds <= whole);
}

TEST_CASE("launch times: what another thread launches is its own") {
  const Tensor x = Tensor::full({2, 3}, DType::f32, 1);
  LaunchTimes times;
  const LaunchTimes::Scope scope(times);
  std::thread other([&] { exp(x); });
  other.join();
  CHECK(times.totals().empty());
}

}  // namespace
}  // namespace basin::test
