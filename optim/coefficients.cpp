// Coefficient sets of the odd polynomial iteration. Sources: K. Jordan (2024) for `jordan`; Higham,
// Functions of Matrices (2008) for the cubic and the classic quintic, the first Pade-type
// polynomials with p(1) = 1, p'(1) = 0 (and p''(1) = 0); CANS (Chebyshev-type polynomials); Polar
// Express (arXiv 2505.16932). `minimax4` is Polar Express's construction, step by step the odd
// quintic with the smallest largest distance from 1, for four steps from [0.002625, 1], and the
// last step scaled so that with the safety factor the range is that of five steps of `jordan`.
#include <algorithm>
#include <cmath>

#include "basin/core/params.h"
#include "basin/optim/newton_schulz.h"

namespace basin {
namespace {

constexpr OddQuintic kJordan{3.4445, -4.7750, 2.0315};
constexpr OddQuintic kHigham{1.5, -0.5, 0};
constexpr OddQuintic kClassic{15.0 / 8, -10.0 / 8, 3.0 / 8};
constexpr OddQuintic kPolish{2, -1.5, 0.5};
constexpr int kPolishSteps = 2;

struct Set {
  std::string_view name;
  int default_steps;
  std::vector<OddQuintic> listed;  // then `rest` for ever
  OddQuintic rest;
  bool takes_safety = false;  // steep at the end of its range, which rounding must not leave
};

const std::vector<Set>& sets() {
  static const std::vector<Set> all = {
      {"jordan", 5, {}, kJordan},
      {"higham", 5, {}, kHigham},
      {"classic", 5, {}, kClassic},
      {"tuned5",
       5,
       {{4.0848, -6.8946, 2.9270},
        {3.9505, -6.3029, 2.6377},
        {3.7418, -5.5913, 2.3037},
        {2.8769, -3.1427, 1.2046},
        {2.8366, -3.0525, 1.2012}},
       kClassic},
      {"cans",
       5,
       {{8.4703, -25.1081, 18.6293},
        {4.1828, -3.1087, 0.5806},
        {3.9619, -2.9541, 0.5630},
        {3.2866, -2.4647, 0.5074},
        {2.2737, -1.6447, 0.4162}},
       kClassic},
      {"polar_express",
       5,
       {{8.28721201814563, -23.595886519098837, 17.300387312530933},
        {4.107059111542203, -2.9478499167379106, 0.5448431082926601},
        {3.9486908534822946, -2.908902115962949, 0.5518191394370137},
        {3.3184196573706015, -2.488488024314874, 0.51004894012372},
        {2.300652019954817, -1.6689039845747493, 0.4188073119525673},
        {1.891301407787398, -1.2679958271945868, 0.37680408948524835},
        {1.8750014808534479, -1.2500016453999487, 0.3750001645474248}},
       kClassic,
       true},
      {"minimax4",
       4,
       {{8.399791772, -24.82954217, 18.40770139},
        {4.068669009, -3.029091345, 0.5715285414},
        {3.579969351, -2.680892593, 0.5318813204},
        {2.369580426, -1.754433145, 0.4086569376}},
       kClassic,
       true},
      {"relaxed",
       5,
       {{3.3656576, -3.3420992, 0},
        {2.5744352, -1.4957376, 0},
        {2.5368962, -1.4312570, 0},
        {2.4418906, -1.2764040, 0},
        {2.2230472, -0.9630650, 0}},
       kHigham},
      {"jordan8+2", 10, {}, kJordan},
  };
  return all;
}

const Set& find_set(std::string_view name) {
  const auto it =
      std::find_if(sets().begin(), sets().end(), [&](const Set& s) { return s.name == name; });
  if (it == sets().end()) {
    const std::string near = nearest_name(name, coefficient_set_names());
    fail(ErrorKind::usage, "newton-schulz: no coefficient set '", name, "'",
         near.empty() ? "" : "; did you mean '" + near + "'?");
  }
  return *it;
}

}  // namespace

std::vector<std::string> coefficient_set_names() {
  std::vector<std::string> names;
  for (const Set& set : sets()) names.emplace_back(set.name);
  return names;
}

int default_steps(std::string_view set) { return find_set(set).default_steps; }

double safety_factor(const OrthogonaliseConfig& config) {
  return find_set(config.set).takes_safety ? config.safety : 1.0;
}

std::vector<OddQuintic> coefficient_set(std::string_view name, int steps, double safety) {
  const Set& set = find_set(name);
  check(steps >= -1 && steps < 100,
        "newton-schulz: expects 0 to 99 steps (-1: the set's own), got ", steps);
  const int count = steps < 0 ? set.default_steps : steps;
  const int listed = static_cast<int>(set.listed.size());
  std::vector<OddQuintic> out(count, set.rest);
  std::copy_n(set.listed.begin(), std::min(count, listed), out.begin());
  if (set.takes_safety) {
    for (int i = 0; i < std::min(count, listed); ++i) {
      out[i] = {out[i].a / safety, out[i].b / std::pow(safety, 3), out[i].c / std::pow(safety, 5)};
    }
  } else if (name == "jordan8+2") {
    for (int i = std::max(0, count - kPolishSteps); i < count; ++i) out[i] = kPolish;
  }
  return out;
}

void validate(const OrthogonaliseConfig& config) {
  if (config.exact) return;
  find_set(config.set);
  check(config.steps >= -1 && config.steps < 100,
        "newton-schulz: expects 0 to 99 steps (-1: the set's own), got ", config.steps);
  check(config.safety >= 1 && config.safety <= 2,
        "newton-schulz: expects a safety factor from 1 to 2, got ", config.safety);
  check(config.eps >= 0 && config.eps < 1, "newton-schulz: expects eps from 0 to 1, got ",
        config.eps);
}

}  // namespace basin
