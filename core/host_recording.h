// Work on the CPU that is written down while it runs, to be run again without what leads up to it:
// no tape, no shapes, no allocations. Kernels (kernels/launch.h) and the writes of Tensor enter
// themselves. What a recording cannot know of spoils it, and the work goes on without: values that
// the host reads or writes outside of kernels, work in other threads or on a device, arguments that
// a kernel does not own. What it cannot see is baked in, as in a CUDA graph: numbers that the host
// has from elsewhere, such as a count of its own calls.
#pragma once
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "basin/core/device_graph.h"

namespace basin {

class HostRecording {
 public:
  // Of this thread; null: nothing is recorded, it was refused, or a kernel is running.
  static HostRecording* current();

  // This thread records while it is open; a usage error where it does already.
  class Scope {
   public:
    explicit Scope(HostRecording& recording);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
  };

  // A kernel runs: it may read and write, and its scratch memory is not the recording's, which is
  // in use when the kernel runs again.
  class Kernel {
   public:
    Kernel();
    ~Kernel();
    Kernel(const Kernel&) = delete;
    Kernel& operator=(const Kernel&) = delete;

   private:
    HostRecording* before_;
    MemoryPool::Outside outside_;
  };

  void add(std::function<void()> call) { calls_.push_back(std::move(call)); }
  void refuse(const std::string& why);  // what was recorded is dropped; the first reason stays
  const std::string& refusal() const { return refusal_; }
  size_t calls() const { return calls_.size(); }
  void replay() const;

 private:
  std::vector<std::function<void()>> calls_;
  std::string refusal_;
};

}  // namespace basin
