// What a batch of tensors holds and what a layer's value means, said by whoever made them: which
// axis counts examples, points, nodes or edges, and how a value moves when the input is rotated,
// shifted or permuted. Probes, symmetry checks and representations read this; nothing is guessed
// from names or ranks.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "basin/core/tensor.h"

namespace basin {

// What the rows of a tensor count.
//   example  one row per example,                [B, ..]
//   point    every example has N points,         [B, N, ..]
//   node     the nodes of all examples in a row, [V, ..]; a slot of kind owner says whose each is
//   edge     the edges of all examples in a row, [E, ..]
enum class Rows : uint8_t { example, point, node, edge };

// feature: values that no rotation moves; coordinates: positions, last axis 3; direction: vectors,
// last axis 3, that rotate and are not shifted (normals); index: row numbers of other rows of this
// batch; owner: the example of each node; target: what the loss compares with
enum class SlotKind : uint8_t { feature, coordinates, direction, index, owner, target };

// One tensor of a batch.
struct Slot {
  std::string name;
  Rows rows = Rows::example;
  SlotKind kind = SlotKind::feature;
};

// The value of one layer.
struct Activation {
  std::string name;
  Tensor value;
  Rows rows = Rows::example;
  // 0: no rotation of the input moves it; 1: its last axis rotates as a vector; l: its last axis,
  // of 2l + 1, as the harmonics of degree l (models/harmonics.h)
  int degree = 0;
  bool translates = false;  // a shift of the input shifts it (degree 1: coordinates)
  double unit = 1;          // of its length: a shift s of the input shifts it by unit s
};

}  // namespace basin
