// The caching allocator: reuse without new mappings, live and peak bytes, alignment, release,
// versions, exhaustion.
#include "basin/core/storage.h"

#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "basin/core/error.h"

using namespace basin;

TEST_CASE("storage: a second identical allocation maps nothing and gets the same block") {
  for (size_t bytes : {size_t{1}, size_t{100}, size_t{5000}, size_t{300000}, size_t{3} << 20}) {
    CAPTURE(bytes);
    void* first = nullptr;
    {
      const Storage s(bytes, Device::cpu);
      first = s.data();
    }
    const uint64_t mappings = allocator_stats().mappings;
    const size_t reserved = allocator_stats().reserved_bytes;
    for (int i = 0; i < 100; ++i) {
      const Storage again(bytes, Device::cpu);
      CHECK(again.data() == first);
      std::memset(again.data(), i, bytes);
    }
    CHECK(allocator_stats().mappings == mappings);
    CHECK(allocator_stats().reserved_bytes == reserved);
  }
}

TEST_CASE("storage: blocks are aligned, disjoint and at most an eighth larger") {
  const size_t before = allocator_stats().live_bytes;
  std::vector<std::unique_ptr<Storage>> held;
  size_t asked = 0;
  for (size_t bytes : {0, 1, 63, 64, 65, 511, 513, 1000, 4097, 70000, 1100000, 2200000}) {
    for (int copy = 0; copy < 2; ++copy) {
      held.push_back(std::make_unique<Storage>(bytes, Device::cpu));
      CHECK(reinterpret_cast<uintptr_t>(held.back()->data()) % 64 == 0);
      CHECK(held.back()->bytes() == bytes);
      std::memset(held.back()->data(), static_cast<int>(held.size()), bytes);
      asked += bytes;
    }
  }
  for (size_t i = 0; i < held.size(); ++i) {
    const auto* p = static_cast<const unsigned char*>(held[i]->data());
    for (size_t k = 0; k < held[i]->bytes(); k += 61) REQUIRE(p[k] == i + 1);
  }
  const size_t live = allocator_stats().live_bytes - before;
  CHECK(live >= asked);
  CHECK(live <= asked + asked / 8 + held.size() * 64 + 4 * 4096);
  held.clear();
  CHECK(allocator_stats().live_bytes == before);
}

TEST_CASE("storage: peak bytes since the last reset") {
  const size_t before = allocator_stats().live_bytes;
  reset_peak_bytes();
  CHECK(allocator_stats().peak_bytes == before);
  {
    const Storage a(1 << 20, Device::cpu);
    { const Storage b(1 << 20, Device::cpu); }
    const Storage c(1 << 19, Device::cpu);
  }
  CHECK(allocator_stats().peak_bytes == before + (2 << 20));
  CHECK(allocator_stats().live_bytes == before);
  reset_peak_bytes();
  CHECK(allocator_stats().peak_bytes == before);
}

TEST_CASE("storage: release gives large free blocks back and leaves live ones") {
  Storage live(5 << 20, Device::cpu);
  std::memset(live.data(), 3, live.bytes());
  { const Storage free(7 << 20, Device::cpu); }
  const size_t reserved = allocator_stats().reserved_bytes;
  release_cached_memory();
  CHECK(allocator_stats().reserved_bytes <= reserved - (7 << 20));
  CHECK(static_cast<const char*>(live.data())[live.bytes() - 1] == 3);
  const uint64_t mappings = allocator_stats().mappings;
  const Storage again(7 << 20, Device::cpu);
  CHECK(allocator_stats().mappings == mappings + 1);
}

TEST_CASE("storage: versions count in-place writes") {
  Storage s(8, Device::cpu);
  CHECK(s.version() == 0);
  s.bump_version();
  CHECK(s.version() == 1);
}

TEST_CASE("storage: exhausted memory is a resource error that says how much was asked") {
  try {
    const Storage s(size_t{1} << 55, Device::cpu);
    FAIL("2^55 bytes were handed out");
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::resource);
    CHECK(std::string(e.what()).find("36028797018963968") != std::string::npos);
  }
  const size_t live = allocator_stats().live_bytes;
  CHECK_THROWS_AS(Storage(size_t{1} << 55, Device::cpu), Error);
  CHECK(allocator_stats().live_bytes == live);
  if (!kHasCuda) CHECK_THROWS_AS(Storage(64, Device::cuda), Error);
}

TEST_CASE("storage: several threads allocate and free") {
  const size_t before = allocator_stats().live_bytes;
  std::vector<std::thread> threads;
  std::atomic<int> broken{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        const size_t bytes = 64 + static_cast<size_t>(i % 7) * 900;
        const Storage s(bytes, Device::cpu);
        std::memset(s.data(), t, bytes);
        const auto* p = static_cast<const unsigned char*>(s.data());
        if (p[0] != t || p[bytes - 1] != t) ++broken;
      }
    });
  }
  for (std::thread& t : threads) t.join();
  CHECK(broken == 0);
  CHECK(allocator_stats().live_bytes == before);
}
