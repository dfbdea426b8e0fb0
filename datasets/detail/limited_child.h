// Work with a foreign library that a damaged file may crash: done in a forked process with limits
// on memory and processor time, which sends its result back as bytes. A crash, a hang or a
// half-written answer becomes a data error of the caller. The child has one thread: `work` must not
// use parallel.h, nor a lock that another thread may hold (malloc is safe).
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace basin {

struct ChildLimits {
  uint64_t memory = uint64_t{256} << 20;  // bytes of address space beyond what there is now
  unsigned cpu_seconds = 5;
  int wall_seconds = 60;
  uint64_t answer = uint64_t{16} << 20;  // bytes
};

// The bytes that work() returns, or the Error that it throws, as a data error. data error "WHERE:
// WHAT crashed ...", resource error when no process can be started.
std::vector<uint8_t> run_in_child(const std::string& where, const std::string& what,
                                  const ChildLimits& limits,
                                  const std::function<std::vector<uint8_t>()>& work);

}  // namespace basin
