// Progress on stderr: a bar on a terminal (redrawn at most ten times a second, coloured unless
// NO_COLOR is set), otherwise a plain line at most every ten seconds. Log lines clear the bar
// first, so write them through log_line.
#pragma once
#include <cstdint>
#include <string>

namespace basin::tools {

enum class Verbosity : uint8_t { quiet, normal };

// One line on stderr, above the bar if there is one. Nothing when quiet, unless it is a warning.
void set_verbosity(Verbosity verbosity);
void log_line(const std::string& line);
void warning_line(const std::string& line);

class Progress {
 public:
  Progress(std::string label, int64_t total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void update(int64_t done, const std::string& note);

 private:
  std::string line(int64_t done, const std::string& note) const;

  std::string label_;
  int64_t total_;
  int64_t first_ = -1;  // where a resumed epoch began, for the estimate
  double start_, last_;
  bool terminal_;
};

}  // namespace basin::tools
