// Gauss quadrature by Lanczos: the tridiagonal matrix of a Krylov space with full
// re-orthogonalisation, its eigenvalues as nodes, the squared first components of its eigenvectors
// as weights.
#include <algorithm>
#include <cmath>

#include "basin/analysis/detail/orthonormal_basis.h"
#include "basin/analysis/lanczos.h"
#include "basin/kernels/linalg.h"

namespace basin {
namespace {

// The Krylov space of one start.
struct Chain {
  explicit Chain(int64_t n) : basis(n) {}
  OrthonormalBasis basis;
  std::vector<double> alpha, beta;
  double start_norm = 0;
  double scale = 0;  // largest |A v| so far
  bool closed = false;

  void take(Tensor product, size_t start) {
    const OrthonormalBasis::Projection p = basis.project_out(product);
    if (!std::isfinite(p.before)) {
      fail(ErrorKind::numerical, "lanczos_quadrature: product ", basis.size(), " of start ", start,
           " is not finite; check the operator at this point");
    }
    alpha.push_back(p.coefficients.back());
    scale = std::max(scale, p.before);
    closed = p.after <= kClosed * scale || basis.size() == basis.dimension();
    if (closed) return;
    beta.push_back(p.after);
    basis.append(std::move(product), p.after);
  }

  LanczosQuadrature rule() const {
    const auto m = static_cast<int64_t>(alpha.size());
    LanczosQuadrature out;
    out.alpha = Tensor::from(alpha, {m});
    out.beta = Tensor::from(std::vector<double>(beta.begin(), beta.begin() + m - 1), {m - 1});
    out.start_norm = start_norm;
    out.invariant = closed;
    Tensor matrix = Tensor::zeros({m, m}, DType::f64);
    double* t = matrix.mutable_data<double>();
    for (int64_t j = 0; j < m; ++j) {
      t[j * m + j] = alpha[static_cast<size_t>(j)];
      if (j > 0) t[j * m + j - 1] = beta[static_cast<size_t>(j - 1)];
    }
    const EighFactors eigen = Eigh::cpu(matrix);
    out.nodes = eigen.values;
    std::vector<double> weights;
    double sum = 0;
    for (int64_t j = 0; j < m; ++j) {
      weights.push_back(eigen.vectors.at(j) * eigen.vectors.at(j));
      sum += weights.back();
    }
    for (double& w : weights) w /= sum;
    out.weights = Tensor::from(weights, {m});
    return out;
  }
};

Tensor stacked(const std::vector<Chain>& chains, const std::vector<size_t>& open, int64_t n) {
  Tensor out = Tensor::empty({static_cast<int64_t>(open.size()), n}, DType::f64);
  double* to = out.mutable_data<double>();
  for (size_t l = 0; l < open.size(); ++l) {
    const OrthonormalBasis& basis = chains[open[l]].basis;
    std::copy_n(basis[basis.size() - 1].data<double>(), n, to + static_cast<int64_t>(l) * n);
  }
  return out;
}

}  // namespace

std::vector<LanczosQuadrature> lanczos_quadratures(const SymmetricOperator& a, const Tensor& starts,
                                                   int64_t steps) {
  const int64_t n = a.size();
  check(starts.defined() && starts.rank() == 2 && starts.size(1) == n && starts.size(0) > 0 &&
            starts.dtype() == DType::f64,
        "lanczos_quadrature: expects starts [p, ", n, "] in f64, got ", starts);
  check(steps >= 1, "lanczos_quadrature: expects at least one step, got ", steps);
  std::vector<Chain> chains;
  for (int64_t s = 0; s < starts.size(0); ++s) {
    Chain chain(n);
    Tensor v = copy_row(starts, s);
    chain.start_norm = norm(v);
    check(std::isfinite(chain.start_norm) && chain.start_norm > 0, "lanczos_quadrature: start ", s,
          " has length ", chain.start_norm, ", expected more than 0");
    chain.basis.append(std::move(v), chain.start_norm);
    chains.push_back(std::move(chain));
  }
  for (int64_t step = 0; step < std::min(steps, n); ++step) {
    std::vector<size_t> open;
    for (size_t s = 0; s < chains.size(); ++s) {
      if (!chains[s].closed) open.push_back(s);
    }
    if (open.empty()) break;
    const Tensor products = a.apply(stacked(chains, open, n));
    for (size_t l = 0; l < open.size(); ++l) {
      chains[open[l]].take(copy_row(products, static_cast<int64_t>(l)), open[l]);
    }
  }
  std::vector<LanczosQuadrature> out;
  for (const Chain& chain : chains) out.push_back(chain.rule());
  return out;
}

LanczosQuadrature lanczos_quadrature(const SymmetricOperator& a, const Tensor& start,
                                     int64_t steps) {
  check(start.defined() && start.rank() == 1, "lanczos_quadrature: expects a start [n], got ",
        start);
  return lanczos_quadratures(a, start.view({1, start.numel()}), steps).front();
}

}  // namespace basin
