// Where the time of a computation goes: while its scope is open, a thread's kernels on the CPU
// (launch.h) are timed under their names and the shapes of their tensors. A kernel that launches
// others is charged what is left without them. What the kernels do not account for of the whole is
// the tape, shapes and memory.
#pragma once
#include <cstdint>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>

#include "basin/core/clock.h"
#include "basin/core/tensor.h"
#include "basin/core/text.h"

namespace basin {

class LaunchTimes {
 public:
  struct Total {
    double seconds = 0;
    int64_t calls = 0;
  };
  // "matmul [4832, 208] [416, 208] [4832, 416]"
  const std::unordered_map<std::string, Total>& totals() const { return totals_; }

  class Scope {
   public:
    explicit Scope(LaunchTimes& times) : before_(std::exchange(current_, &times)) {}
    ~Scope() { current_ = before_; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    LaunchTimes* before_;
  };
  static LaunchTimes* current() { return current_; }

  template <class Kernel, class... Args>
  void run(Args&&... args) {
    std::string label = Kernel::name;
    (add_shape(args, label), ...);
    const double others = std::exchange(launched_, 0);
    const double start = seconds_now();
    Kernel::cpu(std::forward<Args>(args)...);
    const double seconds = seconds_now() - start;
    Total& total = totals_[label];
    total.seconds += seconds - launched_;
    ++total.calls;
    launched_ = others + seconds;
  }

 private:
  template <class T>
  static void add_shape(const T& arg, std::string& label) {
    if constexpr (std::is_same_v<T, Tensor>) {
      if (arg.defined()) label += str(" ", arg.shape());
    }
  }

  inline static thread_local LaunchTimes* current_ = nullptr;
  std::unordered_map<std::string, Total> totals_;
  double launched_ = 0;  // seconds of the kernels that the running one has launched so far
};

}  // namespace basin
