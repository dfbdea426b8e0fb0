// Checks in front of the backend's copies.
#include "basin/core/upload.h"

#include "basin/core/error.h"

namespace basin {

Upload::Upload(Device device, size_t most_bytes) : device_(device), most_bytes_(most_bytes) {
  const DeviceBackend& backend = device_backend(device);
  channel_ = {backend.open_upload(most_bytes), backend.close_upload};
}

void Upload::send(const Tensor& from) {
  check(from.defined() && from.device() == Device::cpu && from.bytes() <= most_bytes_,
        "Upload: expects a tensor on the CPU of at most ", most_bytes_, " bytes");
  device_backend(device_).send(channel_.get(), from.raw(), from.bytes());
}

void Upload::receive(Tensor& to) {
  check(to.defined() && to.device() == device_, "Upload: expects a tensor on ", name_of(device_));
  device_backend(device_).receive(channel_.get(), to.mutable_raw(), to.bytes());
}

}  // namespace basin
