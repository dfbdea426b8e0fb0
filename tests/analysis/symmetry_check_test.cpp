// The self-test of sharpness measures: what must move does, what must not stays to 1e-10, and what
// is no symmetry is refused.
#include "basin/analysis/symmetry_check.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "basin/analysis/loss_surface.h"
#include "basin/core/error.h"

namespace basin {
namespace {

double loss_of(const SymmetryProblem& problem, const ParamList& params) {
  return LossSurface(problem.batches, params).loss();
}

TEST_CASE("symmetry: which measures move under which symmetry") {
  const SymmetryProblem problem = relu_mlp_problem();
  const SymmetryTable table =
      symmetry_self_test(problem.symmetries, landscape_measures(problem.batches),
                         [&](const ParamList& p) { return loss_of(problem, p); });
  REQUIRE(table.symmetries ==
          std::vector<std::string>{"rescaling", "rescaling by unit", "permutation", "rotation"});
  // One letter per symmetry: m moves, s stays, e stays exactly (1e-10).
  const std::map<std::string, std::string> expected{
      {"Hessian lambda_max", "mmee"},      {"Hessian trace", "mmee"},
      {"worst case, l2", "mmee"},          {"average case", "mmss"},
      {"adaptive worst case, l2", "eeem"}, {"adaptive worst case, linf", "eeem"},
      {"adaptive average case", "eesm"},   {"adaptive trace limit", "eeem"},
      {"worst case, W (1 + X)", "emee"},   {"worst case, (1 + X) W", "emee"},
      {"Fisher-Rao norm", "eeee"},         {"relative flatness", "emss"},
      {"PAC-Bayes sigma", "mmss"},         {"PAC-Bayes alpha", "eess"},
      {"Muon: spectral ball", "mmee"},     {"Adam: preconditioned", "mmem"},
  };
  REQUIRE(table.measures.size() == expected.size());
  for (size_t m = 0; m < table.measures.size(); ++m) {
    const std::string& letters = expected.at(table.measures[m]);
    for (size_t s = 0; s < 4; ++s) {
      INFO(table.measures[m], " under ", table.symmetries[s], ": ", table.at(m, s).change);
      CHECK(table.at(m, s).moved == (letters[s] == 'm'));
      if (letters[s] == 'e') CHECK(std::abs(table.at(m, s).change) < 1e-10);
      if (letters[s] == 'm') CHECK(std::abs(table.at(m, s).change) > 0.05);
    }
  }
  const std::string text = table.text();
  CHECK(std::count(text.begin(), text.end(), '\n') == 17);
  CHECK(text.find("Fisher-Rao norm                 same               same") != std::string::npos);
}

TEST_CASE("symmetry: what changes the loss is refused, noise is no movement") {
  const SymmetryProblem problem = relu_mlp_problem(1);
  auto loss = [&](const ParamList& p) { return loss_of(problem, p); };
  Symmetry broken = problem.symmetries[0];
  broken.after = broken.after.clone();
  broken.after[0].value.mutable_data<double>()[0] *= 1.01;
  CHECK_THROWS_WITH_AS(symmetry_self_test({broken}, {}, loss),
                       doctest::Contains("'rescaling' is none"), Error);
  Symmetry renamed = problem.symmetries[0];
  renamed.after = ParamList();
  CHECK_THROWS_AS(symmetry_self_test({renamed}, {}, loss), Error);

  // A measure that reads one weight: 1 before and 3 after the rescaling, with a large error or
  // none.
  auto weight = [&](double error) {
    return Measure{"weight", [&, error](const ParamList& p) {
                     Estimate e = exact_estimate(p[0].value.at(0) / problem.params[0].value.at(0));
                     e.standard_error = error;
                     return e;
                   }};
  };
  const SymmetryTable t = symmetry_self_test({problem.symmetries[0]}, {weight(0), weight(1)}, loss);
  CHECK(t.at(0, 0).moved);
  CHECK(t.at(0, 0).change == doctest::Approx(2.0 / 3).epsilon(1e-12));
  CHECK(!t.at(1, 0).moved);
  const Measure nothing{"nothing", [](const ParamList&) { return exact_estimate(0); }};
  CHECK(!symmetry_self_test({problem.symmetries[0]}, {nothing}, loss).at(0, 0).moved);
  const Measure undefined{"undefined", [](const ParamList&) { return Estimate{}; }};
  CHECK_THROWS_WITH_AS(symmetry_self_test({problem.symmetries[0]}, {undefined}, loss),
                       doctest::Contains("'undefined'"), Error);
}

}  // namespace
}  // namespace basin
