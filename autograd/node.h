// Node: one recorded op. Creation order (seq, a global counter) is a topological order. Inputs keep
// their own nodes, so that rules can be recorded again; outputs are stored without this node (no
// cycle) and re-attached when a rule reads them. Chains are torn down iteratively.
#pragma once
#include <memory>

#include "basin/autograd/op.h"

namespace basin {

struct Node : std::enable_shared_from_this<Node> {
  Node(OpRef op, Tensors inputs, Tensors outputs);
  explicit Node(Tensors carried);  // not a recorded op: carries tangents only
  ~Node();

  // The tensor a rule reads. internal error if keep() let its data go; usage error if it was
  // written in place after the recording.
  Tensor input(size_t i) const;
  Tensor output(size_t i) const;
  // Shape and dtype are always there.
  const Tensor& input_meta(size_t i) const { return inputs[i]; }
  const Tensor& output_meta(size_t i) const { return outputs[i]; }

  OpRef op;
  Tensors inputs;
  Tensors outputs;
  std::vector<uint64_t> versions;  // of the kept storages, inputs then outputs
  Tensors tangents;                // of the outputs in forward mode; empty or undefined: zero
  uint64_t seq = 0;
  // Scratch of record(): which walk saw this node, and the first slot of its outputs on that tape.
  uint64_t mark = 0;
  int first_slot = -1;
  // Of ~Node: the chain of nodes that wait to be destroyed. A destructor must not ask for memory.
  NodePtr next_waiting;
};

}  // namespace basin
