// Inputs of molecules, checked, and masses.
#include "basin/models/detail/molecules.h"

#include <array>

namespace basin {
namespace {

constexpr int64_t kElements = 100;  // entry 0 stands for no atom

// IUPAC, abridged; the mass number of the longest-lived isotope where an element has no weight.
constexpr std::array<double, kElements> kWeights{
    0,      1.008,  4.0026, 6.94,   9.0122, 10.81,  12.011, 14.007, 15.999, 18.998, 20.180, 22.990,
    24.305, 26.982, 28.085, 30.974, 32.06,  35.45,  39.95,  39.098, 40.078, 44.956, 47.867, 50.942,
    51.996, 54.938, 55.845, 58.933, 58.693, 63.546, 65.38,  69.723, 72.630, 74.922, 78.971, 79.904,
    83.798, 85.468, 87.62,  88.906, 91.224, 92.906, 95.95,  97,     101.07, 102.91, 106.42, 107.87,
    112.41, 114.82, 118.71, 121.76, 127.60, 126.90, 131.29, 132.91, 137.33, 138.91, 140.12, 140.91,
    144.24, 145,    150.36, 151.96, 157.25, 158.93, 162.50, 164.93, 167.26, 168.93, 173.05, 174.97,
    178.49, 180.95, 183.84, 186.21, 190.23, 192.22, 195.08, 196.97, 200.59, 204.38, 207.2,  208.98,
    209,    210,    222,    223,    226,    227,    232.04, 231.04, 238.03, 237,    244,    243,
    247,    247,    251,    252};

void check_values(std::string_view model, const Tensor& z, const Tensor& molecule,
                  const Tensor& atoms, int64_t largest_z) {
  const int64_t *number = z.data<int64_t>(), *owner = molecule.data<int64_t>();
  const int64_t* count = atoms.data<int64_t>();
  int64_t i = 0;
  const auto require = [&](bool ok, const auto&... parts) {
    if (!ok) [[unlikely]]
      fail(ErrorKind::data, model, ": ", parts...);
  };
  for (int64_t b = 0; b < atoms.numel(); ++b) {
    require(count[b] > 0 && count[b] <= z.numel() - i, "molecule ", b, " has ", count[b],
            " atoms, expected 1 to the ", z.numel() - i, " that are left");
    for (const int64_t end = i + count[b]; i < end; ++i) {
      require(owner[i] == b, "atom ", i, " has the owner ", owner[i], ", expected molecule ", b,
              " by the counts of atoms");
      require(number[i] >= 1 && number[i] <= largest_z, "atom ", i, " has the atomic number ",
              number[i], ", expected 1 to ", largest_z);
    }
  }
  require(i == z.numel(), "the molecules have ", i, " atoms together, expected ", z.numel());
}

}  // namespace

std::vector<Slot> molecule_slots() {
  return {{"positions", Rows::node, SlotKind::coordinates},
          {"z", Rows::node, SlotKind::feature},
          {"molecule", Rows::node, SlotKind::owner},
          {"atoms", Rows::example, SlotKind::feature}};
}

Molecules molecules_of(std::string_view model, const Tensors& inputs, int64_t largest_z) {
  check(inputs.size() == 4, model, ": expects positions, z, molecule and atoms, got ",
        inputs.size(), " inputs");
  const Tensor &x = inputs[0], &z = inputs[1], &molecule = inputs[2], &atoms = inputs[3];
  check(x.rank() == 2 && x.size(1) == 3 && x.size(0) > 0 && is_float(x.dtype()), model,
        ": expects positions [A, 3], got ", x);
  const auto counts = [&](const char* name, const Tensor& t, int64_t rows) {
    check(t.defined() && t.dtype() == DType::i64 && t.rank() == 1 && t.numel() > 0 &&
              (rows < 0 || t.numel() == rows),
          model, ": expects ", name, rows < 0 ? " [B]" : " [A]", " i64 beside positions ",
          x.shape(), ", got ", t);
  };
  counts("z", z, x.size(0));
  counts("molecule", molecule, x.size(0));
  counts("atoms", atoms, -1);
  if (x.device() == Device::cpu) {
    check_values(model, z, molecule, atoms, largest_z);
  } else if (device_checks()) {
    check_values(model, z.to(Device::cpu), molecule.to(Device::cpu), atoms.to(Device::cpu),
                 largest_z);
  }
  const Tensor owner = molecule.to(DType::i32);
  return {x, z.to(DType::i32), owner, csr(owner, atoms.numel()).offsets};
}

Tensor atomic_weights(const Tensor& z, DType dtype) {
  const Tensor table =
      Tensor::from(std::span<const double>(kWeights), {kElements, 1}).to(dtype).to(z.device());
  return gather(table, z);
}

Tensor about_centre_of_mass(const Molecules& m) {
  const Tensor mass = atomic_weights(m.z, m.positions.dtype());
  return m.positions - m.spread(m.sum(m.positions * mass) / m.sum(mass));
}

}  // namespace basin
