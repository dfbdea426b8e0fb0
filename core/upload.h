// Host data on its way to a device while kernels run: a pinned buffer and a stream of their own.
// Data arrive in the order in which they were sent, at most two at a time are under way, and a
// receiver that has its data orders everything after it behind their arrival.
//   upload.send(next.raw(), bytes);          // returns at once; `next` may be reused
//   ... start this step ...
//   upload.receive(points.mutable_raw(), bytes);   // the device waits, the host does not
#pragma once
#include <memory>

#include "basin/core/tensor.h"

namespace basin {

class Upload {
 public:
  Upload(Device device, size_t most_bytes);
  void send(const Tensor& from);  // a tensor on the CPU, at most most_bytes
  void receive(Tensor& to);       // one on the device, as large as what was sent first

 private:
  Device device_;
  size_t most_bytes_;
  std::shared_ptr<void> channel_;
};

}  // namespace basin
