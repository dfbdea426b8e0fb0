// The spectrum of an operator as a distribution, by stochastic Lanczos quadrature (Bai, Fahey,
// Golub 1996; Ubaru, Chen, Saad 2017; in PyHessian: Yao et al. 2020). A probe z of independent
// signs, m Lanczos steps, and the Gauss rule of z's spectral measure,
//   z^T f(A) z / n = sum_j w_j f(t_j),  sum_j w_j = 1,  exact for polynomials of degree < 2m,
// whose mean over probes estimates tr f(A) / n. Probes differ by chance, so every integral has an
// interval over them (skewness taken out, statistics.h). What m steps do not resolve is no part of
// that interval: a steep f (a share below a threshold inside a dense part of the spectrum) is
// blurred over the distance of two nodes, and more steps show it.
// A density is drawn by a Gaussian of a stated width, and at two widths: a bump that comes and goes
// with the width is no feature of the spectrum.
#pragma once
#include <functional>
#include <limits>
#include <vector>

#include "basin/analysis/estimate.h"
#include "basin/analysis/operator.h"

namespace basin {

struct QuadratureOptions {
  int64_t probes = 10;
  int64_t steps = 100;  // m, clipped to n
  double level = 0.95;
  uint64_t seed = 0;
  int64_t lanes = 8;                       // probes in lockstep; fewer where their Krylov bases,
  int64_t basis_bytes = int64_t{2} << 30;  // 8 m n bytes each, do not fit into this
};

struct SpectralRule {
  std::vector<double> nodes;    // ascending
  std::vector<double> weights;  // sum 1
};

struct SpectralQuadrature {
  int64_t n = 0;
  double level = 0.95;
  std::vector<SpectralRule> rules;  // one per probe
  int64_t products = 0;             // with the operator
  double smallest() const;          // over the nodes of all probes: inside the spectrum's range,
  double largest() const;           // and close to its ends after some tens of steps
};

// usage error for counts < 1; numerical error when a product is not finite.
SpectralQuadrature spectral_quadrature(const SymmetricOperator& a,
                                       const QuadratureOptions& options = {});

// The mean of f over the n eigenvalues, tr f(A) / n, with its interval over the probes.
Estimate spectral_mean(const SpectralQuadrature& q, const std::function<double(double)>& f);
Estimate spectral_moment(const SpectralQuadrature& q, int k);  // tr A^k / n
Estimate spectral_trace(const SpectralQuadrature& q);          // tr A
// The share of eigenvalues at or below x, one estimate for each x.
std::vector<Estimate> cumulative_share(const SpectralQuadrature& q, const std::vector<double>& x);
// The share of eigenvalues below -tolerance. The tolerance keeps rounding and the blur of a cluster
// at zero out; NaN: 1e-3 of the largest |node|.
Estimate negative_share(const SpectralQuadrature& q,
                        double tolerance = std::numeric_limits<double>::quiet_NaN());
// Wasserstein-1 distance, the area between the distribution functions, from the mean of all probes'
// rules to a spectrum that is known.   eigenvalues in any order
double wasserstein_distance(const SpectralQuadrature& q, const std::vector<double>& eigenvalues);

// Cells of equal width; NaN ends are chosen six bandwidths outside the nodes. Curves that are to be
// compared get the same ends.
struct DensityGrid {
  int64_t cells = 2000;
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
};

// Averages of the smoothed density over the cells, so that no peak falls between grid points and
// the sum of density * cell width is the mass inside the grid, whatever the bandwidth.
struct DensityCurve {
  double bandwidth = 0;         // standard deviation of the Gaussian, in units of x
  double level = 0.95;          // of the band
  std::vector<double> x;        // centres of the cells
  std::vector<double> density;  // mean over the probes
  std::vector<double> low;      // the band over the probes, cell by cell; never below 0
  std::vector<double> high;
  double mass = 0;  // of the eigenvalues that the curve describes, as a share of all
};

// PyHessian's width sqrt(1e-5 max(1, range)), which does not scale with A, and one percent of the
// range, which does; range = largest() - smallest().
struct Bandwidths {
  double published = 0, relative = 0;
};
Bandwidths default_bandwidths(const SpectralQuadrature& q);

// bandwidth > 0, usage error otherwise
DensityCurve spectral_density(const SpectralQuadrature& q, double bandwidth,
                              const DensityGrid& grid = {});

// The density over log10 |eigenvalue| (Papyan 2018), of the positive ones, of the negative ones or
// of both, as a share of all n: with `floor` > 0 everything at or below it in magnitude is left out
// (1 - mass when both signs are drawn). Bandwidth in decades.
enum class SpectrumSign : uint8_t { both, positive, negative };
DensityCurve log_spectral_density(const SpectralQuadrature& q, double bandwidth, double floor,
                                  SpectrumSign sign = SpectrumSign::both,
                                  const DensityGrid& grid = {});

}  // namespace basin
