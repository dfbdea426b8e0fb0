// Recording and replay through the backend of the device. (The pool is in storage.cpp, beside the
// allocator.)
#include "basin/core/device_graph.h"

#include "basin/core/error.h"
#include "basin/core/host_recording.h"

namespace basin {

DeviceGraph DeviceGraph::record(Device device, const std::function<void()>& work) {
  if (device == Device::cpu) return record_here(work);
  const DeviceBackend& backend = device_backend(device);
  backend.begin_recording();
  try {
    work();
  } catch (...) {
    backend.end_recording(false);
    throw;
  }
  DeviceGraph out;
  out.device_ = device;
  out.graph_ = {backend.end_recording(true), backend.destroy_graph};
  return out;
}

DeviceGraph DeviceGraph::record_here(const std::function<void()>& work) {
  const auto recording = std::make_shared<HostRecording>();
  {
    const HostRecording::Scope scope(*recording);
    work();
  }
  DeviceGraph out;
  out.refusal_ = recording->refusal();
  if (out.refusal_.empty()) out.graph_ = recording;
  return out;
}

void DeviceGraph::replay() const {
  check(defined(), "DeviceGraph: nothing was recorded");
  if (device_ == Device::cpu) return static_cast<const HostRecording*>(graph_.get())->replay();
  device_backend(device_).replay(graph_.get());
}

size_t DeviceGraph::calls() const {
  const bool here = defined() && device_ == Device::cpu;
  return here ? static_cast<const HostRecording*>(graph_.get())->calls() : 0;
}

void RepeatedWork::run(const std::function<void()>& work) {
  if (device_ == Device::cpu && !graph_.defined()) {
    const MemoryPool::Scope scope(pool_);
    graph_ = DeviceGraph::record(device_, work);
    return;
  }
  if (device_ != Device::cpu && !rehearsed_) {
    const MemoryPool::Scope scope(pool_);
    work();
    rehearsed_ = true;
    return;
  }
  if (!graph_.defined()) {
    const MemoryPool::Scope scope(pool_, true);
    graph_ = DeviceGraph::record(device_, work);
  }
  graph_.replay();
}

}  // namespace basin
