// Recording and replay through the backend of the device. (The pool is in storage.cpp, beside the
// allocator.)
#include "basin/core/device_graph.h"

#include "basin/core/error.h"

namespace basin {

DeviceGraph DeviceGraph::record(Device device, const std::function<void()>& work) {
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

void DeviceGraph::replay() const {
  check(defined(), "DeviceGraph: nothing was recorded");
  device_backend(device_).replay(graph_.get());
}

void RepeatedWork::run(const std::function<void()>& work) {
  if (!rehearsed_) {
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
