// Interventions on the spectra of weight matrices during training, which tell whether the spectrum
// that an optimizer leaves is a cause of what the network does or only goes along with it. W = U
// diag(s) V^T in f64, s descending.
//   After every E-th step the spectrum of a matrix is set (SpectrumRule):
//     cap=B          s_i <- min(s_i, B)
//     stable_rank=T  sum_i s_i^2 / s_1^2 <- T: s_1 stays, the others are multiplied by one factor,
//                    s_1 being the most that any becomes; what is below rounding noise stays. T
//                    beyond the numerical rank is reached as far as that allows
//     frozen         s <- the spectrum before the first step: training by turns of the singular
//                    vectors alone
//     turn=R         a turn of size |dW|_F = R |W|_F that leaves s (below)
//   B, T, R: a number, or the metrics.jsonl of a run with --probe, whose lines "probe_matrix" say
//   what each matrix had after which step (spectral_norm, stable_rank, spectrum_change); between
//   two of them on the straight line, behind the last as there, and before the first on the line
//   from what the matrix began with (R: as in the first).
//   Shams do what is no change of spectrum: `own` the same factorisation, put together again from
//   its own values; `turn` a turn of the size that the rule's own change would have had. Since that
//   change is not made it is as large the next time; turn=FILE repeats the sizes of a run instead.
//     A turn rotates orthonormal pairs of random directions, on the side of the shorter dimension,
//     by one angle: W <- W + Q (G - 1) Q^T W. It keeps all singular values and has the exact size
//     2 sin(angle / 2) |Q^T W|_F, at most 2 |W|_F, when the dimension is even; of an odd one, one
//     direction stays.
//   Penalties add their gradients U diag(df/ds) V^T to the loss's: stable rank, effective rank
//   exp(H(s / sum s)), nuclear norm, spectral norm s_1 and orthogonality sum_i (s_i^2 - 1)^2, each
//   times its weight (negative: a reward).
// In: --set optimizer.spectrum=stable_rank=4,every=10 and optimizer.penalty=nuclear=1e-4.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "basin/core/params.h"
#include "basin/core/random.h"

namespace basin {

struct SpectrumRule {
  enum class Kind : uint8_t { none, cap, stable_rank, frozen, turn };
  enum class Sham : uint8_t { off, own, turn };
  Kind kind = Kind::none;
  double value = 0;
  std::string file{};      // in place of the value
  int64_t every = 1;       // steps
  std::string matrices{};  // as GroupRule::pattern; empty: those that Muon takes (routing.h)
  Sham sham = Sham::off;
  uint64_t seed = 0;  // of the turns
};

struct PenaltyRule {
  double stable_rank = 0;
  double effective_rank = 0;
  double nuclear = 0;
  double spectral = 0;
  double orthogonality = 0;
  std::string matrices{};
  bool any() const {
    return stable_rank != 0 || effective_rank != 0 || nuclear != 0 || spectral != 0 ||
           orthogonality != 0;
  }
};

// "cap=1.5,every=10,matrices=role:head,sham=turn,seed=3", "stable_rank=runs/a/metrics.jsonl"; ""
// is no rule. usage errors.
SpectrumRule parse_spectrum_rule(std::string_view text);
// "stable_rank=1e-3,nuclear=1e-4,matrices=feat.*". usage errors.
PenaltyRule parse_penalty_rule(std::string_view text);

// One logical matrix with both sides of at least 2.
struct ChosenMatrix {
  size_t param = 0;
  size_t block = 0;  // of Param::view
  std::string name;  // of the parameter, with "[b]" behind it when it holds several
};
// usage error when none is chosen.
std::vector<ChosenMatrix> chosen_matrices(const ParamList& params, const std::string& pattern,
                                          const char* option = "spectrum");

// Singular values: positive, descending.
double stable_rank(std::span<const double> s);
std::vector<double> with_stable_rank(std::span<const double> s, double rank);
double penalty_value(const PenaltyRule& rule, std::span<const double> s);
std::vector<double> penalty_slopes(const PenaltyRule& rule, std::span<const double> s);

// [m, n] f64 on the CPU, as are the results.
Tensor isospectral_turn(const Tensor& w, double size, Rng& rng);
Tensor penalty_gradient(const PenaltyRule& rule, const Tensor& w);
// U diag(values) V^T; zeros where there are fewer values.
Tensor with_singular_values(const Tensor& w, std::span<const double> values);

// Gives the chosen matrices of `to` the singular values of the same matrices of `from` and leaves
// them their singular vectors. usage error when names or shapes differ.
void transplant_spectra(ParamList& to, const ParamList& from, const std::string& pattern = "*");

}  // namespace basin
