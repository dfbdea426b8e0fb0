// The scalar auxiliary variable of one mode (relaxed SAV: Liu, Shen, Zhang, arXiv 2301.02942; mode
// by mode in SpecMuon, arXiv 2602.16167). With E = sqrt(L) and a step along rn g:
//   rn = r / (1 + x), x = (h / 2) |g|^2,   so that r^2 - rn^2 - (rn - r)^2 = D := 2 x rn^2 >= 0
// for any step size h. Relaxation pulls rn towards E as far as the energy law allows: with
//   T = (1-xi) rn^2 + xi r^2 + (1-xi) (rn - r)^2 = r^2 - (1-xi) D
// the largest r_new^2 is T, hence r_new = E where E <= sqrt(T), else sqrt(T). This is the smallest
// admissible mixing chi rn + (1-chi) E: chi = 0 where E <= rn, else max(0, (E - sqrt T)/(E - rn)).
#pragma once
#include <algorithm>
#include <cmath>

namespace basin {

struct SavStep {
  double next = 0;         // rn
  double dissipation = 0;  // D
};

inline SavStep sav_step(double r, double half_decay) {
  const double next = r / (1 + half_decay);
  return {next, 2 * half_decay * next * next};
}

inline double sav_bound(double r, double next, double xi) {  // sqrt(T)
  const double moved = next - r;
  return std::sqrt((1 - xi) * next * next + xi * r * r + (1 - xi) * moved * moved);
}

inline double sav_relaxed(double r, double next, double xi, double energy) {
  return std::min(energy, sav_bound(r, next, xi));
}

// As printed in the paper's Algorithm 1: no branch for E < rn, where the quotient is at least 1 and
// r stays at rn instead of falling to E.
inline double sav_relaxed_as_printed(double r, double next, double xi, double energy, double eps) {
  const double chi =
      std::clamp((energy - sav_bound(r, next, xi)) / (energy - next + eps), 0.0, 1.0);
  return chi * next + (1 - chi) * energy;
}

}  // namespace basin
