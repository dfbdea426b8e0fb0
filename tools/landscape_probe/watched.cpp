// Signals and progress between the products of a measurement.
#include "basin/tools/landscape_probe/watched.h"

#include "basin/tools/shell/environment.h"
#include "basin/tools/shell/progress.h"
#include "basin/tools/shell/signals.h"

namespace basin::tools {
namespace {

constexpr double kNoteSeconds = 10;  // between lines that say how far a measurement is

}  // namespace

void heed_signals() {
  if (const int signal = stop_signal(); signal != 0) throw StopRequest{signal};
}

WatchedOperator::WatchedOperator(const SymmetricOperator& inner, std::string label)
    : inner_(inner), label_(std::move(label)), last_(seconds_now()) {}

Tensor WatchedOperator::apply(const Tensor& v) const {
  heed_signals();
  Tensor out = inner_.apply(v);
  products_ += v.size(0);
  if (seconds_now() - last_ > kNoteSeconds) {
    last_ = seconds_now();
    log_line(str("  ", label_, ": ", products_, " products"));
  }
  return out;
}

}  // namespace basin::tools
