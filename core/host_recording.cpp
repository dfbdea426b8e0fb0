// One recording per thread at a time.
#include "basin/core/host_recording.h"

#include "basin/core/error.h"

namespace basin {
namespace {

thread_local HostRecording* recording_here = nullptr;

}  // namespace

HostRecording* HostRecording::current() { return recording_here; }

HostRecording::Scope::Scope(HostRecording& recording) {
  check(recording_here == nullptr, "host recording: a second recording begins");
  recording_here = &recording;
}
HostRecording::Scope::~Scope() { recording_here = nullptr; }

HostRecording::Kernel::Kernel() : before_(recording_here) { recording_here = nullptr; }
HostRecording::Kernel::~Kernel() { recording_here = before_; }

void HostRecording::refuse(const std::string& why) {
  if (refusal_.empty()) refusal_ = why;
  calls_.clear();
  if (recording_here == this) recording_here = nullptr;
}

void HostRecording::replay() const {
  for (const auto& call : calls_) call();
}

}  // namespace basin
