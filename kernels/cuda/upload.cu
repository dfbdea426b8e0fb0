// Copies to the device on a stream of their own (core/upload.h). A channel has two places, each a
// pinned buffer and a device buffer of the same size:
//   send     waits until the pinned buffer's last copy has left it, fills it, and queues the copy
//            behind whatever still reads the device buffer;
//   receive  queues a copy on the device behind the arrival.
// So neither the host nor the kernels wait for data that were sent early enough.
#include <cstring>

#include "basin/core/tensor.h"
#include "basin/kernels/cuda/runtime.cuh"

namespace basin::cuda {
namespace {

class Channel {
 public:
  explicit Channel(size_t bytes) {
    enter();
    check_cuda(cudaStreamCreateWithFlags(&copies_, cudaStreamNonBlocking), "cuda: making a stream");
    for (Place& p : places_) {
      void* pinned = nullptr;
      check_cuda(cudaMallocHost(&pinned, bytes), "cuda: reserving pinned host memory");
      p.pinned = static_cast<char*>(pinned);
      p.there = Tensor::empty({static_cast<int64_t>((bytes + 3) / 4)}, DType::f32, Device::cuda);
      for (cudaEvent_t* e : {&p.arrived, &p.taken}) {
        check_cuda(cudaEventCreateWithFlags(e, cudaEventDisableTiming), "cuda: making an event");
      }
    }
  }

  ~Channel() {
    cudaStreamSynchronize(copies_);
    cudaStreamSynchronize(stream());
    for (Place& p : places_) {
      cudaFreeHost(p.pinned);
      cudaEventDestroy(p.arrived);
      cudaEventDestroy(p.taken);
    }
    cudaStreamDestroy(copies_);
  }

  void send(const void* from, size_t bytes) {
    check(sent_ - received_ < 2, "Upload: two tensors are under way; receive one first");
    Place& p = places_[sent_ % 2];
    if (sent_ >= 2) {
      check_cuda(cudaEventSynchronize(p.arrived), "cuda: waiting for a copy");
      check_cuda(cudaStreamWaitEvent(copies_, p.taken, 0), "cuda: ordering copies");
    }
    std::memcpy(p.pinned, from, bytes);
    p.bytes = bytes;
    check_cuda(
        cudaMemcpyAsync(p.there.mutable_raw(), p.pinned, bytes, cudaMemcpyHostToDevice, copies_),
        "cuda: copying");
    check_cuda(cudaEventRecord(p.arrived, copies_), "cuda: recording an event");
    ++sent_;
  }

  void receive(void* to, size_t bytes) {
    check(received_ < sent_, "Upload: nothing was sent");
    Place& p = places_[received_ % 2];
    check(bytes == p.bytes, "Upload: ", p.bytes, " bytes were sent, ", bytes, " are received");
    check_cuda(cudaStreamWaitEvent(stream(), p.arrived, 0), "cuda: ordering copies");
    check_cuda(cudaMemcpyAsync(to, p.there.raw(), bytes, cudaMemcpyDeviceToDevice, stream()),
               "cuda: copying on the device");
    check_cuda(cudaEventRecord(p.taken, stream()), "cuda: recording an event");
    ++received_;
  }

 private:
  struct Place {
    char* pinned = nullptr;
    Tensor there;
    size_t bytes = 0;
    cudaEvent_t arrived = nullptr, taken = nullptr;
  };
  cudaStream_t copies_ = nullptr;
  Place places_[2];
  uint64_t sent_ = 0, received_ = 0;
};

void* open_upload(size_t bytes) { return new Channel(bytes); }
void send(void* upload, const void* from, size_t bytes) {
  enter();
  static_cast<Channel*>(upload)->send(from, bytes);
}
void receive(void* upload, void* to, size_t bytes) {
  enter();
  if (recording()) refuse_while_recording("an upload is received");
  static_cast<Channel*>(upload)->receive(to, bytes);
}
void close_upload(void* upload) { delete static_cast<Channel*>(upload); }

}  // namespace

void add_uploads(DeviceBackend& backend) {
  backend.open_upload = open_upload;
  backend.send = send;
  backend.receive = receive;
  backend.close_upload = close_upload;
}

}  // namespace basin::cuda
