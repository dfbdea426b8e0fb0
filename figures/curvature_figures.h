// Figures of curvature: bars of the Hessian's numbers, screes of eigenvalues, spectral densities,
// and the diagnostics of the estimators that make the others believable. Plain data in, a Figure
// out; every number that varies comes with its interval or residual. Series are named after their
// optimizer, which fixes their look (series_styles.h); compared panels share their axes.
#pragma once
#include <limits>
#include <string>
#include <vector>

#include "basin/analysis/estimate.h"
#include "basin/analysis/spectral_density.h"
#include "basin/figures/figure.h"

namespace basin {

// Bars on a log axis, one panel per network: quantity by quantity, one bar per optimizer with its
// interval as a whisker, the single runs as dots, the ratio with its interval above. A whisker that
// reaches zero or below ends in an arrow at the lower end of the axis. A value <= 0 has no bar: it
// is named below the axis.
struct CurvatureBar {
  std::string network, quantity, optimizer;
  Estimate estimate;              // give -lambda_min where the negative end is meant
  std::vector<double> runs = {};  // one per seed
};
struct CurvatureRatio {
  std::string network, quantity;
  std::string words;  // which over which, e.g. "Adam / Muon"
  Estimate ratio;
};
struct CurvatureBars {
  std::string title = "Curvature at the end of training";
  std::vector<CurvatureBar> bars;  // networks, quantities and optimizers in order of appearance
  std::vector<CurvatureRatio> ratios = {};
  FigureConditions conditions = {};
};
Figure curvature_bars_figure(const CurvatureBars& data);

// Eigenvalues against their rank, |lambda| on a log axis with residuals as whiskers (an eigenvalue
// lies within ||A v - lambda v|| of lambda for certain). Negative ones have a panel of their own,
// counted from the most negative. The bulk edge is a reference line.
struct ScreeSeries {
  std::string optimizer;
  std::vector<double> eigenvalues = {};  // in any order
  std::vector<double> residuals = {};    // one per eigenvalue, or empty
  double bulk_edge = std::numeric_limits<double>::quiet_NaN();
  // Of means over several runs, in place of residuals: the interval of |eigenvalue| and the single
  // runs as [run][eigenvalue], or empty.
  std::vector<double> low = {}, high = {};
  std::vector<std::vector<double>> runs = {};
};
struct ScreePanel {
  std::string network;
  std::vector<ScreeSeries> series;
};
struct Scree {
  std::string title = "Largest eigenvalues of the Hessian";
  std::vector<ScreePanel> panels;
  FigureConditions conditions = {};
};
Figure scree_figure(const Scree& data);

// The smoothed density of the eigenvalues on a log axis, one panel per series: the mean over the
// probes with its band, the nodes of the quadrature as a rug, zero marked.
struct DensitySeries {
  std::string optimizer;
  std::string label = {};       // of the panel when one optimizer comes twice; empty: optimizer
  std::vector<double> at = {};  // eigenvalue axis, rising
  std::vector<double> density = {};              // mean over the probes, >= 0
  std::vector<double> low = {}, high = {};       // band over the probes, or empty
  std::vector<double> nodes = {}, weights = {};  // of the quadrature, all probes together
  double bandwidth = std::numeric_limits<double>::quiet_NaN();       // sigma of the Gaussian
  double negative_share = std::numeric_limits<double>::quiet_NaN();  // mass below zero
};
struct SpectralDensity {
  std::string title = "Spectral density of the Hessian";
  std::vector<DensitySeries> series = {};
  double floor = 1e-7;          // of the axis, relative to the largest density
  std::string over = "probes";  // what the means and bands are over, in words
  FigureConditions conditions = {};
};
Figure density_figure(const SpectralDensity& data);
// A series of quadratures of several runs, at one bandwidth on the axis from low to high (and six
// bandwidths beyond): the mean over the runs with its interval over them; of one run the band over
// its probes.
DensitySeries density_series(const std::string& optimizer,
                             const std::vector<SpectralQuadrature>& runs, double bandwidth,
                             double low, double high);

// The running trace estimate with its interval against the number of probes, one panel per method,
// and the residuals of Lanczos against its step: the first pair of each optimizer as a full line,
// the others faint.
struct RunningEstimate {
  std::string optimizer, method;  // "hutchinson", "xtrace"...
  std::vector<double> probes, value, low, high;
};
struct ResidualCurve {
  std::string optimizer;
  int64_t pair = 1;  // which eigenpair, from 1
  std::vector<double> steps, residual;
};
struct Diagnostics {
  std::string title = "How far the estimators had converged";
  std::vector<RunningEstimate> running = {};
  std::vector<ResidualCurve> residuals = {};
  double exact = std::numeric_limits<double>::quiet_NaN();      // the trace, where it is known
  double tolerance = std::numeric_limits<double>::quiet_NaN();  // at which Lanczos stops
  FigureConditions conditions = {};
};
Figure diagnostics_figure(const Diagnostics& data);

}  // namespace basin
