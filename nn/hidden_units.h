// Hidden units of a network as data: which entries of which parameters and buffers belong to the
// units of one group, so that units can change places, or their basis be rotated, without changing
// what the network computes.
//   permutation  unit i becomes unit order[i]: rows and bias of the map that makes them, their
//                batch norm, columns of every map that reads them
//   rotation     h -> Q h, Q orthogonal, where every reader and writer is a linear map (no
//                activation, norm or maximum of the units themselves): HiddenUnits::rotates
// A residual stream is one group, whoever adds to it.
#pragma once
#include <string>
#include <vector>

#include "basin/nn/layers.h"
#include "basin/nn/state.h"

namespace basin {

// `count` entries from `offset` on of axis `axis` of a tensor that is read under the shape `view`
// (empty: its own), e.g. [k, k, in] for a map whose outputs are a k x k matrix.
struct UnitAxis {
  bool buffer = false;  // of the buffers, else of the parameters
  int tensor = 0;       // position there
  int axis = 0;
  int64_t offset = 0;
  Shape view = {};
};

struct HiddenUnits {
  std::string name;
  int64_t count = 0;
  bool rotates = false;
  std::vector<UnitAxis> axes = {};

  HiddenUnits& made_by(const Linear& map);  // rows and bias
  HiddenUnits& read_by(const Linear& map, int64_t offset = 0);
  HiddenUnits& normed_by(const BatchNorm& norm);  // with its running statistics
  HiddenUnits& also(UnitAxis axis);
};

using UnitOrders = std::vector<std::vector<int64_t>>;  // one permutation per group

// usage error naming the group and the tensor where an axis leaves it.
void check_hidden_units(const std::vector<HiddenUnits>& hidden, const ModelState& state);

// Unit i of group g is unit orders[g][i] of `state`. usage error when an order is no permutation.
ModelState reordered(const ModelState& state, const std::vector<HiddenUnits>& hidden,
                     const UnitOrders& orders);
UnitOrders random_orders(const std::vector<HiddenUnits>& hidden, uint64_t seed);

// h -> Q h of one group, Q [count, count] f64 orthogonal; computed in f64. usage error where the
// group does not rotate.
ModelState rotated(const ModelState& state, const HiddenUnits& units, const Tensor& q);

// The units as rows: [count, all other entries of the axis' positions] f64.
Tensor unit_rows(const ModelState& state, const HiddenUnits& units, const UnitAxis& axis);

}  // namespace basin
