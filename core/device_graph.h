// Work that is the same from call to call, recorded once and then started with one call: a CUDA
// graph on a device, a list of kernels on the CPU (core/host_recording.h). What is kept are
// addresses and arguments, hence the rules for such work:
//   - its tensors come from a pool of its own, so that their memory is nobody else's between calls;
//   - its inputs stay where they are; what changes from call to call (rates, step numbers) is read
//     from the memory of the device, never given as an argument;
//   - it neither waits for the device nor copies from or to the host. Whoever tries gets an error;
//     on the CPU, which works while it records, the work is done and the recording refused.
// A replay gives the bits of the plain run: the same kernels with the same arguments, in order.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "basin/core/device.h"
#include "basin/core/storage.h"

namespace basin {

// A share of a device's memory. While a scope of it is open in this thread, tensors made on the
// device take their blocks from it; a block returns to the pool that it came from.
class MemoryPool {
 public:
  explicit MemoryPool(Device device);
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
  // Runs `work` with the device recording: nothing is computed, but on the CPU all of it. An error
  // of it passes through.
  static DeviceGraph record(Device device, const std::function<void()>& work);
  bool defined() const { return graph_ != nullptr; }
  const std::string& refusal() const { return refusal_; }  // why the CPU recorded nothing
  void replay() const;                                     // starts it; does not wait
  size_t calls() const;  // kernels, fills and copies of one replay; 0: none, or a device's own

 private:
  static DeviceGraph record_here(const std::function<void()>& work);

  Device device_ = Device::cpu;
  std::shared_ptr<void> graph_;
  std::string refusal_;
};

// The usual course: the first call runs the work in a pool of its own, which then has all the
// blocks that it needs; the second records it; that one and all later ones replay it. On the CPU
// the first call records already. The work must leave its results in tensors that were made
// outside, or that are held from then on.
class RepeatedWork {
 public:
  explicit RepeatedWork(Device device) : device_(device), pool_(device) {}
  void run(const std::function<void()>& work);
  void forget() { graph_ = {}; }  // something that was baked in has changed: record anew
  bool recorded() const { return graph_.defined(); }
  // Of the last recording; not empty: the work was done, and nobody should call run() again.
  const std::string& refusal() const { return graph_.refusal(); }
  size_t calls() const { return graph_.calls(); }
  size_t reserved_bytes() const { return pool_.stats().reserved_bytes; }

 private:
  Device device_;
  MemoryPool pool_;
  DeviceGraph graph_;
  bool rehearsed_ = false;
};

}  // namespace basin
