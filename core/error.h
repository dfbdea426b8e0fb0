// The one error type. Every failure carries a sentence (what was expected, what was given, a hint)
// and a kind; programs map the kind to their exit code (docs/first_steps.md, "Exit codes").
#pragma once
#include <stdexcept>
#include <string>

#include "basin/core/text.h"

namespace basin {

// The numeric value is the exit code of a program that stops because of this error.
enum class ErrorKind : int {
  internal = 1,   // a broken invariant of Basin itself
  usage = 2,      // a wrong argument, shape, option or configuration
  data = 3,       // a file that is damaged or not what it claims to be
  numerical = 4,  // NaN, Inf, no convergence within the budget
  resource = 5,   // out of memory, no such device
  output = 6,     // the output exists or cannot be written
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& sentence) : std::runtime_error(sentence), kind_(kind) {}
  ErrorKind kind() const noexcept { return kind_; }
  int exit_code() const noexcept { return static_cast<int>(kind_); }

 private:
  ErrorKind kind_;
};

// Joins the arguments with operator<<: str("rows ", 3) == "rows 3". A part that takes work is given
// as a callable, and called when it is written.
template <class... A>
std::string str(const A&... parts) {
  TextWriter out;
  const auto write = [&out](const auto& part) {
    if constexpr (requires { out << part(); }) {
      out << part();
    } else {
      out << part;
    }
  };
  (write(parts), ...);
  return out.str();
}

template <class... A>
[[noreturn]] void fail(ErrorKind kind, const A&... parts) {
  throw Error(kind, str(parts...));
}

// check(cond, "matmul: inner sizes differ, ", a, " x ", b): usage errors, the common case. Nothing
// is written unless cond fails, so a part must not be worked out before the call either: give
// tensors and shapes themselves, and what takes work, or holds only after a failure, as
// [&] { return worst(list); }.
template <class... A>
inline void check(bool ok, const A&... parts) {
  if (!ok) [[unlikely]]
    fail(ErrorKind::usage, parts...);
}

}  // namespace basin
