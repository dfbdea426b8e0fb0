// Ranks of weights: known spectra, the defined corner cases, views, and the list of what was left
// out.
#include "basin/analysis/ranks.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "basin/core/error.h"
#include "basin/core/random.h"

namespace basin {
namespace {

using doctest::Approx;

Tensor gaussian(const Shape& shape, uint64_t stream, DType dtype = DType::f64) {
  Rng rng(7, stream);
  Tensor t = Tensor::empty(shape, DType::f64);
  double* x = t.mutable_data<double>();
  for (int64_t i = 0; i < t.numel(); ++i) x[i] = rng.normal();
  return t.to(dtype);
}

TEST_CASE("ranks: closed forms of known spectra") {
  const std::vector<double> flat(5, 3.0);
  const RankNumbers f = rank_numbers(flat, 8);
  CHECK(f.stable == Approx(5).epsilon(1e-14));
  CHECK(f.effective == Approx(5).epsilon(1e-14));
  CHECK(f.nuclear == Approx(5).epsilon(1e-14));
  CHECK(f.relative(f.stable) == Approx(0.625).epsilon(1e-14));

  // s = (4, 2, 2): q = (1/2, 1/4, 1/4), entropy 1.5 ln 2. The squares would give another one.
  const RankNumbers r = rank_numbers(std::vector<double>{2, 4, 2}, 3);
  CHECK(r.stable == Approx(24.0 / 16).epsilon(1e-14));
  CHECK(r.effective == Approx(std::pow(2, 1.5)).epsilon(1e-14));
  CHECK(r.nuclear == Approx(64.0 / 24).epsilon(1e-14));

  // Scale does not matter, not even where squares over- or underflow; zeros add nothing.
  for (const double scale : {1e-200, 1e200}) {
    const RankNumbers s = rank_numbers(std::vector<double>{4 * scale, 2 * scale, 2 * scale, 0}, 4);
    CHECK(s.stable == Approx(1.5).epsilon(1e-14));
    CHECK(s.effective == Approx(std::pow(2, 1.5)).epsilon(1e-14));
  }
  CHECK_THROWS_AS(rank_numbers(std::vector<double>{1, -1}, 2), Error);
  CHECK_THROWS_AS(rank_numbers(std::vector<double>{std::nan("")}, 1), Error);
}

TEST_CASE("ranks: zero matrices, single rows and columns") {
  ParamList params;
  params.add_matrix("zero", Tensor::zeros({3, 4}, DType::f32), Role::matrix);
  params.add_matrix("row", gaussian({1, 6}, 1, DType::f32), Role::matrix);
  params.add_matrix("column", gaussian({6, 1}, 2), Role::head);
  const WeightSpectra w = weight_spectra(params);
  REQUIRE(w.matrices.size() == 3);
  CHECK(w.skipped.empty());
  CHECK(w.matrices[0].ranks.stable == 0);
  CHECK(w.matrices[0].ranks.effective == 0);
  CHECK(w.matrices[0].ranks.nuclear == 0);
  CHECK(w.matrices[0].ranks.limit == 3);
  CHECK(w.matrices[0].ranks.relative(w.matrices[0].ranks.stable) == 0);
  for (const int i : {1, 2}) {
    CHECK(w.matrices[i].ranks.stable == 1);
    CHECK(w.matrices[i].ranks.effective == 1);
    CHECK(w.matrices[i].ranks.nuclear == 1);
    CHECK(w.matrices[i].ranks.limit == 1);
  }
  const RankNumbers empty = rank_numbers({}, 0);
  CHECK(empty.stable == 0);
  CHECK(empty.relative(empty.stable) == 0);
}

TEST_CASE("ranks: blocks by the view, f32 as f64, every parameter named once") {
  ParamList params;
  // Two 2 x 2 blocks, diag(3, 1) and a rank-one matrix, in one tensor of five rows.
  const Tensor fused =
      Tensor::from<float>(std::vector<float>{3, 0, 0, 1, 1, 2, 2, 4, 9, 9}, {5, 2});
  params.add({.name = "fused",
              .value = fused,
              .role = Role::matrix,
              .view = {{0, 2, 2}, {4, 2, 2}},
              .reference_shape = {5, 2}});
  params.add_vector("bias", Tensor::zeros({5}, DType::f32), Role::bias);
  params.add_vector("gain", Tensor::full({5}, DType::f32, 1), Role::gain);
  params.add_vector("scale", Tensor::full({}, DType::f32, 1), Role::matrix);
  const WeightSpectra w = weight_spectra(params);
  REQUIRE(w.matrices.size() == 2);
  CHECK(w.matrices[0].name == "fused[0]");
  CHECK(w.matrices[1].name == "fused[1]");
  CHECK(w.matrices[0].singular_values.at(0) == Approx(3).epsilon(1e-14));
  CHECK(w.matrices[0].ranks.stable == Approx(10.0 / 9).epsilon(1e-14));
  CHECK(w.matrices[1].singular_values.at(0) == Approx(5).epsilon(1e-14));
  CHECK(w.matrices[1].ranks.stable == Approx(1).epsilon(1e-14));
  REQUIRE(w.skipped.size() == 3);
  CHECK(w.skipped[0].reason == "a bias is a vector");
  CHECK(w.skipped[1].reason == "the gain of a normalisation is a vector");
  CHECK(w.skipped[2].reason == "it declares no matrix view");

  // Gradients by the same views; one that is missing is listed.
  const WeightSpectra g = weight_spectra(params, {{}, params[1].value, params[2].value, {}});
  CHECK(g.matrices.empty());
  REQUIRE(g.skipped.size() == 4);
  CHECK(g.skipped[0].reason == "it has no value here");
  CHECK_THROWS_AS(weight_spectra(params, {}), Error);
}

TEST_CASE("ranks: a value that is not finite is an error that names the parameter") {
  ParamList params;
  Tensor bad = gaussian({3, 3}, 3);
  bad.mutable_data<double>()[4] = std::numeric_limits<double>::infinity();
  params.add_matrix("layer.weight", bad, Role::matrix);
  CHECK_THROWS_WITH_AS(weight_spectra(params), doctest::Contains("'layer.weight'"), Error);
}

TEST_CASE("ranks: Marchenko-Pastur edges hold the spectrum of a Gaussian matrix") {
  const SpectrumEdges e = marchenko_pastur_edges(100, 400, 4);
  CHECK(e.lower == Approx(20).epsilon(1e-14));
  CHECK(e.upper == Approx(60).epsilon(1e-14));
  ParamList params;
  params.add_matrix("w", gaussian({200, 300}, 4), Role::matrix);
  const MatrixSpectrum m = weight_spectra(params).matrices[0];
  // The extreme values leave the edges by O(p^(-2/3)) only.
  CHECK(m.singular_values.at(0) < 1.02 * m.random_edges.upper);
  CHECK(m.singular_values.at(0) > 0.95 * m.random_edges.upper);
  CHECK(m.singular_values.at(199) > 0.9 * m.random_edges.lower);
  CHECK(m.singular_values.at(199) < 1.15 * m.random_edges.lower);
}

}  // namespace
}  // namespace basin
