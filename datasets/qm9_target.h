// The twelve targets of QM9: what a result is reported in, the figures that published tables are
// made with, energies of isolated atoms, and the scale on which a network is trained:
//   target = (value - sum over atoms of reference(z) - mean) / spread
// All of it in report units and in f64: total energies are near 1e7 meV and their errors near 10.
#pragma once
#include <map>

#include "basin/datasets/qm9.h"

namespace basin {

// References are energies of isolated atoms (the archive's atomref.txt, hartree; Cv cal/(mol K)).
struct Qm9Target {
  std::string_view name, unit;  // "homo", "meV"
  int property = 0;             // its place in qm9_properties()
  double factor = 1;            // report unit = factor * unit of the files
  double sigma = 0;             // spread over QM9, report units: what std. MAE divides by
  bool has_references = false;
};

inline constexpr double kMilliHartree = 27'211.386246;  // meV per hartree (CODATA 2018)

// mu, alpha, homo, lumo, gap, r2, zpve, u0, u, h, g, cv
const std::array<Qm9Target, 12>& qm9_targets();
const Qm9Target& qm9_target(const std::string& name);  // usage error with the nearest name

// Atomic number -> reference, report units.
using AtomReferences = std::map<int64_t, double>;
AtomReferences published_references(const Qm9Target& target);  // H, C, N, O, F; empty: none known
// Least squares of the values on the numbers of atoms of each element; an element whose number the
// others determine gets 0.
AtomReferences fitted_references(const Qm9Set& set, const Qm9Target& target);
// Of one molecule. data error for an element without a reference, unless there are none at all.
double reference_sum(const AtomReferences& references, std::span<const int64_t> z);

// Report units, total. data error when a molecule has no such property.
std::vector<double> target_values(const Qm9Set& set, const Qm9Target& target);

struct TargetScale {
  double mean = 0, spread = 1;
  AtomReferences references;
};
// mean: of the values less references, unless it stays 0; spread: their mean absolute deviation
// from the mean, or their standard deviation.
enum class Spread : uint8_t { absolute, standard };
TargetScale fit_scale(const Qm9Set& train, const Qm9Target& target, AtomReferences references,
                      bool centred, Spread spread);

// Published summaries over targets: mean of MAE / sigma, and of its natural logarithm.
struct MaeSummary {
  double standard = 0, logarithmic = 0;
};
MaeSummary summarize_mae(std::span<const std::pair<std::string, double>> target_and_mae);

}  // namespace basin
