// Recording: while one of these lives, ops of this thread that depend on a variable leave nodes.
#pragma once

namespace basin {

class Recording {
 public:
  Recording();
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
};

}  // namespace basin
