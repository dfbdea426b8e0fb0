// Library code never prints; it logs. The sink defaults to stderr for warnings and is settable.
#pragma once
#include <functional>
#include <string>

namespace basin {

enum class LogLevel { debug, info, warning };
using LogSink = std::function<void(LogLevel, const std::string&)>;

LogSink set_log_sink(LogSink sink);  // returns the previous sink
void log_message(LogLevel level, const std::string& message);

}  // namespace basin
