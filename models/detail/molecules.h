// The inputs that all networks of molecules share: the atoms of B molecules one after another.
//   positions [A, 3], z [A] i64 atomic numbers, molecule [A] i64 the owner of each atom, rising
//   from 0 to B - 1, atoms [B] i64 how many each has (at least one).
// The number of molecules is the size of `atoms`, so nothing has to be read from a device.
#pragma once
#include <string_view>
#include <vector>

#include "basin/autograd/ops.h"
#include "basin/nn/activation.h"

namespace basin {

std::vector<Slot> molecule_slots();

struct Molecules {
  Tensor positions;  // [A, 3]
  Tensor z;          // [A] i32
  Tensor owner;      // [A] i32
  Tensor offsets;    // [B + 1] i32: atoms of molecule b are offsets[b] .. offsets[b + 1] - 1

  int64_t atoms() const { return positions.size(0); }
  int64_t count() const { return offsets.numel() - 1; }
  Tensor sum(const Tensor& per_atom) const { return segment_sum(per_atom, offsets); }
  Tensor spread(const Tensor& per_molecule) const { return gather(per_molecule, owner); }
};

// usage error in the name of `model` unless the inputs have these shapes and types; data error
// where an atomic number leaves 1 .. largest_z or owners and counts disagree. Values on a GPU are
// checked with BASIN_SYNC=1 only: reading them would wait.
Molecules molecules_of(std::string_view model, const Tensors& inputs, int64_t largest_z);

// Standard atomic weights of z [A] i32, 1 to 99 (longest-lived isotope where there is none).
Tensor atomic_weights(const Tensor& z, DType dtype);  // [A, 1]
// Positions about each molecule's centre of mass.
Tensor about_centre_of_mass(const Molecules& m);  // [A, 3]

}  // namespace basin
