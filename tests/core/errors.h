// Helpers of the tests that ask what an error or a warning says.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "basin/core/error.h"
#include "basin/core/log.h"

namespace basin::test {

// The warnings logged while it lives.
class CaughtWarnings {
 public:
  CaughtWarnings() {
    before_ = set_log_sink([this](LogLevel level, const std::string& text) {
      if (level == LogLevel::warning) texts.push_back(text);
    });
  }
  ~CaughtWarnings() { set_log_sink(before_); }
  CaughtWarnings(const CaughtWarnings&) = delete;
  CaughtWarnings& operator=(const CaughtWarnings&) = delete;
  std::vector<std::string> texts;

 private:
  LogSink before_;
};

// Kind and sentence of the error that `body` throws.
template <class F>
std::pair<ErrorKind, std::string> error_of(F&& body) {
  try {
    body();
  } catch (const Error& e) {
    return {e.kind(), e.what()};
  }
  return {ErrorKind::internal, "nothing was thrown"};
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace basin::test
