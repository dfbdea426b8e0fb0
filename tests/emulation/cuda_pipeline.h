// Stands in for the CUDA toolkit's header of this name: copies to shared memory that are under way
// until their thread waits for them. They are made then, so that a wait too few shows.
#pragma once
#include <cstddef>
#include <cstring>
#include <map>
#include <vector>

#include "basin/tests/emulation/device_functions.h"

namespace basin::emu {

struct AsyncCopy {
  void* to;
  const void* from;
  size_t bytes;
};
// Of the running thread: batches in the order in which they were begun, the last of them open.
inline std::vector<std::vector<AsyncCopy>>& async_copies() {
  static std::map<unsigned, std::vector<std::vector<AsyncCopy>>> of_thread;
  return of_thread[(threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x];
}

}  // namespace basin::emu

inline void __pipeline_memcpy_async(void* to, const void* from, size_t bytes) {
  auto& batches = basin::emu::async_copies();
  if (batches.empty()) batches.emplace_back();
  batches.back().push_back({to, from, bytes});
}
inline void __pipeline_commit() {
  auto& batches = basin::emu::async_copies();
  if (batches.empty()) batches.emplace_back();
  batches.emplace_back();
}
// Ends all batches but the last `left` that were committed.
inline void __pipeline_wait_prior(size_t left) {
  auto& batches = basin::emu::async_copies();
  while (batches.size() > left + 1) {
    for (const auto& c : batches.front()) std::memcpy(c.to, c.from, c.bytes);
    batches.erase(batches.begin());
  }
}
