// One place that writes to stderr, so that bars and log lines never mix in one line.
#include "basin/tools/shell/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "basin/core/error.h"
#include "basin/tools/shell/environment.h"

namespace basin::tools {
namespace {

constexpr double kRedrawSeconds = 0.1;
constexpr double kHeartbeatSeconds = 10;
constexpr const char* kClearLine = "\r\033[K";

Verbosity verbosity = Verbosity::normal;
bool bar_on_screen = false;

bool colour() {
  const char* no_color = std::getenv("NO_COLOR");
  return no_color == nullptr || *no_color == '\0';
}

void emit_line(const std::string& line) {
  if (bar_on_screen) std::cerr << kClearLine;
  bar_on_screen = false;
  std::cerr << line << std::endl;
}

}  // namespace

void set_verbosity(Verbosity v) { verbosity = v; }

void log_line(const std::string& line) {
  if (verbosity != Verbosity::quiet) emit_line(line);
}

void warning_line(const std::string& line) { emit_line("warning: " + line); }

Progress::Progress(std::string label, int64_t total)
    : label_(std::move(label)),
      total_(total),
      start_(seconds_now()),
      last_(start_),
      terminal_(::isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() {
  if (bar_on_screen) std::cerr << kClearLine << std::flush;
  bar_on_screen = false;
}

std::string Progress::line(int64_t done, const std::string& note) const {
  const double elapsed = seconds_now() - start_;
  const int64_t fresh = done - first_;
  const double left =
      fresh > 0 ? elapsed / static_cast<double>(fresh) * static_cast<double>(total_ - done) : 0;
  return str(label_, " ", done, "/", total_, " ", note, ", ", duration_text(left), " left");
}

void Progress::update(int64_t done, const std::string& note) {
  if (verbosity == Verbosity::quiet) return;
  if (first_ < 0) first_ = done;
  const double now = seconds_now();
  if (now - last_ < (terminal_ ? kRedrawSeconds : kHeartbeatSeconds)) return;
  last_ = now;
  if (!terminal_) {
    emit_line(line(done, note));
    return;
  }
  constexpr int64_t kWidth = 24;
  const int64_t filled = total_ > 0 ? std::clamp(done * kWidth / total_, int64_t{0}, kWidth) : 0;
  const std::string bar = std::string(static_cast<size_t>(filled), '#') +
                          std::string(static_cast<size_t>(kWidth - filled), '.');
  std::cerr << kClearLine << (colour() ? "\033[36m[" + bar + "]\033[0m " : "[" + bar + "] ")
            << line(done, note) << std::flush;
  bar_on_screen = true;
}

}  // namespace basin::tools
