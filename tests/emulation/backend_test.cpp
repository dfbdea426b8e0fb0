// Tensors on the device: copies both ways, fills, printing values, in-place copies, memory that is
// reused, and one sentence each for no driver, no device, no memory and wrong indices. What
// concerns the start of a process runs in a fresh one: this program with one hidden case.
#include <doctest/doctest.h>

#include <cstdio>
#include <filesystem>
#include <functional>
#include <string>

#include "basin/autograd/ops.h"
#include "basin/core/error.h"
#include "basin/core/storage.h"
#include "basin/kernels/cuda/runtime.cuh"

using namespace basin;

namespace {

// The output of `environment this-program --no-skip --test-case=name`.
std::string in_fresh_process(const std::string& environment, const std::string& name) {
  const std::string path = std::filesystem::read_symlink("/proc/self/exe").string();
  const std::string command = environment + " '" + path + "' --no-skip '--test-case=" + name + "'";
  FILE* child = popen(command.c_str(), "r");
  REQUIRE(child != nullptr);
  std::string out;
  char buffer[1024];
  while (std::fgets(buffer, sizeof buffer, child)) out += buffer;
  pclose(child);
  return out;
}

void print_error(const std::function<void()>& f) {
  try {
    f();
    std::printf("no error\n");
  } catch (const Error& e) {
    std::printf("exit %d: %s\n", e.exit_code(), e.what());
  }
}

Tensor counting(const Shape& shape) {
  std::vector<float> v(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i);
  return Tensor::from(v, shape);
}

}  // namespace

TEST_CASE("emulation backend: tensors travel both ways") {
  // Three 4 MiB staging buffers and a bit.
  for (const Shape& shape : {Shape{}, Shape{0}, Shape{7, 3}, Shape{3 * 1024 * 1024 + 11}}) {
    const Tensor x = counting(shape), there = x.to(Device::cuda);
    CHECK(there.device() == Device::cuda);
    CHECK(there.shape() == shape);
    CHECK(there.to_vector<float>() == x.to_vector<float>());
    CHECK(there.clone().to(Device::cpu).to_vector<float>() == x.to_vector<float>());
    CHECK(there.to(Device::cuda).raw() == there.raw());
  }
  CHECK(Tensor::from(std::vector<int64_t>{4, 5}, {2}, Device::cuda).at(1) == 5);
}

TEST_CASE("emulation backend: fills, values, conversions, in-place copies") {
  for (DType t : {DType::f32, DType::f64, DType::i32, DType::i64}) {
    CHECK(Tensor::zeros({5}, t, Device::cuda).to_vector<double>() == std::vector<double>(5, 0.0));
    Tensor x = Tensor::full({2, 2}, t, 3, Device::cuda);
    CHECK(x.to_vector<double>() == std::vector<double>(4, 3.0));
    x.copy_from(Tensor::full({2, 2}, t, -2));
    CHECK(x.at(3) == -2);
    Tensor here = Tensor::zeros({2, 2}, t);
    here.copy_from(x);
    CHECK(here.at(0) == -2);
    CHECK(x.to(DType::f64).device() == Device::cuda);
    CHECK(x.to(DType::f64).at(2) == -2);
  }
  CHECK(Tensor::full({}, DType::f32, 1.5, Device::cuda).item() == 1.5);
  const Tensor x = Tensor::zeros({3}, DType::f32, Device::cuda);
  CHECK_THROWS_WITH_AS(x.data<float>(),
                       "Tensor::data: the tensor is on cuda; copy it with to(Device::cpu) first",
                       Error);
}

TEST_CASE("emulation backend: a freed block is handed out again") {
  const void* first = nullptr;
  {
    const Tensor x = Tensor::empty({1 << 20}, DType::f32, Device::cuda);
    first = x.raw();
  }
  const uint64_t mappings = allocator_stats(Device::cuda).mappings;
  for (int i = 0; i < 10; ++i) {
    CHECK(Tensor::empty({1 << 20}, DType::f32, Device::cuda).raw() == first);
  }
  CHECK(allocator_stats(Device::cuda).mappings == mappings);
  const size_t reserved = allocator_stats(Device::cuda).reserved_bytes;
  release_cached_memory(Device::cuda);
  CHECK(allocator_stats(Device::cuda).reserved_bytes < reserved);
}

TEST_CASE("emulation backend: arguments on different devices") {
  const Tensor x = counting({4, 2}).to(Device::cuda), index = Tensor::zeros({3}, DType::i32);
  try {
    gather(x, index);
    FAIL("an index on the CPU was taken");
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::usage);
    CHECK(std::string(e.what()).find("is on the CPU, the others are not") != std::string::npos);
  }
}

TEST_CASE("emulation backend: what is unsafe in a capture ruins it, as on a device") {
  require_device(Device::cuda);
  cudaStream_t stream = cuda::stream();
  cudaGraph_t graph = nullptr;
  void* p = nullptr;
  const std::function<cudaError_t()> unsafe[] = {
      [&] { return cudaStreamSynchronize(stream); },
      [&] { return cudaDeviceSynchronize(); },
      [&] { return cudaMalloc(&p, 4096); },
      [&] { return cudaMallocHost(&p, 4096); },
  };
  for (const auto& call : unsafe) {
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) ==
          cudaErrorIllegalState);
    CHECK(call() == cudaErrorStreamCaptureUnsupported);
    CHECK(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated);
    CHECK(graph == nullptr);
    CHECK(cudaStreamSynchronize(stream) == cudaSuccess);
  }
  cudaGetLastError();
  CHECK(Tensor::full({2}, DType::f32, 4, Device::cuda).at(1) == 4);
}

TEST_CASE("child: use the device" * doctest::skip()) {
  print_error([] { require_device(Device::cuda); });
  print_error([] { Tensor::zeros({4}, DType::f32, Device::cuda); });
}
TEST_CASE("child: exhaust the device" * doctest::skip()) {
  print_error([] { Tensor::empty({1 << 20}, DType::f64, Device::cuda); });
  print_error([] { Tensor::empty({1 << 30}, DType::f64, Device::cuda); });
}
TEST_CASE("child: wrong indices" * doctest::skip()) {
  const Tensor x = counting({4, 2}).to(Device::cuda);
  const Tensor index = Tensor::from(std::vector<int32_t>{0, 4}, {2}, Device::cuda);
  print_error([&] { gather(x, index); });
  print_error(
      [&] { one_hot(Tensor::from(std::vector<int64_t>{3}, {1}, Device::cuda), 3, DType::f32); });
  print_error([&] { segment_sum(x, Tensor::from(std::vector<int32_t>{0, 3}, {2}, Device::cuda)); });
}

TEST_CASE("emulation backend: no device, no driver, no memory") {
  const std::string none = in_fresh_process("BASIN_EMULATION_DEVICES=0", "child: use the device");
  const std::string sentence =
      "exit 5: cuda: no CUDA device is visible; check CUDA_VISIBLE_DEVICES, or use --device cpu\n";
  CHECK_MESSAGE(none.find(sentence + sentence) != std::string::npos, none);
  const std::string driver = in_fresh_process("BASIN_EMULATION_DRIVER=0", "child: use the device");
  CHECK_MESSAGE(driver.find("exit 5: cuda: needs an NVIDIA driver for CUDA 12.0, found none (CUDA "
                            "driver version is insufficient for CUDA runtime version); use "
                            "--device cpu\n") != std::string::npos,
                driver);
  const std::string memory =
      in_fresh_process("BASIN_EMULATION_MEMORY=100000000", "child: exhaust the device");
  CHECK_MESSAGE(
      memory.find("no error\nexit 5: memory: cannot allocate 8589934592 bytes on cuda (") !=
          std::string::npos,
      memory);
}

TEST_CASE("emulation backend: BASIN_SYNC=1 checks indices, labels and offsets on the device") {
  const std::string out = in_fresh_process("BASIN_SYNC=1", "child: wrong indices");
  CHECK_MESSAGE(
      out.find("exit 2: gather: index 4 at position 1 is outside 0..3\n"
               "exit 2: one_hot: label 3 at position 0 is outside 0..2\n"
               "exit 2: segment_sum: offsets end at 3, expected 4 rows\n") != std::string::npos,
      out);
}
