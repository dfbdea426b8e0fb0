// Recording on the CPU: the writes of Tensor are entered and repeated, memory is shared as without,
// and what a recording cannot know of spoils it, but not the work.
#include "basin/core/host_recording.h"

#include <doctest/doctest.h>

#include <thread>

#include "basin/core/parallel.h"
#include "basin/core/tensor.h"
#include "basin/tests/core/errors.h"

namespace basin::test {
namespace {

std::string refusal_of(const std::function<void()>& work) {
  return DeviceGraph::record(Device::cpu, work).refusal();
}

}  // namespace

TEST_CASE("host recording: fills, copies and casts are repeated on new values") {
  Tensor x = Tensor::full({3}, DType::f32, 2), y = Tensor::zeros({3}, DType::f64);
  Tensor z = Tensor::zeros({3}, DType::f64);
  RepeatedWork repeated(Device::cpu);
  int runs = 0;
  const auto work = [&] {
    ++runs;
    y.copy_from(x.clone().to(DType::f64));
    z.fill(5);
    z.copy_from(z.clone());
  };
  repeated.run(work);
  CHECK(repeated.recorded());
  CHECK(repeated.refusal().empty());
  CHECK(y.to_vector<double>() == std::vector<double>(3, 2.0));
  for (const double value : {7.0, -1.0}) {
    x.fill(value);
    z.fill(0);
    repeated.run(work);
    CHECK(y.to_vector<double>() == std::vector<double>(3, value));
    CHECK(z.to_vector<double>() == std::vector<double>(3, 5.0));
  }
  CHECK(runs == 1);
  repeated.forget();
  repeated.run(work);
  CHECK(runs == 2);
}

TEST_CASE("host recording: results share memory as they do without") {
  const int64_t n = 1 << 18;  // 2 MiB of f64: a block of its own
  const Tensor x = Tensor::full({n}, DType::f64, 1);
  Tensor y = Tensor::zeros({n}, DType::f64);
  RepeatedWork repeated(Device::cpu);
  const auto work = [&] {
    Tensor t = x.clone();
    for (int i = 0; i < 20; ++i) t = t.clone();
    y.copy_from(t);
  };
  repeated.run(work);
  const size_t reserved = repeated.reserved_bytes();
  CHECK(reserved >= 2 * x.bytes());
  CHECK(reserved < 3 * x.bytes());
  y.fill(0);
  // What is made between the calls does not get the pool's blocks.
  const Tensor other = Tensor::full({n}, DType::f64, 3);
  repeated.run(work);
  CHECK(y.at(n - 1) == 1);
  CHECK(other.to_vector<double>() == std::vector<double>(static_cast<size_t>(n), 3.0));
  CHECK(repeated.reserved_bytes() == reserved);
}

TEST_CASE("host recording: values that pass through the host are refused, the work is done") {
  Tensor x = Tensor::full({3}, DType::f32, 2), done = Tensor::zeros({1}, DType::f64);
  const std::vector<std::pair<std::function<void()>, std::string>> cases{
      {[&] { x.at(0); }, "reads"},
      {[&] { Tensor::scalar(1, DType::f32).item(); }, "reads"},
      {[&] { x.to_vector<double>(); }, "reads"},
      {[&] { x.data<float>(); }, "reads"},
      {[&] { x.raw(); }, "reads"},
      {[&] { x.mutable_data<float>(); }, "reads"},
      {[&] { x.mutable_raw(); }, "writes"},
      {[&] { Tensor::from(std::vector<float>{1}, {1}); }, "writes"}};
  for (size_t i = 0; i < cases.size(); ++i) {
    CAPTURE(i);
    done.fill(0);
    const std::string why = refusal_of([&] {
      cases[i].first();
      done.fill(1);
    });
    CHECK(why == str("the host ", cases[i].second, " values of a tensor"));
    CHECK(done.at(0) == 1);
  }
  CHECK(refusal_of([&] { x.fill(1); }).empty());
  CHECK(refusal_of([] { parallel_for(10, 1, [](int64_t, int64_t) {}); }) ==
        "the host works in threads of its own");
  // Shapes and types are no values.
  CHECK(refusal_of([&] { done.fill(static_cast<double>(x.numel() + x.rank())); }).empty());
}

TEST_CASE("host recording: it is of one thread, one at a time, and ends with an error") {
  Tensor x = Tensor::full({3}, DType::f32, 2);
  CHECK(refusal_of([&] { std::thread([&] { x.at(0); }).join(); }).empty());
  const auto [kind, what] = error_of(
      [&] { DeviceGraph::record(Device::cpu, [] { DeviceGraph::record(Device::cpu, [] {}); }); });
  CHECK(kind == ErrorKind::usage);
  CHECK(what == "host recording: a second recording begins");
  CHECK(HostRecording::current() == nullptr);
  CHECK(error_of([] { DeviceGraph().replay(); }).second == "DeviceGraph: nothing was recorded");
}

}  // namespace basin::test
