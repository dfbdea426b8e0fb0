// The log sink: one function, settable, safe to call from any thread.
#include "basin/core/log.h"

#include <iostream>
#include <mutex>

namespace basin {
namespace {

std::mutex& sink_mutex() {
  static std::mutex m;
  return m;
}

LogSink& sink() {
  static LogSink s = [](LogLevel level, const std::string& message) {
    if (level == LogLevel::warning) std::cerr << "warning: " << message << '\n';
  };
  return s;
}

}  // namespace

LogSink set_log_sink(LogSink next) {
  std::lock_guard lock(sink_mutex());
  std::swap(sink(), next);
  return next;
}

void log_message(LogLevel level, const std::string& message) {
  std::lock_guard lock(sink_mutex());
  if (sink()) sink()(level, message);
}

}  // namespace basin
