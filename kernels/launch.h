// launch<K>(device, args...): the one place where a kernel meets a device. A kernel is a struct
// with a name, a static cpu() and, where it exists, a static cuda(). A CPU-only build never refers
// to cuda(). While the thread records on the CPU (core/host_recording.h) the kernel enters itself.
#pragma once
#include <utility>

#include "basin/core/device.h"
#include "basin/core/error.h"
#include "basin/kernels/launch_times.h"
#include "basin/kernels/recording.h"

namespace basin {

#ifdef BASIN_HAS_CUDA
namespace cuda {
// Makes Device::cuda known to core (kernels/cuda/runtime.cu). Whoever launches kernels has it done
// before main; it does not touch the driver.
bool install_backend();
inline const bool kBackendInstalled = install_backend();
}  // namespace cuda
#endif

template <class Kernel, class... Args>
void launch(Device device, Args&&... args) {
  if (device == Device::cpu) {
    if (HostRecording* const recording = HostRecording::current()) {
      recorded::launch_recorded<Kernel>(*recording, std::forward<Args>(args)...);
    } else if (LaunchTimes* const times = LaunchTimes::current()) {
      times->run<Kernel>(std::forward<Args>(args)...);
    } else {
      Kernel::cpu(std::forward<Args>(args)...);
    }
    return;
  }
  if (HostRecording* const recording = HostRecording::current()) {
    recording->refuse("a device is at work beside the CPU");
  }
  if constexpr (kHasCuda && requires { Kernel::cuda(std::forward<Args>(args)...); }) {
    Kernel::cuda(std::forward<Args>(args)...);
  } else {
    fail(ErrorKind::resource, Kernel::name, ": this build has no CUDA kernel for it");
  }
}

}  // namespace basin
