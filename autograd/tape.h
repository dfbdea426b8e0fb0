// Tape: the part of a recording that leads from given inputs to given outputs, walkable both ways.
//   pull: J^T ct, backwards (VJP).   push: J t, forwards (JVP).
// Both sweeps emit ordinary ops under the caller's recording state: nested transforms are recorded,
// the outermost are not. Each record() gives its inputs fresh identities, so perturbations cannot
// be confused.
#pragma once
#include <functional>

#include "basin/autograd/node.h"

namespace basin {

using Fn = std::function<Tensors(const Tensors&)>;

struct Tape {
  Tensors inputs, outputs;
  std::vector<NodePtr> path;    // in creation order
  std::vector<int> first_edge;  // per path node: where its edges start
  std::vector<int> first_slot;  // per path node: the slot of its first output
  std::vector<int> edges;  // per input of each path node: the slot feeding it, -1 for constants
  std::vector<int> output_slots;  // -1: the output does not depend on the inputs
  // Per slot the path node that reads it last: -1 for one that none reads, INT_MAX for an output.
  std::vector<int> last_reader;
  int slots = 0;
};

// Runs f on x with recording on.
Tape record(const Fn& f, const Tensors& x);

// One cotangent per output (undefined = zero); returns one tensor per input, zeros where
// independent.
Tensors pull(const Tape& tape, const Tensors& cotangents);
// The same, letting go of each node as soon as it was used: the low-memory sweep of a plain
// gradient.
Tensors pull_and_release(Tape&& tape, const Tensors& cotangents);
// The same for who wants to look: after each node `seen` gets the sums so far of the cotangents of
// its inputs (undefined: none yet, or a constant). It ends the sweep by returning false.
using SweepWatch = std::function<bool(const Node& node, const Tensors& cotangents)>;
void pull_watched(Tape&& tape, const Tensors& cotangents, const SweepWatch& seen);
// One tangent per input (undefined = zero); returns one tensor per output.
Tensors push(const Tape& tape, const Tensors& tangents);
// {f(x), J t} in one sweep and without a tape: each op gives value and tangent at once, and lets go
// of what only a later sweep would need. Not under a recording or in forward mode (internal error).
std::pair<Tensors, Tensors> push_along(const Fn& f, const Tensors& x, const Tensors& tangents);
// push for several lanes of tangents in one sweep. Lane l gets the bits that push gives it alone.
// All lanes' intermediate tangents live at once: worth it where an op shares work between lanes.
std::vector<Tensors> push_lanes(const Tape& tape, const std::vector<Tensors>& tangents);
bool lanes_share_work(const Tape& tape);

}  // namespace basin
