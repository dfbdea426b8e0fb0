// Time that only goes forward, for measuring how long something takes.
#pragma once
#include <chrono>

namespace basin {

inline double seconds_now() {
  using Clock = std::chrono::steady_clock;
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

}  // namespace basin
