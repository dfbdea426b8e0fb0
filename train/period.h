// How often something happens during a training: every so many steps ("500") or epochs ("5e"). A
// full batch makes every step an epoch, hence both.
#pragma once
#include <cstdint>
#include <string>

namespace basin {

struct Period {
  int64_t count = 1;
  bool epochs = true;

  int64_t in_steps(int64_t steps_per_epoch) const {
    return epochs ? count * steps_per_epoch : count;
  }
  std::string text() const;
};

Period parse_period(const std::string& text);  // usage error unless a positive count

}  // namespace basin
