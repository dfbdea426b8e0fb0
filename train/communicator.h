// Processes that train one network together, each on its share of every batch. What they exchange
// is bytes, through one small interface: OneProcess has nobody to talk to, MPI lies behind
// tools/shell/processes.h, tests use threads. Everything on top is in a fixed order, so that the
// result does not depend on how many processes made it:
//   sum of gradients   g = (..((g_0 + g_1) + g_2) + ..), microbatch after microbatch, in the dtype
//                      of the network: the running sum goes from rank to rank, in chunks, so that
//                      rank k adds to one chunk what rank k + 1 will add to while rank k takes the
//                      next; the last rank gives the result to all. Bytes that a rank sends: twice
//                      those of the gradient at most, whatever the number of ranks.
// Tensors on a device go through the host.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "basin/core/tensor.h"

namespace basin {

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;  // 0 .. size() - 1; rank 0 writes files and speaks
  virtual int size() const = 0;
  // Wait for the other side. resource error when the connection is lost.
  virtual void send(std::span<const uint8_t> bytes, int to) = 0;
  virtual void receive(std::span<uint8_t> bytes, int from) = 0;
  virtual void broadcast(std::span<uint8_t> bytes, int from) = 0;  // called by all ranks
};

class OneProcess : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void send(std::span<const uint8_t> bytes, int to) override;  // internal error: there is nobody
  void receive(std::span<uint8_t> bytes, int from) override;
  void broadcast(std::span<uint8_t>, int) override {}
};
std::shared_ptr<Communicator> one_process();

// The sum over all microbatches in their order, of which rank k has the k-th share. All ranks add
// as many, of the same shapes and of one dtype.
class OrderedSum {
 public:
  explicit OrderedSum(Communicator& processes) : processes_(processes) {}
  void add(Tensors part);  // of the next microbatch of this rank; undefined ones are not allowed
  Tensors result();        // of all ranks, on the device of the parts; called by all

 private:
  Communicator& processes_;
  std::vector<Tensors> parts_;  // of rank 0 one: their sum so far
};

// Everybody's numbers, rank after rank; as many from each. Called by all ranks, as are the next
// two.
std::vector<double> gathered(Communicator& processes, const std::vector<double>& own);
int largest(Communicator& processes, int own);
void wait_for_all(Communicator& processes);

void send_tensors(Communicator& processes, const Tensors& tensors, int to);
Tensors receive_tensors(Communicator& processes, int from);

}  // namespace basin
