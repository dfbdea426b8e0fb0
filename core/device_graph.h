// Device work that is the same from call to call, recorded once and then started with one call (a
// CUDA graph). What a graph keeps are addresses and arguments, hence the rules for such work:
//   - its tensors come from a pool of its own, so that their memory is nobody else's between calls;
//   - its inputs stay where they are; what changes from call to call (rates, step numbers) is read
//     from device memory, never given as an argument;
//   - it neither waits for the device nor copies from or to the host. Whoever tries gets an error.
// A replay gives the bits of the plain run: the same kernels with the same arguments, in order.
#pragma once
#include <functional>
#include <memory>

#include "basin/core/device.h"
#include "basin/core/storage.h"

namespace basin {

// A share of a device's memory. While a scope of it is open in this thread, tensors made on the
// device take their blocks from it; a block returns to the pool that it came from.
class MemoryPool {
 public:
  explicit MemoryPool(Device device);  // usage error for the CPU
  AllocatorStats stats() const;

  class Scope {
   public:
    // fixed: a usage error instead of growth.
    explicit Scope(const MemoryPool& pool, bool fixed = false);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    std::shared_ptr<PoolState> state_;
    PoolState* before_;
  };

  // While it is open, tensors of this thread come from the device's own allocator again: for what
  // outlives the work that first asked for it, such as the workspace of a library.
  class Outside {
   public:
    Outside();
    ~Outside();
    Outside(const Outside&) = delete;
    Outside& operator=(const Outside&) = delete;

   private:
    PoolState* before_;
  };

 private:
  std::shared_ptr<PoolState> state_;  // blocks in use keep it alive
};

class DeviceGraph {
 public:
  DeviceGraph() = default;
  // Runs `work` with the device recording: nothing is computed. An error of it passes through.
  static DeviceGraph record(Device device, const std::function<void()>& work);
  bool defined() const { return graph_ != nullptr; }
  void replay() const;  // starts it; does not wait

 private:
  Device device_ = Device::cpu;
  std::shared_ptr<void> graph_;
};

// The usual course: the first call runs the work in a pool of its own, which then has all the
// blocks that it needs; the second records it; that one and all later ones replay it. The work must
// leave its results in tensors that were made outside.
class RepeatedWork {
 public:
  explicit RepeatedWork(Device device) : device_(device), pool_(device) {}
  void run(const std::function<void()>& work);
  void forget() { graph_ = {}; }  // something that was baked in has changed: record anew
  bool recorded() const { return graph_.defined(); }
  size_t reserved_bytes() const { return pool_.stats().reserved_bytes; }

 private:
  Device device_;
  MemoryPool pool_;
  DeviceGraph graph_;
  bool rehearsed_ = false;
};

}  // namespace basin
